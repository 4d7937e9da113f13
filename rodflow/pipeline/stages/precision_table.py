"""precision studies of all cells -> precision.csv."""

from __future__ import annotations

import time
from pathlib import Path

from rodflow.config import Config
from rodflow.jobs.files import write_json, write_table
from rodflow.measures import precision
from rodflow.pipeline.finished import found
from rodflow.pipeline.provenance import provenance
from rodflow.pipeline.results import read_study


def aggregate_studies(config: Config, results: Path, incomplete: bool = False) -> None:
    """Write ``tables/precision.csv``, its provenance beside it, from the studies below ``results/precision``.

    A study that an ``incomplete`` run lacks has one row, without numbers.
    """
    begun = time.monotonic()
    rows, there = [], found(config, results, incomplete).studies
    for cell in config.precision_studies:
        rows += precision.rows(*read_study(results, cell)) if cell in there else [precision.missing_row(cell)]
    output = results / "tables" / "precision.csv"
    write_table(output, precision.table(rows))
    made = provenance({"cells": config.precision_studies}, time.monotonic() - begun)
    write_json(output.with_suffix(".json"), made.model_dump())
