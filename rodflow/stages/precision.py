"""prepared images -> one cell trained and followed in every variant of the precision study."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pandas as pd

from rodflow.checkpoint import fingerprint
from rodflow.config import Config
from rodflow.parts import Parts
from rodflow.precision import FLOWS, require_rate, study_settings, variants
from rodflow.problems import resolve_device
from rodflow.provenance import provenance
from rodflow.stages.discrete import run_cell
from rodflow.stages.flow import run_flow
from rodflow.storage import read_json, read_table, refused_as, write_json, write_table
from rodflow.yardsticks import STUDY_COLUMNS

COLUMNS = ["variant", "flow", *STUDY_COLUMNS]


def study(config: Config, architecture: str, optimizer: str, seed: int, dataset: Path, output: Path) -> None:
    """Train a cell in every variant and integrate the study's flows from each variant's own window.

    ``output`` (.parquet) has a row a variant, flow (the run itself is ``discrete``) and record, with ``COLUMNS``: the
    step, the effective sharpness, the run's oscillation or the flow's rod length, and the flow's error, both lengths
    in weight space. Beside it (.json) lie the threshold, the flows' start, divergences and the provenance. Until it is
    there, ``<output>.parts`` keeps the finished runs and flows: broken off, a study goes on with the next one.

    Raises: ``InvalidInput`` for a cell without a learning rate, or too few steps for a record after the start.
    """
    begun = time.monotonic()
    require_rate(config, architecture, optimizer)
    cell = (architecture, optimizer, seed)
    settings, device = study_settings(config, architecture, optimizer), str(resolve_device(config.device))
    with refused_as(dataset, "a data set prepared by the dataset stage"):
        key = fingerprint({"cell": cell, "settings": settings, "device": device}, __name__, [dataset])
    tables, diverged_at, discrete = [], {}, {}
    with Parts(parts_folder(output), key) as parts:
        for variant, changed in variants(config).items():
            run = parts.folder / variant / "discrete.h5"
            parts.make(
                [f"{variant}/discrete{suffix}" for suffix in (".h5", ".parquet", ".json")],
                partial(run_cell, changed, *cell, dataset, run),
            )
            discrete = read_json(run.with_suffix(".json"))
            tables.append(read_table(run.with_suffix(".parquet")).assign(variant=variant, flow="discrete"))
            diverged_at[variant] = {"discrete": discrete["diverged_at"]}
            for flow in FLOWS:
                file = run.with_name(f"{flow}.parquet")
                parts.make(
                    [f"{variant}/{flow}.parquet", f"{variant}/{flow}.json"],
                    partial(run_flow, changed, *cell, flow, dataset, run, file),
                )
                # a flow's table also holds the run's oscillation, which stands in the rows of the run
                tables.append(read_table(file).drop(columns="oscillation").assign(variant=variant, flow=flow))
                diverged_at[variant][flow] = read_json(file.with_suffix(".json"))["diverged_at"]
        write_table(output, pd.concat([table.reindex(columns=COLUMNS) for table in tables], ignore_index=True))
        summary = {name: discrete[name] for name in ("architecture", "optimizer", "seed", "threshold", "flow_start")}
        summary["diverged_at"] = diverged_at
        summary["provenance"] = provenance(settings, time.monotonic() - begun, discrete["provenance"]["device"])
        write_json(output.with_suffix(".json"), summary)


def parts_folder(output: Path) -> Path:
    """Where the study that makes ``output`` keeps its parts until it is done: beside it."""
    return output.with_name(f"{output.stem}.parts")
