"""Adagrad: the second moment is a sum."""

from __future__ import annotations

from torch import Tensor

from rodflow.optimizers.family import AdamFamily, root
from rodflow.optimizers.step_map import State


class Adagrad(AdamFamily):
    """``nu' = nu + g*g``, ``w' = w - lr g / (sqrt(nu') + epsilon)`` (Duchi, Hazan & Singer, 2011).

    nu is a sum, so P only grows, and a run at the edge of stability lets the loss sharpen along with it. There is
    neither momentum nor bias correction; beta1, beta2 and ``bias_correction`` have no effect.
    """

    second_moment = "component"

    def increment(self, state: State, gradient: Tensor, t: float | Tensor) -> State:
        dnu = gradient * gradient
        return State(-self.learning_rate * gradient / self.preconditioner(state.nu + dnu, t + 1), state.m, dnu)

    def preconditioner(self, nu: Tensor, t: float | Tensor) -> Tensor:
        """``sqrt(nu) + epsilon``."""
        return root(nu) + self.epsilon
