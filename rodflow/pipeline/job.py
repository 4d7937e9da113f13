"""A job: one thing that the workflow makes. Its files, the settings and the code that it depends on, and what it needs.

Rules, stages, tables of what is finished, and dry runs read all of this from here: a new kind of job is one entry of
``KINDS``, a function of a stage, and a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rodflow.catalogue import ARCHITECTURES, FLOWS, LANDSCAPES, OPTIMIZERS, Catalogue, Entry
from rodflow.config import Cell, Config
from rodflow.config.own import Part
from rodflow.config.run import ANIMATED_FLOWS, LANDSCAPE_FLOWS, STUDIED_FLOWS, VARIANTS
from rodflow.pipeline.provenance import code_with_parts


@dataclass(frozen=True)
class Job:
    """A job of a ``kind`` of ``KINDS``, for a cell; ``name`` is the flow or the landscape that it is about.

    ``variant``: that of the precision study which it belongs to; empty for the config as it is.
    """

    kind: str
    cell: Cell | str = ""
    name: str = ""
    variant: str = ""

    @property
    def label(self) -> str:
        """What the job is known by, such as ``discrete/mlp-gd-seed0``; its files and its log lie there."""
        stem = "-".join(str(part) for part in (self.cell, self.name) if part) or self.kind
        return "/".join(filter(None, [self.variant and f"precision/{self.variant}", KINDS[self.kind].folder, stem]))

    def file(self, results: str | Path, ending: str = "") -> Path:
        """One of its files below ``results``: that with its series, or the one with another ``ending``."""
        return Path(results, f"{self.label}{ending or KINDS[self.kind].endings[0]}")

    def files(self, results: str | Path) -> list[Path]:
        """What tables and figures read of it: the series first, the summary (.json) last."""
        return [self.file(results, ending) for ending in (*KINDS[self.kind].endings, ".json")]

    def finished(self, config: Config, results: str | Path) -> str:
        """When its files were finished; empty if one is missing, or of other settings, or older than what it needs."""
        from rodflow.jobs.files import read_model  # here: the workflow needs neither, unless a run may be incomplete
        from rodflow.measures.summaries import Made

        needed = [job.finished(config, results) for job in self.needs(config)]
        if not all(needed) or not all(file.exists() for file in self.files(results)):
            return ""
        made = read_model(self.file(results, ".json"), Made).provenance
        whole = self.settings(config) in (None, made.config)
        return made.finished if whole and all(made.finished >= time for time in needed) else ""

    def waits_for(self, config: Config, results: str | Path) -> list[Job]:
        """The jobs that are to be done next for this one to be finished: none, those that it needs, or itself."""
        if self.finished(config, results):
            return []
        below = [job for needed in self.needs(config) for job in needed.waits_for(config, results)]
        return below or [self]

    def settings(self, config: Config) -> dict[str, Any] | None:
        """All that its files depend on, seed and code aside; None where no config has a say."""
        return KINDS[self.kind].settings(config.variant(self.variant), self)

    def code(self, config: Config) -> str:
        """The digest of all code that its files depend on, that of the user's own parts included."""
        kind = KINDS[self.kind]
        stage, entries = f"rodflow.pipeline.stages.{kind.stage}", tuple(kind.uses(self))
        return code_with_parts(config, kind.parts(config, self), stage, *entries)

    def needs(self, config: Config) -> list[Job]:
        """The jobs whose files it reads, the images' aside."""
        return KINDS[self.kind].needs(config, self)


@dataclass(frozen=True)
class Kind:
    """What the jobs of a kind have in common.

    ``folder`` below the results, ``endings`` of what tables and figures read beside the summary (a discrete run has its
    states in a file .h5 besides, which its flows read), ``stage``: the module that does the work;
    then functions of the job: its settings, the entries of the catalogue and the parts of the user's own that its
    code ``uses``, and the jobs that it ``needs``.
    """

    folder: str
    endings: tuple[str, ...]
    stage: str
    settings: Callable[[Config, Job], dict[str, Any] | None]
    uses: Callable[[Job], Iterable[Entry]] = lambda job: ()
    parts: Callable[[Config, Job], dict[str, Part]] = lambda config, job: {}
    needs: Callable[[Config, Job], list[Job]] = lambda config, job: []


def _of_cell(job: Job) -> tuple[Entry, ...]:
    cell = cell_of(job)
    return *_built_in(ARCHITECTURES, cell.architecture), *_built_in(OPTIMIZERS, cell.optimizer)


def _built_in(catalogue: Catalogue[Any], name: str) -> tuple[Entry, ...]:
    return (catalogue.entries[name],) if name in catalogue else ()


def _flows(names: Iterable[str]) -> tuple[Entry, ...]:
    return tuple(FLOWS.entries[name] for name in names)


def of_cell(cell: Cell, flows: Iterable[str], variant: str = "") -> list[Job]:
    """The run of a cell and these flows of it."""
    return [Job("discrete", cell, variant=variant), *(Job("flow", cell, flow, variant) for flow in flows)]


def cell_of(job: Job) -> Cell:
    """The cell of a job that has one."""
    assert isinstance(job.cell, Cell)
    return job.cell


KINDS = {
    "dataset": Kind(
        folder="",
        endings=(".npz",),
        stage="dataset",
        settings=lambda config, job: config.data_settings,
        parts=lambda config, job: config.parts(datasets=config.data.dataset),
    ),
    "discrete": Kind(
        folder="discrete",
        endings=(".parquet", "-steps.parquet"),
        stage="discrete",
        settings=lambda config, job: config.discrete_settings(cell_of(job)),
        uses=_of_cell,
        parts=lambda config, job: config.parts_of(cell_of(job)),
    ),
    "flow": Kind(
        folder="flows",
        endings=(".parquet",),
        stage="flow",
        settings=lambda config, job: config.flow_settings(cell_of(job), job.name),
        uses=lambda job: (*_of_cell(job), *_built_in(FLOWS, job.name)),
        parts=lambda config, job: config.parts_of(cell_of(job)) | config.parts(flows=job.name),
        needs=lambda config, job: [Job("discrete", job.cell, variant=job.variant)],
    ),
    "study": Kind(
        folder="precision",
        endings=(".parquet",),
        stage="precision",
        settings=lambda config, job: config.study_settings(cell_of(job)),
        needs=lambda config, job: [
            part for variant in VARIANTS for part in of_cell(cell_of(job), STUDIED_FLOWS, variant)
        ],
    ),
    "plane": Kind(
        folder="planes",
        endings=(".parquet",),
        stage="plane",
        settings=lambda config, job: config.plane_settings(cell_of(job)),
        uses=lambda job: (*_of_cell(job), *_flows(ANIMATED_FLOWS)),
        parts=lambda config, job: config.parts_of(cell_of(job)),
        needs=lambda config, job: [Job("discrete", job.cell)],
    ),
    "landscape": Kind(
        folder="landscapes",
        endings=(".parquet", "-grid.parquet"),
        stage="landscape",
        settings=lambda config, job: None,
        uses=lambda job: (LANDSCAPES.entries[job.name], *_flows(LANDSCAPE_FLOWS)),
    ),
}
"""The kinds of jobs that make results; tables, figures and the page are made of theirs."""
