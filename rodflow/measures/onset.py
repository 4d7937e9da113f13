"""When something begins: the first record at which a run, or a flow, is at a level."""

from __future__ import annotations

from typing import Any

import pandas as pd

from rodflow.measures.constants import ONSET
from rodflow.measures.summaries import RunSummary


def oscillation_onset(records: pd.DataFrame, run: RunSummary) -> tuple[Any, float]:
    """The run's onset, and the length along the sharpest direction that counts as one, for its flows as well."""
    late = records[records["step"] >= run.flow_start]
    level = ONSET * late["oscillation_along_sharpest"].max()
    return first_above(late["step"], late["oscillation_along_sharpest"], level), level


def first_above(steps: pd.Series, values: pd.Series, level: float) -> Any:
    """The first step whose value is at least ``level``, or ``pd.NA``."""
    reached = steps[values >= level]
    return reached.iloc[0] if len(reached) else pd.NA
