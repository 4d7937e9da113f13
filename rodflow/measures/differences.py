"""What differs between two runs: their settings, and the numbers of their tables by cell and flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from rodflow.config import CELL_COLUMNS

KEYS = [*CELL_COLUMNS, "flow"]
"""What a row of a table is known by, as far as it has them."""
SETTING_COLUMNS = ["setting", "a", "b"]
NUMBER_COLUMNS = ["table", *KEYS, "number", "a", "b", "ratio"]
"""``ratio`` is b over a."""


def different_settings(a: Mapping[str, Any], b: Mapping[str, Any]) -> pd.DataFrame:
    """A row for each setting that differs, by its path such as ``data.examples``; empty where a run has none.

    The names of the runs, and how often jobs were saved, are no settings of the results.
    """
    flat_a, flat_b = _flat(a), _flat(b)
    names = [name for name in {**flat_a, **flat_b} if name not in ("run", "checkpoint_seconds")]
    rows = [(name, flat_a.get(name, ""), flat_b.get(name, "")) for name in names]
    return pd.DataFrame([row for row in rows if row[1] != row[2]], columns=SETTING_COLUMNS)


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, str]:
    found = {}
    for key, value in settings.items():
        nested = isinstance(value, Mapping) and value
        found.update(_flat(value, f"{above}{key}.") if nested else {f"{above}{key}": str(value)})
    return found


def different_numbers(name: str, a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """A row for each number of the table ``name`` that differs, in any cell or flow; NaN where a run has none.

    Measured times differ always, and are left out.
    """
    keys = [key for key in KEYS if key in a and key in b]
    both = _long(a, keys).merge(_long(b, keys), on=[*keys, "number"], how="outer", suffixes=("_a", "_b"), sort=False)
    both = both.rename(columns={"value_a": "a", "value_b": "b"})
    same = (both["a"] == both["b"]) | (both["a"].isna() & both["b"].isna())
    both = both[~same].assign(table=name)
    both["ratio"] = both["b"] / both["a"].where(both["a"] != 0)
    return both.reindex(columns=NUMBER_COLUMNS).reset_index(drop=True)


def _long(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    numbers = table.drop(columns=[name for name in table.columns if name.startswith("seconds")])
    numbers = numbers.set_index(keys).apply(pd.to_numeric, errors="coerce").dropna(axis=1, how="all")
    return numbers.rename_axis(columns="number").stack().rename("value").reset_index()


def paired_errors(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """A row for each cell and flow that both errors.csv have, with ``error_eos_mean`` of each as ``a`` and ``b``."""
    columns = [*KEYS, "error_eos_mean"]
    return (
        a[columns]
        .merge(b[columns], on=KEYS, suffixes=("_a", "_b"))
        .rename(columns={"error_eos_mean_a": "a", "error_eos_mean_b": "b"})
    )
