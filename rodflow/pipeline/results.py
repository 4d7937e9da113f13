"""What the stages leave for tables and figures, read and checked: the columns, the types, whose it is."""

from __future__ import annotations

from collections.abc import Container
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from rodflow.config import Cell
from rodflow.errors import InvalidInput
from rodflow.flows.columns import SERIES_COLUMNS
from rodflow.jobs.files import read_model, read_table
from rodflow.measures.columns import LANDSCAPE_NUMBERS, PLANE_NUMBERS, STUDY_NUMBERS
from rodflow.measures.summaries import FlowSummary, LandscapeSummary, OfCell, PlaneSummary, RunSummary, StudySummary
from rodflow.pipeline.job import Job
from rodflow.training.columns import RECORD_COLUMNS, STEP_COLUMNS


class Run(NamedTuple):
    """The records of a discrete run, and its summary."""

    records: pd.DataFrame
    summary: RunSummary


class FlowSeries(NamedTuple):
    """The time series of a flow, and its summary."""

    series: pd.DataFrame
    summary: FlowSummary


class Study(NamedTuple):
    """The series of a cell's precision study, and its summary."""

    series: pd.DataFrame
    summary: StudySummary


class PlaneRun(NamedTuple):
    """A cell's run and flows in its plane, and the summary."""

    table: pd.DataFrame
    summary: PlaneSummary


class LandscapeRun(NamedTuple):
    """The run and the flows on a toy landscape, the loss over the plane, and the summary."""

    table: pd.DataFrame
    grid: pd.DataFrame
    summary: LandscapeSummary


def read_run(results: Path, cell: Cell, variant: str = "") -> Run:
    """A cell's discrete run. Raises: ``InvalidInput`` if the files do not hold it; so do all functions here."""
    file = Job("discrete", cell, variant=variant).file(results)
    records = _rising(file, read_table(file, RECORD_COLUMNS))
    summary = read_model(file.with_suffix(".json"), RunSummary)
    first, last = int(records["step"].iloc[0]), int(records["step"].iloc[-1])
    # records are as far apart as the first is from 0, and one is taken whenever a run has got to it
    allowed = f"a step of the run, from 0 to {first + last}, or null"
    _require_divergence_in(file, summary, range(first + last + 1), allowed)
    _require_cell(file, summary, cell)
    return Run(records, summary)


def read_every_step(results: Path, cell: Cell) -> pd.DataFrame:
    """What a cell's discrete run has at every step."""
    file = Job("discrete", cell).file(results, "-steps.parquet")
    return _rising(file, read_table(file, STEP_COLUMNS))


def read_flow(results: Path, cell: Cell, flow: str, run: Run, variant: str = "") -> FlowSeries:
    """A flow of a cell; its steps are those of the ``run``'s records after the flows' start."""
    file = Job("flow", cell, flow, variant).file(results)
    series = _rising(file, read_table(file, SERIES_COLUMNS))
    steps = run.records.loc[run.records["step"] > run.summary.flow_start, "step"].tolist()
    if series["step"].tolist() != steps:
        raise InvalidInput(f"{file}: step", series["step"].tolist(), f"the run's records after its start, {steps}")
    summary = read_model(file.with_suffix(".json"), FlowSummary)
    _require_divergence_in(file, summary, steps, "the step of one of its records, or null")
    _require_cell(file, summary, cell)
    _require_name(file, "flow", summary.flow, flow)
    return FlowSeries(series, summary)


def read_study(results: Path, cell: Cell) -> Study:
    """The precision study of a cell."""
    file = Job("study", cell).file(results)
    series = read_table(file, STUDY_NUMBERS, texts=("variant", "flow"))
    for _, rows in series.groupby(["variant", "flow"]):
        _rising(file, rows)
    summary = read_model(file.with_suffix(".json"), StudySummary)
    _require_cell(file, summary, cell)
    return Study(series, summary)


def read_plane(results: Path, cell: Cell) -> PlaneRun:
    """The run and the flows of a cell in its plane."""
    file = Job("plane", cell).file(results)
    table = read_table(file, PLANE_NUMBERS, texts=("flow",))
    for _, rows in table.groupby("flow"):
        _rising(file, rows)
    summary = read_model(file.with_suffix(".json"), PlaneSummary)
    _require_cell(file, summary, cell)
    return PlaneRun(table, summary)


def read_landscape(results: Path, name: str) -> LandscapeRun:
    """A toy landscape."""
    job = Job("landscape", name=name)
    file = job.file(results)
    table = read_table(file, LANDSCAPE_NUMBERS, texts=("flow",))
    for _, rows in table.groupby("flow"):
        _rising(file, rows)
    grid = read_table(job.file(results, "-grid.parquet"), ("x", "y", "loss"))
    summary = read_model(file.with_suffix(".json"), LandscapeSummary)
    _require_name(file, "landscape", summary.landscape, name)
    return LandscapeRun(table, grid, summary)


def _rising(file: Path, table: pd.DataFrame) -> pd.DataFrame:
    """``table``, whose steps rise from one row to the next and are finite."""
    steps = table["step"].to_numpy(float)
    if not (steps[1:] > steps[:-1]).all() or not all(map(isfinite, steps[[0, -1]])):
        raise InvalidInput(f"{file}: step", steps.tolist(), "finite steps, each larger than the one before")
    return table


def _require_divergence_in(file: Path, summary: RunSummary | FlowSummary, steps: Container[int], allowed: str) -> None:
    """Raises: ``InvalidInput`` for a divergence at none of ``steps``."""
    if summary.diverged_at is not None and summary.diverged_at not in steps:
        raise InvalidInput(f"{file.with_suffix('.json')}: diverged_at", summary.diverged_at, allowed)


def _require_cell(file: Path, summary: OfCell, cell: Cell) -> None:
    for key, name in cell._asdict().items():
        _require_name(file, key, getattr(summary, key), name)


def _require_name(file: Path, key: str, found: object, wanted: object) -> None:
    """Raises: ``InvalidInput`` for the summary of something else."""
    if found != wanted:
        raise InvalidInput(f"{file.with_suffix('.json')}: {key}", found, repr(wanted))
