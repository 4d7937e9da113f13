"""What of a run is finished: the cells, flows, studies and landscapes whose files are all there.

A job writes each file in one go and its summary last, and Snakemake removes what a failed job leaves behind, so that
what is there is whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rodflow.config import Config
from rodflow.errors import InvalidInput
from rodflow.layout import discrete_file, flow_file, grid_file, landscape_file, precision_file
from rodflow.precision import study_settings

Cell = tuple[str, str, int]
"""Architecture, optimizer and seed."""


@dataclass(frozen=True)
class Finished:
    """What tables, figures and page are made from, in the config's order."""

    flows: dict[Cell, list[str]]
    """The flows of each cell that has a discrete run; without one its flows are measured against nothing."""
    studies: list[Cell]
    landscapes: list[str]

    def of(self, architecture: str, optimizer: str | None = None) -> dict[Cell, list[str]]:
        """The cells of an architecture, or of one optimizer on it, with their flows."""
        return {
            cell: flows
            for cell, flows in self.flows.items()
            if cell[0] == architecture and optimizer in (None, cell[1])
        }

    @property
    def first_seeds(self) -> dict[Cell, list[str]]:
        """Of cells that differ in seed only, the first, with its flows."""
        firsts = {(a, o): (a, o, seed) for a, o, seed in reversed(self.flows)}
        return {cell: flows for cell, flows in self.flows.items() if cell in firsts.values()}

    def drawn_studies(self, config: Config) -> list[tuple[str, str]]:
        """Architecture and optimizer of each study that has a figure: that of the first seed."""
        return [(a, o) for a, o, seed in self.studies if seed == config.seeds_for(a)[0]]


def everything(config: Config) -> Finished:
    """All that a config asks for, there or not: whoever reads a file that is missing refuses it by name."""
    flows: dict[Cell, list[str]] = {cell: [*config.flows_of(cell[1])] for cell in config.cells}
    return Finished(flows, config.precision_studies, [*config.landscapes])


def on_disk(config: Config, results: str | Path) -> Finished:
    """What lies below ``results`` and was made with the settings of ``config``, a flow from the run beside it.

    Raises: ``InvalidInput`` if that is no flow at all, or if a summary cannot be read.
    """
    flows: dict[Cell, list[str]] = {}
    for cell in config.cells:
        file = discrete_file(results, *cell)
        trained = _made([file, file.with_suffix(".h5")], config.discrete_settings(*cell[:2]))
        if trained:
            flows[cell] = []
        for flow in config.flows_of(cell[1]) if trained else []:
            made = _made([flow_file(results, *cell, flow)], config.flow_settings(*cell[:2], flow))
            if made and made >= trained:  # an older one is of a run that has been trained again since
                flows[cell].append(flow)
    if not any(flows.values()):
        raise InvalidInput("incomplete", True, f"a run of which some flow is finished (none below {results})")
    studies = [
        cell
        for cell in config.precision_studies
        if _made([precision_file(results, *cell)], study_settings(config, *cell[:2]))
    ]
    landscapes = [
        name
        for name in config.landscapes
        if _made([landscape_file(results, name), grid_file(landscape_file(results, name))])
    ]
    return Finished(flows, studies, landscapes)


def found(config: Config, results: str | Path, incomplete: bool) -> Finished:
    """What is :func:`on_disk` where a run may be ``incomplete``, else :func:`everything`."""
    return on_disk(config, results) if incomplete else everything(config)


def _made(files: list[Path], settings: dict[str, Any] | None = None) -> str:
    """When ``files``, whose summary lies beside the first, were finished; empty if one is missing or of other settings.

    Landscapes have no settings in a config. Times are written so that later ones compare as larger.
    """
    from rodflow.storage import read_json  # here: the workflow does without, unless it is asked for an incomplete run

    summary = files[0].with_suffix(".json")
    if not all(file.exists() for file in (*files, summary)):
        return ""
    made = read_json(summary, provenance=dict)["provenance"]
    return str(made.get("finished")) if settings in (None, made.get("config")) else ""


def missing(config: Config, there: Finished, results: str | Path) -> list[Path]:
    """The files that the config asks for and that are not ``there``; of a cell without a run, only the run's."""
    files = []
    for cell in config.cells:
        if cell not in there.flows:
            files.append(discrete_file(results, *cell))
            continue
        files += [flow_file(results, *cell, f) for f in config.flows_of(cell[1]) if f not in there.flows[cell]]
    files += [precision_file(results, *cell) for cell in config.precision_studies if cell not in there.studies]
    return files + [landscape_file(results, name) for name in config.landscapes if name not in there.landscapes]


def job(file: Path) -> str:
    """What the job that makes ``file`` is known by, such as ``discrete/mlp-gd-seed0``; its log lies there too."""
    return f"{file.parent.name}/{file.stem}"
