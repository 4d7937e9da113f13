"""series of all cells -> errors.csv, thresholds.csv, fidelity.csv, comparison.csv, summary.md."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from rodflow.config import Config
from rodflow.errors import cut
from rodflow.jobs.files import read_table, write_json, write_table, write_text
from rodflow.jobs.progress import log
from rodflow.measures.comparison import comparison
from rodflow.measures.errors import cell_rows, errors
from rodflow.measures.fidelity import far_before_edge, fidelity, fidelity_row
from rodflow.measures.missing import in_words, inventory, marked, present
from rodflow.measures.thresholds import off_the_edge, threshold_row, thresholds
from rodflow.pipeline.finished import found, missing
from rodflow.pipeline.job import Job
from rodflow.pipeline.provenance import provenance
from rodflow.pipeline.results import read_flow, read_run
from rodflow.report import markdown
from rodflow.report.summary import comparison_in_brief, errors_in_brief, fidelity_in_brief

LOGGED = 200
"""Characters of a log's last line that are shown."""


def aggregate(config: Config, results: Path, incomplete: bool = False) -> None:
    """Write the tables of a run below ``results/tables``, from the discrete runs and flows below ``results``.

    In every table ``missing`` is empty; in that of an ``incomplete`` run it says what a row without numbers lacks.

    Raises: ``InvalidInput`` for a missing file, unless ``incomplete``, or if no flow is finished.
    """
    begun = time.monotonic()
    error_rows, threshold_rows, fidelity_rows = [], [], []
    there = found(config, results, incomplete)
    for cell, names in there.flows.items():
        run = read_run(results, cell)
        flows = {flow: read_flow(results, cell, flow, run) for flow in names}
        series = {flow: table for flow, (table, _) in flows.items()}
        rows = cell_rows(series, {flow: summary for flow, (_, summary) in flows.items()}, *run)
        error_rows += rows
        fidelity_rows += [fidelity_row(series[row["flow"]], row, *run) for row in rows]
        threshold_rows.append(threshold_row(*run, series))
    whole = inventory(config, there.flows)
    error_table, fidelity_table = marked(errors(error_rows), whole), marked(fidelity(fidelity_rows), whole)
    threshold_table, comparison_table = marked(thresholds(threshold_rows), whole), comparison(error_table)
    folder = results / "tables"
    write_table(folder / "errors.csv", error_table)
    write_table(folder / "thresholds.csv", threshold_table)
    write_table(folder / "fidelity.csv", fidelity_table)
    write_table(folder / "comparison.csv", comparison_table)
    lacking, compared = missing(config, results) if incomplete else [], present(comparison_table)
    parts = [listed(error_table, lacking, results)] if lacking else []
    for title, said in (
        ("cells that are not gently at their edge", off_the_edge(present(threshold_table))),
        ("flows that are not as near to their run before the edge as they should be", far_before_edge(fidelity_table)),
    ):
        parts += [markdown.table([{title: line} for line in said]) + "\n"] if said else []
    parts += [errors_in_brief(present(error_table), present(threshold_table))]
    parts += [fidelity_in_brief(present(fidelity_table))]
    parts += [comparison_in_brief(compared)] if len(compared) else []
    write_text(folder / "summary.md", "\n".join(parts).rstrip("\n") + "\n")
    made = provenance(config.model_dump(mode="json"), time.monotonic() - begun)
    write_json(folder / "provenance.json", made.model_dump())
    for line in warned(results):
        log.warning("%s", line)


def warned(results: Path) -> list[str]:
    """What the tables below ``results`` say of cells that are not gently at their edge, and of flows that are too far
    from their run before it, for the console at a run's end: a line each, and one that names the command which looks
    for better learning rates.
    """
    table, nearness = (results / "tables" / f"{name}.csv" for name in ("thresholds", "fidelity"))
    said = off_the_edge(present(read_table(table))) if table.exists() else []
    if said:
        said.append(f"`rodflow scan --config {results / 'config.yaml'}` looks for learning rates at which they are")
    return [*said, *(far_before_edge(present(read_table(nearness))) if nearness.exists() else [])]


def listed(errors: pd.DataFrame, jobs: Iterable[Job], results: Path) -> str:
    """The ``jobs`` that are missing as Markdown: a row for each, with the last line of its log where it was tried."""
    rows = [{"missing": job.label, "last line of its log": last_line(results, job.label)} for job in jobs]
    words = in_words(errors) or "Incomplete: all runs and flows are finished, but not all else."
    return f"{words}\n\n{markdown.table(rows)}\n"


def last_line(results: Path, job: str) -> str:
    """The last line of a job's log, fit for a table; a dash where there is none."""
    log = results / "logs" / f"{job}.log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    said = [line for line in map(str.strip, lines) if line]
    return cut(said[-1], LOGGED).replace("|", r"\|") if said else "–"
