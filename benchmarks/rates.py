"""Below and above the edge: the errors of flows in two cells at five learning rates, over all records."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.accuracy import each
from rodflow.config import Cell, Config
from rodflow.jobs.files import read_model, read_table
from rodflow.measures.constants import EDGE
from rodflow.measures.summaries import RunSummary
from rodflow.pipeline.job import Job
from rodflow.pipeline.stages.discrete import run_cell
from rodflow.pipeline.stages.flow import run_flow
from rodflow.pipeline.stages.scan import with_rates

CELLS = (Cell("mlp", "gd", 0), Cell("mlp", "adam", 0))
FACTORS = (0.125, 0.5, 1.0, 1.5, 2.0)
"""Of the config's own rate."""
FLOWS = ("stable", "rod", "drift_free_rod", "twin", "second_twin")


def at_rate(config: Config, cell: Cell, factor: float) -> Config:
    """The config with another learning rate of this cell."""
    rate = config.learning_rates[cell.architecture][cell.optimizer]
    return with_rates(config, {cell: factor * rate})


def rate_row(config: Config, dataset: Path, folder: Path, job: tuple[Cell, float]) -> list[dict]:
    """One row: how sharp the run becomes, how often it is at its edge, and each flow's mean error over all records.

    A run that diverged, and a flow that did not reach every record, has no number there.
    """
    cell, factor = job
    changed, folder = at_rate(config, cell, factor), folder / f"{factor:g}"
    run = Job("discrete", cell).file(folder)
    run_cell(changed, cell, dataset, run.with_suffix(".h5"))
    summary = read_model(run.with_suffix(".json"), RunSummary)
    records = read_table(run).query(f"step > {summary.flow_start}")
    row = cell._asdict() | {
        "learning_rate": changed.learning_rates[cell.architecture][cell.optimizer],
        "largest_over_threshold": records["sharpness"].max() / summary.threshold,
        "records": len(records),
        "at_the_edge": int((records["sharpness"] >= EDGE * summary.threshold).sum()),
    }
    for flow in FLOWS:
        output = Job("flow", cell, flow).file(folder)
        run_flow(changed, cell, flow, dataset, run.with_suffix(".h5"), output)
        row[flow] = read_table(output)["error"].mean(skipna=False)
    return [row]


def rates(config: Config, processes: int) -> Iterator[list[dict]]:
    """The row of each cell and rate."""
    jobs = [(cell, factor) for cell in CELLS for factor in FACTORS]
    return each(partial(rate_row, config), jobs, config, processes)
