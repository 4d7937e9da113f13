"""the reference -> the tables and numbers that pages of the project show of it, between two marks in their text."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from functools import partial
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
from rodflow.reference.explained import columns_of, keys, letters
from rodflow.reference.numbers import number, short
from rodflow.report import columns, markdown

IN_CELLS = ("stable", "rod", "rod_one_column", "drift_free_rod_ode", "drift_free_rod")
"""The flows that the table of all cells has a column of."""
MARK = re.compile(r"(<!-- reference: (\w+) -->\n\n)(?:.*?\n\n)??(<!-- end -->)", re.DOTALL)
NUMBER = re.compile(r"(<!-- (?:([\w-]+)/)?(\w+)\.(\w+)\.(\w+) -->)[^<]*(<!-- -->)")
CROSS_ENTROPY = "cross-entropy"
"""The folder, in that of the reference, of the run with this loss: config/cross-entropy.yaml."""


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
    "stable_corrected": "the stable flow, corrected for the length of a step",
    "rod": "a centre and the covariance of an oscillation around it",
    "rod_one_column": "rod flow with one column of the covariance: it misses the edge",
    "drift_free_rod": "centre and alternating part told apart by parity, a step at a time",
    "drift_free_rod_ode": "the drift-free map in continuous time",
    "twin": "no model: the run again with other rounding errors, the floor",
    "second_twin": "a second twin",
    "central": "the smallest covariance that holds the sharpness at the threshold",
    "central_momentum": "central flow in phase space; experimental",
    "edge": "centre, direction and length of one oscillation",
    "edge_unit_step": "edge flow in steps of one unit: centre and one oscillation",
}
"""What each flow is, in a few words."""


def flows(reference: Path, measured: bool = False) -> str:
    """A row a flow of the catalogue: name, class, idea, optimizers; cost and error over the floor where it has them.

    ``measured``: only the models that have them, in brief.
    """
    kept = {str(flow): own for flow, own in read_table(reference / "errors.csv").groupby("flow")}
    rows = []
    for name, entry in FLOWS.entries.items():
        own = kept.get(name)
        if measured and (own is None or entry.floor):
            continue
        whom = {None: "all", True: "with momentum", False: "without momentum"}[entry.momentum]
        rows.append(
            {
                "flow": entry.label,
                **({} if measured else {"in a config": f"`{name}`"}),
                "class": f"`rf.{entry.target.rpartition(':')[2]}`",
                "idea": IDEAS.get(name, "–"),
                "optimizers": "gradient descent" if entry.models == ("gd",) else whom,
                "gradient equivalents a step": "–" if own is None else short(_cost(own), 3),
                "error over the floor, median": "–" if own is None or entry.floor else _told(own, "ratio_to_floor"),
            }
        )
    return markdown.table(rows)


def _cost(own: pd.DataFrame) -> float:
    return float(own["gradient_equivalents_per_step"].median())


def _middle(own: pd.DataFrame, name: str) -> str:
    """The median of a ratio over the cells that tell it."""
    return short(told(own, name)[name].median(), 3)


def _told(own: pd.DataFrame, name: str) -> str:
    return f"{_middle(own, name)} ({len(told(own, name))} cells)"


def _median(own: pd.DataFrame, name: str) -> str:
    ratio = told(own, name)[name]
    if not len(ratio):
        return "–"
    spread = f"from {short(ratio.min())} to {short(ratio.max())}"
    return f"{_middle(own, name)} ({spread}; {over(own, name)})"


def cells(reference: Path) -> str:
    """A row a cell: each flow's mean error in the edge window, the floor, and three ratios with their n."""
    table, rows = read_table(reference / "errors.csv"), []
    present = set(table["flow"])
    for (architecture, optimizer, _), own in table.groupby(CELL_COLUMNS, sort=False):
        of = {row["flow"]: row for row in own.to_dict("records")}
        n = own["n"].max()
        row: dict[str, Any] = {"cell": f"`{architecture}` {optimizer}", "n": n}
        for flow in (flow for flow in IN_CELLS if flow in present):
            found = of.get(flow, {})
            few = f" (n {found['n']})" if found and found["n"] < n else ""  # it was stopped
            row[FLOWS.entries[flow].label] = short(found.get("error_eos_mean")) + few
        row["floor"] = short(own["floor"].iloc[0])
        row["stable over rod"] = _ratio(of.get("rod", {}), "ratio_to_stable")
        row["ODE over floor"] = _ratio(of.get("drift_free_rod_ode", {}), "ratio_to_floor")
        row["map over floor"] = _ratio(of.get("drift_free_rod", {}), "ratio_to_floor")
        rows.append(row)
    return markdown.table(rows)


