"""Integrate a flow from a window of discrete states, record by record, beside the discrete run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from rodflow.curvature import Curvature
from rodflow.discrete import DIVERGENCE_FACTOR, DiscreteRun, Window
from rodflow.errors import InvalidInput
from rodflow.flows.base import Flow, FlowDiverged
from rodflow.objective import Cost
from rodflow.progress import log, track
from rodflow.yardsticks import SERIES_COLUMNS, Observer, compare


@dataclass
class FlowRun:
    """A flow's time series (``SERIES_COLUMNS``), its cost without the measuring, and where it diverged, if it did."""

    series: pd.DataFrame
    centres: Tensor | None
    start: int
    cost: Cost
    seconds: float
    diverged_at: float | None

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
    y, now = flow.start(start), start.at + flow.time_offset
    for t in times:
        if t > now:
            y = flow.advance(y, now, t)
        if not torch.isfinite(y).all():
            raise FlowDiverged(f"non-finite between steps {now:g} and {t:g}")
        now = t
        yield t, y


def integrate(
    flow: Flow,
    start: Window,
    steps: int,
    record_interval: int = 10,
    reference: DiscreteRun | None = None,
    keep_centres: bool = True,
    eigenvalues: int = 1,
    sharpness_tolerance: float = 2e-2,
    maximum_sharpness: float = 10.0,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    progress: str = "flow",
) -> FlowRun:
    """Integrate ``flow`` for ``steps`` optimizer steps from ``start``, in ``dtype`` on ``device`` (those of the start).

    Records at multiples of ``record_interval``, the marks of a discrete run that was recorded at the same interval.
    With a ``reference`` run the series holds the errors against it as well. A flow that diverges (its loss exceeds
    ``DIVERGENCE_FACTOR`` times that of the start, or that factor itself) is NaN from there on; one whose effective
    sharpness passes ``maximum_sharpness`` thresholds ends with that record. (The stable flow of an adaptive method
    stiffens without bound as its gradient, and with it nu, goes to zero.)
    """
    window = start.to(dtype or start.states.w.dtype, device or start.states.w.device)
    objective, threshold = flow.dynamics.objective, flow.dynamics.optimizer.threshold
    origin = window.midpoint().w
    times = [t for t in range(record_interval, start.at + steps + 1, record_interval) if t > start.at]
    if not times:
        raise InvalidInput("steps", steps, f"enough steps to reach a record, every {record_interval} steps")
    observe = Observer(flow, Curvature(objective, eigenvalues, sharpness_tolerance))
    largest_loss = DIVERGENCE_FACTOR * max(1.0, float(objective.value(origin).abs()))
    records = {} if reference is None else reference.row_of
    if reference is not None and not set(times) <= set(records):
        raise InvalidInput("reference", sorted(records), f"a run recorded at every multiple of {record_interval} steps")
    rows: list[dict[str, float]] = []
    centres = torch.full((len(times), len(origin)), float("nan"), dtype=origin.dtype) if keep_centres else None
    spent, seconds, diverged_at = Cost(), 0.0, None
    path = trajectory(flow, window, times)
    try:
        for t in track(times, len(times), progress):
            before, begun = objective.cost.copy(), time.perf_counter()
            _, y = next(path)
            if y.is_cuda:
                torch.cuda.synchronize()
            seconds += time.perf_counter() - begun
            spent += objective.cost - before
            row = {"step": t, **observe(t, y)}
            if not row["loss"] <= largest_loss:
                raise FlowDiverged(f"loss {row['loss']:.3g} at step {t}")
            row |= {"gradients": spent.gradients, "hessian_vector_products": spent.hessian_vector_products}
            centre = flow.centre(y).w
            if reference is not None:
                row |= compare(reference, records[t], origin, centre, flow.rod(y))
            if centres is not None:
                centres[len(rows)] = centre.cpu()
            rows.append(row)
            if not row["sharpness"] <= maximum_sharpness * threshold:
                raise FlowDiverged(f"effective sharpness {row['sharpness']:.3g} at step {t}")
    except FlowDiverged as error:
        log.warning("%s: %s", progress, error)
        diverged_at = t
    series = (
        pd.DataFrame(rows, columns=SERIES_COLUMNS).set_index("step").reindex(times).rename_axis("step").reset_index()
    )
    return FlowRun(series, centres, start.at, spent, seconds, diverged_at)
