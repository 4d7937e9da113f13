"""The continuous-time models side by side: how far off, at what cost; a row of comparison.csv a cell and flow."""

from __future__ import annotations

import pandas as pd

from rodflow import markdown
from rodflow.config import MODELLED
from rodflow.tables import CELL
from rodflow.yardsticks import COSTS

COLUMNS = [
    "architecture",
    "optimizer",
    "flow",
    "seed",
    "error_eos_mean",
    "error_eos_common",
    "ratio_to_stable",
    *COSTS,
    "diverged_at",
    "missing",
]


def comparison(errors: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``errors`` (errors.csv) of the cells that a competing model ran on, one that ``MODELLED`` names."""
    competed = errors["flow"].isin(MODELLED).groupby([errors[name] for name in CELL]).transform("any")
    return errors.loc[competed.astype(bool), COLUMNS].reset_index(drop=True)


def verdicts(comparison: pd.DataFrame) -> str:
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
