"""docs/performance.md from the tables that the benchmarks leave."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.accuracy import convergence, curve
from rodflow import markdown
from rodflow.storage import read_json

NUMBER = "{:.3g}"


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


def measured_on(folder: Path, part: str) -> str:
    """The machine and the commit that a part was measured on, as a sentence."""
    return read_json(folder / f"{part}.json", machine=str)["machine"]


def render(folder: Path) -> str:
    """The page; a section for each table that ``folder`` has, with the commit and machine it was measured on.

    Raises: ``InvalidInput`` if a table has no such record beside it.
    """
    parts = ["# What a unit of flow time costs, and what it buys"]
    parts.append(
        "Time is counted in optimizer steps. A gradient equivalent is the work of one full-batch gradient; a "
        "Hessian-vector product counts with the ratio of its floating-point operations to a gradient's. "
        "`python -m benchmarks` measures all of this again (`--help`: parts, sizes); this page is written by it."
    )
    if (file := folder / "cost.csv").exists():
        table = pd.read_csv(file)
        parts += [
            "## Paper-scale networks",
            measured_on(folder, "cost"),
            "Below the edge, from the same state, timed in turns. `overhead`: seconds over those of a discrete step, "
            "over the gradient equivalents, less one. `peak mib`: growth of the process' memory over all rows of its "
            "architecture, optimizer and dtype.",
            shown(table),
        ]
    if (file := folder / "accuracy.csv").exists():
        table = pd.read_csv(file)
        parts += [
            "## Error against cost, over the cells of config.yaml",
            measured_on(folder, "accuracy"),
            "Mean error in the edge window over that of the default, median and largest over the cells.",
            shown(curve(table).reset_index()),
            "## Is the integration converged?",
            "By what share the running mean of the error in the edge window moves when the map's separating step is "
            "taken every step instead of every second one, and when the ODE's step is 1/4 instead of 1/2. Chaos begins "
            "where drawing the flow's rounding errors anew moves it by more than 5% (`redrawn`: by how much at the "
            "end, the larger of two moves). The run's own rounding errors are not known, so that this much is chance.",
            shown(convergence(table)),
        ]
    if (file := folder / "scaling.csv").exists():
        table = pd.read_csv(file)
        parts += ["## Growth of the drift-free rod flow's cost", measured_on(folder, "scaling")]
        for varied, rows in table.groupby("varied", sort=False):
            rows = rows.dropna(axis=1, how="all").drop(columns="varied").copy()
            if varied in ("parameters", "examples"):
                work = rows["parameters"].iloc[-1] / rows["parameters"] * rows["examples"].iloc[-1] / rows["examples"]
                rows["seconds_over_linear"] = rows["seconds"] * work / rows["seconds"].iloc[-1]
            else:
                rows = rows.rename(columns={"seconds": "seconds_per_step"})
            parts += [f"Over {varied}:", shown(rows)]
    return "\n\n".join(parts) + "\n"
