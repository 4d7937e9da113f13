"""errors.csv: how far each flow is from its discrete run; a row a cell and flow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from rodflow.measures.columns import COSTS
from rodflow.measures.constants import EDGE
from rodflow.measures.summaries import FlowSummary, RunSummary

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


def error_row(series: pd.DataFrame, summary: FlowSummary, run: RunSummary) -> dict[str, Any]:
    """One row of errors.csv. Errors are Euclidean distances of the flow's centre from w*_t in weight space.

    ``error_eos_mean`` is the mean over the records at which the discrete run is in its edge window. A flow that left
    the track, at step ``diverged_at``, is measured on the records that it reached: ``error_final``,
    ``relative_error_final`` and ``displacement`` are then those of its last one.
    """
    reached = series[series["error"].notna()]
    last = reached.iloc[-1] if len(reached) else series.iloc[-1]
    window = at_the_edge(series, run.threshold)
    return {
        **{key: getattr(summary, key) for key in ("architecture", "optimizer", "flow", "seed")},
        "error_final": last["error"],
        "error_eos_mean": window["error"].mean(),
        "relative_error_final": last["relative_error"],
        "displacement": last["displacement"],
        **{key: getattr(summary, key) for key in (*COSTS, "seconds")},
        "diverged_at": summary.diverged_at if run.diverged_at is None else run.diverged_at,
    }


def at_the_edge(series: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """The records of a flow at which the discrete run is in its edge window."""
    return series[series["discrete_sharpness"] >= EDGE * threshold]


def ratio(baseline: pd.DataFrame, own: pd.DataFrame, threshold: float) -> float:
    """Mean error of the baseline over the flow's own, over the records of the edge window that both reached."""
    pair = pd.DataFrame(
        {"baseline": at_the_edge(baseline, threshold)["error"], "own": at_the_edge(own, threshold)["error"]}
    )
    pair = pair.dropna()
    return float(pair["baseline"].mean() / pair["own"].mean()) if len(pair) else np.nan


def cell_rows(
    series: dict[str, pd.DataFrame], summaries: dict[str, FlowSummary], run: RunSummary
) -> list[dict[str, Any]]:
    """The rows of errors.csv of one cell, one a flow, with the ratios to both stable flows (above 1 is better).

    ``error_eos_common`` is ``error_eos_mean`` over the records that every flow of the cell reached.
    """
    rows = []
    windows = pd.DataFrame({flow: at_the_edge(frame, run.threshold)["error"] for flow, frame in series.items()})
    common = windows.dropna().mean()
    for flow in series:
        row = error_row(series[flow], summaries[flow], run) | {"error_eos_common": common[flow]}
        for baseline in ("stable", "stable_corrected"):
            known = baseline in series
            row[f"ratio_to_{baseline}"] = ratio(series[baseline], series[flow], run.threshold) if known else np.nan
        rows.append(row)
    return rows


def errors(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """errors.csv from its rows."""
    return pd.DataFrame(rows, columns=ERROR_COLUMNS).astype({"diverged_at": "Int64"})
