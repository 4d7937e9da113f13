"""the reference, its images -> two of its cells run again, compared with what is committed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd

from rodflow import config as configuration
from rodflow.config import CELL_COLUMNS, Cell, Config
from rodflow.errors import InvalidInput
from rodflow.jobs.files import read_json, read_model, read_table, write_table
from rodflow.measures.summaries import RunSummary
from rodflow.pipeline.job import Job
from rodflow.pipeline.stages.dataset import prepare
from rodflow.pipeline.stages.discrete import run_cell
from rodflow.pipeline.stages.flow import run_flow
from rodflow.pipeline.stages.tables import aggregate
from rodflow.reference.contents import Origin
from rodflow.reference.tolerances import compared, narrowed, numbers, require_same_settings
from rodflow.report.replication import given_images


def check(config: Config, reference: Path, root: Path) -> pd.DataFrame:
    """Run the cheap cells of the folder ``reference`` again, in ``root/results/reference-check``.

    Returns: what is also written there as reference_check.csv, a row a number: ``cell``, ``flow`` (or ``run``),
    ``quantity``, ``committed``, ``recomputed``, ``tolerance``, ``agrees``.

    Raises: ``InvalidInput`` if there is no reference, if its settings are not the ``config``'s, or without its images.
    """
    if not (reference / "config.yaml").is_file():
        allowed = "a folder with config.yaml and the rest, made by `snakemake reference` from a finished run"
        raise InvalidInput("reference", str(reference), f"{allowed} (there is none)")
    committed = configuration.load(reference / "config.yaml")
    require_same_settings(config, committed)
    _require_file(config)
    again = narrowed(committed, config.data.file)
    results = root / "results" / again.run
    shutil.rmtree(results, ignore_errors=True)
    _prepare_same_images(again, results / "dataset.npz", reference / "provenance.json")
    _run(again, results)
    cells = read_table(reference / "cells.csv", ["seed", "parameters"], ["architecture", "optimizer"])
    rows = []
    for cell in again.cells:
        summary = read_model(Job("discrete", cell).file(results, ".json"), RunSummary)
        old = _numbers(reference, cell, int(_of(cells, cell)["parameters"].iloc[0]))
        new = _numbers(results / "tables", cell, summary.parameters)
        rows += compared(str(cell), old, new, again.record_interval)
    table = pd.DataFrame(rows)
    write_table(results / "reference_check.csv", table)
    return table


def _run(config: Config, results: Path) -> None:
    """The runs, flows and tables of the config's cells, from the images that lie in ``results``."""
    images = results / "dataset.npz"
    for cell in config.cells:
        run = Job("discrete", cell).file(results, ".h5")
        run_cell(config, cell, images, run)
        for flow in config.flows_of(cell.optimizer):
            run_flow(config, cell, flow, images, run, Job("flow", cell, flow).file(results))
    aggregate(config, results)


def _require_file(config: Config) -> None:
    """Refuse to look for images that do not come with the project elsewhere than in a file."""
    if given_images(config) and config.data.file is None:
        raise InvalidInput(
            "data.file",
            None,
            "an .npz of CIFAR-10: uint8 x_train, x_test [n, 3, 32, 32], integer y_train, y_test [n], in the archive's "
            f"order; reference/README.md tells how to make one. Give it with --config {given_images(config)[0]}, "
            "or as make reference-check DATA=my.npz",
        )


def _prepare_same_images(config: Config, dataset: Path, provenance: Path) -> None:
    wanted = read_model(provenance, Origin).images
    prepare(config, dataset)
    images = read_json(dataset.with_suffix(".json"))["images"]
    if images != wanted:
        data = config.data
        named = f"the first {data.examples} training images of {data.dataset}" + (
            "" if data.classes is None else f" in classes {data.classes}"
        )
        raise InvalidInput(
            "data.file", data.file, f"one with the reference's images, {named}: sha256 {wanted[:16]}, not {images[:16]}"
        )


def _numbers(folder: Path, cell: Cell, parameters: int) -> dict[tuple[str, str], float]:
    """The numbers of a cell in the tables of ``folder`` that are compared."""
    names = ["architecture", "optimizer"]
    errors = read_table(folder / "errors.csv", ["seed", "error_eos_mean", "ratio_to_stable"], [*names, "flow"])
    thresholds = read_table(folder / "thresholds.csv", ["seed", "threshold"], names)
    return numbers(_of(errors, cell), _of(thresholds, cell), parameters)


def _of(table: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    return table[(table[CELL_COLUMNS] == list(cell)).all(axis=1)]
