"""Your own optimizer: a step map, and with it every flow, from one plain function."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from rodflow.errors import InvalidInput
from rodflow.optimizers import SECOND_MOMENTS, State, StepMap, at_rest

Step = Callable[[State, Tensor, float | Tensor], State]
"""state, gradient ``[d]`` at ``state.w``, t -> the state after one step."""


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
):
    """The optimizer whose step is ``function(state, gradient, t) -> State``; without a function, a decorator.

        @rf.step_map(learning_rate=0.1)
        def fading(state, gradient, t):
            return state._replace(w=state.w - 0.1 * 0.5 ** (t / 100) * gradient)

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
    for name, value in (("learning_rate", learning_rate), ("threshold", threshold)):
        if not 0 < value < math.inf:
            raise InvalidInput(name, value, "a positive number")
    if second_moment not in SECOND_MOMENTS:
        raise InvalidInput("second_moment", second_moment, f"one of {', '.join(SECOND_MOMENTS)}")
    if transient < 0:
        raise InvalidInput("transient", transient, "a number of steps, zero or more")

    def zeros(w: Tensor) -> State:
        return at_rest(w, momentum, second_moment)

    def make(function: Step) -> OwnOptimizer:
        return OwnOptimizer(function, learning_rate, init or zeros, preconditioner, threshold, transient)

    return make if function is None else make(function)


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
        return self.first(w)

    def step(self, state: State, gradient: Tensor, t: float | Tensor) -> State:
        after = State(*self.function(state, gradient, t))
        shapes = [tuple(part.shape) for part in after]
        if shapes != [tuple(part.shape) for part in state]:
            raise InvalidInput("step", shapes, f"parts of the shapes that went in, {[tuple(p.shape) for p in state]}")
        return after

    def preconditioner(self, nu: Tensor, t: float | Tensor) -> Tensor:
        return super().preconditioner(nu, t) if self.diagonal is None else self.diagonal(nu, t)
