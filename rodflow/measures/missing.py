"""What the tables of an incomplete run say of what is missing: rows without numbers, and a sentence."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from rodflow.config import CELL_COLUMNS, Cell, Config

NO_RUN, NO_FLOW = "run", "flow"
"""Why a row of a table has no numbers, in its column ``missing``: the discrete run is not finished, or the flow."""


def inventory(config: Config, finished: Mapping[Cell, list[str]]) -> pd.DataFrame:
    """A row a cell and flow of the config, with what is ``missing`` of it, if anything.

    ``finished``: the finished flows of each cell that has a finished run.
    """
    rows = []
    for cell in config.cells:
        flows = finished.get(cell)
        for flow in config.flows_of(cell.optimizer):
            lacks = NO_RUN if flows is None else None if flow in flows else NO_FLOW
            rows.append({**cell._asdict(), "flow": flow, "missing": lacks})
    return pd.DataFrame(rows).astype({"missing": object})


def marked(table: pd.DataFrame, inventory: pd.DataFrame) -> pd.DataFrame:
    """``table``, a row a cell or a row a cell and flow, with a row for each that is missing and a column that says so.

    A row of a cell has its numbers also where a flow is missing.
    """
    names, lacks = [*CELL_COLUMNS, "flow"], inventory
    if "flow" not in table:
        names = CELL_COLUMNS
        lacks = inventory.assign(missing=inventory["missing"].where(inventory["missing"] == NO_RUN, None))
    whole = lacks[[*names, "missing"]].drop_duplicates(names)
    return whole.merge(table, on=names, how="left")[[*table.columns, "missing"]]


def present(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a ``marked`` table that have numbers."""
    return table[table["missing"].isna()].reset_index(drop=True)


def in_words(errors: pd.DataFrame) -> str:
    """How many runs and flows of errors.csv there are, and which are missing; empty if none is."""
    if errors["missing"].isna().all():
        return ""
    parts, runs = [], 0
    for cell, rows in errors.groupby(CELL_COLUMNS, sort=False):
        runs += not (rows["missing"] == NO_RUN).any()
        flows = rows.loc[rows["missing"].notna(), "flow"]
        if len(flows):
            which = NO_RUN if (rows["missing"] == NO_RUN).any() else ", ".join(flows)
            parts.append(f"{cell[0]} {cell[1]} seed {cell[2]} ({which})")
    cells, finished = errors.groupby(CELL_COLUMNS).ngroups, errors["missing"].isna().sum()
    counts = f"{runs} of {cells} runs and {finished} of {len(errors)} flows are finished"
    return f"Incomplete: {counts}. Missing: {', '.join(parts)}."
