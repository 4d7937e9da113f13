"""The continuous-time models side by side: how far off, at what cost; a row of comparison.csv a cell and flow."""

from __future__ import annotations

import pandas as pd

from rodflow.config import MODELLED
from rodflow.tables import COSTS

CELL = ["architecture", "optimizer", "seed"]
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
]


def comparison(errors: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``errors`` (errors.csv) of the cells that a competing model ran on, one that ``MODELLED`` names."""
    competed = errors["flow"].isin(MODELLED).groupby([errors[name] for name in CELL]).transform("any")
    return errors.loc[competed.astype(bool), COLUMNS].reset_index(drop=True)


def verdicts(comparison: pd.DataFrame) -> str:
    """comparison.csv in brief, as Markdown: a row a flow, medians over its cells."""
    lines = [
        "| flow | cells | mean error in the edge window | on records that all reached | gradients a step "
        "| Hessian-vector products | gradient equivalents | seconds for 1000 steps | stopped early |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for flow, rows in comparison.groupby("flow", sort=False):
        # a flow that diverged at once has None for costs: not numbers yet where all of them are
        median = rows[["error_eos_mean", "error_eos_common", *COSTS]].astype(float).median()
        costs = " | ".join(f"{median[name]:.3g}" for name in COSTS[:-1])
        lines.append(
            f"| {flow} | {len(rows)} | {median['error_eos_mean']:.2g} | {median['error_eos_common']:.2g} | {costs} "
            f"| {1000 * median['seconds_per_step']:.3g} | {int(rows['diverged_at'].notna().sum())} |"
        )
    return "\n".join(lines) + "\n"
