"""the runs and flows of a cell in every variant -> the series of its precision study."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd

from rodflow.config import Cell, Config
from rodflow.config.run import STUDIED_FLOWS, VARIANTS
from rodflow.jobs.files import write_json, write_table
from rodflow.measures.columns import STUDY_COLUMNS
from rodflow.measures.precision import variant_label
from rodflow.measures.summaries import StudySummary
from rodflow.pipeline.job import Job
from rodflow.pipeline.provenance import provenance
from rodflow.pipeline.results import read_flow, read_run


def tabulate_study(config: Config, cell: Cell, results: Path) -> None:
    """Put the runs of all variants and the flows that started from them into one table, ``precision/<cell>.parquet``.

    The table has a row a variant, flow (the run itself is ``discrete``) and record, with ``STUDY_COLUMNS``: the step,
    the effective sharpness, the run's oscillation or the flow's rod length, and the flow's error, both lengths in
    weight space. The summary beside it (.json) has the threshold, the flows' start, divergences and the provenance.

    Raises: ``InvalidInput`` for a cell without a learning rate, or for a run or a flow that is not there.
    """
    begun = time.monotonic()
    config.require_rate(cell)
    tables, diverged_at = [], {}
    for variant in VARIANTS:
        run, name = read_run(results, cell, variant), variant_label(variant)
        tables.append(run.records.assign(variant=name, flow="discrete"))
        diverged_at[name] = {"discrete": run.summary.diverged_at}
        for flow in STUDIED_FLOWS:
            series, summary = read_flow(results, cell, flow, run, variant)
            # a flow's table also holds the run's oscillation, which stands in the rows of the run
            tables.append(series.drop(columns="oscillation").assign(variant=name, flow=flow))
            diverged_at[name][flow] = summary.diverged_at
    output = Job("study", cell).file(results)
    write_table(output, pd.concat([table.reindex(columns=STUDY_COLUMNS) for table in tables], ignore_index=True))
    device = run.summary.provenance.device
    study = StudySummary(
        **cell._asdict(),
        threshold=run.summary.threshold,
        flow_start=run.summary.flow_start,
        diverged_at=diverged_at,
        provenance=provenance(config.study_settings(cell), time.monotonic() - begun, device),
    )
    write_json(output.with_suffix(".json"), study.model_dump())
