"""thresholds.csv: each cell's threshold, the sharpness of its run and flows at the edge, and when they enter it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import pandas as pd

from rodflow.config import CELL_COLUMNS, Cell
from rodflow.measures.constants import EDGE, LEAP
from rodflow.measures.errors import at_the_edge
from rodflow.measures.onset import first_above, oscillation_onset
from rodflow.measures.summaries import RunSummary


def threshold_row(records: pd.DataFrame, run: RunSummary, flows: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """One row of thresholds.csv.

    ``eos_share`` is the share of all records with effective sharpness at ``EDGE`` of the threshold or above;
    ``onset_step`` the first such record from the flows' start on; the medians are over the edge window.
    ``oscillation_onset`` is the first record, from the flows' start on, at which the run's oscillation along the
    sharpest direction exceeds ``ONSET`` of its largest value there; ``onset_<flow>`` that at which the flow's rod does.
    """
    edge = EDGE * run.threshold
    late = records[records["step"] >= run.flow_start]
    row = {
        **{key: getattr(run, key) for key in (*CELL_COLUMNS, "threshold")},
        "sharpness_eos_median": records.loc[records["sharpness"] >= edge, "sharpness"].median(),
        "sharpness_largest_ratio": late["sharpness"].max() / run.threshold,
        "eos_share": (records["sharpness"] >= edge).mean(),
        "onset_step": first_above(late["step"], late["sharpness"], edge),
        "diverged_at": run.diverged_at,
    }
    for flow, series in flows.items():
        row[f"sharpness_{flow}_median"] = at_the_edge(series, run.threshold)["sharpness"].median()
    row["oscillation_onset"], level = oscillation_onset(records, run)
    for flow, series in flows.items():
        if series["rod_length"].notna().any():
            row[f"onset_{flow}"] = first_above(series["step"], series["rod_along_sharpest"], level)
    return row


def off_the_edge(thresholds: pd.DataFrame) -> list[str]:
    """A sentence for each cell of thresholds.csv whose run diverged, never was at its edge, or leapt into it."""
    said, rows = [], cast(Iterable[Any], thresholds.itertuples())
    for row in rows:
        cell = Cell(row.architecture, row.optimizer, row.seed)
        if pd.notna(row.diverged_at):
            said.append(f"{cell}: the run diverged at step {int(row.diverged_at)}")
        elif row.eos_share == 0:
            reached = f"its effective sharpness reached {row.sharpness_largest_ratio:.2f} of the threshold"
            said.append(f"{cell}: the run was never at its edge ({reached}, {EDGE} counts)")
        elif row.sharpness_largest_ratio > LEAP:
            reached = f"its effective sharpness reached {row.sharpness_largest_ratio:.2f} thresholds"
            said.append(f"{cell}: the run leapt into its edge ({reached}, above {LEAP} is a leap)")
    return said


def thresholds(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """thresholds.csv from its rows."""
    table = pd.DataFrame(rows)
    whole = [name for name in table.columns if "onset" in name or name == "diverged_at"]
    return table.astype(dict.fromkeys(whole, "Int64"))
