"""the reference -> the tables that pages of the project show of it, between two marks in their text."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import pandas as pd

from rodflow.catalogue import FLOWS, is_floor
from rodflow.config import CELL_COLUMNS
from rodflow.errors import InvalidInput
from rodflow.jobs.files import read_table, write_text
from rodflow.measures.constants import NEAR
from rodflow.measures.errors import RATIOS, over, told
from rodflow.measures.precision import variant_label
from rodflow.report import markdown

IN_CELLS = ("stable", "rod", "rod_one_column", "drift_free_rod_ode", "drift_free_rod")
"""The flows that the table of all cells has a column of."""
MARK = re.compile(r"(<!-- reference: (\w+) -->\n\n).*?(\n\n<!-- end -->)", re.DOTALL)


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
                "gradient equivalents a step, median": f"{own['gradient_equivalents_per_step'].median():.3g}",
                "stopped early": f"{own['diverged_at'].count()} of {len(own)}",
            }
        )
    return markdown.table(rows)


def _median(own: pd.DataFrame, name: str) -> str:
    ratio = told(own, name)[name]
    if not len(ratio):
        return "–"
    spread = f"from {_number(ratio.min())} to {_number(ratio.max())}"
    return f"{_number(ratio.median(), 3)} ({spread}; {over(own, name)})"


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


BLOCKS: dict[str, Callable[[Path], str]] = {"models": models, "cells": cells, "precision": precision}
"""By the name in a mark, ``<!-- reference: models -->``, from which the table goes on to ``<!-- end -->``."""


def filled(text: str, reference: Path) -> str:
    """``text`` with the tables of the folder ``reference`` between its marks. Raises: ``InvalidInput``."""

    def block(match: re.Match[str]) -> str:
        name = match.group(2)
        if name not in BLOCKS:
            raise InvalidInput("reference", name, f"one of {', '.join(BLOCKS)}")
        return match.group(1) + BLOCKS[name](reference) + match.group(3)

    return MARK.sub(block, text)


def refresh(pages: list[Path], reference: Path) -> None:
    """Fill the marks of each page."""
    for page in pages:
        write_text(page, filled(page.read_text(encoding="utf-8"), reference))
