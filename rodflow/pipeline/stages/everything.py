"""All stages, for machines without Snakemake."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from rodflow.config import Cell, Config
from rodflow.config.run import STUDIED_FLOWS, VARIANTS
from rodflow.errors import InvalidInput, JobsFailed, JobsLeft
from rodflow.jobs.files import write_text
from rodflow.jobs.pool import Job, Outcome, attempt, do
from rodflow.jobs.progress import log
from rodflow.pipeline.finished import made, of_cell, on_disk, plane_made, require_no_fewer_cells
from rodflow.pipeline.layout import (
    discrete_file,
    flow_file,
    grid_file,
    job_name,
    landscape_file,
    plane_file,
    study_file,
)
from rodflow.pipeline.own import require_parts
from rodflow.pipeline.stages.dataset import prepare
from rodflow.pipeline.stages.discrete import run_cell
from rodflow.pipeline.stages.flow import run_flow
from rodflow.pipeline.stages.landscape import run_landscape
from rodflow.pipeline.stages.plane import run_plane
from rodflow.pipeline.stages.precision import tabulate_study
from rodflow.pipeline.stages.precision_table import aggregate_studies
from rodflow.pipeline.stages.replication import replicate
from rodflow.pipeline.stages.tables import aggregate, warned


def run_everything(
    config: Config, root: Path, processes: int = 1, seconds: float | None = None, overwrite: bool = False
) -> None:
    """All stages but the figures, files below ``root/results/<run>``, laid out as the workflow does.

    What is there is kept where its summary says that it was made with these settings, a flow from the run beside it;
    all else is made again. (Code that changed is not seen; Snakemake sees it.) So many ``processes`` at once work on
    it. If a cell's run or a flow fails, all that does not need it goes on. After ``seconds`` what runs keeps a
    checkpoint, from which a later call goes on. The tables are of what is finished.

    Raises: ``JobsFailed``, at the end, naming what failed; ``JobsLeft``, if nothing did, where the time was over.
    ``InvalidInput``, before anything is written, where tables would lose cells, unless they are to be ``overwrite``-n.
    """
    results = root / "results" / config.run
    require_no_fewer_cells(config, results, overwrite)
    write_text(results / "config.yaml", config.to_yaml())
    jobs = [job for cell in config.cells for job in jobs_left(config, results, cell, config.flows_of(cell.optimizer))]
    for cell in config.precision_studies:
        for variant in VARIANTS:
            jobs += jobs_left(config, results, cell, STUDIED_FLOWS, variant)
    if jobs:
        require_parts(config)
        _require_images(config, results / "dataset.npz")
    for landscape in config.landscapes:
        output = landscape_file(results, landscape)
        if not _there([output, grid_file(output)]):
            jobs.append(Job(job_name(results, output), partial(run_landscape, landscape, output)))
    outcome = do(jobs, processes, seconds)
    _tabulate(config, results, outcome)
    if outcome.failed:
        raise JobsFailed(outcome.failed)
    if outcome.left:
        raise JobsLeft(outcome.left)


def _there(files: list[Path], settings: dict[str, Any] | None = None) -> str:
    """When ``files`` were finished; empty where they are to be made again, as for a summary that cannot be read."""
    try:
        return made(files, settings)
    except InvalidInput:
        return ""


def _require_images(config: Config, dataset: Path) -> None:
    if not _there([dataset], config.data_settings):
        prepare(config, dataset)


def jobs_left(config: Config, results: Path, cell: Cell, flows: Iterable[str], variant: str = "") -> list[Job]:
    """The jobs that are left of a cell, as the config's ``variant`` has it: its run with all ``flows``, or some flows.

    With the plane of a cell that is animated.

    The run's .h5 is asked for only where a flow is to be made from it.
    """
    changed, dataset = config.variant(variant), results / "dataset.npz"
    records = discrete_file(results, cell, variant)
    discrete = records.with_suffix(".h5")
    trained, followed = of_cell(config, results, cell, flows, variant, _there)

    def follow(flow: str) -> Job:
        output = flow_file(results, cell, flow, variant)
        return Job(job_name(results, output), partial(run_flow, changed, cell, flow, dataset, discrete, output))

    left, planes = [flow for flow in flows if flow not in followed], []
    if not variant and cell in config.animations and not plane_made(config, results, cell, _there):
        output = plane_file(results, cell)
        planes = [Job(job_name(results, output), partial(run_plane, config, cell, dataset, discrete, output))]
    if trained and (discrete.exists() or not (left or planes)):
        return [follow(flow) for flow in left] + planes
    train = partial(run_cell, changed, cell, dataset, discrete)
    return [Job(job_name(results, records), train, [follow(flow) for flow in flows] + planes)]


def _tabulate(config: Config, results: Path, outcome: Outcome) -> None:
    """The tables of what is finished; what fails is noted in ``outcome``."""

    def done(name: str, work: Callable[[], None]) -> bool:
        if said := attempt(work):
            outcome.fail(Job(name, work), said)
        return not said

    incomplete = bool(outcome.failed or outcome.left)
    if outcome.left and attempt(partial(on_disk, config, results)):
        return  # nothing is finished yet
    for cell in config.precision_studies:
        variants = [jobs_left(config, results, cell, STUDIED_FLOWS, variant) for variant in VARIANTS]
        if not any(variants):
            done(job_name(results, study_file(results, cell)), partial(tabulate_study, config, cell, results))
    if done("tables", partial(aggregate, config, results, incomplete)):
        done("replication", partial(replicate, config, results))
    if config.precision_studies:
        done("precision-table", partial(aggregate_studies, config, results, incomplete))
    for line in warned(results):
        log.warning("%s", line)
