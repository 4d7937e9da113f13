"""The reference, a finished run in a small folder that is committed: what its files are and what stands in them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from rodflow.config import Config
from rodflow.config.schema import Data
from rodflow.measures.summaries import FlowSummary, Provenance, RunSummary, Summary
from rodflow.reference.tolerances import CHECK_RUN, CHECKED_CELLS, TOLERANCES
from rodflow.report import markdown
from rodflow.report.replication import FULL, given_images, scale

LARGEST_FOLDER = 8_000_000
"""Bytes of the whole folder, which everyone who clones the project gets."""
TABLES = ("errors.csv", "thresholds.csv", "fidelity.csv", "comparison.csv", "precision.csv")
"""The run's own tables, copied byte by byte; the last where it has precision studies."""
FILES = {
    "config.yaml": "the run's config, every default written out; `data.file` is left to whoever has the images",
    "cells.csv": "a row per cell: weights, examples, steps, learning rate, threshold, scale, device, seconds",
    "errors.csv": "a row per cell and flow: errors, ratios to both stable flows, costs, where it diverged",
    "thresholds.csv": "a row per cell: threshold, sharpness of run and flows in the edge window, onset",
    "fidelity.csv": "a row per cell and flow: before the edge, sharpness, loss, rod, onset against the run's",
    "comparison.csv": "a row per flow of the cells that a competing model ran on",
    "precision.csv": "a row per cell of `precision_cells` and precision: the run's onset and overshoot, flows' errors",
    "discrete.parquet": "every run's records: loss, gradient norm, effective sharpness, oscillation",
    "flows.parquet": "every flow's series: error, losses, sharpness, rod, oscillation, cost",
    "figures/": "the run's figures",
    "provenance.json": "commits, versions, machine, seconds, digest of the images",
}


class Place(Summary):
    """Where, and by which code, some of the reference's jobs ran."""

    commit: str | None
    versions: dict[str, str | None]
    platform: str
    processors: int | None
    device: str
    jobs: int
    seconds: float


class Origin(Summary):
    """provenance.json: the digest of the images, the places of the jobs (that of most jobs first), their time."""

    images: str
    made: list[Place]
    seconds: float
    last_finished: str


def cell_row(config: Config, run: RunSummary, flows: Iterable[FlowSummary]) -> dict[str, Any]:
    """One row of cells.csv, from the summaries of a cell's discrete run and of its flows; seconds are wall time."""
    return {
        **run.cell._asdict(),
        "parameters": run.parameters,
        "examples": config.data.examples,
        "steps": config.steps,
        "learning_rate": config.learning_rates[run.architecture][run.optimizer],
        "threshold": run.threshold,
        "flow_start": run.flow_start,
        "diverged_at": run.diverged_at,
        "scale": scale(config, [run.parameters]),
        "device": run.provenance.device,
        "seconds_discrete": run.provenance.wall_time_seconds,
        "seconds_flows": round(sum(flow.provenance.wall_time_seconds for flow in flows), 3),
    }


