"""Convergence of rod flow: its error over columns r of the covariance and steps h, beside one column and the twins."""

from __future__ import annotations

import pandas as pd

from benchmarks.accuracy import Variants, mean_errors
from rodflow.config import CELL_COLUMNS, Config

COLUMNS, STEPS = (1, 2, 3, 4), (1.0, 0.5, 0.25)
VARIANTS: Variants = {
    "stable flow": ("stable", {}),
    "one column": ("rod_one_column", {}),
    **{f"r = {r}, h = {h:g}": ("rod", {"columns": r, "step": h}) for h in STEPS for r in COLUMNS},
    "twin": ("twin", {}),
    "second twin": ("second_twin", {}),
}
OPTIMIZERS = ["gd", "heavy_ball", "nesterov", "rmsprop", "adam"]
"""The cells, all of the MLP."""


def narrowed(config: Config, optimizers: list[str]) -> Config:
    """The config with these cells of the MLP alone, in which no flow is stopped: all have the same records."""
    return config.model_copy(update={"architectures": ["mlp"], "optimizers": optimizers, "maximum_sharpness": 50.0})


def by_cell(table: pd.DataFrame) -> pd.DataFrame:
    """A row a variant: its gradient equivalents a step, median and largest over the cells, and its mean error in each.

    A cell's column names the number n of records in its edge window. A variant that did not reach all of them is NaN.
    """
    cells = table.groupby([*CELL_COLUMNS, "variant"], sort=False)
    means, reached = (part.T for part in mean_errors(table))
    n = reached.max().astype(int)
    means.columns = [f"{a}-{o} (n = {n[a, o, s]})" for a, o, s in means]
    equivalents = cells["equivalents_per_step"].first().unstack("variant").T
    costs = pd.DataFrame({"equivalents": equivalents.median(axis=1), "at most": equivalents.max(axis=1)})
    return costs.join(means).loc[[variant for variant in VARIANTS if variant in means.index]]
