"""A step map: all that a flow may know of an optimizer. ``state, gradient, t -> state``, one step of it.

:class:`StepMap` is the interface, :func:`step_map` makes one of a plain function.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, overload

import torch
from torch import Tensor

from rodflow.errors import InvalidInput, real_number, whole_number

EQUIVALENT = (
    "a step map: rodflow.GradientDescent, HeavyBall, Nesterov, RMSProp, Adam, NAdam, .., rodflow.step_map, or "
    "rodflow.from_torch for an optimizer of torch's"
)
"""Part of the error message for an argument that is no step map."""


class State(NamedTuple):
    """What an optimizer carries from step to step; a part that it does not have has no elements.

    Shapes: weights ``w [d]``, first moment ``m [d]`` or ``[0]``, second moment ``nu [d]``, ``[1]`` or ``[0]``; several
    of a kind, which some of torch's optimizers have, lie one after the other.
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
    way is :func:`step_map`, which says what the flows ask of a step.
    """

    learning_rate: float
    threshold: float = 2.0
    """Effective sharpness at which a frozen quadratic loses stability with multiplier -1."""
    transient: int = 0
    """Steps after which the start-up of the first moment has died out."""
    smooth: bool = True
    """Whether a step has derivatives; a flow needs them, a discrete run and its twin do not."""

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

    @property
    def description(self) -> str:
        """The class and its settings on one line, functions by their names alone: what a saved run keeps of its
        optimizer. Attributes that begin with an underscore are no settings.
        """
        settings = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return f"{type(self).__name__}({', '.join(f'{name}={_told(value)}' for name, value in settings.items())})"


def _told(value: object) -> str:
    if isinstance(value, StepMap):
        return value.description
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_told(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_told, value)) + "]"
    if value is None or isinstance(value, int | float | str):
        return repr(value)
    return f"<{getattr(value, '__name__', type(value).__name__)}>"


Step = Callable[[State, Tensor, float | Tensor], State]
"""state, gradient ``[d]`` at ``state.w``, t -> the state after one step."""


@overload
def step_map(
    function: Step,
    *,
    learning_rate: float,
    momentum: bool = ...,
    second_moment: str = ...,
    init: Callable[[Tensor], State] | None = ...,
    preconditioner: Callable[[Tensor, float | Tensor], Tensor] | None = ...,
    threshold: float = ...,
    transient: int = ...,
) -> OwnOptimizer: ...
@overload
def step_map(
    function: None = None,
    *,
    learning_rate: float,
    momentum: bool = ...,
    second_moment: str = ...,
    init: Callable[[Tensor], State] | None = ...,
    preconditioner: Callable[[Tensor, float | Tensor], Tensor] | None = ...,
    threshold: float = ...,
    transient: int = ...,
) -> Callable[[Step], OwnOptimizer]: ...
def step_map(
    function: Step | None = None,
    *,
    learning_rate: float,
    momentum: bool = False,
    second_moment: str = "none",
    init: Callable[[Tensor], State] | None = None,
    preconditioner: Callable[[Tensor, float | Tensor], Tensor] | None = None,
    threshold: float = 2.0,
    transient: int = 0,
) -> OwnOptimizer | Callable[[Step], OwnOptimizer]:
    """The optimizer whose step is ``function(state, gradient, t) -> State``; without a function, a decorator.

        >>> import torch, rodflow as rf
        >>> @rf.step_map(learning_rate=0.1)
        ... def fading(state, gradient, t):
        ...     return state._replace(w=state.w - 0.1 * 0.5 ** (t / 100) * gradient)
        >>> fading.step(fading.init(torch.ones(1)), torch.ones(1), t=100).w
        tensor([0.9500])

    Parameters:
        learning_rate: what the gradient is multiplied by near a minimum, where a step is ``-lr P^-1 gradient``;
            effective sharpness is measured with it. The function applies it itself.
        momentum: whether the state has a first moment m ``[d]``.
        second_moment: ``none``, ``scalar`` (nu ``[1]``) or ``component`` (nu ``[d]``). Both moments start at zero.
        init: weights ``[d]`` -> first state, in place of what the two above say.
        preconditioner: (nu, t) -> diagonal of P, ``[d]`` or ``[1]``; ones if left out.
        threshold: effective sharpness at which a step on a quadratic turns a mode round, multiplier -1; 2 for a step
            along the gradient. It marks the edge in figures and tables; no flow's path depends on it.
        transient: steps until the first moment has formed.

    What the flows ask of the function:

    * t counts the steps before this one, and is a real number or tensor between two steps: write ``0.5**(t/100)``,
      not ``t % 100 == 0``.
    * It is smooth in state and gradient, made of torch operations (rod flow differentiates it), and changes none of
      its arguments. A kink or a sign makes the flows' corrections meaningless where it matters.
    * It returns parts of the shapes that it was given. The rod lives in w and m; nu is a smooth extra.
    * An increment is the difference of two states, which costs as many digits as the weights are larger than a step:
      take float64, or subclass :class:`StepMap` and write ``increment`` instead.

    Raises: ``InvalidInput`` for a learning rate or threshold that is not positive, an unknown ``second_moment``, a
    negative transient; and at a step whose parts are of other shapes.
    """
    learning_rate, threshold = (
        real_number(name, value, "a positive number", lambda x: 0 < x < math.inf)
        for name, value in (("learning_rate", learning_rate), ("threshold", threshold))
    )
    if second_moment not in SECOND_MOMENTS:
        raise InvalidInput("second_moment", second_moment, f"one of {', '.join(SECOND_MOMENTS)}")
    if not isinstance(momentum, bool):
        raise InvalidInput("momentum", momentum, "True or False: whether the state has a first moment m")
    transient = whole_number("transient", transient, "a number of steps, zero or more")
    for name, function_given in (("function", function), ("init", init), ("preconditioner", preconditioner)):
        if not (function_given is None or callable(function_given)):
            raise InvalidInput(name, function_given, "a function")

    def zeros(w: Tensor) -> State:
        return at_rest(w, momentum, second_moment)

    def make(function: Step) -> OwnOptimizer:
        return OwnOptimizer(function, learning_rate, init or zeros, preconditioner, threshold, transient)

    return make if function is None else make(function)


def _state(key: str, made: object) -> State:
    """What a user's function made, as a state. Raises: ``InvalidInput`` naming the function if it is none."""
    if not isinstance(made, tuple) or len(made) != 3 or not all(isinstance(part, Tensor) for part in made):
        what = f"a {type(made).__name__}" + (f" of {len(made)}" if isinstance(made, tuple) else "")
        raise InvalidInput(key, what, "a function that returns a State: state._replace(w=..), or State(w, m, nu)")
    return State(*made)


@dataclass(frozen=True)
class OwnOptimizer(StepMap):
    """What :func:`step_map` makes."""

    function: Step
    learning_rate: float
    first: Callable[[Tensor], State]
    diagonal: Callable[[Tensor, float | Tensor], Tensor] | None
    threshold: float
    transient: int

    def init(self, w: Tensor) -> State:
        return _state("init", self.first(w))

    def step(self, state: State, gradient: Tensor, t: float | Tensor) -> State:
        after = _state("step", self.function(state, gradient, t))
        shapes = [tuple(part.shape) for part in after]
        if shapes != [tuple(part.shape) for part in state]:
            raise InvalidInput("step", shapes, f"parts of the shapes that went in, {[tuple(p.shape) for p in state]}")
        return after

    def preconditioner(self, nu: Tensor, t: float | Tensor) -> Tensor:
        return super().preconditioner(nu, t) if self.diagonal is None else self.diagonal(nu, t)