def cells(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """cells.csv from its rows."""
    return pd.DataFrame(rows).astype({"diverged_at": "Int64"})


def origin(jobs: list[Provenance], images: str) -> Origin:
    """provenance.json, from the provenance of every discrete run and flow and the digest of the images."""
    place_of = {"commit", "versions", "platform", "processors", "device"}
    places: dict[str, Place] = {}
    for job in jobs:
        place = job.model_dump(include=place_of)
        key = json.dumps(place, sort_keys=True)
        before = places.get(key, Place(**place, jobs=0, seconds=0.0))
        seconds = round(before.seconds + job.wall_time_seconds, 3)
        places[key] = before.model_copy(update={"jobs": before.jobs + 1, "seconds": seconds})
    return Origin(
        images=images,
        made=[places[key] for key in sorted(places, key=lambda key: (-places[key].jobs, key))],
        seconds=round(sum(job.wall_time_seconds for job in jobs), 3),
        last_finished=max(job.finished for job in jobs),
    )


def machines(made: list[Place]) -> str:
    """The machines and commits of the jobs of provenance.json, as part of a sentence."""
    return "; ".join(
        f"{place.jobs} discrete runs and flows at commit {place.commit or 'unknown'} "
        f"on {place.processors} processors, device {place.device}, {place.platform}, "
        f"Python {place.versions['python']}, torch {place.versions['torch']}"
        for place in made
    )


def readme(config: Config, cells: pd.DataFrame, origin: Origin) -> str:
    """README.md of the folder."""
    data, weights, foreign = config.data, cells["parameters"], given_images(config)
    names = ", ".join(config.flows)
    again = " and ".join("-".join(cell) for cell in CHECKED_CELLS)
    given = " ".join(["--config", *foreign]) if foreign else ""
    folder = "reference" if config.run == "reference" else f"reference/{config.run}"
    run = f"snakemake --cores 2 --configfile {folder}/config.yaml {given}".rstrip()
    collect = f"snakemake reference --cores 2 --configfile {folder}/config.yaml {given}".rstrip()
    check = "make reference-check DATA=my.npz" if foreign else collect.replace("reference", "reference-check", 1)
    tolerances = [{"of": of, "number": f"`{name}`", "tolerance": t.text} for (of, name), t in TOLERANCES.items()]
    held = [name for name in FILES if config.precision_studies or name != TABLES[-1]]
    files = [{"file": f"`{name}`", "holds": FILES[name]} for name in held]
    grid = f"{len(config.architectures)} architectures x {len(config.optimizers)} optimizers, {config.seeds_named}"
    checking = f"""## Check it

```sh
{check}
```

compares the settings with the config's and the images with the run's, runs {again} again
in `results/{CHECK_RUN}`, which takes minutes, and compares with the numbers here:

{markdown.table(tolerances)}

Rounding differs between processors. What does not oscillate comes back to a few percent; the drift-free rod flow
follows the run's own oscillation until rounding has parted them, and its mean error depends on when that was.

"""
    return f"""# The run `{config.run}`

{len(cells)} cells ({grid}), each a discrete full-batch run and its flows: {names}.
Collected by `snakemake reference` from what the run left; nothing here is written by hand.

**Scale: {scale(config, weights)}.** {data.examples:,} examples of {data.dataset}, {config.steps:,} steps, networks of
{weights.min():,} to {weights.max():,} weights. *Full* would be {FULL["dataset"]} with at least {FULL["examples"]:,}
examples, {FULL["steps"]:,} steps and {FULL["weights"]:,} weights in each network.

**Hardware.** {origin.seconds / 3600:.2f} hours of jobs in all: {machines(origin.made)}.

## Make it again

```sh
{run}
{collect}
```

{_making(data) if foreign else ""}`images` in `provenance.json` is the sha256 of images and labels as the run used them.

{checking if folder == "reference" else ""}## Files

{markdown.table(files)}
"""


def _making(data: Data) -> str:
    """What an .npz of CIFAR-10 holds, and how it is made."""
    named = "" if data.classes is None else f" of classes {', '.join(map(str, data.classes))}"
    return f"""`my.npz` holds uint8 `x_train`, `x_test` `[n, 3, 32, 32]` and integer `y_train`, `y_test` `[n]`, of which
the first {data.examples} training images{named} are those of CIFAR-10 (Krizhevsky, 2009) in its archive's order. From
`cifar-10-binary.tar.gz` of <https://www.cs.toronto.edu/~kriz/cifar.html>:

```python
import tarfile

import numpy as np


def part(name):
    with tarfile.open("cifar-10-binary.tar.gz") as archive:
        content = archive.extractfile(f"cifar-10-batches-bin/{{name}}.bin").read()
    rows = np.frombuffer(content, np.uint8).reshape(-1, 3073)
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]


(x_train, y_train), (x_test, y_test) = part("data_batch_1"), part("test_batch")
np.savez("my.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
```

"""
