"""the reference, and the code -> the tables that pages of the project show of them, between two marks in their text."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

import rodflow.flows
from rodflow.catalogue import FLOWS, is_floor
from rodflow.config import CELL_COLUMNS
from rodflow.errors import InvalidInput
from rodflow.jobs.files import read_table, write_text
from rodflow.measures.constants import NEAR
from rodflow.measures.errors import RATIOS, over, told
from rodflow.measures.precision import variant_label
from rodflow.report import columns, markdown

IN_CELLS = ("stable", "rod", "rod_one_column", "drift_free_rod_ode", "drift_free_rod")
"""The flows that the table of all cells has a column of."""
MARK = re.compile(r"(<!-- reference: (\w+) -->\n\n)(?:.*?\n\n)??(<!-- end -->)", re.DOTALL)

NUMBER = re.compile(r"(<!-- (\w+)\.(\w+)\.(\w+) -->)[^<]*(<!-- -->)")
STATISTICS: dict[str, Callable[[pd.Series], float]] = {
    "median": lambda values: values.median(),
    "least": lambda values: values.min(),
    "largest": lambda values: values.max(),
}
"""What a number in a sentence may be, over the cells of a flow that tell it."""
COUNT = re.compile(r"(above|below)_(\d+)")
"""Or in how many of these cells it is above, or below, a whole number: ``26 of 27``."""


def models(reference: Path) -> str:
    """A row a flow: its two ratios, how many cells its sharpness is right in, its cost; medians say over how many."""
    errors, fidelity = read_table(reference / "errors.csv"), read_table(reference / "fidelity.csv")
    rows = []
    for flow, own in errors.groupby("flow", sort=False):
        if is_floor(str(flow)):
            continue
        sharpness = fidelity.loc[fidelity["flow"] == flow, "sharpness_ratio"]
        rows.append(
            {
                "model": FLOWS.entries[str(flow)].label,
                "stable flow's error over its own, median": _median(own, "ratio_to_stable"),
                "its error over the floor, median": _median(own, "ratio_to_floor"),
                f"sharpness within {NEAR:.0%} of the run's": f"{((sharpness - 1).abs() <= NEAR).sum()} of {len(own)}",
                "gradient equivalents a step, median": f"{_cost(own):.3g}",
                "stopped early": f"{own['diverged_at'].count()} of {len(own)}",
            }
        )
    return markdown.table(rows)


IDEAS = {
    "stable": "the limit without an oscillation: the step as a velocity",
    "stable_corrected": "the same, corrected for the length of a step",
    "rod": "a centre and the covariance of an oscillation around it",
    "rod_one_column": "the same with one column of the covariance, which misses the edge",
    "drift_free_rod": "centre and alternating part told apart by parity, a step at a time",
    "drift_free_rod_ode": "the same in continuous time",
    "twin": "no model: the run again with other rounding errors, the floor",
    "second_twin": "a second one",
    "central": "the smallest covariance that holds the sharpness at the threshold",
    "central_unit_step": "the same in steps of one unit",
    "central_momentum": "the same in phase space; experimental",
    "edge": "centre, direction and length of one oscillation",
    "edge_unit_step": "the same in steps of one unit",
}
"""What each flow is, in a few words."""


def flows(reference: Path) -> str:
    """A row a flow of the catalogue: name, class, idea, optimizers; cost and error over the floor where it has them."""
    kept = {str(flow): own for flow, own in read_table(reference / "errors.csv").groupby("flow")}
    rows = []
    for name, entry in FLOWS.entries.items():
        own = kept.get(name)
        whom = "all" if entry.models is None else "with momentum" if "adam" in entry.models else "without momentum"
        rows.append(
            {
                "flow": entry.label,
                "in a config": f"`{name}`",
                "class": f"`rf.{entry.target.rpartition(':')[2]}`",
                "idea": IDEAS.get(name, "–"),
                "optimizers": "gradient descent" if entry.models == ("gd",) else whom,
                "gradient equivalents a step": "–" if own is None else _number(_cost(own), 3),
                "error over the floor, median": "–" if own is None or entry.floor else _middle(own, "ratio_to_floor"),
            }
        )
    return markdown.table(rows)


def _cost(own: pd.DataFrame) -> float:
    return float(own["gradient_equivalents_per_step"].median())


def _middle(own: pd.DataFrame, name: str) -> str:
    """The median of a ratio over the cells that tell it."""
    return _number(told(own, name)[name].median(), 3)


def _median(own: pd.DataFrame, name: str) -> str:
    ratio = told(own, name)[name]
    if not len(ratio):
        return "–"
    spread = f"from {_number(ratio.min())} to {_number(ratio.max())}"
    return f"{_middle(own, name)} ({spread}; {over(own, name)})"


def cells(reference: Path) -> str:
    """A row a cell: each flow's mean error in the edge window, the floor, and three ratios with their n."""
    rows = []
    for (architecture, optimizer, _), own in read_table(reference / "errors.csv").groupby(CELL_COLUMNS, sort=False):
        of = {row["flow"]: row for row in own.to_dict("records")}
        n = own["n"].max()
        row: dict[str, Any] = {"cell": f"`{architecture}` {optimizer}", "n": n}
        for flow in IN_CELLS:
            found = of.get(flow, {})
            few = f" (n {found['n']})" if found and found["n"] < n else ""  # it was stopped
            row[FLOWS.entries[flow].label] = _number(found.get("error_eos_mean")) + few
        row["floor"] = _number(own["floor"].iloc[0])
        row["stable over rod"] = _ratio(of.get("rod", {}), "ratio_to_stable")
        row["ODE over floor"] = _ratio(of.get("drift_free_rod_ode", {}), "ratio_to_floor")
        row["map over floor"] = _ratio(of.get("drift_free_rod", {}), "ratio_to_floor")
        rows.append(row)
    return markdown.table(rows)


