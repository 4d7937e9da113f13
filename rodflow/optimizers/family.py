"""Gradient descent and the paper's eight optimizers: one family of step maps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from rodflow.errors import InvalidInput, real_number
from rodflow.optimizers.step_map import State, StepMap, at_rest


@dataclass(frozen=True)
class AdamFamily(StepMap):
    """The family that holds gradient descent and the paper's eight optimizers. With g = ∇L(w),

        nu' = beta2 nu + (1 - beta2) q(g)      q(g) = g*g, or ||g||^2 for the scalar variants
        m'  = beta1 m + (1 - beta1) g          exponential moving average for every method with momentum
        w'  = w - learning_rate u / (sqrt(nu_hat') + epsilon)      (no division without a second moment)

        u = g                                  without momentum
        u = m_hat'                             heavy-ball momentum
        u = beta1 m'/(1 - beta1^(t+2)) + (1 - beta1) g/(1 - beta1^(t+1))      Nesterov momentum

    with ``m_hat' = m'/(1 - beta1^(t+1))``, ``nu_hat' = nu'/(1 - beta2^(t+1))``. Bias correction applies to methods
    with a second moment and can be switched off; plain heavy ball and Nesterov have none. m and nu start at zero.

    Kingma & Ba (2015), Dozat (2016); conventions of the scalar variants as in Cohen et al., arXiv 2410.24206.
    """

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.99
    epsilon: float = 1e-8
    bias_correction: bool = True

    momentum: ClassVar[str] = "none"
    second_moment: ClassVar[str] = "none"

    # set from the settings above, so that StepMap's attributes are plain numbers
    threshold: float = field(init=False, default=2.0)
    transient: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._take("learning_rate", "a positive number", lambda x: 0 < x < math.inf)
        for name in ("beta1", "beta2"):
            self._take(name, "a number in [0, 1)", lambda x: 0 <= x < 1)
        self._take("epsilon", "a number >= 0", lambda x: 0 <= x < math.inf)
        if not isinstance(self.bias_correction, bool):
            raise InvalidInput("bias_correction", self.bias_correction, "True or False")
        b = self.beta1
        thresholds = {
            "none": 2.0,
            "heavy_ball": 2 * (1 + b) / (1 - b),
            "nesterov": 2 * (1 + b) / ((1 - b) * (1 + 2 * b)),
        }
        object.__setattr__(self, "threshold", thresholds[self.momentum])
        object.__setattr__(self, "transient", 0 if self.momentum == "none" else math.ceil(5 / (1 - b) - 1e-9))

    def _take(self, name: str, allowed: str, holds: Callable[[float], bool]) -> None:
        """Check a setting, and keep it as Python's float."""
        object.__setattr__(self, name, real_number(name, getattr(self, name), allowed, holds))

    def init(self, w: Tensor) -> State:
        return at_rest(w, self.momentum != "none", self.second_moment)

    def increment(self, state: State, gradient: Tensor, t: float | Tensor) -> State:
        _, m, nu = state
        b1, b2 = self.beta1, self.beta2
        corrected = self.bias_correction and self.second_moment != "none"

        def bias(beta: float, steps: float | Tensor) -> float | Tensor:
            return 1 - beta**steps if corrected else 1.0

        dm = (1 - b1) * (gradient - m) if self.momentum != "none" else m
        if self.momentum == "none":
            u = gradient
        elif self.momentum == "heavy_ball":
            u = (m + dm) / bias(b1, t + 1)
        else:
            u = b1 * (m + dm) / bias(b1, t + 2) + (1 - b1) * gradient / bias(b1, t + 1)

        if self.second_moment == "none":
            return State(-self.learning_rate * u, dm, nu)
        q = gradient * gradient if self.second_moment == "component" else (gradient @ gradient).reshape(1)
        dnu = (1 - b2) * (q - nu)
        return State(-self.learning_rate * u / self.preconditioner(nu + dnu, t + 1), dm, dnu)

    def preconditioner(self, nu: Tensor, t: float | Tensor) -> Tensor:
        """``sqrt(nu_hat) + epsilon`` with ``nu_hat = nu / (1 - beta2^t)``; one without a second moment."""
        if self.second_moment == "none":
            return super().preconditioner(nu, t)
        return root(nu / (1 - self.beta2**t) if self.bias_correction else nu) + self.epsilon


def root(nu: Tensor) -> Tensor:
    """sqrt(nu), with the least normal number under the root: a weight that never has a gradient keeps nu = 0, where the
    root itself has no derivative.
    """
    return torch.sqrt(nu + torch.finfo(nu.dtype).tiny)


class GradientDescent(AdamFamily):
    """``w' = w - lr g``."""


class HeavyBall(AdamFamily):
    """``m' = beta1 m + (1 - beta1) g``, ``w' = w - lr m'`` (Polyak, 1964; EMA form, no bias correction)."""

    momentum = "heavy_ball"


class Nesterov(AdamFamily):
    """``w' = w - lr (beta1 m' + (1 - beta1) g)``: torch's SGD with ``nesterov=True`` at ``lr (1 - beta1)``."""

    momentum = "nesterov"


class ScalarRMSProp(AdamFamily):
    """RMSProp with one second moment for all weights, the average of ``||g||^2``."""

    second_moment = "scalar"


class RMSProp(AdamFamily):
    """RMSProp (Tieleman & Hinton, 2012): a second moment per component, no momentum."""

    second_moment = "component"


class ScalarAdam(AdamFamily):
    """Adam with one second moment for all weights."""

    momentum, second_moment = "heavy_ball", "scalar"


class Adam(AdamFamily):
    """Adam (Kingma & Ba, 2015)."""

    momentum, second_moment = "heavy_ball", "component"


class ScalarNAdam(AdamFamily):
    """NAdam with one second moment for all weights."""

    momentum, second_moment = "nesterov", "scalar"


class NAdam(AdamFamily):
    """NAdam (Dozat, 2016) with a constant beta1: torch's NAdam in the limit of a large ``momentum_decay``."""

    momentum, second_moment = "nesterov", "component"
