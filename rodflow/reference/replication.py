"""the reference -> the REPLICATION.md that is committed."""

from __future__ import annotations

from pathlib import Path

from rodflow import config as configuration
from rodflow.jobs.files import read_model, read_table, write_text
from rodflow.pipeline.stages.replication import replication_tables
from rodflow.reference.contents import Origin, machines
from rodflow.report.replication import claims, markdown


def replicate_reference(reference: Path, output: Path) -> None:
    """Write the REPLICATION.md of the run that the folder ``reference`` keeps, from its files alone."""
    config = configuration.load(reference / "config.yaml")
    made = read_model(reference / "provenance.json", Origin).made
    tables, cells = replication_tables(reference), read_table(reference / "cells.csv", ["parameters"])
    rows = claims(config, **tables, weights=cells["parameters"])
    source = f"Its numbers, series and figures lie in `{reference.name}/`: {machines(made)}."
    write_text(output, markdown(rows, config, tables["errors"], source))
