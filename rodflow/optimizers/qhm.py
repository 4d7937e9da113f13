"""Quasi-hyperbolic momentum: a mixture of gradient descent and heavy ball."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rodflow.optimizers.family import AdamFamily
from rodflow.optimizers.step_map import State


@dataclass(frozen=True)
class QHM(AdamFamily):
    """Quasi-hyperbolic momentum (Ma & Yarats, 2019): ``w' = w - lr (s m' + (1 - s) g)`` with s the ``momentum_share``.

    m is heavy ball's average. s = 0 is gradient descent, s = 1 heavy ball and s = beta1 Nesterov momentum. On a
    quadratic the multiplier -1 has ``m' = (1 - beta1)/(1 + beta1) g``, so the threshold is
    ``2 (1 + beta1) / (1 + beta1 - 2 s beta1)``.

    Raises: ``InvalidInput`` for a momentum_share outside [0, 1].
    """

    momentum_share: float = 0.7

    momentum = "heavy_ball"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._take("momentum_share", "a number in [0, 1]", lambda x: 0 <= x <= 1)
        s, b = self.momentum_share, self.beta1
        object.__setattr__(self, "threshold", 2 * (1 + b) / (1 + b - 2 * s * b))

    def increment(self, state: State, gradient: Tensor, t: float | Tensor) -> State:
        dm = (1 - self.beta1) * (gradient - state.m)
        u = self.momentum_share * (state.m + dm) + (1 - self.momentum_share) * gradient
        return State(-self.learning_rate * u, dm, state.nu)
