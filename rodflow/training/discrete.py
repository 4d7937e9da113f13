"""Discrete full-batch training: the run that every flow is measured against."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rodflow.errors import InvalidInput, InvalidObject, real_number, whole_number
from rodflow.jobs.progress import log
from rodflow.optimizers.step_map import State, StepMap
from rodflow.training import preflight
from rodflow.training.arguments import require_device, require_dtype, require_objective, require_room, require_step_map
from rodflow.training.columns import STEP_COLUMNS
from rodflow.training.curvature import Curvature
from rodflow.training.objective import Objective
from rodflow.training.recorder import Recorder
from rodflow.training.rounding import rounding_errors
from rodflow.training.weights import flat

if TYPE_CHECKING:
    from rodflow.jobs.checkpoint import Checkpoint

WINDOW_HALF_WIDTH = 8
DIVERGENCE_FACTOR = 1e4
"""A run whose loss exceeds this many times its first loss, or this number where that is small, has diverged."""


@dataclass
class Window:
    """Consecutive discrete states around step ``at``, from which every flow of a cell starts.

    ``states`` holds the parts of the state stacked along a first axis, steps ``at - half_width .. at + half_width``.
    ``rounding`` is the relative size of the errors that the run made in a step: its dtype's epsilon, or the run's
    perturbation where that is larger. ``optimizer`` is the ``StepMap.description`` of the run's; empty if not known.
    ``loss`` is the run's at step ``at``, where it is known.
    """

    at: int
    states: State
    rounding: float = 0.0
    optimizer: str = ""
    loss: float = math.nan

    def __post_init__(self) -> None:
        self.rounding = self.rounding or torch.finfo(self.states.w.dtype).eps

    def require_of(self, optimizer: StepMap) -> None:
        """Check that these are states of ``optimizer``, at its rate, as far as that is known.

        Raises: ``InvalidInput`` where a flow of it would start from states of another.
        """
        wanted = [part.numel() for part in optimizer.init(self.states.w[0])]
        found = [part[0].numel() for part in self.states]
        if found != wanted or self.optimizer not in ("", optimizer.description):
            owner = self.optimizer or f"states of {found} numbers"
            allowed = f"a window of the flow's own optimizer: {optimizer.description}"
            raise InvalidInput("start", f"a window of {owner}", allowed)

    def require_on(self, objective: Objective) -> None:
        """Check that ``objective`` has the run's loss at the middle state, as far as that is known.

        Raises: ``InvalidInput`` where it is another one, as of other data.
        """
        found = float(objective.value(self.state().w))
        if math.isfinite(self.loss) and not math.isclose(found, self.loss, rel_tol=1e-2, abs_tol=1e-6):
            allowed = f"a window of a run on the flow's own objective, whose loss there is {found:g}"
            raise InvalidInput("start", f"a window at a loss of {self.loss:g}", allowed)

    @property
    def half_width(self) -> int:
        """Number of states on either side of ``at``."""
        return (len(self.states.w) - 1) // 2

    def state(self, offset: int = 0) -> State:
        """The state at step ``at + offset``. Raises: ``InvalidInput`` if the window is not so wide."""
        offset = whole_number("offset", offset, "a whole number of steps", least=-sys.maxsize)
        if abs(offset) > self.half_width:
            raise InvalidInput("half_width", self.half_width, f"{abs(offset)} or more, in run.window(at, half_width)")
        return State(*(part[self.half_width + offset] for part in self.states))

    def midpoint(self) -> State:
        """The second-difference centre ``(z_{t-1} + 2 z_t + z_{t+1}) / 4`` of every part of the state at t = ``at``."""
        return midpoint(self.state(-1), self.state(0), self.state(1))

    def to(self, dtype: torch.dtype, device: torch.device | str) -> Window:
        """The same window in another dtype, on another device. Raises: ``InvalidInput`` for one that torch lacks."""
        dtype, device = require_dtype(dtype), require_device(device)
        states = State(*(part.to(device, dtype) for part in self.states))
        return Window(self.at, states, self.rounding, self.optimizer, self.loss)


def midpoint(before: State, here: State, after: State) -> State:
    """``(z_{t-1} + 2 z_t + z_{t+1}) / 4``, part by part: the centre of the oscillation at step t."""
    return State(*((b + 2 * h + a) / 4 for b, h, a in zip(before, here, after, strict=True)))


def require_pure(optimizer: StepMap, state: State, gradient: Tensor, t: int) -> None:
    """Check that a step leaves its arguments as they are: flows take steps from states that they go on using.

    Raises: ``InvalidInput`` if it does not.
    """
    arguments = [part.clone() for part in (*state, gradient)]
    optimizer.step(State(*arguments[:3]), arguments[3], t)
    for name, after, before in zip(("w", "m", "nu", "gradient"), arguments, (*state, gradient), strict=True):
        if not torch.equal(after.nan_to_num(), before.nan_to_num()):
            said = f"it changes {name} in place; write w - x in the place of w.sub_(x)"
            raise InvalidObject(f"{type(optimizer).__name__}.step", said)


def perturbed_step(optimizer: StepMap, state: State, gradient: Tensor, t: int, perturbation: float) -> State:
    """The state at t + 1, each weight off by a relative error of at most ``perturbation``, drawn for that step.

    Stream 0 is the run's: flows draw their rounding errors from others, and must not know the run's.
    """
    following = optimizer.step(state, gradient, t)
    if not perturbation:
        return following
    return following._replace(w=following.w + rounding_errors(following.w, perturbation, t + 1, stream=0))


@dataclass
class DiscreteRun:
    """What a discrete run leaves. Time is counted in optimizer steps; d weights, R records, T steps.

    Every step: ``loss``, ``gradient_norm``, ``oscillation`` ``[T + 2]``, the last being ``||w_t - w*_t||`` with
    ``w*_t = (w_{t-1} + 2 w_t + w_{t+1}) / 4``. At each of ``record_steps`` ``[R]``: the state at ``states``, the
    centre w*_t in ``midpoints [R, d]``, there the largest eigenvalues ``sharpness [R, count]`` of
    ``lr P^-1/2 H P^-1/2`` at that step's rate, and ``oscillation_along_sharpest [R]``, the oscillation's part along
    the first eigenvector. A run that was read from a file of the workflow has of its ``states`` the weights alone.
    After a divergence, at step ``diverged_at``, what was not reached is NaN.
    ``perturbation`` is the largest relative error that was put on each weight after each step. ``optimizer`` is the
    ``StepMap.description`` of what took the steps, from ``w0``. A run that was ``interrupted`` is one of fewer steps.
    """

    threshold: float
    record_steps: Tensor
    loss: Tensor
    gradient_norm: Tensor
    oscillation: Tensor
    midpoints: Tensor
    states: State
    sharpness: Tensor
    oscillation_along_sharpest: Tensor
    diverged_at: int | None = None
    windows: dict[int, Window] = field(default_factory=dict)
    source: tuple[Objective, StepMap] | None = field(default=None, repr=False)
    perturbation: float = 0.0
    optimizer: str = ""
    w0: Tensor | None = field(default=None, repr=False)
    interrupted: bool = False

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: all but ``source``, whose objective is functions; windows are then those that were kept."""
        return self.__dict__ | {"source": None}

    @property
    def rounding(self) -> float:
        """The relative size of the error of a step: the perturbation, or the dtype's epsilon where that is larger."""
        return max(self.perturbation, torch.finfo(self.states.w.dtype).eps)

    @property
    def last_step(self) -> int:
        """The last step that has a loss, and a state before it."""
        return len(self.loss) - 1 if self.diverged_at is None else self.diverged_at - 1

    def window(self, at: int, half_width: int = WINDOW_HALF_WIDTH) -> Window:
        """The states around step ``at``: a window that was kept, as wide as asked for or wider, or else a replay.

        Raises: ``InvalidInput`` if the run did not get that far, or was read from a file that does not hold it.
        """
        half_width = whole_number("half_width", half_width, "a number of steps, one or more", least=1)
        first, last = half_width, self.last_step - half_width
        allowed = f"a step from {first} to {last} of this run" if first <= last else "nothing: this run is too short"
        if self.diverged_at is not None:
            allowed += f", which diverged at step {self.diverged_at}"
        at = whole_number("at", at, allowed, least=-sys.maxsize)
        if at in self.windows and self.windows[at].half_width >= half_width:
            return self.windows[at]
        whole_number("at", at, allowed, least=first, most=last)
        if self.source is None or self.w0 is None:
            advice = "others can be had from rodflow.load(path, objective, optimizer)"
            raise InvalidInput("at", at, f"one of the windows that were kept, {sorted(self.windows)}; {advice}")
        (objective, optimizer), w0 = self.source, self.w0
        earlier = [i for i, t in enumerate(self.record_steps.tolist()) if t <= at - half_width]
        if earlier:
            t, state = int(self.record_steps[earlier[-1]]), State(*(part[earlier[-1]] for part in self.states))
            state = State(*(part.to(w0.device) for part in state))
        else:
            t, state = 0, optimizer.init(w0)
        kept: list[State] = []
        while t <= at + half_width:
            if t >= at - half_width:
                kept.append(state)
            state = perturbed_step(optimizer, state, objective.gradient(state.w), t, self.perturbation)
            t += 1
        states = State(*(torch.stack(parts) for parts in zip(*kept, strict=True)))
        self.windows[at] = Window(at, states, self.rounding, self.optimizer, float(self.loss[at]))
        return self.windows[at]

    def table(self) -> pd.DataFrame:
        """A row a record: step, loss averaged over two steps, gradient norm, effective sharpness, oscillation and its
        part along the sharpest direction; ``rodflow.training.columns.RECORD_COLUMNS``.
        """
        t = self.record_steps
        return pd.DataFrame(
            {
                "step": t.numpy(),
                "loss": ((self.loss[t] + self.loss[t + 1]) / 2).double().numpy(),
                "gradient_norm": self.gradient_norm[t].double().numpy(),
                "sharpness": self.sharpness[:, 0].numpy(),
                "oscillation": self.oscillation[t].double().numpy(),
                "oscillation_along_sharpest": self.oscillation_along_sharpest.numpy(),
            }
        )


