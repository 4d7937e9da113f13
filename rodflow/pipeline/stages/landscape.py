"""a toy landscape -> gradient descent on it and the flows beside the run, in the plane."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from rodflow.catalogue import FLOWS, LANDSCAPES
from rodflow.config.run import LANDSCAPE_FLOWS
from rodflow.flows.base import Flow, FlowDiverged
from rodflow.flows.integrate import trajectory
from rodflow.flows.observer import Observer
from rodflow.jobs.files import write_json, write_table
from rodflow.jobs.progress import log
from rodflow.measures.columns import LANDSCAPE_COLUMNS
from rodflow.measures.summaries import LandscapeSummary
from rodflow.optimizers.family import GradientDescent
from rodflow.optimizers.step_map import State
from rodflow.pipeline.provenance import provenance
from rodflow.training.curvature import Curvature
from rodflow.training.discrete import WINDOW_HALF_WIDTH, DiscreteRun, Window, train


def run_landscape(name: str, output: Path) -> None:
    """Gradient descent in float64 on the landscape ``name``, and from step 8 each of ``LANDSCAPE_FLOWS``.

    ``output`` is a Parquet table with ``LANDSCAPE_COLUMNS``. Beside it lie the loss over the plane (``-grid.parquet``:
    x, y, loss) and a summary with the mean error of each flow's centre (.json). The flows have their default settings.

    Raises: ``InvalidInput`` if the run diverges before the flows start.
    """
    begun = time.monotonic()
    torch.set_num_threads(1)  # for vectors of two numbers
    landscape = LANDSCAPES[name]
    objective, optimizer = landscape.objective, GradientDescent(landscape.learning_rate)
    w0 = torch.tensor(landscape.w0, dtype=torch.float64)
    run = train(objective, optimizer, w0, landscape.steps, record_interval=1, progress=name, interruptible=False)
    window = run.window(WINDOW_HALF_WIDTH)
    tables, diverged_at = {"discrete": discrete_rows(run)}, {}
    for flow in LANDSCAPE_FLOWS:
        times = range(window.at + 1, landscape.steps + 1)
        tables[flow], diverged_at[flow] = flow_rows(FLOWS[flow](objective, optimizer), window, times)
    table = pd.concat([rows.assign(flow=flow) for flow, rows in tables.items()]).assign(landscape=name)[
        LANDSCAPE_COLUMNS
    ]
    write_table(output, table)
    points, loss = landscape.grid()
    grid = pd.DataFrame({"x": points[:, 0].numpy(), "y": points[:, 1].numpy(), "loss": loss.numpy()})
    write_table(output.with_name(f"{output.stem}-grid.parquet"), grid)
    settings = {
        key: getattr(landscape, key) for key in ("formula", "w0", "learning_rate", "steps", "x_range", "y_range")
    }
    summary = LandscapeSummary(
        landscape=name,
        formula=landscape.formula,
        learning_rate=landscape.learning_rate,
        threshold=optimizer.threshold,
        flow_start=window.at,
        diverged_at={"discrete": run.diverged_at, **diverged_at},
        mean_error={flow: mean_error(tables[flow], tables["discrete"]) for flow in LANDSCAPE_FLOWS},
        provenance=provenance(settings, time.monotonic() - begun),
    )
    write_json(output.with_suffix(".json"), summary.model_dump())


def discrete_rows(run: DiscreteRun) -> pd.DataFrame:
    """The run's rows, one a record."""
    t, centre, iterate = run.record_steps, run.midpoints, run.states.w
    loss = (run.loss[t] + run.loss[t + 1]) / 2
    rows = torch.cat([centre, iterate, 2 * centre - iterate, loss[:, None], run.sharpness], 1)
    return pd.DataFrame(
        rows.numpy(), columns=LANDSCAPE_COLUMNS[3:], index=pd.Index(t.numpy(), name="step")
    ).reset_index()


def flow_rows(flow: Flow, window: Window, times: range) -> tuple[pd.DataFrame, int | None]:
    """A flow's rows at ``times``, and the first of them that it did not reach: NaN from there on."""
    observe = Observer(flow, Curvature(flow.dynamics.objective))

    def row(t: float, state: State, rod: Tensor | None) -> list[float]:
        centre, seen = state.w, observe(t, state, None if rod is None else rod[:, None])
        ends = torch.full((4,), float("nan")) if rod is None else torch.cat([centre + rod, centre - rod])
        return [*centre.tolist(), *ends.tolist(), seen["predicted_loss"], seen["sharpness"]]

    return rows_of(flow, window, times, row, LANDSCAPE_COLUMNS[3:])


def rows_of(
    flow: Flow,
    window: Window,
    times: range,
    row: Callable[[float, State, Tensor | None], list[float]],
    names: list[str],
) -> tuple[pd.DataFrame, int | None]:
    """What ``row`` says of a flow's centre and rod at each of ``times``, under ``names``, and where it diverged."""
    rows: dict[int, list[float]] = {}
    diverged_at = None
    try:
        for t, y in trajectory(flow, window, times):
            rows[int(t)] = row(t, flow.centre(y), flow.rod(y))
    except FlowDiverged as error:
        diverged_at = times.start + len(rows)
        log.warning("%s: %s", type(flow).__name__, error)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=names, dtype=float)
    return table.reindex(times).rename_axis("step").reset_index(), diverged_at


def mean_error(flow: pd.DataFrame, discrete: pd.DataFrame) -> float | None:
    """The mean distance of a flow's centre from the run's w*_t, over the steps that both reached; None without any."""
    difference = flow.set_index("step")[["x", "y"]] - discrete.set_index("step")[["x", "y"]]
    error = float((difference**2).sum(axis=1, skipna=False).pow(0.5).mean())
    return error if math.isfinite(error) else None
