"""series of all cells -> errors.csv, thresholds.csv, fidelity.csv, comparison.csv, summary.md."""

from __future__ import annotations

import time
from pathlib import Path

from rodflow import intermediates, tables
from rodflow.comparison import comparison, verdicts
from rodflow.config import Config
from rodflow.fidelity import claims, fidelity, fidelity_row
from rodflow.finished import found, missing
from rodflow.missing import inventory, listed, marked, present
from rodflow.provenance import provenance
from rodflow.storage import write_json, write_table, write_text


def aggregate(config: Config, results: Path, incomplete: bool = False) -> None:
    """Write the tables of a run below ``results/tables``, from the discrete runs and flows below ``results``.

    In every table ``missing`` is empty; in that of an ``incomplete`` run it says what a row without numbers lacks.

    Raises: ``InvalidInput`` for a missing file, unless ``incomplete``, or if no flow is finished.
    """
    begun = time.monotonic()
    error_rows, threshold_rows, fidelity_rows = [], [], []
    there = found(config, results, incomplete)
    for cell, names in there.flows.items():
        records, discrete = intermediates.discrete_run(results, *cell)
        flows, summaries = {}, {}
        for flow in names:
            flows[flow], summaries[flow] = intermediates.flow(results, *cell, flow, (records, discrete))
        rows = tables.cell_rows(flows, summaries, discrete)
        error_rows += rows
        fidelity_rows += [fidelity_row(flows[row["flow"]], row, records, discrete) for row in rows]
        threshold_rows.append(tables.threshold_row(records, discrete, flows))
    whole = inventory(config, there)
    errors, faithful = marked(tables.errors(error_rows), whole), marked(fidelity(fidelity_rows), whole)
    thresholds, compared = marked(tables.thresholds(threshold_rows), whole), comparison(errors)
    folder = results / "tables"
    write_table(folder / "errors.csv", errors)
    write_table(folder / "thresholds.csv", thresholds)
    write_table(folder / "fidelity.csv", faithful)
    write_table(folder / "comparison.csv", compared)
    files, competed = missing(config, there, results), present(compared)
    parts = [listed(errors, files, results)] if files else []
    parts += [tables.summary(present(errors), present(thresholds)), claims(present(faithful))]
    parts += [verdicts(competed)] if len(competed) else []
    write_text(folder / "summary.md", "\n".join(parts).rstrip("\n") + "\n")
    write_json(folder / "provenance.json", provenance(config.model_dump(mode="json"), time.monotonic() - begun))
