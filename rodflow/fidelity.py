"""How faithfully each flow follows its discrete run: one row of fidelity.csv a cell and flow."""

from __future__ import annotations

from typing import Any

import pandas as pd

from rodflow import markdown
from rodflow.tables import at_the_edge, first_above, oscillation_onset

STABLE = 0.8
"""Below this share of the threshold a record counts as before the edge."""
NEAR = 0.05
"""A flow's sharpness is the run's where their medians in the edge window differ by at most this share."""
LATE = 0.1
"""A flow's onset is the run's where it is at most this share of the run's away."""

COLUMNS = [
    "architecture",
    "optimizer",
    "flow",
    "seed",
    "relative_error_before_edge",
    "error_eos_mean",
    "ratio_to_stable",
    "ratio_to_stable_corrected",
    "sharpness_ratio",
    "predicted_loss_ratio",
    "rod_length_ratio",
    "alignment_sharpest",
    "alignment_oscillation",
    "onset_step",
    "discrete_onset_step",
]


def fidelity_row(
    series: pd.DataFrame, errors: dict[str, Any], records: pd.DataFrame, discrete: dict[str, Any]
) -> dict[str, Any]:
    """One row of fidelity.csv from a flow's ``series``, its row of errors.csv, and the run's records and summary.

    * ``relative_error_before_edge``: the largest ||centre - w*|| / ||w* - w*_0|| at records with effective sharpness
      below ``STABLE`` of the threshold, up to the first one above; the first record, of nearly no displacement, aside
    * ``sharpness_ratio``: median effective sharpness in the edge window, the flow's over the discrete run's
    * ``predicted_loss_ratio``: median over that window of predicted loss over the run's loss, mean of two steps
    * ``rod_length_ratio``: median over that window of rod length over the run's oscillation
    * ``alignment_``: median cosines there, of the rod with the sharpest direction and with the run's oscillation
    * ``onset_step``, ``discrete_onset_step``: first record at which rod, or oscillation, has at least ``ONSET`` of the
      run's largest oscillation along the sharpest direction
    """
    edge = at_the_edge(series, discrete).dropna(subset="error")
    below = series["discrete_sharpness"] < STABLE * discrete["threshold"]
    before = series[below.cummin()]["relative_error"].iloc[1:]
    onset, level = oscillation_onset(records, discrete)
    return {
        **{name: errors[name] for name in COLUMNS if name in errors},
        "relative_error_before_edge": before.max(),
        "sharpness_ratio": edge["sharpness"].median() / edge["discrete_sharpness"].median(),
        "predicted_loss_ratio": (edge["predicted_loss"] / edge["discrete_loss"]).median(),
        "rod_length_ratio": (edge["rod_length"] / edge["oscillation"]).median(),
        "alignment_sharpest": edge["alignment_sharpest"].median(),
        "alignment_oscillation": edge["alignment_oscillation"].median(),
        "onset_step": first_above(series["step"], series["rod_along_sharpest"], level),
        "discrete_onset_step": onset,
    }


def fidelity(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """fidelity.csv from its rows."""
    return pd.DataFrame(rows, columns=COLUMNS).astype({"onset_step": "Int64", "discrete_onset_step": "Int64"})


def claims(table: pd.DataFrame) -> str:
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
