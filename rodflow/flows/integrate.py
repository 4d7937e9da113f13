"""Integrate a flow from a window of discrete states, record by record, beside the discrete run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rodflow.errors import InvalidInput
from rodflow.flows.base import Flow, FlowDiverged
from rodflow.flows.observer import Observer, compare
from rodflow.jobs.progress import log, track
from rodflow.measures.columns import SERIES_COLUMNS
from rodflow.training.cost import Cost
from rodflow.training.curvature import Curvature
from rodflow.training.discrete import DIVERGENCE_FACTOR, DiscreteRun, Window

if TYPE_CHECKING:
    from rodflow.jobs.checkpoint import Checkpoint


@dataclass
class FlowRun:
    """A flow's time series (``SERIES_COLUMNS``), its cost without the measuring, and where it diverged, if it did."""

    series: pd.DataFrame
    centres: Tensor | None
    start: int
    cost: Cost
    seconds: float
    diverged_at: int | None

    def error(self, run: DiscreteRun) -> pd.Series:
        """||centre - w*_t|| by step, at the steps that both recorded."""
        if self.centres is None:
            raise InvalidInput("keep_centres", False, "True, for an error against a run that is named afterwards")
        rows = run.row_of
        errors = {
            step: float((centre - run.midpoints[rows[step]].to(centre)).norm())
            for step, centre in zip(self.series["step"], self.centres, strict=True)
            if step in rows
        }
        return pd.Series(errors, name="error", dtype=float).rename_axis("step")


def trajectory(flow: Flow, start: Window, times: Iterable[float]) -> Iterator[tuple[float, Tensor]]:
    """Yield (t, y) at each of the rising ``times``, in optimizer steps, none before the flow's own start.

    Raises: ``FlowDiverged`` at the first time that the flow does not reach with finite numbers.
    """
    return _onward(flow, flow.start(start), start.at + flow.time_offset, times)


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
) -> FlowRun:
    """Integrate ``flow`` for ``steps`` optimizer steps from ``start``, in ``dtype`` on ``device`` (those of the start).

    Records at multiples of ``record_interval``, the marks of a discrete run that was recorded at the same interval.
    With a ``reference`` run the series holds the errors against it as well. A flow that diverges (its loss exceeds
    ``DIVERGENCE_FACTOR`` times that of the start, or that factor itself) is NaN from there on; one whose effective
    sharpness passes ``maximum_sharpness`` thresholds ends with that record. (The stable flow of an adaptive method
    stiffens without bound as its gradient, and with it nu, goes to zero.)

    With a ``checkpoint`` the flow goes on from the record that it holds, if any, and saves every further one.

    ``check``: whether :meth:`Objective.check` looks at the objective first, unless it has. The numbers are the same.
    """
    start.require_of(flow.dynamics.optimizer)
    window = start.to(dtype or start.states.w.dtype, device or start.states.w.device)
    objective, threshold = flow.dynamics.objective, flow.dynamics.optimizer.threshold
    origin = window.midpoint().w
    if check and not objective.checked:
        objective.check(origin)
    window.require_on(objective)
    times = [t for t in range(record_interval, start.at + steps + 1, record_interval) if t > start.at]
    if not times:
        raise InvalidInput("steps", steps, f"enough steps to reach a record, every {record_interval} steps")
    observe = Observer(flow, Curvature(objective, eigenvalues, sharpness_tolerance))
    largest_loss = DIVERGENCE_FACTOR * max(1.0, float(objective.value(origin).abs()))
    records = {} if reference is None else reference.row_of
    if reference is not None and not set(times) <= set(records):
        raise InvalidInput("reference", sorted(records), f"a run recorded at every multiple of {record_interval} steps")
    table = np.full((len(times), len(SERIES_COLUMNS)), nan)
    centres = torch.full((len(times), len(origin)), float("nan"), dtype=origin.dtype) if keep_centres else None
    spent, seconds = Cost(), 0.0
    diverged_at: int | None = None
    y, now, first = flow.start(window), start.at + flow.time_offset, 0
    saved = None if checkpoint is None else checkpoint.load()
    if saved is not None:
        first = int(saved["records"])
        y, now = torch.tensor(saved["y"], device=window.states.w.device), times[first - 1]
        table[:first] = saved["table"]
        if centres is not None:
            centres[:first] = torch.from_numpy(saved["centres"])
        spent, seconds = Cost(*saved["spent"].tolist()), float(saved["seconds"])
        observe.curvature.load_state_dict(saved.get("curvature", {}))
        flow.load_state_dict(saved.get("flow", {}))
    path = _onward(flow, y, now, sorted(t - back for t in times[first:] for back in range(flow.lookback + 1)))
    try:
        for i, t in enumerate(track(times[first:], len(times) - first, progress), first):
            asked, begun = objective.cost.copy(), time.perf_counter()
            before = next(path)[1] if flow.lookback else y
            _, y = next(path)
            if y.is_cuda:
                torch.cuda.synchronize()
            seconds += time.perf_counter() - begun
            spent += objective.cost - asked
            state, rod = flow.measured(t, before, y)
            row = {"step": t, **observe(t, state, rod)}
            if not row["loss"] <= largest_loss:
                raise FlowDiverged(f"loss {row['loss']:.3g} at step {t}")
            row |= {"gradients": spent.gradients, "hessian_vector_products": spent.hessian_vector_products}
            centre = state.w
            if reference is not None:
                row |= compare(reference, records[t], origin, centre, rod)
            if centres is not None:
                centres[i] = centre.cpu()
            table[i] = [row.get(column, nan) for column in SERIES_COLUMNS]
            if not row["sharpness"] <= maximum_sharpness * threshold:
                raise FlowDiverged(f"effective sharpness {row['sharpness']:.3g} at step {t}")
            if checkpoint is not None:
                checkpoint.save(
                    {
                        "records": i + 1,
                        "y": y,
                        "table": table[: i + 1],
                        "centres": None if centres is None else centres[: i + 1],
                        "spent": astuple(spent),
                        "seconds": seconds,
                        "curvature": observe.curvature.state_dict(),
                        "flow": flow.state_dict(),
                    }
                )
    except FlowDiverged as error:
        log.warning("%s: %s", progress, error)
        diverged_at = t
    series = pd.DataFrame(table, columns=SERIES_COLUMNS).assign(step=times)
    return FlowRun(series, centres, start.at, spent, seconds, diverged_at)
