"""All stages but the figures, one after the other in this process."""

from pathlib import Path

from helpers.checkout import smoke
from rodflow import config as configuration
from rodflow.config import Cell, Config
from rodflow.config.run import STUDIED_FLOWS, VARIANTS
from rodflow.jobs.files import write_text
from rodflow.pipeline.job import Job
from rodflow.pipeline.stages.dataset import prepare
from rodflow.pipeline.stages.discrete import run_cell
from rodflow.pipeline.stages.flow import run_flow
from rodflow.pipeline.stages.landscape import run_landscape
from rodflow.pipeline.stages.plane import run_plane
from rodflow.pipeline.stages.precision import tabulate_study
from rodflow.pipeline.stages.precision_table import aggregate_studies
from rodflow.pipeline.stages.replication import replicate
from rodflow.pipeline.stages.tables import aggregate

SMOKE = smoke(landscapes=[], precision_cells=[])


def run(tmp_path: Path, **changes) -> Path:
    """A run of the smoke config with changes."""
    return run_everything(configuration.parse(SMOKE | changes), tmp_path)


def run_everything(config: Config, root: Path) -> Path:
    """Make the files of a run below ``root`` that the workflow makes; the folder of its results."""
    results = root / "results" / config.run
    write_text(results / "config.yaml", config.to_yaml())
    prepare(config, results / "dataset.npz")
    for cell in config.cells:
        run = follow(config, results, cell, config.flows_of(cell.optimizer))
        if cell in config.animations:
            run_plane(config, cell, results / "dataset.npz", run, Job("plane", cell).file(results))
    for cell in config.precision_studies:
        study(config, results, cell)
    for landscape in config.landscapes:
        run_landscape(landscape, Job("landscape", name=landscape).file(results))
    aggregate(config, results)
    replicate(config, results)
    if config.precision_studies:
        aggregate_studies(config, results)
    return results


def follow(config: Config, results: Path, cell: Cell, flows: list[str], variant: str = "") -> Path:
    """Train a cell, and integrate flows from its run; the run's file."""
    varied, images = config.variant(variant), results / "dataset.npz"
    run = Job("discrete", cell, variant=variant).file(results, ".h5")
    run_cell(varied, cell, images, run)
    for flow in flows:
        run_flow(varied, cell, flow, images, run, Job("flow", cell, flow, variant).file(results))
    return run


def study(config: Config, results: Path, cell: Cell) -> None:
    """The precision study of a cell."""
    for variant in VARIANTS:
        follow(config, results, cell, STUDIED_FLOWS, variant)
    tabulate_study(config, cell, results)
