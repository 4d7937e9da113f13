"""All stages in one process, for machines without Snakemake."""

from __future__ import annotations

from pathlib import Path

from rodflow.config import Config
from rodflow.layout import discrete_file, flow_file, landscape_file, precision_file
from rodflow.stages.dataset import prepare
from rodflow.stages.discrete import run_cell
from rodflow.stages.flow import run_flow
from rodflow.stages.landscape import run_landscape
from rodflow.stages.precision import study
from rodflow.stages.precision_table import aggregate_studies
from rodflow.stages.replication import replicate
from rodflow.stages.tables import aggregate
from rodflow.storage import write_text


def run_everything(config: Config, root: Path) -> None:
    """All stages but the figures, files below ``root/results/<run>``, laid out as the workflow does.

    A cell whose files exist is not run again; there is no check that they belong to this config (Snakemake has one).
    """
    results = root / "results" / config.run
    write_text(results / "config.yaml", config.to_yaml())
    dataset = results / "dataset.npz"
    if not dataset.exists():
        prepare(config, dataset)
    for cell in config.cells:
        discrete = discrete_file(results, *cell).with_suffix(".h5")
        if not discrete.with_suffix(".json").exists():
            run_cell(config, *cell, dataset, discrete)
        for flow in config.flows_of(cell[1]):
            output = flow_file(results, *cell, flow)
            if not output.with_suffix(".json").exists():
                run_flow(config, *cell, flow, dataset, discrete, output)
    aggregate(config, results)
    replicate(config, results)
    for cell in config.precision_studies:
        output = precision_file(results, *cell)
        if not output.with_suffix(".json").exists():
            study(config, *cell, dataset, output)
    if config.precision_studies:
        aggregate_studies(config, results)
    for landscape in config.landscapes:
        output = landscape_file(results, landscape)
        if not output.with_suffix(".json").exists():
            run_landscape(landscape, output)
