"""fidelity.csv: how faithfully each flow follows its discrete run; a row a cell and flow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from rodflow.catalogue import FLOWS
from rodflow.config import CELL_COLUMNS, Cell
from rodflow.measures.constants import BEFORE_EDGE, NEARER
from rodflow.measures.errors import RATIOS, at_the_edge
from rodflow.measures.onset import first_above, oscillation_onset
from rodflow.measures.summaries import RunSummary

FIDELITY_COLUMNS = [
    "architecture",
    "optimizer",
    "flow",
    "seed",
    "relative_error_before_edge",
    "ratio_to_stable_before_edge",
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
    "predicted_squared_gradient_ratio",
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
    * ``ratio_to_stable_before_edge``: that of the stable flow over it; filled in by :func:`fidelity`
    * ``n``: records of the edge window that the flow reached, which the medians below are over
    * ``sharpness_ratio``: median effective sharpness in the edge window, the flow's over the discrete run's
    * ``predicted_loss_ratio``: median over that window of predicted loss over the run's loss, mean of two steps
    * ``predicted_squared_gradient_ratio``: the same of the squared norm of the gradient
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
        "predicted_squared_gradient_ratio": (
            edge["predicted_squared_gradient"] / edge["discrete_squared_gradient"]
        ).median(),
        "rod_length_ratio": (edge["rod_length"] / edge["oscillation"]).median(),
        "alignment_sharpest": edge["alignment_sharpest"].median(),
        "alignment_oscillation": edge["alignment_oscillation"].median(),
        "onset_step": first_above(series["step"], series["rod_along_sharpest"], level),
        "discrete_onset_step": onset,
    }


def fidelity(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """fidelity.csv from its rows."""
    whole = ["n", *RATIOS.values(), "onset_step", "discrete_onset_step"]
    table = pd.DataFrame(rows, columns=FIDELITY_COLUMNS).astype(dict.fromkeys(whole, "Int64"))
    own = "relative_error_before_edge"
    stable = table[table["flow"] == "stable"].set_index(CELL_COLUMNS)[own]
    table["ratio_to_stable_before_edge"] = table.join(stable.rename("stable"), on=CELL_COLUMNS)["stable"] / table[own]
    return table


def far_before_edge(table: pd.DataFrame) -> list[str]:
    """A line for each flow of second order in fidelity.csv that is not ``NEARER`` times nearer to its run than the
    stable flow before the edge: its equations, the optimizer's or the objective's derivatives may be wrong.
    """
    rows: Iterable[Any] = table.itertuples()
    return [
        f"{Cell(row.architecture, row.optimizer, row.seed)}: before the edge {row.flow} is "
        f"{row.ratio_to_stable_before_edge:.2g} times nearer to the run than the stable flow, where {NEARER:g} is the "
        "least for a flow of second order: docs/fidelity.md"
        for row in rows
        if row.flow in FLOWS and FLOWS.entries[row.flow].second_order and row.ratio_to_stable_before_edge < NEARER
    ]
