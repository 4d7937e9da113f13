"""comparison.csv: the continuous-time models side by side, how far off, at what cost; a row a cell and flow."""

from __future__ import annotations

import pandas as pd

from rodflow.catalogue import FLOWS
from rodflow.config import CELL_COLUMNS
from rodflow.measures.columns import COSTS

COMPARISON_COLUMNS = [
    "architecture",
    "optimizer",
    "flow",
    "seed",
    "error_eos_mean",
    "error_eos_common",
    "n",
    "ratio_to_stable",
    "n_stable",
    "floor",
    "ratio_to_floor",
    "n_floor",
    *COSTS,
    "diverged_at",
    "missing",
]


def comparison(errors: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``errors`` (errors.csv) of the cells that a model of other authors ran on."""
    competing = [name for name, entry in FLOWS.entries.items() if entry.competes]
    competed = errors["flow"].isin(competing).groupby([errors[name] for name in CELL_COLUMNS]).transform("any")
    return errors.loc[competed.astype(bool), COMPARISON_COLUMNS].reset_index(drop=True)
