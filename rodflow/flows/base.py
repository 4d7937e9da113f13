"""What a flow is: a start, a vector field or a step of its own, a centre and a rod."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchdiffeq import odeint

from rodflow.errors import InvalidInput, real_number, whole_number
from rodflow.flows.correction import Field
from rodflow.flows.dynamics import Dynamics
from rodflow.flows.rkc2 import RKC2, SolverStopped
from rodflow.optimizers.step_map import State, StepMap
from rodflow.training.arguments import require_objective, require_step_map
from rodflow.training.discrete import Window
from rodflow.training.objective import Objective

if TYPE_CHECKING:
    from rodflow.jobs.checkpoint import StateDict

FIXED_STEP_METHODS = ("euler", "midpoint", "heun2", "heun3", "rk4")
ADAPTIVE_METHODS = ("dopri5", "bosh3", "rkc2")


class FlowDiverged(ArithmeticError):
    """The flow left the finite numbers, or needed more steps than allowed, before it reached the time wanted."""


@dataclass(frozen=True)
class Solver:
    """How a flow is integrated: a fixed-step ``method`` with ``step``, or an adaptive one with tolerances.

    The methods are torchdiffeq's, and :class:`rodflow.flows.rkc2.RKC2`.

    ``step`` is in optimizer steps; an adaptive method takes no larger one. ``atol`` has to be small against a second
    moment, which is a squared gradient, and is at least ten roundings of one (1e-6 in single precision). The error of
    an adaptive step is a root mean square over all components.
    """

    method: str = "rk4"
    step: float = 0.5
    rtol: float = 1e-4
    atol: float = 1e-9
    max_evaluations: int = 2000
    """Adaptive methods give up where they need more evaluations of the field than this between two records: the flow
    has become too stiff."""

    def __post_init__(self) -> None:
        if self.method not in FIXED_STEP_METHODS + ADAPTIVE_METHODS:
            raise InvalidInput("method", self.method, f"one of {', '.join(FIXED_STEP_METHODS + ADAPTIVE_METHODS)}")
        for name in ("step", "rtol", "atol"):
            value = real_number(name, getattr(self, name), "a positive number", lambda x: x > 0)
            object.__setattr__(self, name, value)
        evaluations = whole_number("max_evaluations", self.max_evaluations, "a positive number", least=1)
        object.__setattr__(self, "max_evaluations", evaluations)

    def advance(self, field: Field, y: Tensor, t0: float, t1: float, epsilon: float = 0.0) -> Tensor:
        """y at t1 from y at t0 along dy/dt = field(t, y), whose relative rounding error is ``epsilon``, or y's.

        Raises: ``FlowDiverged`` when the solver cannot reach t1.
        """
        # below rounding no step, however short, meets a tolerance
        epsilon = max(epsilon, torch.finfo(y.dtype).eps)
        atol = max(self.atol, 10 * epsilon)
        if self.method in ADAPTIVE_METHODS:
            field = self._limited(field, t0, t1)
        with torch.no_grad():
            if self.method == "rkc2":
                try:
                    return RKC2(field, t0, y, self.rtol, atol, self.step, epsilon).advance(t1)
                except SolverStopped as error:
                    raise FlowDiverged(str(error)) from error
            return self._torchdiffeq(field, y, t0, t1, atol)

    def _limited(self, field: Field, t0: float, t1: float) -> Field:
        """``field``, which may be evaluated as often as ``max_evaluations`` allows from t0 to t1."""
        left = iter(range(self.max_evaluations))

        def limited(t: float | Tensor, y: Tensor) -> Tensor:
            if next(left, None) is None:
                raise FlowDiverged(
                    f"too stiff: {self.max_evaluations} evaluations did not lead from t = {t0:g} to {t1:g}; "
                    "a fixed step, Solver('rk4', step=0.25), crosses kinks such as ReLU's"
                )
            return field(t, y)

        return limited

    def _torchdiffeq(self, field: Field, y: Tensor, t0: float, t1: float, atol: float) -> Tensor:
        times = torch.tensor([t0, t1], dtype=torch.float64, device=y.device)
        options: dict[str, Any] = {"step_size": self.step}
        right_hand_side: Field = field
        if self.method in ADAPTIVE_METHODS:
            # the last step ends at t1: stepping past it and interpolating would be less accurate than the steps are
            options = {"max_step": self.step, "step_t": times[1:]}
            # a trial step may leave the field's domain (nu < 0): huge values make the solver refuse it and halve; in
            # every component, since the solver looks at a mean over all of them
            huge = torch.finfo(y.dtype).max ** 0.25

            def right_hand_side(t: float | Tensor, y: Tensor) -> Tensor:
                velocity = field(t, y)
                return velocity if torch.isfinite(velocity).all() else torch.full_like(y, huge)

        try:
            return odeint(right_hand_side, y, times, method=self.method, rtol=self.rtol, atol=atol, options=options)[1]
        except AssertionError as error:  # torchdiffeq's way to say that its step underflowed
            raise FlowDiverged(str(error)) from error


def require_step(step: float) -> float:
    """The longest step of a flow that knows no solver. Raises: ``InvalidInput`` for one that it does not follow."""
    return real_number("step", step, "a number of optimizer steps, above 0 and at most 1", lambda x: 0 < x <= 1)


def equal_steps(t0: float, t1: float, longest: float) -> tuple[list[float], float]:
    """Equal steps from t0 to t1, none longer than ``longest``: where each begins, and their length."""
    steps = max(1, math.ceil((t1 - t0) / longest - 1e-9))
    h = (t1 - t0) / steps
    return [t0 + i * h for i in range(steps)], h


def midpoint_steps(
    move: Callable[[Tensor, Tensor, float, float], Tensor], y: Tensor, t0: float, t1: float, longest: float
) -> Tensor:
    """y at t1 from y at t0 by the midpoint rule, in equal steps no longer than ``longest``.

    ``move(y, at, t, h)`` is y after a time h, with the velocity taken at the point ``at``, time t.
    """
    beginnings, h = equal_steps(t0, t1, longest)
    for t in beginnings:
        y = move(y, move(y, y, t, h / 2), t + h / 2, h)
    return y


@dataclass(frozen=True)
class Layout:
    """How the parts of a flow's state lie one after the other in its flat vector y: their numbers of elements."""

    sizes: tuple[int, ...]

    @classmethod
    def of(cls, *parts: Tensor) -> Layout:
        """The layout of vectors made of ``parts`` as large as these."""
        return cls(tuple(part.numel() for part in parts))

    def split(self, y: Tensor) -> tuple[Tensor, ...]:
        """The parts of y, as flat vectors."""
        return torch.split(y, list(self.sizes))