def before_edge(reference: Path) -> str:
    """A row a cell: largest relative error before the edge of the stable flow and of the flows of second order."""
    rows = []
    for (architecture, optimizer, _), own in read_table(reference / "fidelity.csv").groupby(CELL_COLUMNS, sort=False):
        of = {row["flow"]: row for row in own.to_dict("records")}
        row = {"cell": f"`{architecture}` {optimizer}"}
        for flow in IN_CELLS:
            if flow in of:
                row[FLOWS.entries[flow].label] = short(of[flow]["relative_error_before_edge"])
        row["stable over rod"] = short(of["rod"]["ratio_to_stable_before_edge"])
        rows.append(row)
    return markdown.table(rows)


def _ratio(row: dict[Hashable, Any], name: str) -> str:
    text = short(row.get(name))
    return text if text == "–" else f"{text} ({row[RATIOS[name]]})"


def precision(reference: Path) -> str:
    """A row a variant of each precision study."""
    found = [
        {
            "cell": f"`{row['architecture']}` {row['optimizer']}",
            "precision": variant_label(row["variant"]),
            "onset": row["onset_step"],
            "overshoot": f"{row['overshoot']:.2f}",
            "stable flow's error": short(row["error_eos_mean_stable"]),
            "drift-free map's": short(row["error_eos_mean_drift_free_rod"]),
            "stable over map": f"{row['ratio']:.3g} (n {row['n']})",
        }
        for row in read_table(reference / "precision.csv").to_dict("records")
    ]
    return markdown.table(found)


BLOCKS: dict[str, Callable[[Path], str]] = {
    "models": models,
    "cells": cells,
    "before_edge": before_edge,
    "cross_entropy_cells": lambda reference: cells(reference / CROSS_ENTROPY),
    "cross_entropy_before_edge": lambda reference: before_edge(reference / CROSS_ENTROPY),
    "precision": precision,
    "flows": flows,
    "measured_flows": partial(flows, measured=True),
    "letters": letters,
    "keys": keys,
    **{f"columns_of_{file}": partial(columns_of, file) for file in columns.OWN},
}
"""By the name in a mark, ``<!-- reference: models -->``, from which the table goes on to ``<!-- end -->``."""


def filled(text: str, reference: Path) -> str:
    """``text`` with the tables and numbers of the folder ``reference`` between its marks.

    A table stands between ``<!-- reference: models -->`` and ``<!-- end -->``, a number of a sentence between
    ``<!-- rod.ratio_to_floor.median -->`` and ``<!-- -->``: flow, column of errors.csv, one of ``STATISTICS``
    or a ``COUNT`` (:mod:`rodflow.reference.numbers`); ``run`` in place of a flow: a column of thresholds.csv. With
    ``cross-entropy/`` in front it is of that folder of the reference.

    Raises: ``InvalidInput`` for a mark that names nothing.
    """

    def block(match: re.Match[str]) -> str:
        name = match.group(2)
        if name not in BLOCKS:
            raise InvalidInput("reference", name, f"one of {', '.join(BLOCKS)}")
        return f"{match.group(1)}{BLOCKS[name](reference)}\n\n{match.group(3)}"

    def inline(match: re.Match[str]) -> str:
        folder = reference / (match.group(2) or "")
        return match.group(1) + number(folder, *match.group(3, 4, 5)) + match.group(6)

    return NUMBER.sub(inline, MARK.sub(block, text))


def refresh(pages: list[Path], reference: Path) -> None:
    """Fill the marks of each page."""
    for page in pages:
        write_text(page, filled(page.read_text(encoding="utf-8"), reference))
