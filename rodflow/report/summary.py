"""summary.md: the tables of a run in brief."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from rodflow.config import CELL_COLUMNS, Cell
from rodflow.measures.columns import COSTS
from rodflow.measures.constants import FEW, LATE, NEAR
from rodflow.measures.errors import RATIOS, over, told
from rodflow.report import markdown


def median_told(errors: pd.DataFrame, name: str) -> str:
    """The median of a ratio over the cells that have enough records, how many those are, and of how many records each.

    Such as ``12.5 (25 of 27 cells, n 5 to 24)``; a dash where no cell has them.
    """
    kept = told(errors, name)
    return f"{kept[name].median():.3g} ({over(errors, name)})" if len(kept) else "–"


def errors_in_brief(errors: pd.DataFrame, thresholds: pd.DataFrame) -> str:
    """Both tables in brief, as Markdown: how far each flow beats the stable flow, each cell's time at the edge."""
    flows = [
        {"flow": flow, "cells": len(rows)}
        | {f"median {name.replace('_', ' ')}": median_told(rows, name) for name in RATIOS}
        | {"smallest ratio to stable": f"{told(rows, 'ratio_to_stable')['ratio_to_stable'].min():.3g}"}
        | {"diverged": rows["diverged_at"].count()}
        for flow, rows in errors.groupby("flow", sort=False)
    ]
    found: Iterable[Any] = thresholds.itertuples()
    cells = [
        {
            "architecture": row.architecture,
            "optimizer": row.optimizer,
            "seed": row.seed,
            "threshold": f"{row.threshold:.4g}",
            "share at the edge": f"{row.eos_share:.2f}",
            "median sharpness / threshold": f"{row.sharpness_eos_median / row.threshold:.3f}",
        }
        for row in found
    ]
    few = f"n: records of the edge window behind a ratio; cells with fewer than {FEW} are left out."
    return f"{markdown.table(flows)}\n\n{few}\n\n{markdown.table(cells)}\n"


def fidelity_in_brief(table: pd.DataFrame) -> str:
    """fidelity.csv in brief, as Markdown: a row a flow, over all cells."""
    found = []
    for flow, rows in table.groupby("flow", sort=False):
        near = (rows["sharpness_ratio"] - 1).abs() <= NEAR
        late = (rows["onset_step"] - rows["discrete_onset_step"]).abs() <= LATE * rows["discrete_onset_step"]
        rods = rows["rod_length_ratio"].notna().any()
        found.append(
            {
                "flow": flow,
                "cells": len(rows),
                "largest relative error before the edge": f"{rows['relative_error_before_edge'].max():.2g}",
                f"sharpness within {NEAR:.0%} of the run's": near.sum(),
                "median predicted loss / run's": f"{rows['predicted_loss_ratio'].median():.3f}",
                "median rod / oscillation": f"{rows['rod_length_ratio'].median():.3f}" if rods else "–",
                f"onset within {LATE:.0%} of the run's": late.fillna(False).sum() if rods else "–",
            }
        )
    return markdown.table(found) + "\n"


def comparison_in_brief(comparison: pd.DataFrame) -> str:
    """comparison.csv in brief, as Markdown: a row a flow, medians over its cells."""
    found = []
    for flow, rows in comparison.groupby("flow", sort=False):
        # a flow that diverged at once has None for costs: not numbers yet where all of them are
        median = rows[["error_eos_mean", "error_eos_common", *COSTS]].astype(float).median()
        found.append(
            {
                "flow": flow,
                "cells": len(rows),
                "mean error in the edge window": f"{median['error_eos_mean']:.2g}",
                "on records that all reached": f"{median['error_eos_common']:.2g}",
                "gradients a step": f"{median['gradients_per_step']:.3g}",
                "Hessian-vector products": f"{median['hessian_vector_products_per_step']:.3g}",
                "gradient equivalents": f"{median['gradient_equivalents_per_step']:.3g}",
                "seconds for 1000 steps": f"{1000 * median['seconds_per_step']:.3g}",
                "stopped early": rows["diverged_at"].count(),
            }
        )
    return markdown.table(found) + "\n"


def differences_in_brief(
    names: tuple[str, str],
    settings: pd.DataFrame,
    errors: Sequence[pd.DataFrame],
    numbers: pd.DataFrame,
    pairs: pd.DataFrame,
) -> str:
    """What differs between two runs, as Markdown: settings, cells that one of them has, errors at the edge by flow.

    ``errors``: errors.csv of each; ``settings``, ``numbers``, ``pairs``: see :mod:`rodflow.measures.differences`.
    """
    a, b = ({Cell(*row) for row in table[CELL_COLUMNS].itertuples(index=False)} for table in errors)
    parts = [f"a: {names[0]}, b: {names[1]}"]
    changed: Iterable[Any] = settings.itertuples(index=False)
    told = [{key: text.replace("|", r"\|") for key, text in row._asdict().items()} for row in changed]
    parts.append(markdown.table(told) if told else "No setting differs.")
    for name, cells in (("a", a - b), ("b", b - a)):
        if cells:
            parts.append(f"Cells of {name} alone: {', '.join(sorted(map(str, cells)))}.")
    rows = []
    for flow, own in pairs.groupby("flow", sort=False):
        ratio = (own["b"] / own["a"]).dropna()
        found = f"{ratio.median():.3g} (from {ratio.min():.3g} to {ratio.max():.3g})" if len(ratio) else "–"
        same = int(((own["a"] == own["b"]) | (own["a"].isna() & own["b"].isna())).sum())
        rows.append({"flow": flow, "cells of both": len(own), "same error": same, "error of b over a, median": found})
    parts.append(markdown.table(rows) if rows else "They have no flow of a cell in common.")
    counts = numbers.groupby("table", sort=False).size()
    parts.append("Numbers that differ: " + (", ".join(f"{n} of {t}.csv" for t, n in counts.items()) or "none") + ".")
    return "\n\n".join(parts) + "\n"
