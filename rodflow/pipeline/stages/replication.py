"""tables of a run -> REPLICATION.md: the paper's claims, our numbers, the verdicts."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from rodflow.config import CELL_COLUMNS, Cell, Config
from rodflow.jobs.files import read_model, read_table, write_text
from rodflow.measures.missing import in_words, present
from rodflow.measures.summaries import Provenance, RunSummary
from rodflow.pipeline.job import Job
from rodflow.report.replication import Claim, claims, markdown


def replication_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables that the claims are judged by."""
    return {name: read_table(folder / f"{name}.csv") for name in ("errors", "thresholds", "fidelity")}


def judged_claims(config: Config, results: Path, tables: dict[str, pd.DataFrame]) -> list[Claim]:
    """The claims, judged by what the :func:`replication_tables` of a run have, and the sizes of its networks."""
    tables = {name: present(table) for name, table in tables.items()}
    cells = [Cell(*row) for row in tables["thresholds"][CELL_COLUMNS].itertuples(index=False)]
    summaries = [read_model(Job("discrete", cell).file(results, ".json"), RunSummary) for cell in cells]
    return claims(config, **tables, weights=[summary.parameters for summary in summaries])


def replicate(config: Config, results: Path) -> None:
    """Write ``tables/REPLICATION.md`` from the tables of a run and the summaries of its discrete runs."""
    made = read_model(results / "tables" / "provenance.json", Provenance)
    source = f"Tables made at commit {made.commit or 'unknown'} on {made.processors} processors."
    tables = replication_tables(results / "tables")
    judged = judged_claims(config, results, tables)
    text = markdown(judged, config, tables["errors"], source, in_words(tables["errors"]))
    write_text(results / "tables" / "REPLICATION.md", text)
