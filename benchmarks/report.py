"""docs/performance.md from the tables that the benchmarks leave."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from pydantic import BaseModel

from benchmarks import mixed, rod
from benchmarks.accuracy import convergence, curve
from rodflow.config import CELL_COLUMNS
from rodflow.jobs.files import read_model, write_json, write_table
from rodflow.report import markdown

NUMBER = "{:.3g}"


class Machine(BaseModel):
    """What lies beside the table of a part."""

    machine: str


def shown(table: pd.DataFrame) -> str:
    """A Markdown table; numbers with three significant digits, gaps as dashes."""
    heads = [str(name).replace("_", " ") for name in table.columns]
    rows = table.itertuples(index=False)
    return markdown.table([dict(zip(heads, map(cell, row), strict=True)) for row in rows])


def cell(value: object) -> str:
    if pd.isna(value):  # type: ignore[call-overload]
        return "–"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else NUMBER.format(value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def add(folder: Path, part: str, rows: pd.DataFrame, machine: str) -> None:
    """Put rows into a part's table; those that it has stay if they are of the same machine and commit and of others."""
    file, record = folder / f"{part}.csv", folder / f"{part}.json"
    if file.exists() and record.exists() and measured_on(folder, part) == machine:
        rows = pd.concat([pd.read_csv(file), rows])
        rows = rows[~rows.reindex(columns=PARTS[part].key).duplicated(keep="last")]
    write_table(file, rows)
    write_json(record, {"machine": machine})


def measured_on(folder: Path, part: str) -> str:
    """The machine and the commit that a part was measured on, as a sentence."""
    return read_model(folder / f"{part}.json", Machine).machine


def render(folder: Path, page: Path) -> str:
    """The page with a section for each part that ``folder`` has a table of; all else as it stands in ``page``.

    Raises: ``InvalidInput`` if a table has no record beside it of what it was measured on.
    """
    text = page.read_text(encoding="utf-8") if page.exists() else "# What a unit of flow time costs"
    intro, *pieces = re.split(f"<!-- ({'|'.join(PARTS)}) -->", text)
    sections = dict(zip(pieces[::2], pieces[1::2], strict=True))
    for name, part in PARTS.items():
        if (file := folder / f"{name}.csv").exists():
            sections[name] = "\n\n".join(part.section(pd.read_csv(file), measured_on(folder, name)))
    bodies = (f"<!-- {name} -->\n\n{sections[name].strip()}" for name in PARTS if name in sections)
    return "\n\n".join([intro.strip(), *bodies]) + "\n"


Section = Callable[[pd.DataFrame, str], list[str]]
"""The paragraphs of a part, of its table and of what it was measured on."""


def one_table(title: str, text: str, made: Callable[[pd.DataFrame], pd.DataFrame] = lambda table: table) -> Section:
    """A section with one table, ``made`` of the part's rows."""
    return lambda table, measured: [f"## {title}", measured, text, shown(made(table))]


def _accuracy(table: pd.DataFrame, measured: str) -> list[str]:
    return [
        "## Error against cost, over the cells of config.yaml",
        measured,
        "Mean error in the edge window over that of the default, median and largest over the cells.",
        shown(curve(table).reset_index()),
        "## Is the integration converged?",
        "By what share the running mean of the error in the edge window moves when the map's separating step is "
        "taken every 8th step instead of every 16th, and when the ODE's step is 1/4 instead of 1/2. Chaos begins "
        "where drawing the flow's rounding errors anew moves it by more than 5% (`redrawn`: by how much at the "
        "end, the larger of two moves). The run's own rounding errors are not known, so that this much is chance.",
        shown(convergence(table)),
    ]


def _scaling(table: pd.DataFrame, measured: str) -> list[str]:
    parts = ["## Growth of the drift-free rod flow's cost", measured]
    for varied, rows in table.groupby("varied", sort=False):
        rows = rows.dropna(axis=1, how="all").drop(columns="varied").copy()
        if varied in ("parameters", "examples"):
            work = rows["parameters"].iloc[-1] / rows["parameters"] * rows["examples"].iloc[-1] / rows["examples"]
            rows["seconds_over_linear"] = rows["seconds"] * work / rows["seconds"].iloc[-1]
        else:
            rows = rows.rename(columns={"seconds": "seconds_per_step"})
        parts += [f"Over {varied}:", shown(rows)]
    return parts


class Part(NamedTuple):
    """``key``: the columns that tell a part's rows apart."""

    key: list[str]
    section: Section


PARTS = {
    "cost": Part(
        ["architecture", "optimizer", "dtype", "examples", "model"],
        one_table(
            "Paper-scale networks",
            "Below the edge, from the same state, timed in turns. `overhead`: seconds over those of a discrete "
            "step, over the gradient equivalents, less one. `peak mib`: growth of the process' memory over all "
            "rows of its architecture, optimizer and dtype. –: lost by its solver.",
        ),
    ),
    "accuracy": Part([*CELL_COLUMNS, "variant", "step"], _accuracy),
    "rod": Part(
        [*CELL_COLUMNS, "variant", "step"],
        one_table(
            "Rod flow: convergence in columns and step",
            "Mean error in the edge window over its n records, of rod flow with r columns of the covariance and "
            "step h. `equivalents`: gradient equivalents a step, their median; `at most`: the largest. No flow is "
            "stopped; –: not run, or left the finite numbers. The twins' error is the floor: to be nearer to the "
            "run is chance.",
            lambda table: rod.by_cell(table).reset_index(),
        ),
    ),
    "mixed": Part(
        [*CELL_COLUMNS, "variant", "step"],
        one_table(
            "Mixed precision",
            "Mean error in the edge window over its n records, of flows whose states are in float64, with the "
            "network's gradients in float64 or in float32 (`mixed`). The floor is the mean error of two twins in "
            "float64.",
            mixed.by_cell,
        ),
    ),
    "rates": Part(
        [*CELL_COLUMNS, "learning_rate"],
        one_table(
            "Below and above the edge",
            "Two cells of config.yaml at an eighth, a half, once, one and a half times and twice their learning "
            "rate. `largest over threshold`: the run's largest effective sharpness after the flows' start; `at "
            "the edge`: how many of its records have 0.9 thresholds or more. Then mean errors over all records, "
            "the floor being the twins'. –: the run, or that flow, left the finite numbers or 50 thresholds.",
            lambda table: table.drop(columns="seed"),
        ),
    ),
    "gpu": Part(
        ["architecture", "dtype", "examples"],
        one_table(
            "What a step is made of",
            "Milliseconds at the sizes of config/paper.yaml. `replayed`: the gradient's operations without their "
            "Python, on a GPU as a CUDA graph; `both ends`: gradients at two points; `drift-free step`: of Adam, "
            "the mean over an interval; `first sharpness`: with no eigenvectors to begin from. `memory MiB`: of a "
            "GPU, at the peak.",
        ),
    ),
    "paper": Part(
        CELL_COLUMNS,
        one_table(
            "The paper's size on one GPU",
            "Mean errors in the edge window over its n records. The floor is the twins' error; `n stable`: the "
            "records that the stable flow reached. Seconds are of a job, beside those that shared the GPU. –: not "
            "finished in the time that there was.",
            lambda table: table.drop(columns="seed"),
        ),
    ),
    "scaling": Part(["varied", "parameters", "examples", "steps"], _scaling),
}
