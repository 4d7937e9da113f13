"""the reference -> single numbers, as sentences of the project's pages have them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from rodflow.errors import InvalidInput
from rodflow.jobs.files import read_table
from rodflow.measures.errors import RATIOS, told

STATISTICS: dict[str, Callable[[pd.Series], float]] = {
    "median": lambda values: values.median(),
    "least": lambda values: values.min(),
    "largest": lambda values: values.max(),
}
"""What a number in a sentence may be, over the cells of a flow that tell it."""
COUNT = re.compile(r"(above|below|within)_(\d+)")
"""Or in how many of these cells it is above a whole number, below it, or within so many percent of 1: ``26 of 27``."""


def short(value: Any, digits: int = 2) -> str:
    """So many digits, or all before the point; a dash for no number."""
    if value is None or pd.isna(value):
        return "–"
    return f"{value:.{digits}g}" if value < 10**digits else f"{value:.0f}"


def number(reference: Path, flow: str, column: str, statistic: str) -> str:
    """A flow's ``statistic`` of a ``column`` of errors.csv or fidelity.csv, as a sentence has it; of ``run`` one of
    thresholds.csv, or ``sharpness_ratio``, its median in the edge window over the threshold.

    Raises: ``InvalidInput`` for a name of nothing.
    """
    tables, count = (
        [read_table(reference / f"{name}.csv") for name in ("errors", "fidelity")],
        COUNT.fullmatch(statistic),
    )
    if flow == "run":
        runs = read_table(reference / "thresholds.csv")
        tables = [runs.assign(flow=flow, sharpness_ratio=runs["sharpness_eos_median"] / runs["threshold"])]
    if flow not in set(tables[0]["flow"]):
        raise InvalidInput("flow", flow, f"one of {', '.join(tables[0]['flow'].unique())}")
    table = next((t for t in tables if column in t and pd.api.types.is_numeric_dtype(t[column])), None)
    if table is None:
        raise InvalidInput("column", column, "one of numbers, of errors.csv or fidelity.csv")
    own = table[table["flow"] == flow]
    ratio = {n: ratio for ratio, n in RATIOS.items()}.get(column, column)  # of a number of records: the ratio's
    values = (told(own, ratio) if ratio in RATIOS else own)[column]
    if statistic in STATISTICS:
        return short(STATISTICS[statistic](values), 3)
    if count is None:
        raise InvalidInput("statistic", statistic, f"one of {', '.join(STATISTICS)}, above_1, below_10 and the like")
    bound = int(count[2])
    held = {"above": values > bound, "below": values < bound, "within": (values - 1).abs() <= bound / 100}[count[1]]
    return f"{held.sum()} of {len(values)}"