def train(
    objective: Objective,
    optimizer: StepMap,
    w0: Tensor,
    steps: int,
    *,
    record_interval: int = 10,
    eigenvalues: int = 1,
    sharpness_tolerance: float = 2e-2,
    progress: str = "train",
    perturbation: float = 0.0,
    checkpoint: Checkpoint | None = None,
    on_record: Callable[[int, float], None] | None = None,
    check: bool = True,
    interruptible: bool | None = None,
) -> DiscreteRun:
    """Train for ``steps`` full-batch steps from w0 ``[d]``, in its dtype and on its device.

    Records every ``record_interval`` steps, ``eigenvalues`` eigenvalues each. Two steps more than asked for are
    taken, so that the last record has its centre and its loss averaged over two steps. A run that diverges stops
    and says where; it raises nothing.

    After each step every weight gets an error, uniform in ``[-perturbation, perturbation] |w_i|`` and the same in
    each run: what rounding does to a run in fewer digits, and what keeps its oscillation alive below the edge.

    With a ``checkpoint`` the run goes on from the record that it holds, if any, and saves every further one.
    ``on_record`` is called after each record with its step and effective sharpness; what it raises ends the run.

    Ctrl-C ends an ``interruptible`` run where it is: what is returned is the run of as many steps as were taken, marked
    ``interrupted``, if it has a record. None: in a notebook and at Python's prompt, and not in a script. A run with a
    ``checkpoint`` never is, since what it made would be taken for the whole.

    ``check``: whether :func:`rodflow.training.preflight.check` looks at the objective first, unless it has; no number
    depends on it.

    Raises: ``InvalidInput`` for what the check refuses, a w0 that is no flat vector of floating numbers, an
    ``optimizer`` that is no step map or whose step changes its arguments, a non-positive number of steps or more of
    them than memory has room for, an interval that leaves no record, more eigenvalues than weights, or a perturbation
    that is negative or not finite.
    """
    require_objective(objective)
    require_step_map(optimizer)
    w0 = flat(w0)
    steps = whole_number("steps", steps, "a positive number of steps", least=1)
    allowed = f"from 1 to the number of steps, {steps}"
    record_interval = whole_number("record_interval", record_interval, allowed, least=1, most=steps)
    allowed = "a finite number >= 0, relative to each weight"
    perturbation = real_number("perturbation", perturbation, allowed, lambda x: 0 <= x < math.inf)
    curvature = Curvature(objective, eigenvalues, sharpness_tolerance)
    curvature.require_fit(len(w0))
    run = _blank(objective, optimizer, w0, steps, record_interval, curvature.eigenvalues, perturbation)
    recorder = Recorder({"by_step": _by_step(run), "by_record": _by_record(run)}, progress, checkpoint, interruptible)
    if check and not objective.checked:
        preflight.check(objective, w0)
    previous, state = None, optimizer.init(w0)
    saved = recorder.restore()
    if saved is not None:
        curvature.load_state_dict(saved.get("curvature", {}))
        previous, state = (_state_of(saved[name], w0.device) for name in ("previous", "state"))
    first, last = recorder.done, steps + 1
    with recorder.keeping(least=record_interval + 2):
        for t in recorder.rows(last + 1):
            run.loss[t], gradient = objective.value_and_gradient(state.w)
            run.gradient_norm[t] = gradient.norm()
            if t == first:
                require_pure(optimizer, state, gradient, t)
            following = perturbed_step(optimizer, state, gradient, t, perturbation)
            if previous is not None:
                run.oscillation[t] = (2 * state.w - previous.w - following.w).norm() / 4
            at_record = t % record_interval == 0
            if at_record or t == last:
                run.diverged_at = _first_diverged(run.loss[: t + 1])
                if run.diverged_at is not None:
                    break
            i = t // record_interval - 1
            if at_record and previous is not None and t <= steps:
                _record(run, i, curvature, previous, state, following)
                if on_record is not None:
                    on_record(t, float(run.sharpness[i, 0]))
            previous, state, recorder.done = state, following, t + 1
            if at_record and 0 < t <= steps:
                memory = {"previous": previous._asdict(), "state": state._asdict(), "curvature": curvature.state_dict()}
                recorder.save({"by_step": t + 1, "by_record": i + 1}, memory)
    if recorder.interrupted:
        _shorten(run, recorder.done)
        log.warning("%s: interrupted, %d of %d steps are kept", progress, recorder.done - 2, steps)
    _forget_after(run)
    if run.diverged_at is not None:
        log.warning("%s: diverged at step %d", progress, run.diverged_at)
    return run


