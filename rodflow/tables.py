"""Errors and thresholds of all cells, aggregated with pandas from the files that the stages left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from rodflow import markdown
from rodflow.yardsticks import COSTS, EDGE, ONSET

CELL = ["architecture", "optimizer", "seed"]
"""What a cell is known by in every table."""
ERROR_COLUMNS = [
    "architecture",
    "optimizer",
    "flow",
    "seed",
    "error_final",
    "error_eos_mean",
    "error_eos_common",
    "relative_error_final",
    "displacement",
    "ratio_to_stable",
    "ratio_to_stable_corrected",
    *COSTS,
    "seconds",
    "diverged_at",
]


def error_row(series: pd.DataFrame, summary: dict[str, Any], discrete: dict[str, Any]) -> dict[str, Any]:
    """One row of errors.csv. Errors are Euclidean distances of the flow's centre from w*_t in weight space.

    ``error_eos_mean`` is the mean over the records at which the discrete run is in its edge window. A flow that left
    the track, at step ``diverged_at``, is measured on the records that it reached: ``error_final``,
    ``relative_error_final`` and ``displacement`` are then those of its last one.
    """
    reached = series[series["error"].notna()]
    last = reached.iloc[-1] if len(reached) else series.iloc[-1]
    window = at_the_edge(series, discrete)
    return {
        **{key: summary[key] for key in ("architecture", "optimizer", "flow", "seed")},
        "error_final": last["error"],
        "error_eos_mean": window["error"].mean(),
        "relative_error_final": last["relative_error"],
        "displacement": last["displacement"],
        **{key: summary[key] for key in (*COSTS, "seconds")},
        "diverged_at": summary["diverged_at"] if discrete["diverged_at"] is None else discrete["diverged_at"],
    }


def at_the_edge(series: pd.DataFrame, discrete: dict[str, Any]) -> pd.DataFrame:
    """The records of a flow at which the discrete run is in its edge window."""
    return series[series["discrete_sharpness"] >= EDGE * discrete["threshold"]]


def ratio(baseline: pd.DataFrame, own: pd.DataFrame, discrete: dict[str, Any]) -> float:
    """Mean error of the baseline over the flow's own, over the records of the edge window that both reached."""
    pair = pd.DataFrame(
        {"baseline": at_the_edge(baseline, discrete)["error"], "own": at_the_edge(own, discrete)["error"]}
    )
    pair = pair.dropna()
    return float(pair["baseline"].mean() / pair["own"].mean()) if len(pair) else np.nan


def cell_rows(
    series: dict[str, pd.DataFrame], summaries: dict[str, dict[str, Any]], discrete: dict[str, Any]
) -> list[dict[str, Any]]:
    """The rows of errors.csv of one cell, one a flow, with the ratios to both stable flows (above 1 is better).

    ``error_eos_common`` is ``error_eos_mean`` over the records that every flow of the cell reached.
    """
    rows = []
    windows = pd.DataFrame({flow: at_the_edge(frame, discrete)["error"] for flow, frame in series.items()})
    common = windows.dropna().mean()
    for flow in series:
        row = error_row(series[flow], summaries[flow], discrete) | {"error_eos_common": common[flow]}
        for baseline in ("stable", "stable_corrected"):
            known = baseline in series
            row[f"ratio_to_{baseline}"] = ratio(series[baseline], series[flow], discrete) if known else np.nan
        rows.append(row)
    return rows


def errors(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """errors.csv from its rows."""
    return pd.DataFrame(rows, columns=ERROR_COLUMNS).astype({"diverged_at": "Int64"})


def threshold_row(records: pd.DataFrame, discrete: dict[str, Any], flows: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """One row of thresholds.csv.

    ``eos_share`` is the share of all records with effective sharpness at ``EDGE`` of the threshold or above;
    ``onset_step`` the first such record from the flows' start on; the medians are over the edge window.
    ``oscillation_onset`` is the first record, from the flows' start on, at which the run's oscillation along the
    sharpest direction exceeds ``ONSET`` of its largest value there; ``onset_<flow>`` that at which the flow's rod does.
    """
    edge = EDGE * discrete["threshold"]
    late = records[records["step"] >= discrete["flow_start"]]
    row = {
        **{key: discrete[key] for key in (*CELL, "threshold")},
        "sharpness_eos_median": records.loc[records["sharpness"] >= edge, "sharpness"].median(),
        "sharpness_largest_ratio": late["sharpness"].max() / discrete["threshold"],
        "eos_share": (records["sharpness"] >= edge).mean(),
        "onset_step": first_above(late["step"], late["sharpness"], edge),
        "diverged_at": discrete["diverged_at"],
    }
    for flow, series in flows.items():
        row[f"sharpness_{flow}_median"] = at_the_edge(series, discrete)["sharpness"].median()
    row["oscillation_onset"], level = oscillation_onset(records, discrete)
    for flow, series in flows.items():
        if series["rod_length"].notna().any():
            row[f"onset_{flow}"] = first_above(series["step"], series["rod_along_sharpest"], level)
    return row


def oscillation_onset(records: pd.DataFrame, discrete: dict[str, Any]) -> tuple[Any, float]:
    """The run's onset, and the length along the sharpest direction that counts as one, for its flows as well."""
    late = records[records["step"] >= discrete["flow_start"]]
    level = ONSET * late["oscillation_along_sharpest"].max()
    return first_above(late["step"], late["oscillation_along_sharpest"], level), level


def first_above(steps: pd.Series, values: pd.Series, level: float) -> Any:
    """The first step whose value is at least ``level``, or ``pd.NA``."""
    reached = steps[values >= level]
    return reached.iloc[0] if len(reached) else pd.NA


def thresholds(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """thresholds.csv from its rows."""
    table = pd.DataFrame(rows)
    whole = [name for name in table if "onset" in name or name == "diverged_at"]
    return table.astype(dict.fromkeys(whole, "Int64"))


def summary(errors: pd.DataFrame, thresholds: pd.DataFrame) -> str:
    """Both tables in brief, as Markdown: how far each flow beats the stable flow, each cell's time at the edge."""
    flows = [
        {
            "flow": flow,
            "cells": len(rows),
            "median ratio to stable": f"{rows['ratio_to_stable'].median():.3g}",
            "smallest": f"{rows['ratio_to_stable'].min():.3g}",
            "median ratio to corrected stable": f"{rows['ratio_to_stable_corrected'].median():.3g}",
            "diverged": rows["diverged_at"].count(),
        }
        for flow, rows in errors.groupby("flow", sort=False)
    ]
    cells = [
        {
            "architecture": row.architecture,
            "optimizer": row.optimizer,
            "seed": row.seed,
            "threshold": f"{row.threshold:.4g}",
            "share at the edge": f"{row.eos_share:.2f}",
            "median sharpness / threshold": f"{row.sharpness_eos_median / row.threshold:.3f}",
        }
        for row in thresholds.itertuples()
    ]
    return f"{markdown.table(flows)}\n\n{markdown.table(cells)}\n"
