"""errors.csv: how far each flow is from its discrete run; a row a cell and flow."""

from __future__ import annotations

from typing import Any

import pandas as pd

from rodflow.catalogue import is_floor
from rodflow.measures.columns import COSTS
from rodflow.measures.constants import EDGE, FEW
from rodflow.measures.onset import oscillation_onset
from rodflow.measures.summaries import FlowSummary, RunSummary

BASELINES = ("stable", "stable_corrected")
"""The flows without an oscillation, which a ratio says how much closer a flow is than."""
RATIOS = {"ratio_to_stable": "n_stable", "ratio_to_stable_corrected": "n_stable_corrected", "ratio_to_floor": "n_floor"}
"""Every ratio of errors, and the column with the number of records that it is over."""
ERROR_COLUMNS = [
    "architecture",
    "optimizer",
    "flow",
    "seed",
    "error_final",
    "error_eos_mean",
    "n",
    "n_after_onset",
    "error_eos_common",
    "relative_error_final",
    "displacement",
    "ratio_to_stable",
    "n_stable",
    "ratio_to_stable_corrected",
    "n_stable_corrected",
    "floor",
    "ratio_to_floor",
    "n_floor",
    *COSTS,
    "seconds",
    "diverged_at",
]


def error_row(series: pd.DataFrame, own: pd.Series, summary: FlowSummary, run: RunSummary) -> dict[str, Any]:
    """One row of errors.csv, from a flow's series and its ``own`` errors in the edge window.

    Errors are Euclidean distances of the flow's centre from w*_t in weight space.
    ``error_eos_mean`` is the mean over the ``n`` records at which the discrete run is in its edge window. A flow that
    left the track at step ``diverged_at``, or whose run diverged there, is measured on the records that it reached:
    ``error_final``, ``relative_error_final`` and ``displacement`` are then those of its last one.
    """
    reached = series[series["error"].notna()]
    last = reached.iloc[-1] if len(reached) else series.iloc[-1]
    return {
        **{key: getattr(summary, key) for key in ("architecture", "optimizer", "flow", "seed")},
        "error_final": last["error"],
        "error_eos_mean": own.mean(),
        "n": own.count(),
        "relative_error_final": last["relative_error"],
        "displacement": last["displacement"],
        **{key: getattr(summary, key) for key in (*COSTS, "seconds")},
        "diverged_at": min((at for at in (summary.diverged_at, run.diverged_at) if at is not None), default=None),
    }


def at_the_edge(series: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """The records of a flow at which the discrete run is in its edge window."""
    return series[series["discrete_sharpness"] >= EDGE * threshold]


def errors_at_the_edge(series: pd.DataFrame, threshold: float) -> pd.Series:
    """A flow's errors by step, at the records at which the discrete run is in its edge window."""
    return at_the_edge(series, threshold).set_index("step")["error"]


def ratio(baseline: pd.Series, own: pd.Series) -> tuple[float, int]:
    """Mean of the baseline's errors over that of the flow's own, over the records that both have, and their number."""
    pair = pd.DataFrame({"baseline": baseline, "own": own}).dropna()
    return (float(pair["baseline"].mean() / pair["own"].mean()) if len(pair) else float("nan")), len(pair)


def floor_of(errors: dict[str, pd.Series]) -> pd.Series:
    """The floor at each record: the mean error of the cell's twins, the run again with other rounding errors."""
    twins = [own for flow, own in errors.items() if is_floor(flow)]
    return pd.concat(twins, axis=1).mean(axis=1, skipna=False) if twins else pd.Series(dtype=float)


def cell_rows(
    series: dict[str, pd.DataFrame], summaries: dict[str, FlowSummary], records: pd.DataFrame, run: RunSummary
) -> list[dict[str, Any]]:
    """The rows of errors.csv of one cell, one a flow, from the flows' series and the run's records and summaries.

    * ``error_eos_common`` is ``error_eos_mean`` over the records that every flow of the cell reached;
    * ``n_after_onset`` of the ``n`` records of the edge window are at or after the onset of the run's oscillation;
    * ``ratio_to_stable`` is the mean error of the stable flow over the flow's own, over the ``n_stable`` records that
      both reached: above 1 is better; the one to the corrected stable flow likewise;
    * ``floor`` is the mean error of the twins, ``ratio_to_floor`` the flow's own over theirs, over ``n_floor`` records:
      near 1 no model can be better.
    """
    errors = {flow: errors_at_the_edge(frame, run.threshold) for flow, frame in series.items()}
    common, floor = pd.DataFrame(errors).dropna().mean(), floor_of(errors)
    onset, _ = oscillation_onset(records, run)
    rows = []
    for flow, own in errors.items():
        row = error_row(series[flow], own, summaries[flow], run) | {
            "error_eos_common": common[flow],
            "n_after_onset": 0 if pd.isna(onset) else own[own.index >= onset].count(),
            "floor": floor.mean(),
        }
        for baseline in BASELINES:
            row[f"ratio_to_{baseline}"], row[f"n_{baseline}"] = ratio(errors.get(baseline, own[:0]), own)
        row["ratio_to_floor"], row["n_floor"] = ratio(own, floor)
        rows.append(row)
    return rows


def errors(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """errors.csv from its rows."""
    whole = ["diverged_at", "n", "n_after_onset", *RATIOS.values()]
    return pd.DataFrame(rows, columns=ERROR_COLUMNS).astype(dict.fromkeys(whole, "Int64"))


def told(errors: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of errors.csv whose ratio ``name`` is over ``FEW`` records or more: those that a median is over."""
    return errors[(errors[RATIOS[name]] >= FEW) & errors[name].notna()]


def over(errors: pd.DataFrame, name: str) -> str:
    """What a median of the ratio ``name`` is over, such as ``25 of 27 cells, n 5 to 24``."""
    n = told(errors, name)[RATIOS[name]]
    return f"{len(n)} of {len(errors)} cells, n {n.min()} to {n.max()}"