def _blank(
    objective: Objective,
    optimizer: StepMap,
    w0: Tensor,
    steps: int,
    record_interval: int,
    eigenvalues: int,
    perturbation: float,
) -> DiscreteRun:
    """A run before its first step, all NaN. Raises: ``InvalidInput`` where memory has no room for it."""
    state, count, records = optimizer.init(w0), steps + 2, steps // record_interval
    require_room(steps, 3 * count + records * (len(w0) + sum(map(len, state))), w0.itemsize)

    def blank(*shape: int, device: torch.device | str = "cpu", dtype: torch.dtype = w0.dtype) -> Tensor:
        return torch.full(shape, float("nan"), dtype=dtype, device=device)

    return DiscreteRun(
        threshold=optimizer.threshold,
        record_steps=torch.arange(record_interval, steps + 1, record_interval),
        loss=blank(count, device=w0.device),
        gradient_norm=blank(count, device=w0.device),
        oscillation=blank(count, device=w0.device),
        midpoints=blank(records, len(w0)),
        states=State(*(blank(records, len(part)) for part in state)),
        sharpness=blank(records, eigenvalues, dtype=torch.float64),
        oscillation_along_sharpest=blank(records, dtype=torch.float64),
        source=(objective, optimizer),
        perturbation=perturbation,
        optimizer=optimizer.description,
        w0=w0,
    )


