"""Learning-rate schedules: factors of time, for any step map."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from rodflow.errors import InvalidInput, real_number, whole_number
from rodflow.optimizers.step_map import EQUIVALENT, State, StepMap

Schedule = Callable[[float], float]
"""The factor of the learning rate at time t, in optimizer steps; the step from t to t + 1 is taken with that of t.

A flow asks for it at real t, so it is to be continuous, and positive: at a rate of zero a rod has no metric.
"""


def constant() -> Schedule:
    """One, always."""
    return lambda t: 1.0


def warmup(steps: int) -> Schedule:
    """``min(1, (t + 1) / steps)``: a line through the first ``steps`` steps, the last of them at the full rate.

    torch's ``LinearLR(start_factor=1 / steps, total_iters=steps - 1)``.

    Raises: ``InvalidInput`` for steps below one.
    """
    steps = whole_number("warmup", steps, "a positive number of steps", least=1)
    return lambda t: min(1.0, max(t + 1, 1.0) / steps)


def cosine(horizon: int, floor: float = 0.1) -> Schedule:
    """``floor + (1 - floor) (1 + cos(pi t / horizon)) / 2``, and ``floor`` from the horizon on.

    torch's ``CosineAnnealingLR(T_max=horizon, eta_min=floor * lr)`` up to there (Loshchilov & Hutter, 2017).

    Raises: ``InvalidInput`` for a horizon below one step, or a floor outside (0, 1].
    """
    horizon = whole_number("horizon", horizon, "a positive number of steps", least=1)
    floor = real_number("floor", floor, "a share of the learning rate in (0, 1]", lambda x: 0 < x <= 1)
    return lambda t: floor + (1 - floor) * (1 + math.cos(math.pi * min(max(t, 0.0), horizon) / horizon)) / 2


def warmup_cosine(steps: int, horizon: int, floor: float = 0.1) -> Schedule:
    """:func:`warmup` over the first ``steps`` steps, then :func:`cosine` over the rest of the ``horizon``.

    Raises: ``InvalidInput`` as these two, and for a warm-up that leaves nothing of the horizon.
    """
    rise, _ = warmup(steps), cosine(horizon, floor)
    if not steps < horizon:
        raise InvalidInput("warmup", steps, f"fewer steps than the horizon, {horizon}")
    fall = cosine(horizon - steps, floor)
    return lambda t: rise(t) * fall(t - steps)


def schedule(kind: str, warmup_steps: int, horizon: int, floor: float) -> Schedule:
    """The schedule of that name, one of ``KINDS``; each takes what it has.

    Raises: ``InvalidInput`` for another name, and as the schedule itself.
    """
    if kind not in KINDS:
        raise InvalidInput("kind", kind, f"one of {', '.join(KINDS)}")
    return KINDS[kind](warmup_steps, horizon, floor)


KINDS: dict[str, Callable[[int, int, float], Schedule]] = {
    "constant": lambda steps, horizon, floor: constant(),
    "warmup": lambda steps, horizon, floor: warmup(steps),
    "cosine": lambda steps, horizon, floor: cosine(horizon, floor),
    "warmup_cosine": warmup_cosine,
}


@dataclass(frozen=True)
class Scheduled(StepMap):
    """An optimizer whose learning rate follows a schedule: w's increment is multiplied by ``factor(t)``.

    That is the optimizer at the rate ``factor(t) lr`` wherever its step is proportional to the rate, decoupled decay
    included, as for all in :mod:`rodflow.optimizers`. Moments and preconditioner know nothing of the rate.
    ``learning_rate`` and ``threshold`` are those of ``optimizer``, :meth:`rate` is that of the moment.
    """

    optimizer: StepMap
    factor: Schedule

    learning_rate: float = field(init=False)
    threshold: float = field(init=False)
    transient: int = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.optimizer, StepMap):
            raise InvalidInput("optimizer", self.optimizer, EQUIVALENT)
        if not callable(self.factor):
            raise InvalidInput("factor", self.factor, "a function of time, such as rodflow.schedules.warmup(100)")
        for name in ("learning_rate", "threshold", "transient"):
            object.__setattr__(self, name, getattr(self.optimizer, name))

    def init(self, w: Tensor) -> State:
        return self.optimizer.init(w)

    def increment(self, state: State, gradient: Tensor, t: float | Tensor) -> State:
        dw, dm, dnu = self.optimizer.increment(state, gradient, t)
        return State(self._factor(t) * dw, dm, dnu)

    def preconditioner(self, nu: Tensor, t: float | Tensor) -> Tensor:
        return self.optimizer.preconditioner(nu, t)

    def rate(self, t: float | Tensor) -> float:
        return self._factor(t) * self.optimizer.rate(t)

    def _factor(self, t: float | Tensor) -> float:
        return real_number(
            f"factor({float(t):g})", self.factor(float(t)), "a positive number", lambda x: 0 < x < math.inf
        )
