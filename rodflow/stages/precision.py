"""prepared images -> one cell trained and followed in every variant of the precision study."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pandas as pd

from rodflow.config import Config
from rodflow.precision import FLOWS, require_rate, study_settings, variants
from rodflow.provenance import provenance
from rodflow.stages.discrete import run_cell
from rodflow.stages.flow import run_flow
from rodflow.storage import read_json, read_table, write_json, write_table
from rodflow.yardsticks import STUDY_COLUMNS

COLUMNS = ["variant", "flow", *STUDY_COLUMNS]


def study(config: Config, architecture: str, optimizer: str, seed: int, dataset: Path, output: Path) -> None:
    """Train a cell in every variant and integrate the study's flows from each variant's own window.

    ``output`` (.parquet) has a row a variant, flow (the run itself is ``discrete``) and record, with ``COLUMNS``: the
    step, the effective sharpness, the run's oscillation or the flow's rod length, and the flow's error, both lengths
    in weight space. Beside it (.json) lie the threshold, the flows' start, divergences and the provenance.

    Raises: ``InvalidInput`` for a cell without a learning rate, or too few steps for a record after the start.
    """
    begun = time.monotonic()
    require_rate(config, architecture, optimizer)
    cell = (architecture, optimizer, seed)
    parts, diverged_at, discrete = [], {}, {}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "discrete.h5")
        for variant, settings in variants(config).items():
            run_cell(settings, *cell, dataset, run)
            discrete = read_json(run.with_suffix(".json"))
            parts.append(read_table(run.with_suffix(".parquet")).assign(variant=variant, flow="discrete"))
            diverged_at[variant] = {"discrete": discrete["diverged_at"]}
            for flow in FLOWS:
                file = Path(folder, f"{flow}.parquet")
                run_flow(settings, *cell, flow, dataset, run, file)
                # a flow's table also holds the run's oscillation, which stands in the rows of the run
                parts.append(read_table(file).drop(columns="oscillation").assign(variant=variant, flow=flow))
                diverged_at[variant][flow] = read_json(file.with_suffix(".json"))["diverged_at"]
    write_table(output, pd.concat([part.reindex(columns=COLUMNS) for part in parts], ignore_index=True))
    summary = {key: discrete[key] for key in ("architecture", "optimizer", "seed", "threshold", "flow_start")}
    where = discrete["provenance"]["device"]
    summary["diverged_at"] = diverged_at
    summary["provenance"] = provenance(study_settings(config, architecture, optimizer), time.monotonic() - begun, where)
    write_json(output.with_suffix(".json"), summary)
