"""What is said of an incomplete run: rows without numbers in its tables, what is missing in words and as a list."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from rodflow import markdown
from rodflow.config import Config
from rodflow.errors import cut
from rodflow.finished import Finished, job
from rodflow.tables import CELL

RUN, FLOW = "run", "flow"
"""Why a row of a table has no numbers, in its column ``missing``: the discrete run is not finished, or the flow."""
LOGGED = 200
"""Characters of a log's last line that are shown."""


def inventory(config: Config, there: Finished) -> pd.DataFrame:
    """A row a cell and flow of the config, with what is ``missing`` of it, if anything."""
    rows = []
    for cell in config.cells:
        flows = there.flows.get(cell)
        for flow in config.flows_of(cell[1]):
            lacks = RUN if flows is None else None if flow in flows else FLOW
            rows.append({**dict(zip(CELL, cell, strict=True)), "flow": flow, "missing": lacks})
    return pd.DataFrame(rows).astype({"missing": object})


def marked(table: pd.DataFrame, inventory: pd.DataFrame) -> pd.DataFrame:
    """``table``, a row a cell or a row a cell and flow, with a row for each that is missing and a column that says so.

    A row of a cell has its numbers also where a flow is missing.
    """
    names, lacks = [*CELL, "flow"], inventory
    if "flow" not in table:
        names = CELL
        lacks = inventory.assign(missing=inventory["missing"].where(inventory["missing"] == RUN, None))
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
    for cell, rows in errors.groupby(CELL, sort=False):
        runs += not (rows["missing"] == RUN).any()
        flows = rows.loc[rows["missing"].notna(), "flow"]
        if len(flows):
            which = RUN if (rows["missing"] == RUN).any() else ", ".join(flows)
            parts.append(f"{cell[0]} {cell[1]} seed {cell[2]} ({which})")
    cells, flows = errors.groupby(CELL).ngroups, errors["missing"].isna().sum()
    counts = f"{runs} of {cells} runs and {flows} of {len(errors)} flows are finished"
    return f"Incomplete: {counts}. Missing: {', '.join(parts)}."


def listed(errors: pd.DataFrame, files: Iterable[Path], results: Path) -> str:
    """The missing ``files`` as Markdown: a row each, with the last line of its log where it was tried."""
    rows = [{"missing": job(file), "last line of its log": last_line(results, file)} for file in files]
    words = in_words(errors) or "Incomplete: all runs and flows are finished, but not all else."
    return f"{words}\n\n{markdown.table(rows)}\n"


def last_line(results: Path, file: Path) -> str:
    """The last line of the log of the job that makes ``file``, fit for a table; a dash where there is none."""
    log = results / "logs" / f"{job(file)}.log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    said = [line for line in map(str.strip, lines) if line]
    return cut(said[-1], LOGGED).replace("|", r"\|") if said else "–"
