"""Mixed precision: errors of flows with gradients in float32 beside those in float64, over all cells."""

from __future__ import annotations

import pandas as pd

from benchmarks.accuracy import Variants, mean_errors

FLOWS = ("stable", "drift_free_rod", "twin", "rod")
DTYPES = ("float64", "mixed")
VARIANTS: Variants = {
    **{f"{flow}, {dtype}": (flow, {"dtype": dtype}) for flow in FLOWS for dtype in DTYPES},
    "second twin": ("second_twin", {}),
}


def by_cell(table: pd.DataFrame) -> pd.DataFrame:
    """A row a cell: its number n of records in the edge window, its floor, the mean error of each variant.

    The floor is the mean error of both twins in float64. A variant that did not reach all records is NaN.
    """
    means, reached = mean_errors(table)
    n = reached.max(axis=1)
    floor = means[["twin, float64", "second twin"]].mean(axis=1)
    shown = [variant for variant in VARIANTS if variant in means and variant != "second twin"]
    rows = pd.concat([n.rename("n").astype(int), floor.rename("floor"), means[shown]], axis=1).reset_index()
    return rows.drop(columns="seed")