def _by_step(run: DiscreteRun) -> dict[str, Tensor]:
    """The series with an entry per step, by name."""
    return {name: getattr(run, name) for name in STEP_COLUMNS[1:]}


def _by_record(run: DiscreteRun) -> dict[str, Tensor]:
    """The series with an entry per record, by name."""
    names = ("midpoints", "sharpness", "oscillation_along_sharpest")
    states = {f"state_{name}": part for name, part in run.states._asdict().items()}
    return {name: getattr(run, name) for name in names} | states


def _state_of(saved: dict[str, np.ndarray], device: torch.device) -> State:
    return State(*(torch.tensor(saved[part], device=device) for part in State._fields))


def _record(run: DiscreteRun, i: int, curvature: Curvature, previous: State, state: State, following: State) -> None:
    """Fill in record i of a run, from the states around it."""
    assert run.source is not None
    optimizer, t = run.source[1], int(run.record_steps[i])
    centre = midpoint(previous, state, following)
    run.midpoints[i] = centre.w
    for kept, part in zip(run.states, state, strict=True):
        kept[i] = part
    preconditioner = optimizer.preconditioner(centre.nu, t)
    run.sharpness[i] = curvature.effective_sharpness(centre.w, preconditioner, optimizer.rate(t))
    run.oscillation_along_sharpest[i] = curvature.along_sharpest(state.w - centre.w, preconditioner)[0]


def _shorten(run: DiscreteRun, taken: int) -> None:
    """Make a run of an interrupted one, of whose steps ``taken`` are whole: one of two steps fewer."""
    run.interrupted = True
    records = int((run.record_steps <= taken - 2).sum())
    run.record_steps = run.record_steps[:records].clone()
    for name, series in _by_step(run).items():
        setattr(run, name, series[:taken].clone())
    for name in ("midpoints", "sharpness", "oscillation_along_sharpest"):
        setattr(run, name, getattr(run, name)[:records].clone())
    run.states = State(*(part[:records].clone() for part in run.states))
    run.diverged_at = _first_diverged(run.loss)


def _first_diverged(loss: Tensor) -> int | None:
    bad = ~(loss <= DIVERGENCE_FACTOR * loss[0].abs().clamp(min=1))
    return int(bad.nonzero()[0]) if bad.any() else None


def _forget_after(run: DiscreteRun) -> None:
    """Set to NaN all that a diverged run recorded from its divergence on, and bring the series to the CPU."""
    if run.diverged_at is not None:
        for series in _by_step(run).values():
            series[run.diverged_at :] = float("nan")
        late = run.record_steps >= run.diverged_at
        for records in _by_record(run).values():
            records[late] = float("nan")
    for name, series in _by_step(run).items():
        setattr(run, name, series.cpu())
