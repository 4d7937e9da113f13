"""precision.csv: when each variant of a cell enters the edge, how violently, and how well the flows follow."""

from __future__ import annotations

from typing import Any

import pandas as pd

from rodflow.config import CELL_COLUMNS, Cell
from rodflow.config.run import STUDIED_FLOWS
from rodflow.measures.constants import EDGE, STUDY_ONSET
from rodflow.measures.errors import errors_at_the_edge, ratio
from rodflow.measures.summaries import StudySummary

PRECISION_COLUMNS = [
    *CELL_COLUMNS,
    "variant",
    "onset_step",
    "overshoot",
    *(f"error_eos_mean_{flow}" for flow in STUDIED_FLOWS),
    "ratio",
    "n",
    "missing",
]


def discrete_records(series: pd.DataFrame, variant: str, start: int = 0) -> pd.DataFrame:
    """The records of a variant's discrete run from step ``start`` on."""
    chosen = (series["variant"] == variant) & (series["flow"] == "discrete") & (series["step"] >= start)
    return series[chosen].reset_index(drop=True)


def flow_records(series: pd.DataFrame, variant: str, flow: str) -> pd.DataFrame:
    """The records of a flow, with the effective sharpness of its variant's run as ``discrete_sharpness``."""
    own = series[(series["variant"] == variant) & (series["flow"] == flow)]
    run = discrete_records(series, variant)[["step", "sharpness"]]
    return own.merge(run.rename(columns={"sharpness": "discrete_sharpness"}), on="step", how="left")


def onset_step(series: pd.DataFrame, variant: str, start: int, threshold: float) -> int | None:
    """The record at which a variant's oscillation sets in at the edge; None if it does not within the run.

    It is the first record, from the flows' start on, that is both not before the first one with an effective
    sharpness of ``EDGE`` thresholds or above, and has an oscillation above ``STUDY_ONSET`` times the largest that any
    variant reaches after the start. Any variant, since a run may end before its own oscillation has grown; and not
    before the edge, since the oscillation is a second difference, in which a fast transient shows too.
    """
    run = discrete_records(series, variant, start)
    discrete = (series["flow"] == "discrete") & (series["step"] >= start)
    at_edge = (run["sharpness"] >= EDGE * threshold).cummax()
    steps = run.loc[at_edge & (run["oscillation"] > STUDY_ONSET * series.loc[discrete, "oscillation"].max()), "step"]
    return int(steps.iloc[0]) if len(steps) else None


def overshoot(series: pd.DataFrame, variant: str, start: int, threshold: float) -> float:
    """The largest effective sharpness of a variant's run from the flows' start on, in thresholds."""
    return float(discrete_records(series, variant, start)["sharpness"].max() / threshold)


def rows(series: pd.DataFrame, summary: StudySummary) -> list[dict[str, Any]]:
    """The rows of precision.csv of one study, one a variant.

    ``error_eos_mean`` is the mean distance of a flow's centre from the run's, in weight space, over the records of
    the edge window that the flow reached; ``ratio`` is the stable flow's over the drift-free rod flow's, over the ``n``
    records that both reached.
    """
    start, threshold = summary.flow_start, summary.threshold
    found = []
    for variant in series["variant"].unique():
        errors = {f: errors_at_the_edge(flow_records(series, variant, f), threshold) for f in STUDIED_FLOWS}
        closer, n = ratio(errors["stable"], errors["drift_free_rod"])
        found.append(
            summary.cell._asdict()
            | {
                "variant": variant,
                "onset_step": onset_step(series, variant, start, threshold),
                "overshoot": overshoot(series, variant, start, threshold),
            }
            | {f"error_eos_mean_{flow}": own.mean() for flow, own in errors.items()}
            | {"ratio": closer, "n": n}
        )
    return found


def missing_row(cell: Cell) -> dict[str, Any]:
    """The row of a study that is not finished."""
    return cell._asdict() | {"missing": "study"}


def table(found: list[dict[str, Any]]) -> pd.DataFrame:
    """precision.csv from the rows of all studies."""
    return pd.DataFrame(found, columns=PRECISION_COLUMNS).astype({"onset_step": "Int64", "n": "Int64"})


def variant_label(variant: str) -> str:
    """How tables and figures name a variant of the config's ``VARIANTS``."""
    return variant.replace("_", " ")
