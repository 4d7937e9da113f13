"""What of a run is finished: the cells, flows, studies and landscapes whose files are all there.

A job writes each file in one go and its summary last, and Snakemake removes what a failed job leaves behind. So what is
there is whole.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from rodflow.config import Cell, Config
from rodflow.errors import InvalidInput
from rodflow.pipeline.job import Job, of_cell


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

    @property
    def jobs(self) -> list[Job]:
        """The jobs whose files these are."""
        jobs = [job for cell, flows in self.flows.items() for job in of_cell(cell, flows)]
        jobs += [Job("study", cell) for cell in self.studies] + [Job("plane", cell) for cell in self.planes]
        return jobs + [Job("landscape", name=name) for name in self.landscapes]

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
    asked = everything(config)

    def there(job: Job) -> bool:
        return bool(job.finished(config, results))

    flows = {
        cell: [flow for flow in names if there(Job("flow", cell, flow))]
        for cell, names in asked.flows.items()
        if there(Job("discrete", cell))
    }
    if not any(flows.values()):
        raise InvalidInput("incomplete", True, f"a run of which some flow is finished (none below {results})")
    studies = [cell for cell in asked.studies if there(Job("study", cell))]
    landscapes = [name for name in asked.landscapes if there(Job("landscape", name=name))]
    moving = [cell for cell in asked.planes if {*config.animated_flows(cell.optimizer)} <= {*flows.get(cell, [])}]
    return Finished(flows, studies, landscapes, [cell for cell in moving if there(Job("plane", cell))])


def found(config: Config, results: str | Path, incomplete: bool) -> Finished:
    """What is :func:`on_disk` where a run may be ``incomplete``, else :func:`everything`."""
    return on_disk(config, results) if incomplete else everything(config)


def missing(config: Config, results: str | Path) -> list[Job]:
    """The jobs whose files the config asks for and that are not there; of what waits for another job, only that."""
    jobs = everything(config).jobs
    return list(dict.fromkeys(job for asked in jobs for job in asked.waits_for(config, results)))


def require_no_fewer_cells(config: Config, results: str | Path, overwrite: bool = False) -> None:
    """Refuse to regenerate tables if that would drop cells that have results.

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
