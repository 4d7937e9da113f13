"""All stages in one process, for machines without Snakemake."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from rodflow.config import Cell, Config
from rodflow.config.run import STUDIED_FLOWS, VARIANTS
from rodflow.errors import InvalidInput, JobsFailed
from rodflow.jobs.files import write_text
from rodflow.jobs.progress import log
from rodflow.pipeline.layout import discrete_file, flow_file, job_name, landscape_file, study_file
from rodflow.pipeline.stages.dataset import prepare
from rodflow.pipeline.stages.discrete import run_cell
from rodflow.pipeline.stages.flow import run_flow
from rodflow.pipeline.stages.landscape import run_landscape
from rodflow.pipeline.stages.precision import tabulate_study
from rodflow.pipeline.stages.precision_table import aggregate_studies
from rodflow.pipeline.stages.replication import replicate
from rodflow.pipeline.stages.tables import aggregate, warned


class Jobs:
    """Jobs done one after the other: one that fails is told and remembered, and the next one begins."""

    def __init__(self, results: Path) -> None:
        self.results = results
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
        return output.with_suffix(".json").exists() or self.do(job_name(self.results, output), work)

    def train_and_follow(
        self, config: Config, cell: Cell, flows: Iterable[str], dataset: Path, variant: str = ""
    ) -> bool:
        """Whether a cell is trained, as the config's ``variant`` has it, and followed by all of ``flows``."""
        changed, discrete = config.variant(variant), discrete_file(self.results, cell, variant).with_suffix(".h5")
        if not self.make(discrete, partial(run_cell, changed, cell, dataset, discrete)):
            return False
        outputs = {flow: flow_file(self.results, cell, flow, variant) for flow in flows}
        made = [
            self.make(output, partial(run_flow, changed, cell, flow, dataset, discrete, output))
            for flow, output in outputs.items()
        ]
        return all(made)


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
    jobs = Jobs(results)
    for cell in config.cells:
        jobs.train_and_follow(config, cell, config.flows_of(cell.optimizer), dataset)
    for cell in config.precision_studies:
        followed = [jobs.train_and_follow(config, cell, STUDIED_FLOWS, dataset, variant) for variant in VARIANTS]
        if all(followed):
            jobs.make(study_file(results, cell), partial(tabulate_study, config, cell, results))
    for landscape in config.landscapes:
        output = landscape_file(results, landscape)
        jobs.make(output, partial(run_landscape, landscape, output))
    incomplete = bool(jobs.failed)
    if jobs.do("tables", partial(aggregate, config, results, incomplete)):
        jobs.do("replication", partial(replicate, config, results))
    if config.precision_studies:
        jobs.do("precision-table", partial(aggregate_studies, config, results, incomplete))
    for line in warned(results):
        log.warning("%s", line)
    if jobs.failed:
        raise JobsFailed(jobs.failed)
