"""tables of a run, or of the reference -> REPLICATION.md: the paper's claims, our numbers, the verdicts."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from rodflow import config as configuration
from rodflow.config import Config
from rodflow.layout import discrete_file
from rodflow.missing import in_words, present
from rodflow.reference import machines
from rodflow.replication import Claim, claims, markdown
from rodflow.storage import read_json, read_table, write_text
from rodflow.tables import CELL


def replication_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables that the claims are judged by."""
    return {name: read_table(folder / f"{name}.csv") for name in ("errors", "thresholds", "fidelity")}


def judged_claims(config: Config, results: Path, tables: dict[str, pd.DataFrame]) -> list[Claim]:
    """The claims, judged by what the :func:`replication_tables` of a run have, and the sizes of its networks."""
    tables = {name: present(table) for name, table in tables.items()}
    cells = tables["thresholds"][CELL].itertuples(index=False)
    summaries = [read_json(discrete_file(results, *cell).with_suffix(".json")) for cell in cells]
    return claims(config, **tables, weights=[summary["parameters"] for summary in summaries])


def replicate(config: Config, results: Path) -> None:
    """Write ``tables/REPLICATION.md`` from the tables of a run and the summaries of its discrete runs."""
    made = read_json(results / "tables" / "provenance.json")
    source = f"Tables made at commit {made['commit'] or 'unknown'} on {made['processors']} processors."
    tables = replication_tables(results / "tables")
    judged = judged_claims(config, results, tables)
    text = markdown(judged, config, tables["errors"], source, in_words(tables["errors"]))
    write_text(results / "tables" / "REPLICATION.md", text)


def replicate_reference(reference: Path, output: Path) -> None:
    """Write the REPLICATION.md of the run that the folder ``reference`` keeps, from its files alone."""
    config = configuration.load(reference / "config.yaml")
    made = read_json(reference / "provenance.json", made=list)["made"]
    tables, cells = replication_tables(reference), read_table(reference / "cells.csv", ["parameters"])
    rows = claims(config, **tables, weights=cells["parameters"])
    source = f"Its numbers, series and figures lie in `{reference.name}/`: {machines(made)}."
    write_text(output, markdown(rows, config, tables["errors"], source))
