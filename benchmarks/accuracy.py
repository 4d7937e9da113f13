"""Error against cost of drift-free rod flow over steps, orders and solvers, and where its integration has converged."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from rodflow.config import CELL_COLUMNS, Cell, Config
from rodflow.config.schema import SolverSettings
from rodflow.jobs.files import read_model, read_table
from rodflow.measures.errors import at_the_edge
from rodflow.measures.summaries import FlowSummary, RunSummary
from rodflow.pipeline.job import Job
from rodflow.pipeline.stages.dataset import prepare
from rodflow.pipeline.stages.discrete import run_cell
from rodflow.pipeline.stages.flow import run_flow

Variants = dict[str, tuple[str, dict]]
"""By name: a flow, and what ``solvers`` says of it."""
VARIANTS: Variants = {
    "map": ("drift_free_rod", {}),
    "map, every 8th step": ("drift_free_rod", {"interval": 8}),
    "map, every 32nd step": ("drift_free_rod", {"interval": 32}),
    "map, third power": ("drift_free_rod", {"power": 3}),
    "map, losing at most 1e-4": ("drift_free_rod", {"split_tolerance": 1e-4}),
    "map, losing at most 1e-5": ("drift_free_rod", {"split_tolerance": 1e-5}),
    "map, losing nothing: the optimizer": ("drift_free_rod", {"split_tolerance": 0.0}),
    "map, other rounding errors": ("drift_free_rod", {"rounding_seed": 1}),
    "map, yet other rounding errors": ("drift_free_rod", {"rounding_seed": 2}),
    "ODE, order 2, step 1/2": ("drift_free_rod_ode", {"order": 2, "step": 0.5}),
    "ODE, order 2, step 1/4": ("drift_free_rod_ode", {"order": 2, "step": 0.25}),
    "ODE, order 1, step 1/2": ("drift_free_rod_ode", {"order": 1, "step": 0.5}),
    "twin": ("twin", {}),
    "second twin": ("second_twin", {}),
}
DEFAULT, HALVED = "map", "map, every 8th step"
REDRAWN = ("map, other rounding errors", "map, yet other rounding errors")
ODE, ODE_HALVED = "ODE, order 2, step 1/2", "ODE, order 2, step 1/4"
CONVERGED = 0.05


def cell_errors(config: Config, variants: Variants, dataset: Path, folder: Path, cell: Cell) -> list[dict]:
    """A row for each record in the edge window and variant of a cell: its error, sharpness and cost."""
    run = Job("discrete", cell).file(folder)
    run_cell(config, cell, dataset, run.with_suffix(".h5"))
    summary = read_model(run.with_suffix(".json"), RunSummary)
    rows = []
    for variant, (flow, settings) in variants.items():
        output = Job("flow", cell, flow).file(folder)
        changed = config.model_copy(update={"solvers": {flow: SolverSettings(**settings)}})
        run_flow(changed, cell, flow, dataset, run.with_suffix(".h5"), output)
        of_flow = read_model(output.with_suffix(".json"), FlowSummary)
        for row in at_the_edge(read_table(output), summary.threshold).itertuples():
            rows.append(
                cell._asdict()
                | {
                    "variant": variant,
                    "step": row.step,
                    "error": row.error,
                    "sharpness_ratio": row.sharpness / row.discrete_sharpness,
                    "gradients_per_step": row.gradients / (row.step - summary.flow_start),
                    "equivalents_per_step": of_flow.gradient_equivalents_per_step,
                    "seconds": of_flow.seconds,
                }
            )
    return rows


def errors(config: Config, processes: int, variants: Variants) -> Iterator[list[dict]]:
    """The rows of each cell."""
    return each(partial(cell_errors, config, variants), config.cells, config, processes)


def each(
    work: Callable[[Path, Path, Any], list[dict]], jobs: Iterable[Any], config: Config, processes: int
) -> Iterator[list[dict]]:
    """The rows ``work(dataset, folder, job)`` of each job, so many jobs at a time, each on one thread.

    ``dataset``: the config's prepared images, beside which the jobs have one ``folder`` for their files.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = folder / "dataset.npz"
        prepare(config, dataset)
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=single_thread) as pool:
            yield from pool.map(partial(work, dataset, folder), jobs)


def single_thread() -> None:
    torch.set_num_threads(1)


def mean_errors(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row a cell, a column a variant: mean errors over the edge window, and the numbers of records reached there.

    A variant that did not reach every record that another did is lost there, and has no mean.
    """
    errors = table.groupby([*CELL_COLUMNS, "variant"], sort=False)["error"]
    reached, means = errors.count().unstack("variant"), errors.mean().unstack("variant")
    return means.where(reached.eq(reached.max(axis=1), axis=0)), reached


def curve(table: pd.DataFrame) -> pd.DataFrame:
    """Per variant: the median over cells of its mean error over the default's, its cost, and in how many it is lost."""
    cells = table.groupby([*CELL_COLUMNS, "variant"])
    means, reached = mean_errors(table)
    over = means.div(means[DEFAULT], axis=0)
    return pd.DataFrame(
        {
            "gradients_per_step": cells["gradients_per_step"].last().unstack("variant").median(),
            "error_over_default": over.median(),
            "largest": over.max(),
            "lost": reached.lt(reached.max(axis=1), axis=0).sum(),
        }
    ).loc[[variant for variant in VARIANTS if variant in means]]


def convergence(table: pd.DataFrame) -> pd.DataFrame:
    """Per cell: by what share the running mean of the error in the edge window moves, when the map's separating step
    is taken twice as often and when the ODE's step is halved, before chaos and at the end.

    Chaos begins at the first record at which drawing the flow's rounding errors anew (the larger of two moves,
    ``redrawn`` at the end) moves that mean by more than ``CONVERGED``: from there on the error hangs on rounding errors
    of the run that no model knows. NaN where a variant did not get so far.
    """
    rows = []
    for cell, records in table.groupby(CELL_COLUMNS, sort=False):
        errors = records.pivot(index="step", columns="variant", values="error")
        running = errors.expanding().mean().where(errors.notna())
        redrawn = (running[list(REDRAWN)].div(running[DEFAULT], axis=0) - 1).abs().max(axis=1)
        chaotic = redrawn.index[redrawn > CONVERGED]
        row = dict(zip(CELL_COLUMNS, cell, strict=True)) | {
            "edge_from": running.index[0],
            "chaos_from": chaotic[0] if len(chaotic) else pd.NA,
            "error_eos_mean": running[DEFAULT].iloc[-1],
            "redrawn": redrawn.iloc[-1],
        }
        tame = running[running.index < chaotic[0]] if len(chaotic) else running
        for name, finer, coarser in (("twice_as_often", HALVED, DEFAULT), ("ode_step_halved", ODE_HALVED, ODE)):
            if finer in running:
                row[f"{name}_before_chaos"] = tame[finer].iloc[-1] / tame[coarser].iloc[-1] - 1 if len(tame) else pd.NA
                row[name] = running[finer].iloc[-1] / running[coarser].iloc[-1] - 1
        rows.append(row)
    return pd.DataFrame(rows).drop(columns="seed").astype({"chaos_from": "Int64"})
