"""AdamW: Adam with decoupled weight decay."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rodflow.optimizers.family import Adam
from rodflow.optimizers.step_map import State


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019): ``-lr weight_decay w`` on top of Adam's increment.

    Effective sharpness is still that of the loss alone. Decay contracts the weights by itself, which brings the
    threshold down from Adam's by the factor ``1 - lr weight_decay / 2``.

    Raises: ``InvalidInput`` for a weight_decay that is negative, or not below ``1/lr``.
    """

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        self._take("weight_decay", "a number in [0, 1/learning_rate)", lambda x: 0 <= self.learning_rate * x < 1)
        decay = self.learning_rate * self.weight_decay
        object.__setattr__(self, "threshold", self.threshold * (1 - decay / 2))

    def increment(self, state: State, gradient: Tensor, t: float | Tensor) -> State:
        dw, dm, dnu = super().increment(state, gradient, t)
        return State(dw - self.learning_rate * self.weight_decay * state.w, dm, dnu)
