"""tables of a run -> REPLICATION.md: the paper's claims, our numbers, the verdicts."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from rodflow.config import Config
from rodflow.layout import discrete_file
from rodflow.replication import Claim, claims, markdown
from rodflow.storage import read_json, read_table, write_text


def replication_tables(results: Path) -> dict[str, pd.DataFrame]:
    """The tables that the claims are judged by."""
    return {name: read_table(results / "tables" / f"{name}.csv") for name in ("errors", "thresholds", "fidelity")}


def judged_claims(config: Config, results: Path, tables: dict[str, pd.DataFrame]) -> list[Claim]:
    """The claims, judged by the :func:`replication_tables` of a run and the sizes of its networks."""
    summaries = [read_json(discrete_file(results, *cell).with_suffix(".json")) for cell in config.cells]
    return claims(config, **tables, weights=[summary["parameters"] for summary in summaries])


def replicate(config: Config, results: Path) -> None:
    """Write ``tables/REPLICATION.md`` from the tables of a run and the summaries of its discrete runs."""
    made = read_json(results / "tables" / "provenance.json")
    source = f"Tables made at commit {made['commit'] or 'unknown'} on {made['processors']} processors."
    tables = replication_tables(results)
    text = markdown(judged_claims(config, results, tables), config, tables["errors"], source)
    write_text(results / "tables" / "REPLICATION.md", text)
