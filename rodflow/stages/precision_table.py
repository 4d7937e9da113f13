"""precision studies of all cells -> precision.csv."""

from __future__ import annotations

import time
from pathlib import Path

from rodflow import precision_table
from rodflow.config import Config
from rodflow.finished import found
from rodflow.intermediates import precision_study
from rodflow.provenance import provenance
from rodflow.storage import write_json, write_table


def aggregate_studies(config: Config, results: Path, incomplete: bool = False) -> None:
    """Write ``tables/precision.csv``, its provenance beside it, from the studies below ``results/precision``.

    A study that an ``incomplete`` run lacks has one row, without numbers.
    """
    begun = time.monotonic()
    rows, there = [], found(config, results, incomplete).studies
    for cell in config.precision_studies:
        known = cell in there
        rows += precision_table.rows(*precision_study(results, *cell)) if known else [precision_table.missing_row(cell)]
    output = results / "tables" / "precision.csv"
    write_table(output, precision_table.table(rows))
    write_json(output.with_suffix(".json"), provenance({"cells": config.precision_studies}, time.monotonic() - begun))
