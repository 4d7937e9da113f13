"""Integrate a flow from a window of discrete states, record by record, beside the discrete run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, field
from itertools import pairwise
from math import inf, nan
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from rodflow.errors import InvalidInput, real_number, whole_number
from rodflow.flows.base import Flow, FlowDiverged
from rodflow.flows.columns import SERIES_COLUMNS
from rodflow.flows.observer import Observer, compare, records_of
from rodflow.jobs.progress import log
from rodflow.training import preflight
from rodflow.training.arguments import require_room
from rodflow.training.cost import Cost
from rodflow.training.curvature import Curvature
from rodflow.training.discrete import DIVERGENCE_FACTOR, DiscreteRun, Window
from rodflow.training.objective import Objective
from rodflow.training.recorder import Recorder

if TYPE_CHECKING:
    from rodflow.jobs.checkpoint import Checkpoint


@dataclass
class FlowRun:
    """A flow's time series (``SERIES_COLUMNS``), its cost without the measuring, and where it diverged, if it did.

    ``centres [R, d]`` are the flow's at its R records, ``origin [d]`` is the run's centre at the start. A flow that was
    ``interrupted`` is one of fewer steps.
    """

    series: pd.DataFrame
    centres: Tensor | None
    start: int
    cost: Cost
    seconds: float
    diverged_at: int | None
    origin: Tensor | None = None
    interrupted: bool = False

    def error(self, run: DiscreteRun) -> pd.Series[float]:
        """||centre - w*_t||, a distance in weight space, by step, at the steps that both recorded.

        Raises: ``InvalidInput`` for a flow without centres, a run of another size, or one without such a step.
        """
        return self.table(run).set_index("step")["error"].loc[self._shared(run)]

    def table(self, run: DiscreteRun | None = None) -> pd.DataFrame:
        """The time series, a row a record, with ``SERIES_COLUMNS``; those that compare it with ``run`` filled in.

        Without a run they are as :func:`integrate` left them: NaN without its ``reference``. ``alignment_oscillation``
        can be had from there alone, since rods are not kept.

        Raises: ``InvalidInput`` as :meth:`error`.
        """
        if run is None:
            return self.series.copy()
        shared, records = self._shared(run), records_of(run)
        assert self.centres is not None and self.origin is not None
        rows = [
            {"step": step, **compare(run, records[step], self.origin, centre, None)}
            for step, centre in zip(self.series["step"], self.centres, strict=True)
            if step in shared
        ]
        kept = self.series.set_index("step")
        found = pd.DataFrame(rows).set_index("step").drop(columns="alignment_oscillation")
        kept[found.columns] = found.reindex(kept.index)
        return kept.reset_index()[SERIES_COLUMNS]

    def _shared(self, run: DiscreteRun) -> list[int]:
        """The steps that both recorded."""
        if not isinstance(run, DiscreteRun):
            raise InvalidInput("run", run, "the discrete run that rodflow.train returned")
        if self.centres is None:
            raise InvalidInput("keep_centres", False, "True, for an error against a run that is named afterwards")
        if run.midpoints.shape[1] != self.centres.shape[1]:
            weights = f"one with {run.midpoints.shape[1]} weights"
            raise InvalidInput("run", weights, f"one of the flow's network, with {self.centres.shape[1]}")
        reached = [step for step in run.record_steps.tolist() if step <= run.last_step]
        shared = sorted(set(reached) & set(self.series["step"]))
        if not shared:
            end = "" if run.diverged_at is None else f", and diverged at step {run.diverged_at}"
            recorded = f"one that recorded steps {_span(run.record_steps.tolist())}{end}"
            allowed = f"one with a record at a step of the flow's: {_span(self.series['step'])}"
            raise InvalidInput("run", recorded, allowed)
        return shared


def _span(steps: Iterable[int]) -> str:
    """For example "10, 20, .., 600"."""
    steps = list(steps)
    return ", ".join(map(str, steps)) if len(steps) < 4 else f"{steps[0]}, {steps[1]}, .., {steps[-1]}"


def trajectory(flow: Flow, start: Window, times: Iterable[float]) -> Iterator[tuple[float, Tensor]]:
    """Yield (t, y) at each of the rising ``times``, in optimizer steps, none before the flow's own start.

    Raises: ``FlowDiverged`` at the first time that the flow does not reach with finite numbers; ``InvalidInput`` for
    times that do not rise, or begin before the start.
    """
    _require_start(flow, start)
    allowed = f"rising numbers, from the start at {start.at} on"
    if not isinstance(times, Iterable):
        raise InvalidInput("times", times, allowed)
    times = list(times)
    numbers = [real_number("times", t, allowed, lambda t: start.at <= t < inf) for t in times]
    if any(later < earlier for earlier, later in pairwise(numbers)):
        raise InvalidInput("times", numbers, allowed)
    return _onward(flow, flow.start(start), start.at + flow.time_offset, times)


def _require_start(flow: Flow, start: Window) -> None:
    """Check that a flow can begin there. Raises: ``InvalidInput`` naming what it cannot begin with."""
    if not isinstance(flow, Flow):
        raise InvalidInput(
            "flow", flow, "a flow of an objective and an optimizer, such as StableFlow(objective, optimizer)"
        )
    if not isinstance(start, Window):
        raise InvalidInput("start", start, "a window of the discrete run: run.window(at=60)")
    start.require_of(flow.dynamics.optimizer)


def _onward(flow: Flow, y: Tensor, now: float, times: Iterable[float]) -> Iterator[tuple[float, Tensor]]:
    """The :func:`trajectory` of a flow that is at y at the time ``now``."""
    for t in times:
        if t > now:
            # memory of its own, as y has after a checkpoint: products of vectors may depend on where these begin
            y = flow.advance(y, now, t).clone()
        if not torch.isfinite(y).all():
            raise FlowDiverged(f"non-finite between steps {now:g} and {t:g}")
        now = t
        yield t, y


def integrate(
    flow: Flow,
    start: Window,
    steps: int,
    record_interval: int = 10,
    *,
    reference: DiscreteRun | None = None,
    keep_centres: bool = True,
    eigenvalues: int = 1,
    sharpness_tolerance: float = 2e-2,
    maximum_sharpness: float = 50.0,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    progress: str = "flow",
    checkpoint: Checkpoint | None = None,
    check: bool = True,
    interruptible: bool | None = None,
) -> FlowRun:
    """Integrate ``flow`` for ``steps`` optimizer steps from ``start``, in ``dtype`` on ``device`` (those of the start).

    Records at multiples of ``record_interval``, the marks of a discrete run that was recorded at the same interval.
    With a ``reference`` run the series holds the errors against it as well. A flow that diverges (its loss exceeds
    ``DIVERGENCE_FACTOR`` times that of the start, or that factor itself) is NaN from there on; one whose effective
    sharpness passes ``maximum_sharpness`` thresholds ends with that record. (The stable flow of an adaptive method
    stiffens without bound as its gradient, and with it nu, goes to zero.)

    With a ``checkpoint`` the flow goes on from the record that it holds, if any, and saves every further one. Ctrl-C
    ends an ``interruptible`` flow where it is, as it does a run in :func:`rodflow.train`.

    ``check``: whether :func:`rodflow.training.preflight.check` looks at the objective first, unless it has; no number
    depends on it.

    Raises: ``InvalidInput`` for a flow, a start, a length, a measure or a dtype that is none, a start of another
    optimizer, and a ``reference`` without the records.
    """
    window, times = _checked(flow, start, steps, record_interval, reference, keep_centres, dtype, device)
    allowed = "a positive number of thresholds"
    maximum_sharpness = real_number("maximum_sharpness", maximum_sharpness, allowed, lambda x: x > 0)
    objective, origin = flow.dynamics.objective, window.midpoint().w
    curvature = Curvature(objective, eigenvalues, sharpness_tolerance)
    curvature.require_fit(len(origin))
    if check and not objective.checked:
        preflight.check(objective, origin)
    window.require_on(objective)
    observe = Observer(flow, curvature, None if reference is None else (reference, origin))
    largest_loss = DIVERGENCE_FACTOR * max(1.0, float(objective.value(origin).abs()))
    largest_sharpness = maximum_sharpness * flow.dynamics.optimizer.threshold
    kept = {"table": torch.full((len(times), len(SERIES_COLUMNS)), nan, dtype=torch.float64)}
    if keep_centres:
        kept["centres"] = torch.full((len(times), len(origin)), nan, dtype=origin.dtype)
    recorder = Recorder({"records": kept}, progress, checkpoint, interruptible)
    y, now, spent = flow.start(window), start.at + flow.time_offset, Spent()
    saved = recorder.restore()
    if saved is not None:
        y, now = torch.tensor(saved["y"], device=origin.device), times[recorder.done - 1]
        spent = Spent(Cost(*saved["cost"].tolist()), float(saved["seconds"]))
        curvature.load_state_dict(saved.get("curvature", {}))
        flow.load_state_dict(saved.get("flow", {}))
    path = _onward(flow, y, now, _looking_back(times[recorder.done :], flow.lookback))
    diverged_at = None
    try:
        with recorder.keeping(least=1):
            for i in recorder.rows(len(times)):
                before, y = spent.on(objective, path, y, flow.lookback)
                state, oscillation = flow.measured(times[i], before, y)
                row = {"step": times[i], **observe(times[i], state, oscillation), **spent.asked()}
                if not row["loss"] <= largest_loss:
                    raise FlowDiverged(f"loss {row['loss']:.3g} at step {times[i]}")
                if keep_centres:
                    kept["centres"][i] = state.w.cpu()
                numbers = [row.get(column, nan) for column in SERIES_COLUMNS]
                kept["table"][i] = torch.tensor(numbers, dtype=torch.float64)
                if not row["sharpness"] <= largest_sharpness:
                    raise FlowDiverged(f"effective sharpness {row['sharpness']:.3g} at step {times[i]}")
                recorder.done = i + 1
                memory = {"y": y, "cost": astuple(spent.cost), "seconds": spent.seconds}
                memory |= {"curvature": curvature.state_dict(), "flow": flow.state_dict()}
                recorder.save({"records": i + 1}, memory)
    except FlowDiverged as error:
        log.warning("%s: %s", progress, error)
        diverged_at, recorder.done = times[recorder.done], len(times)
    if recorder.interrupted:
        log.warning("%s: interrupted, kept up to step %d of %d", progress, times[recorder.done - 1], times[-1])
    done = recorder.done
    series = pd.DataFrame(kept["table"][:done].numpy(), columns=SERIES_COLUMNS).assign(step=times[:done])
    centres, first = (kept["centres"][:done].clone(), origin.cpu()) if keep_centres else (None, None)
    return FlowRun(series, centres, start.at, spent.cost, spent.seconds, diverged_at, first, recorder.interrupted)


def _checked(
    flow: Flow,
    start: Window,
    steps: int,
    record_interval: int,
    reference: DiscreteRun | None,
    keep_centres: bool,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
) -> tuple[Window, list[int]]:
    """The window that a flow starts from and the steps of its records. Raises: ``InvalidInput``."""
    _require_start(flow, start)
    steps = whole_number("steps", steps, "a positive number of steps", least=1)
    record_interval = whole_number("record_interval", record_interval, "a positive number of steps", least=1)
    w = start.states.w
    window = start.to(dtype or w.dtype, device or w.device)
    numbers = steps // record_interval * (len(SERIES_COLUMNS) + keep_centres * w.shape[1])
    require_room(steps, numbers, window.states.w.itemsize)
    times = [t for t in range(record_interval, start.at + steps + 1, record_interval) if t > start.at]
    if not times:
        at = f"enough steps to reach a record from step {start.at}, one in every {record_interval}"
        raise InvalidInput("steps", steps, at)
    if reference is not None:
        _require_reference(reference, times, w.shape[1])
    return window, times


def _require_reference(reference: DiscreteRun, times: list[int], weights: int) -> None:
    """Check that a run has records of so many weights at ``times``. Raises: ``InvalidInput``."""
    if not isinstance(reference, DiscreteRun):
        raise InvalidInput("reference", reference, "the discrete run that rodflow.train returned")
    if reference.midpoints.shape[1] != weights:
        raise InvalidInput("reference", f"one with {reference.midpoints.shape[1]} weights", f"one with {weights}")
    recorded = reference.record_steps.tolist()
    if not set(times) <= set(recorded):
        raise InvalidInput(
            "reference", f"one recorded at steps {_span(recorded)}", f"one recorded at the flow's: {_span(times)}"
        )
    if reference.diverged_at is not None:
        log.warning("the reference diverged at step %d: no errors from there on", reference.diverged_at)


def _looking_back(times: list[int], lookback: int) -> list[int]:
    """The steps at which y is wanted for records at ``times``: these, and those that ``lookback`` adds."""
    return sorted(t - back for t in times for back in range(lookback + 1))


@dataclass
class Spent:
    """What a flow asked of its objective and the seconds that it took, without the measuring."""

    cost: Cost = field(default_factory=Cost)
    seconds: float = 0.0

    def on(
        self, objective: Objective, path: Iterator[tuple[float, Tensor]], y: Tensor, lookback: int
    ) -> tuple[Tensor, Tensor]:
        """y at the next record of a ``path``, and ``lookback`` before; the flow is at ``y``."""
        asked, begun = objective.cost.copy(), time.perf_counter()
        before = next(path)[1] if lookback else y
        _, y = next(path)
        if y.is_cuda:
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - begun
        self.cost += objective.cost - asked
        return before, y

    def asked(self) -> dict[str, int]:
        """The columns of a series that say what was asked."""
        return {"gradients": self.cost.gradients, "hessian_vector_products": self.cost.hessian_vector_products}
