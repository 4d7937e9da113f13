"""Cheap cells of the reference, run again: which of their numbers are compared, and how near they have to be.

What is set and what is counted is exact. Rounding differs between processors, and an oscillation at the edge of
stability forgets where it came from. The run's path before the edge and the stable flow, which does not oscillate, come
back to a few percent, so do medians over the edge window. The drift-free rod flow follows the run's own oscillation
until rounding has parted them, and its mean error depends on when that was.

Between AVX512 and no vector instructions of one processor (``ATEN_CPU_CAPABILITY=default``) these two cells' onsets and
the stable flow's sharpness stayed, the run's median sharpness moved by 1%, the stable flow's error by 0.4%, the
drift-free rod flow's by a factor 1.6, in another run by 2.5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan, nan
from typing import Any

import pandas as pd

from rodflow.config import Config
from rodflow.errors import InvalidInput

CHECKED_CELLS = (("mlp", "gd"), ("mlp", "rmsprop"))
"""Architecture and optimizer of the cells that are run again, with the first seed of the architecture."""
CHECKED_FLOWS = ("stable", "rod", "drift_free_rod")
"""The flows of these cells that are run again."""
CHECK_RUN = "reference-check"
"""The name of the run in which this happens."""


@dataclass(frozen=True)
class Tolerance:
    """``holds(committed, recomputed, steps between records)`` for two numbers that are there; ``text`` says when."""

    text: str
    holds: Callable[[float, float, int], bool]


def share(part: float) -> Tolerance:
    """At most this part of the committed number away."""
    return Tolerance(f"{part:.0%}", lambda old, new, _: abs(new - old) <= part * abs(old))


def factor(most: float) -> Tolerance:
    """At most this many times larger or smaller."""
    return Tolerance(f"factor {most:g}", lambda old, new, _: old <= most * new and new <= most * old)


def records(count: int) -> Tolerance:
    """Steps at most this many records apart."""
    return Tolerance(f"{count} records", lambda old, new, interval: abs(new - old) <= count * interval)


EXACT = Tolerance("exact", lambda old, new, _: old == new)
ABOVE_ONE = Tolerance("above 1", lambda _, new, __: new > 1)

TOLERANCES: dict[tuple[str, str], Tolerance] = {
    ("run", "parameters"): EXACT,
    ("run", "threshold"): EXACT,
    ("run", "onset_step"): records(2),
    ("run", "sharpness_eos_median"): share(0.05),
    ("stable", "sharpness_eos_median"): share(0.05),
    ("stable", "error_eos_mean"): share(0.1),
    ("rod", "sharpness_eos_median"): share(0.05),
    ("rod", "error_eos_mean"): factor(4),
    ("rod", "ratio_to_stable"): ABOVE_ONE,
    ("drift_free_rod", "sharpness_eos_median"): share(0.05),
    ("drift_free_rod", "error_eos_mean"): factor(4),
    ("drift_free_rod", "ratio_to_stable"): ABOVE_ONE,
}
"""Tolerance of each number, by ``run`` or the flow that it belongs to, and by its column of a table."""


def narrowed(reference: Config, file: str | None) -> Config:
    """The config of the reference's ``CHECKED_CELLS`` alone, with the images in ``file``.

    Raises: ``InvalidInput`` if the reference does not have them.
    """
    for architecture, optimizer in CHECKED_CELLS:
        reference.require(architecture=architecture, optimizer=optimizer)
    for flow in CHECKED_FLOWS:
        reference.require(flow=flow)
    (architecture,) = {architecture for architecture, _ in CHECKED_CELLS}
    changes = {
        "run": CHECK_RUN,
        "architectures": [architecture],
        "optimizers": [optimizer for _, optimizer in CHECKED_CELLS],
        "flows": list(CHECKED_FLOWS),
        "seeds": reference.seeds_for(architecture)[:1],
        "seeds_of": {},
        "landscapes": [],
        "precision_cells": [],
        "data": reference.data.model_copy(update={"file": file}),
    }
    return reference.model_copy(update=changes)


def require_same_settings(config: Config, reference: Config) -> None:
    """Refuse a ``config`` that differs from the reference in a cell, a flow or a setting, image paths excepted.

    Raises: ``InvalidInput`` naming the first key that differs.
    """
    ours, theirs = config.placeless.followed, reference.placeless.followed
    for job in [*theirs, *ours]:
        name = " ".join(map(str, job))
        if job not in theirs:
            raise InvalidInput("config", name, "flows and cells that the reference has")
        if job not in ours:
            raise InvalidInput("config", f"no {name}", "every flow of every cell of the reference")
        for key, (own, wanted) in _differences(ours[job], theirs[job]).items():
            raise InvalidInput(f"{key} of {name}", own, f"{wanted!r}, with which the reference was made")


def _differences(ours: dict[str, Any], theirs: dict[str, Any], above: str = "") -> dict[str, tuple[Any, Any]]:
    """What nested settings hold that is not the same in both, by dotted key."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in sorted(ours.keys() | theirs.keys()):
        own, wanted = ours.get(key), theirs.get(key)
        if isinstance(own, dict) and isinstance(wanted, dict):
            found |= _differences(own, wanted, f"{above}{key}.")
        elif own != wanted:
            found[f"{above}{key}"] = own, wanted
    return found


def numbers(errors: pd.DataFrame, thresholds: pd.DataFrame, parameters: int) -> dict[tuple[str, str], float]:
    """The numbers that ``TOLERANCES`` names, of one cell, NaN where there is none.

    ``errors`` and ``thresholds`` are its rows of errors.csv and thresholds.csv; ``parameters`` its number of weights.
    """
    run, flows = thresholds.iloc[0], errors.set_index("flow")
    found = {}
    for whose, name in TOLERANCES:
        if name == "parameters":
            value: Any = parameters
        elif whose == "run":
            value = run[name]
        elif name == "sharpness_eos_median":
            value = run[f"sharpness_{whose}_median"]
        else:
            value = flows.loc[whose, name]
        found[whose, name] = nan if pd.isna(value) else float(value)
    return found


def compared(
    cell: str, committed: dict[tuple[str, str], float], recomputed: dict[tuple[str, str], float], interval: int
) -> list[dict[str, Any]]:
    """The rows of reference_check.csv of one cell, of the :func:`numbers` of both; ``interval`` is between records.

    A number that is missing agrees with another that is.
    """
    rows = []
    for (whose, name), tolerance in TOLERANCES.items():
        old, new = committed[whose, name], recomputed[whose, name]
        agrees = (isnan(old) and isnan(new)) or tolerance.holds(old, new, interval)
        rows.append(
            {
                "cell": cell,
                "flow": whose,
                "quantity": name,
                "committed": old,
                "recomputed": new,
                "tolerance": tolerance.text,
                "agrees": agrees,
            }
        )
    return rows


def printed(table: pd.DataFrame) -> str:
    """reference_check.csv for a terminal."""
    rows = table.assign(agrees=table["agrees"].map({True: "yes", False: "NO"}))
    return rows.to_string(index=False, float_format=lambda value: f"{value:.6g}", na_rep="none")


def require_agreement(table: pd.DataFrame) -> None:
    """Raises: ``InvalidInput`` naming every row of reference_check.csv that does not agree."""
    wrong = table[~table["agrees"]]
    if len(wrong):
        names = ", ".join(f"{row.cell} {row.flow} {row.quantity}" for row in wrong.itertuples())
        wanted = [f"{row.committed:.6g} ({row.tolerance})" for row in wrong.itertuples()]
        raise InvalidInput(f"the reference, {names}", wrong["recomputed"].tolist(), ", ".join(wanted))
