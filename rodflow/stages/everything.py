"""All stages in one process, for machines without Snakemake."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from rodflow.config import Config
from rodflow.errors import InvalidInput, JobsFailed
from rodflow.finished import job
from rodflow.layout import discrete_file, flow_file, landscape_file, precision_file
from rodflow.progress import log
from rodflow.stages.dataset import prepare
from rodflow.stages.discrete import run_cell
from rodflow.stages.flow import run_flow
from rodflow.stages.landscape import run_landscape
from rodflow.stages.precision import study
from rodflow.stages.precision_table import aggregate_studies
from rodflow.stages.replication import replicate
from rodflow.stages.tables import aggregate
from rodflow.storage import write_text


class Jobs:
    """Jobs done one after the other: one that fails is told and remembered, and the next one begins."""

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}

    def do(self, name: str, work: Callable[[], None]) -> bool:
        """Whether ``work`` was done; wrong input, a file that cannot be used and lack of memory make it fail."""
        try:
            work()
        except (InvalidInput, OSError, MemoryError) as error:
            self.failed[name] = str(error) or type(error).__name__
            log.error("%s failed: %s", name, self.failed[name])
        return name not in self.failed

    def make(self, output: Path, work: Callable[[], None]) -> bool:
        """Whether ``output`` is there, its summary beside it: from before, or from ``work``."""
        return output.with_suffix(".json").exists() or self.do(job(output), work)


def run_everything(config: Config, root: Path) -> None:
    """All stages but the figures, files below ``root/results/<run>``, laid out as the workflow does.

    A cell whose files exist is not run again; there is no check that they belong to this config (Snakemake has one).
    If a cell's run or a flow fails, all that does not need it goes on, and the tables are of what is finished.

    Raises: ``JobsFailed``, at the end, naming what failed.
    """
    results = root / "results" / config.run
    write_text(results / "config.yaml", config.to_yaml())
    dataset = results / "dataset.npz"
    if not dataset.exists():
        prepare(config, dataset)
    jobs = Jobs()
    for cell in config.cells:
        discrete = discrete_file(results, *cell).with_suffix(".h5")
        if jobs.make(discrete, partial(run_cell, config, *cell, dataset, discrete)):
            for flow in config.flows_of(cell[1]):
                output = flow_file(results, *cell, flow)
                jobs.make(output, partial(run_flow, config, *cell, flow, dataset, discrete, output))
    for cell in config.precision_studies:
        output = precision_file(results, *cell)
        jobs.make(output, partial(study, config, *cell, dataset, output))
    for landscape in config.landscapes:
        output = landscape_file(results, landscape)
        jobs.make(output, partial(run_landscape, landscape, output))
    incomplete = bool(jobs.failed)
    if jobs.do("tables", partial(aggregate, config, results, incomplete)):
        jobs.do("replication", partial(replicate, config, results))
    if config.precision_studies:
        jobs.do("precision-table", partial(aggregate_studies, config, results, incomplete))
    if jobs.failed:
        raise JobsFailed(jobs.failed)
