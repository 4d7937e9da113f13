"""fidelity.csv: how faithfully each flow follows its discrete run; a row a cell and flow."""

from __future__ import annotations

from typing import Any

import pandas as pd

from rodflow.measures.constants import BEFORE_EDGE
from rodflow.measures.errors import RATIOS, at_the_edge
from rodflow.measures.onset import first_above, oscillation_onset
from rodflow.measures.summaries import RunSummary

FIDELITY_COLUMNS = [
    "architecture",
    "optimizer",
    "flow",
    "seed",
    "relative_error_before_edge",
    "error_eos_mean",
    "ratio_to_stable",
    "n_stable",
    "ratio_to_stable_corrected",
    "n_stable_corrected",
    "ratio_to_floor",
    "n_floor",
    "n",
    "sharpness_ratio",
    "predicted_loss_ratio",
    "rod_length_ratio",
    "alignment_sharpest",
    "alignment_oscillation",
    "onset_step",
    "discrete_onset_step",
]


def fidelity_row(
    series: pd.DataFrame, errors: dict[str, Any], records: pd.DataFrame, run: RunSummary
) -> dict[str, Any]:
    """One row of fidelity.csv from a flow's ``series``, its row of errors.csv, and the run's records and summary.

    * ``relative_error_before_edge``: the largest ||centre - w*|| / ||w* - w*_0|| at records with effective sharpness
      below ``BEFORE_EDGE`` of the threshold, up to the first one above; the first record, of nearly no displacement,
      aside
    * ``n``: records of the edge window that the flow reached, which the medians below are over
    * ``sharpness_ratio``: median effective sharpness in the edge window, the flow's over the discrete run's
    * ``predicted_loss_ratio``: median over that window of predicted loss over the run's loss, mean of two steps
    * ``rod_length_ratio``: median over that window of rod length over the run's oscillation
    * ``alignment_``: median cosines there, of the rod with the sharpest direction and with the run's oscillation
    * ``onset_step``, ``discrete_onset_step``: first record at which rod, or oscillation, has at least ``ONSET`` of the
      run's largest oscillation along the sharpest direction
    """
    edge = at_the_edge(series, run.threshold).dropna(subset="error")
    below = series["discrete_sharpness"] < BEFORE_EDGE * run.threshold
    before = series[below.cummin()]["relative_error"].iloc[1:]
    onset, level = oscillation_onset(records, run)
    return {
        **{name: errors[name] for name in FIDELITY_COLUMNS if name in errors},
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
    whole = ["n", *RATIOS.values(), "onset_step", "discrete_onset_step"]
    return pd.DataFrame(rows, columns=FIDELITY_COLUMNS).astype(dict.fromkeys(whole, "Int64"))