def _number(value: Any, digits: int = 2) -> str:
    """So many digits, or all before the point; a dash for no number."""
    if value is None or pd.isna(value):
        return "–"
    return f"{value:.{digits}g}" if value < 10**digits else f"{value:.0f}"


def _ratio(row: dict[Hashable, Any], name: str) -> str:
    text = _number(row.get(name))
    return text if text == "–" else f"{text} ({row[RATIOS[name]]})"


def precision(reference: Path) -> str:
    """A row a variant of each precision study."""
    found = [
        {
            "cell": f"`{row['architecture']}` {row['optimizer']}",
            "precision": variant_label(row["variant"]),
            "onset": row["onset_step"],
            "overshoot": f"{row['overshoot']:.2f}",
            "stable flow's error": _number(row["error_eos_mean_stable"]),
            "drift-free map's": _number(row["error_eos_mean_drift_free_rod"]),
            "stable over map": f"{row['ratio']:.3g} (n {row['n']})",
        }
        for row in read_table(reference / "precision.csv").to_dict("records")
    ]
    return markdown.table(found)


def letters(_: Path) -> str:
    """The letters of all formulas, as the flows' docstring explains them."""
    rows = re.search(r"^=+ +=+\n(.*?)^=+", rodflow.flows.__doc__ or "", re.DOTALL | re.MULTILINE)
    assert rows is not None
    plain = rows[1].replace("``", "`").replace(":class:", "")
    lines = [re.split(r"  +", line, maxsplit=1) for line in plain.splitlines()]
    return markdown.table([{"letter": letter, "stands for": meaning} for letter, meaning in lines])


def columns_of(file: str, reference: Path) -> str:
    """What the columns of a table, or series, hold: a table's own, or those that its files have by definition."""
    found = columns.SERIES.get(file) or [str(name) for name in read_table(reference / f"{file}.csv")]
    said = columns.meanings(file, found).items()
    return markdown.table([{"column": f"`{name}`", "holds": meaning} for name, meaning in said])


BLOCKS: dict[str, Callable[[Path], str]] = {
    "models": models,
    "cells": cells,
    "precision": precision,
    "flows": flows,
    "letters": letters,
    **{f"columns_of_{file}": partial(columns_of, file) for file in columns.OWN},
}
"""By the name in a mark, ``<!-- reference: models -->``, from which the table goes on to ``<!-- end -->``."""


def number(reference: Path, flow: str, column: str, statistic: str) -> str:
    """A flow's ``statistic`` of a ``column`` of errors.csv, as a sentence has it. Raises: ``InvalidInput``."""
    errors, count = read_table(reference / "errors.csv"), COUNT.fullmatch(statistic)
    own = errors[errors["flow"] == flow]
    if not len(own):
        raise InvalidInput("flow", flow, f"one of {', '.join(errors['flow'].unique())}")
    if column not in errors or not pd.api.types.is_numeric_dtype(errors[column]):
        raise InvalidInput("column", column, "one of numbers, of errors.csv")
    values = told(own, column)[column] if column in RATIOS else own[column]
    if statistic in STATISTICS:
        return _number(STATISTICS[statistic](values), 3)
    if count is None:
        raise InvalidInput("statistic", statistic, f"one of {', '.join(STATISTICS)}, above_1, below_10 and the like")
    held = values > int(count[2]) if count[1] == "above" else values < int(count[2])
    return f"{held.sum()} of {len(values)}"


def filled(text: str, reference: Path) -> str:
    """``text`` with the tables and numbers of the folder ``reference`` between its marks.

    A table stands between ``<!-- reference: models -->`` and ``<!-- end -->``, a number of a sentence between
    ``<!-- rod.ratio_to_floor.median -->`` and ``<!-- -->``: flow, column of errors.csv, one of ``STATISTICS``
    or a ``COUNT``.

    Raises: ``InvalidInput`` for a mark that names nothing.
    """

    def block(match: re.Match[str]) -> str:
        name = match.group(2)
        if name not in BLOCKS:
            raise InvalidInput("reference", name, f"one of {', '.join(BLOCKS)}")
        return f"{match.group(1)}{BLOCKS[name](reference)}\n\n{match.group(3)}"

    def inline(match: re.Match[str]) -> str:
        return match.group(1) + number(reference, *match.group(2, 3, 4)) + match.group(5)

    return NUMBER.sub(inline, MARK.sub(block, text))


def refresh(pages: list[Path], reference: Path) -> None:
    """Fill the marks of each page."""
    for page in pages:
        write_text(page, filled(page.read_text(encoding="utf-8"), reference))