def pack(*parts: Tensor) -> Tensor:
    """The parts of a flow's state in one flat vector."""
    return torch.cat([part.reshape(-1) for part in parts])


class Flow:
    """A continuous-time model of any optimizer on any objective; time is counted in optimizer steps.

    A flow holds one flat vector y, whose parts a :class:`Layout` names; the last part is nu. :meth:`start` makes the
    layout from the window that it is given, whose dtype and device y keeps.
    """

    layout: Layout
    """The parts of y; set by :meth:`start`."""

    time_offset = 0.0
    """Time of y at the start, less the step of the window: 1/2 where y stands for two consecutive iterates."""
    default_solver = Solver()
    lookback = 0
    """Steps before each record at which :meth:`measured` also needs y: 0 or 1."""

    def __init__(self, objective: Objective, optimizer: StepMap, *, solver: Solver | None = None):
        require_objective(objective)
        require_step_map(optimizer)
        if not (solver is None or isinstance(solver, Solver)):
            raise InvalidInput("solver", solver, "a rodflow.Solver, such as Solver('rk4', step=0.25)")
        if not self.supports(optimizer):
            raise InvalidInput("optimizer", type(optimizer).__name__, f"one that {type(self).__name__} models")
        self.dynamics = Dynamics(objective, optimizer)
        self.solver = self.default_solver if solver is None else solver

    @classmethod
    def supports(cls, optimizer: StepMap) -> bool:
        """Whether the flow models this optimizer; building it for another raises ``InvalidInput``."""
        return optimizer.smooth

    def start(self, window: Window) -> Tensor:
        """The flow's y at time ``window.at + time_offset``."""
        raise NotImplementedError

    def field(self, t: float | Tensor, y: Tensor) -> Tensor:
        """dy/dt."""
        raise NotImplementedError

    def advance(self, y: Tensor, t0: float, t1: float) -> Tensor:
        """y at time t1 from y at time t0. Raises: ``FlowDiverged``."""
        return self.solve(self.field, y, t0, t1)

    def solve(self, field: Field, y: Tensor, t0: float, t1: float) -> Tensor:
        """y at time t1 from y at time t0 by the solver, along a ``field`` that is made of gradients."""
        return self.solver.advance(field, y, t0, t1, self.dynamics.objective.epsilon(y))

    def centre(self, y: Tensor) -> State:
        """The slow part of the state: what the discrete run's midpoints are compared with."""
        parts = self.layout.split(y)
        return self.dynamics.state(parts[0], parts[-1])

    def rod(self, y: Tensor) -> Tensor | None:
        """The longest column of the :meth:`oscillation` ``[d]``, up to its sign; None for a flow without one."""
        columns = self.oscillation(y)
        return None if columns is None else columns[:, 0]

    def oscillation(self, y: Tensor) -> Tensor | None:
        """Columns ``[d, k]`` whose squares add up to the covariance of the weights about the centre, the longest first;
        None for a flow without an oscillation.
        """
        return None

    def measured(self, t: float, before: Tensor, y: Tensor) -> tuple[State, Tensor | None]:
        """The centre and the oscillation that a record compares with the run's, from y at t and ``lookback`` before."""
        return self.centre(y), self.oscillation(y)

    @property
    def incidents(self) -> dict[str, int]:
        """Counts, by name, of events that a reader of the results should know, since the flow was made."""
        return {}

    def state_dict(self) -> StateDict:
        """What a checkpoint keeps beside y: all else that changes along a trajectory and that the flow goes on from."""
        return {}

    def load_state_dict(self, state: StateDict) -> None:
        """Go on from a :meth:`state_dict`; call :meth:`start` with the same window first, which sets all the rest."""
