"""What of a run is finished: the cells, flows, studies and landscapes whose files are all there.

A job writes each file in one go and its summary last, and Snakemake removes what a failed job leaves behind. So what is
there is whole.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rodflow.config import Cell, Config
from rodflow.config.run import STUDIED_FLOWS, VARIANTS
from rodflow.errors import InvalidInput
from rodflow.pipeline.layout import (
    discrete_file,
    flow_file,
    grid_file,
    landscape_file,
    plane_file,
    steps_file,
    study_file,
)


@dataclass(frozen=True)
class Finished:
    """What tables, figures and page are made from, in the config's order."""

    flows: dict[Cell, list[str]]
    """The flows of each cell that has a discrete run; without a run its flows are measured against nothing."""
    studies: list[Cell]
    landscapes: list[str]
    planes: list[Cell]
    """The cells that have an animation, with all the flows that move in it."""

    def of(self, architecture: str, optimizer: str | None = None) -> dict[Cell, list[str]]:
        """The cells of an architecture, or of one optimizer on it, with their flows."""
        return {
            cell: flows
            for cell, flows in self.flows.items()
            if cell.architecture == architecture and optimizer in (None, cell.optimizer)
        }

    def drawn_studies(self, config: Config) -> list[Cell]:
        """The studies that have a figure: those of an architecture's first seed."""
        return [cell for cell in self.studies if cell.seed == config.seeds_for(cell.architecture)[0]]


def everything(config: Config) -> Finished:
    """All that a config asks for, there or not: whoever reads a file that is missing refuses it by name."""
    flows = {cell: [*config.flows_of(cell.optimizer)] for cell in config.cells}
    return Finished(flows, config.precision_studies, [*config.landscapes], config.animations)


def on_disk(config: Config, results: str | Path) -> Finished:
    """What lies below ``results`` and was made with the settings of ``config``, a flow from the run beside it.

    Raises: ``InvalidInput`` if no flow is finished, or if a summary cannot be read.
    """
    flows: dict[Cell, list[str]] = {}
    for cell in config.cells:
        trained, followed = of_cell(config, results, cell, config.flows_of(cell.optimizer))
        if trained:
            flows[cell] = followed
    if not any(flows.values()):
        raise InvalidInput("incomplete", True, f"a run of which some flow is finished (none below {results})")
    studies = [
        cell for cell in config.precision_studies if made([study_file(results, cell)], config.study_settings(cell))
    ]
    landscapes = [
        name
        for name in config.landscapes
        if made([landscape_file(results, name), grid_file(landscape_file(results, name))])
    ]
    moving = [cell for cell in config.animations if {*config.animated_flows(cell.optimizer)} <= {*flows.get(cell, [])}]
    planes = [cell for cell in moving if cell in flows and plane_made(config, results, cell)]
    return Finished(flows, studies, landscapes, planes)


def found(config: Config, results: str | Path, incomplete: bool) -> Finished:
    """What is :func:`on_disk` where a run may be ``incomplete``, else :func:`everything`."""
    return on_disk(config, results) if incomplete else everything(config)


def missing(config: Config, there: Finished, results: str | Path) -> list[Path]:
    """The files that the config asks for and that are not ``there``; of a cell without a run, only the run's."""
    files = []
    for cell in config.cells:
        if cell not in there.flows:
            files.append(discrete_file(results, cell))
            continue
        asked = config.flows_of(cell.optimizer)
        files += [flow_file(results, cell, flow) for flow in asked if flow not in there.flows[cell]]
    for cell in config.precision_studies:
        if cell not in there.studies:
            files += _missing_of_study(config, cell, results) or [study_file(results, cell)]
    files += [
        plane_file(results, cell) for cell in config.animations if cell in there.flows and cell not in there.planes
    ]
    return files + [landscape_file(results, name) for name in config.landscapes if name not in there.landscapes]


def _missing_of_study(config: Config, cell: Cell, results: str | Path) -> list[Path]:
    """The runs and flows that a precision study still waits for."""
    files = []
    for variant in VARIANTS:
        trained, followed = of_cell(config, results, cell, STUDIED_FLOWS, variant)
        if trained:
            files += [flow_file(results, cell, flow, variant) for flow in STUDIED_FLOWS if flow not in followed]
        else:
            files.append(discrete_file(results, cell, variant))
    return files


def require_no_fewer_cells(config: Config, results: str | Path, overwrite: bool = False) -> None:
    """Check that the tables below ``results`` have no cells, with numbers, that tables of ``config`` would not have.

    Raises: ``InvalidInput`` if they do, unless they may be ``overwrite``-n.
    """
    table = Path(results, "tables", "thresholds.csv")
    if overwrite or not table.exists():
        return
    with open(table, encoding="utf-8", errors="replace", newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row.get("missing")]
    kept = {f"{row.get('architecture')}-{row.get('optimizer')}-seed{row.get('seed')}" for row in rows}
    lost = sorted(kept - set(map(str, config.cells)))
    if lost:
        some = ", ".join(lost[:3]) + (f" and {len(lost) - 3} more" if len(lost) > 3 else "")
        allowed = f"another name, as in run=other, or overwrite=true: tables of this config lose {some} of {results}"
        raise InvalidInput("run", config.run, allowed)


def made(files: list[Path], settings: dict[str, Any] | None = None) -> str:
    """When ``files``, whose summary lies beside the first, were finished; empty if one is missing or of other settings.

    Landscapes have no settings in a config.
    """
    from rodflow.jobs.files import read_model  # here: the workflow needs neither, unless a run may be incomplete
    from rodflow.measures.summaries import Made

    summary = files[0].with_suffix(".json")
    if not all(file.exists() for file in (*files, summary)):
        return ""
    made = read_model(summary, Made).provenance
    return made.finished if settings in (None, made.config) else ""


def of_cell(
    config: Config,
    results: str | Path,
    cell: Cell,
    flows: Iterable[str],
    variant: str = "",
) -> tuple[bool, list[str]]:
    """Whether the run of a cell is finished, and which of ``flows`` are: a flow older than its run is not."""
    config = config.variant(variant)
    records = discrete_file(results, cell, variant)
    trained = made([records, steps_file(records)], config.discrete_settings(cell))
    if not trained:
        return False, []
    times = {flow: made([flow_file(results, cell, flow, variant)], config.flow_settings(cell, flow)) for flow in flows}
    return True, [flow for flow, finished in times.items() if finished and finished >= trained]


def plane_made(config: Config, results: str | Path, cell: Cell) -> bool:
    """Whether a cell's plane is finished; one older than the cell's run is not."""
    trained = made([discrete_file(results, cell)], config.discrete_settings(cell))
    finished = made([plane_file(results, cell)], config.plane_settings(cell))
    return bool(trained) and finished >= trained
