"""What the stages leave for tables and figures, read and checked: the columns, the kinds, the cell that it is of."""

from __future__ import annotations

import math
from collections.abc import Container
from pathlib import Path
from typing import Any

import pandas as pd

from rodflow.errors import InvalidInput
from rodflow.layout import discrete_file, flow_file, grid_file, landscape_file, precision_file
from rodflow.storage import read_json, read_table
from rodflow.yardsticks import COSTS, LANDSCAPE_COLUMNS, SERIES_COLUMNS, STUDY_COLUMNS

Table = tuple[pd.DataFrame, dict[str, Any]]
"""A table and its summary, which lies beside it as JSON."""
RECORDS = ("step", "loss", "gradient_norm", "sharpness", "oscillation", "oscillation_along_sharpest")
CELL = {"architecture": str, "optimizer": str, "seed": int}
RUN = {"threshold": float, "flow_start": int}
COST = int | float | None


def discrete_run(results: Path, architecture: str, optimizer: str, seed: int) -> Table:
    """The records of a cell's discrete run. Raises: ``InvalidInput`` if the files do not hold them, as do all here."""
    file = discrete_file(results, architecture, optimizer, seed)
    records = _rising(file, read_table(file, RECORDS))
    summary = read_json(file.with_suffix(".json"), **CELL, **RUN, diverged_at=int | None)
    first, last = int(records["step"].iloc[0]), int(records["step"].iloc[-1])
    # records are as far apart as the first is from 0, and one is taken whenever a run has got to it
    _diverged_in(file, summary, range(first + last + 1), f"a step of the run, from 0 to {first + last}, or null")
    return records, _of(file, summary, architecture=architecture, optimizer=optimizer, seed=seed)


def flow(results: Path, architecture: str, optimizer: str, seed: int, name: str, discrete: Table) -> Table:
    """The series of a flow of a cell, which has the steps of the ``discrete`` run's records after the flows' start."""
    file = flow_file(results, architecture, optimizer, seed, name)
    series = _rising(file, read_table(file, SERIES_COLUMNS))
    records, run = discrete
    steps = records.loc[records["step"] > run["flow_start"], "step"].tolist()
    if series["step"].tolist() != steps:
        raise InvalidInput(f"{file}: step", series["step"].tolist(), f"the run's records after its start, {steps}")
    costs = dict.fromkeys(COSTS, COST)
    summary = read_json(file.with_suffix(".json"), **CELL, flow=str, **costs, seconds=float, diverged_at=COST)
    _diverged_in(file, summary, steps, "the step of one of its records, or null")
    return series, _of(file, summary, architecture=architecture, optimizer=optimizer, seed=seed, flow=name)


def precision_study(results: Path, architecture: str, optimizer: str, seed: int) -> Table:
    """The series of a cell's precision study."""
    file = precision_file(results, architecture, optimizer, seed)
    series = read_table(file, STUDY_COLUMNS, texts=("variant", "flow"))
    for _, rows in series.groupby(["variant", "flow"]):
        _rising(file, rows)
    summary = read_json(file.with_suffix(".json"), **CELL, **RUN)
    return series, _of(file, summary, architecture=architecture, optimizer=optimizer, seed=seed)


def landscape(results: Path, name: str) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """The run and the flows on a toy landscape, the loss over the plane, and the summary."""
    file = landscape_file(results, name)
    table = read_table(file, LANDSCAPE_COLUMNS, texts=("flow",))
    for _, rows in table.groupby("flow"):
        _rising(file, rows)
    grid = read_table(grid_file(file), ("x", "y", "loss"))
    summary = read_json(
        file.with_suffix(".json"), landscape=str, formula=str, learning_rate=float, threshold=float, flow_start=int
    )
    return table, grid, _of(file, summary, landscape=name)


def _rising(file: Path, table: pd.DataFrame) -> pd.DataFrame:
    """``table``, whose steps rise from one row to the next and are finite."""
    steps = table["step"].to_numpy(float)
    if not (steps[1:] > steps[:-1]).all() or not all(map(math.isfinite, steps[[0, -1]])):
        raise InvalidInput(f"{file}: step", steps.tolist(), "finite steps, each larger than the one before")
    return table


def _diverged_in(file: Path, summary: dict[str, Any], steps: Container[int], allowed: str) -> None:
    """Raises: ``InvalidInput`` for a divergence at none of ``steps``."""
    if summary["diverged_at"] is not None and summary["diverged_at"] not in steps:
        raise InvalidInput(f"{file.with_suffix('.json')}: diverged_at", summary["diverged_at"], allowed)


def _of(file: Path, summary: dict[str, Any], **names: str | int) -> dict[str, Any]:
    """``summary``, which is that of the cell, flow or landscape asked for and has a positive threshold, if any."""
    for key, name in names.items():
        if summary[key] != name:
            raise InvalidInput(f"{file.with_suffix('.json')}: {key}", summary[key], repr(name))
    if not summary.get("threshold", 1.0) > 0:
        raise InvalidInput(f"{file.with_suffix('.json')}: threshold", summary["threshold"], "a positive number")
    return summary
