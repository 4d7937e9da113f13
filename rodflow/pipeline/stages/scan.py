"""config -> the same config with learning rates at which its cells go to their edge gently and stay there."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import yaml

from rodflow import config as configuration
from rodflow.config import Cell, Config
from rodflow.jobs.files import write_text
from rodflow.jobs.progress import start_log
from rodflow.optimizers.schedules import Scheduled
from rodflow.pipeline.memory import naming_chunk_size
from rodflow.pipeline.rate_search import FADED, FOUND, REASONS, OnRecord, Trial, attempt, search
from rodflow.pipeline.stages.dataset import prepare
from rodflow.pipeline.stages.discrete import cell_optimizer, cell_problem, start_step
from rodflow.report import markdown
from rodflow.training.discrete import train

COLUMNS = [
    "cell",
    "learning rate",
    "share at the edge",
    "largest sharpness / threshold",
    "at the last record",
    "trials",
    "found",
]
"""Of the table that says what was found."""
UNKNOWN_RATE = 1.0
"""What stands for a learning rate that a config does not give, until the scan has found it."""


@dataclass
class CellTrainer:
    """Trains a cell of a config at any learning rate (:class:`rodflow.pipeline.rate_search.Trainer`)."""

    config: Config
    cell: Cell
    dataset: Path

    def __post_init__(self) -> None:
        self.steps, self.interval = self.config.steps, self.config.record_interval
        self.problem = cell_problem(self.config, self.cell, self.dataset, self.config.dtype)
        self.scheduled = cell_optimizer(with_rates(self.config, {self.cell: 1.0}), self.cell)
        self.start = start_step(self.config, self.scheduled)

    def factor(self, t: int) -> float:
        return self.scheduled.rate(t)

    def at(self, rate: float, on_record: OnRecord) -> int | None:
        return self._train(self.config, rate, None, on_record)

    def along(self, rate_at: Callable[[float], float], on_record: OnRecord) -> int | None:
        constant = self.config.model_copy(update={"schedule": type(self.config.schedule)()})
        return self._train(constant, 1.0, rate_at, on_record)

    def _train(
        self, config: Config, rate: float, factor: Callable[[float], float] | None, on_record: OnRecord
    ) -> int | None:
        optimizer = cell_optimizer(with_rates(config, {self.cell: rate}), self.cell)
        threshold = optimizer.threshold
        run = train(
            self.problem.objective,
            optimizer if factor is None else Scheduled(optimizer, factor),
            self.problem.w0,
            self.steps,
            record_interval=self.interval,
            eigenvalues=config.sharpness.count,
            sharpness_tolerance=config.sharpness.tolerance,
            progress=f"{self.cell} at {'rising rates' if factor else f'{rate:g}'}",
            perturbation=config.perturbation,
            on_record=lambda t, sharpness: on_record(t, sharpness / threshold),
            interruptible=False,
        )
        return run.diverged_at


def with_rates(config: Config, rates: dict[Cell, float]) -> Config:
    """The config with other learning rates of some cells."""
    changed = {architecture: dict(known) for architecture, known in config.learning_rates.items()}
    for cell, rate in rates.items():
        changed[cell.architecture][cell.optimizer] = rate
    return config.model_copy(update={"learning_rates": changed})


@naming_chunk_size
def scan_cells(config: Config, dataset: Path, cells: list[Cell]) -> list[list[str]]:
    """Search a rate on the first of ``cells``, which differ in their seed alone, and measure the others at it.

    Returns: a row per cell, under ``COLUMNS``.
    """
    trials = search(CellTrainer(config, cells[0], dataset))
    rate = trials[-1].rate
    measured = [trials[-1]] + [attempt(CellTrainer(config, cell, dataset), rate, whole=True) for cell in cells[1:]]
    return [_row(cell, trial, len(trials)) for cell, trial in zip(cells, measured, strict=True)]


def _start_process() -> None:
    """Begin a process that Ctrl-C ends at once: a cell that is half scanned leaves nothing to keep."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    start_log()


def _scan_groups(config: Config, dataset: Path, groups: list[list[Cell]], jobs: int) -> list[list[list[str]]]:
    """:func:`scan_cells` of each group, in this process or in so many others as there are ``jobs``.

    Raises: ``OSError`` where one of them is killed.
    """
    work = partial(scan_cells, config, dataset)
    if jobs == 1:
        return [*map(work, groups)]
    try:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_start_process) as pool:
            return [*pool.map(work, groups)]
    except BrokenProcessPool:
        raise OSError("a cell's process ended abruptly, as one does for which there is no memory") from None


def _row(cell: Cell, trial: Trial, trials: int) -> list[str]:
    """What is told of a cell, under ``COLUMNS``."""
    numbers = [f"{number:.2f}" for number in (trial.share, trial.largest, trial.last)]
    if trial.verdict == FADED:
        found = f"yes, and off its edge from step {trial.left} on, softly"
    else:
        found = "yes" if trial.verdict == FOUND else f"no: {REASONS[trial.verdict]}"
    return [str(cell), f"{trial.rate:g}", *numbers, str(trials), found]


def scan(config_file: Path, output: Path | None = None, jobs: int = 1, dataset: Path | None = None) -> str:
    """Write the config with found rates, whole or not at all; what was found as a Markdown table.

    The config needs no rates. One that cannot be had, for the reason that the table gives, is the best that was tried.
    ``output``: where; None: results/<run>/scan.yaml. ``dataset``: prepared images; None: they are prepared. So many
    ``jobs`` run at once. If one fails, nothing is written.
    """
    settings = configuration.read(config_file)
    config = configuration.parse(with_any_rates(settings))
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in [*config.cells, *config.precision_studies]:
        groups.setdefault(cell[:2], []).append(cell)
    with tempfile.TemporaryDirectory(prefix="rodflow-scan-") as folder:
        images = dataset or Path(folder, "dataset.npz")
        if dataset is None:
            prepare(config, images)
        cells = [[*dict.fromkeys(group)] for group in groups.values()]
        found = dict(zip(groups, _scan_groups(config, images, cells, jobs), strict=True))
    rates = {architecture: dict(own) for architecture, own in (settings.get("learning_rates") or {}).items()}
    for (architecture, optimizer), rows in found.items():
        rates.setdefault(architecture, {})[optimizer] = float(rows[0][COLUMNS.index("learning rate")])
    table = markdown.table([dict(zip(COLUMNS, row, strict=True)) for rows in found.values() for row in rows])
    heading = "The learning rates are those of `rodflow scan`:"
    comment = "".join(f"# {line}\n" for line in [heading, *table.splitlines()])
    changed = yaml.safe_dump(settings | {"learning_rates": rates}, sort_keys=False, width=120)
    write_text(output or Path("results", config.run, "scan.yaml"), comment + changed)
    return table


def with_any_rates(settings: Any) -> Any:
    """The settings with a learning rate for every cell that has none; parsing refuses what is no config."""
    known = settings.get("learning_rates") or {} if isinstance(settings, dict) else None
    if not isinstance(known, dict) or not all(isinstance(own, dict) for own in known.values()):
        return settings

    def names(key: str) -> list[str]:
        value = settings.get(key)
        return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []

    rates = {architecture: dict(own) for architecture, own in known.items()}
    pairs = [
        f"{architecture}-{optimizer}" for architecture in names("architectures") for optimizer in names("optimizers")
    ]
    for architecture, dash, optimizer in (pair.partition("-") for pair in [*pairs, *names("precision_cells")]):
        if dash:
            rates.setdefault(architecture, {}).setdefault(optimizer, UNKNOWN_RATE)
    return settings | {"learning_rates": rates}
