"""Optimizers as step maps: a state (w, m, nu), a gradient, and the increment of one step.

An optimizer is all that the flows know: they are written once, for any :class:`StepMap`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from rodflow.errors import InvalidInput


class State(NamedTuple):
    """What an optimizer carries from step to step; a part that it does not have has no elements.

    Shapes: weights ``w [d]``, first moment ``m [d]`` or ``[0]``, second moment ``nu [d]``, ``[1]`` or ``[0]``.
    The rod lives in (w, m); nu is a smooth extra variable.
    """

    w: Tensor
    m: Tensor
    nu: Tensor


SECOND_MOMENTS = ("none", "scalar", "component")
"""No second moment, one for all weights, one for each."""


def at_rest(w: Tensor, momentum: bool, second_moment: str) -> State:
    """Weights w ``[d]`` with moments of zero: m if there is ``momentum``, nu as one of ``SECOND_MOMENTS`` says."""
    d = w.numel()
    nu = {"none": 0, "scalar": 1, "component": d}[second_moment]
    return State(w, w.new_zeros(d if momentum else 0), w.new_zeros(nu))


class StepMap:
    """One step of a full-batch optimizer, ``state, gradient, t -> state``; t counts the steps before this one.

    A user's own optimizer overrides :meth:`init` and :meth:`step` (or :meth:`increment`, where the difference of two
    states would lose digits), :meth:`preconditioner` if it has one, and sets ``threshold`` if it is known. The short
    way is :func:`rodflow.own_optimizer.step_map`, which says what the flows ask of a step.
    """

    learning_rate: float
    threshold: float = 2.0
    """Effective sharpness at which a frozen quadratic loses stability with multiplier -1."""
    transient: int = 0
    """Steps after which the start-up of the first moment has died out."""

    def init(self, w: Tensor) -> State:
        """The state before step 0, at weights w ``[d]``."""
        raise NotImplementedError

    def step(self, state: State, gradient: Tensor, t: float | Tensor) -> State:
        """The state after one step, from the gradient ``[d]`` at ``state.w``."""
        return State(*(a + b for a, b in zip(state, self.increment(state, gradient, t), strict=True)))

    def increment(self, state: State, gradient: Tensor, t: float | Tensor) -> State:
        """G: the state after one step minus the state, part by part; t may be real between two steps."""
        if type(self).step is StepMap.step:
            raise NotImplementedError(f"{type(self).__name__} overrides neither step nor increment")
        return State(*(a - b for a, b in zip(self.step(state, gradient, t), state, strict=True)))

    def preconditioner(self, nu: Tensor, t: float | Tensor) -> Tensor:
        """The diagonal of P, ``[d]`` or ``[1]``, at second moment nu after t steps: a step is ``-lr P^-1 u``."""
        return torch.ones(1, dtype=nu.dtype, device=nu.device)

    def rate(self, t: float | Tensor) -> float:
        """The learning rate of the step from t to t + 1: what effective sharpness at t is measured with."""
        return self.learning_rate


@dataclass(frozen=True)
class Optimizer(StepMap):
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
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise InvalidInput("learning_rate", self.learning_rate, "a positive number")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidInput(name, getattr(self, name), "a number in [0, 1)")
        if not self.epsilon >= 0:
            raise InvalidInput("epsilon", self.epsilon, "a number >= 0")
        b = self.beta1
        thresholds = {
            "none": 2.0,
            "heavy_ball": 2 * (1 + b) / (1 - b),
            "nesterov": 2 * (1 + b) / ((1 - b) * (1 + 2 * b)),
        }
        object.__setattr__(self, "threshold", thresholds[self.momentum])
        object.__setattr__(self, "transient", 0 if self.momentum == "none" else math.ceil(5 / (1 - b) - 1e-9))

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
        return _root(nu / (1 - self.beta2**t) if self.bias_correction else nu) + self.epsilon


def _root(nu: Tensor) -> Tensor:
    """sqrt(nu), with the least normal number under the root: a weight that never has a gradient keeps nu = 0, where the
    root itself has no derivative.
    """
    return torch.sqrt(nu + torch.finfo(nu.dtype).tiny)


class GradientDescent(Optimizer):
    """``w' = w - lr g``."""


class HeavyBall(Optimizer):
    """``m' = beta1 m + (1 - beta1) g``, ``w' = w - lr m'`` (Polyak, 1964; EMA form, no bias correction)."""

    momentum = "heavy_ball"


class Nesterov(Optimizer):
    """``w' = w - lr (beta1 m' + (1 - beta1) g)``: torch's SGD with ``nesterov=True`` at ``lr (1 - beta1)``."""

    momentum = "nesterov"


class ScalarRMSProp(Optimizer):
    """RMSProp with one second moment for all weights, the average of ``||g||^2``."""

    second_moment = "scalar"


class RMSProp(Optimizer):
    """RMSProp (Tieleman & Hinton, 2012): a second moment per component, no momentum."""

    second_moment = "component"


class ScalarAdam(Optimizer):
    """Adam with one second moment for all weights."""

    momentum, second_moment = "heavy_ball", "scalar"


class Adam(Optimizer):
    """Adam (Kingma & Ba, 2015)."""

    momentum, second_moment = "heavy_ball", "component"


class ScalarNAdam(Optimizer):
    """NAdam with one second moment for all weights."""

    momentum, second_moment = "nesterov", "scalar"


class NAdam(Optimizer):
    """NAdam (Dozat, 2016) with a constant beta1: torch's NAdam in the limit of a large ``momentum_decay``."""

    momentum, second_moment = "nesterov", "component"


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
        decay = self.learning_rate * self.weight_decay
        if not 0 <= decay < 1:
            raise InvalidInput("weight_decay", self.weight_decay, "a number in [0, 1/learning_rate)")
        object.__setattr__(self, "threshold", self.threshold * (1 - decay / 2))

    def increment(self, state: State, gradient: Tensor, t: float | Tensor) -> State:
        dw, dm, dnu = super().increment(state, gradient, t)
        return State(dw - self.learning_rate * self.weight_decay * state.w, dm, dnu)


class Adagrad(Optimizer):
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
        return _root(nu) + self.epsilon


@dataclass(frozen=True)
class QHM(Optimizer):
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
        s, b = self.momentum_share, self.beta1
        if not 0 <= s <= 1:
            raise InvalidInput("momentum_share", s, "a number in [0, 1]")
        object.__setattr__(self, "threshold", 2 * (1 + b) / (1 + b - 2 * s * b))

    def increment(self, state: State, gradient: Tensor, t: float | Tensor) -> State:
        dm = (1 - self.beta1) * (gradient - state.m)
        u = self.momentum_share * (state.m + dm) + (1 - self.momentum_share) * gradient
        return State(-self.learning_rate * u, dm, state.nu)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "gd": GradientDescent,
    "heavy_ball": HeavyBall,
    "nesterov": Nesterov,
    "scalar_rmsprop": ScalarRMSProp,
    "rmsprop": RMSProp,
    "scalar_adam": ScalarAdam,
    "adam": Adam,
    "scalar_nadam": ScalarNAdam,
    "nadam": NAdam,
    "adamw": AdamW,
    "adagrad": Adagrad,
    "qhm": QHM,
}
