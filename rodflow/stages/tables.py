"""series of all cells -> errors.csv, thresholds.csv, fidelity.csv, comparison.csv, summary.md."""

from __future__ import annotations

import time
from pathlib import Path

from rodflow import intermediates, tables
from rodflow.comparison import comparison, verdicts
from rodflow.config import Config
from rodflow.fidelity import claims, fidelity, fidelity_row
from rodflow.provenance import provenance
from rodflow.storage import write_json, write_table, write_text


def aggregate(config: Config, results: Path) -> None:
    """Write the tables of a run below ``results/tables``, from the discrete runs and flows below ``results``."""
    begun = time.monotonic()
    error_rows, threshold_rows, fidelity_rows = [], [], []
    for cell in config.cells:
        records, discrete = intermediates.discrete_run(results, *cell)
        flows, summaries = {}, {}
        for flow in config.flows_of(cell[1]):
            flows[flow], summaries[flow] = intermediates.flow(results, *cell, flow, (records, discrete))
        rows = tables.cell_rows(flows, summaries, discrete)
        error_rows += rows
        fidelity_rows += [fidelity_row(flows[row["flow"]], row, records, discrete) for row in rows]
        threshold_rows.append(tables.threshold_row(records, discrete, flows))
    errors, thresholds = tables.errors(error_rows), tables.thresholds(threshold_rows)
    faithful, compared = fidelity(fidelity_rows), comparison(errors)
    folder = results / "tables"
    write_table(folder / "errors.csv", errors)
    write_table(folder / "thresholds.csv", thresholds)
    write_table(folder / "fidelity.csv", faithful)
    write_table(folder / "comparison.csv", compared)
    parts = [tables.summary(errors, thresholds), claims(faithful), verdicts(compared) if len(compared) else ""]
    write_text(folder / "summary.md", "\n".join(parts).rstrip("\n") + "\n")
    write_json(folder / "provenance.json", provenance(config.model_dump(mode="json"), time.monotonic() - begun))
