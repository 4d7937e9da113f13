"""Error against cost of drift-free rod flow over steps, orders and solvers, and where its integration has converged."""

from __future__ import annotations

import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import torch

from rodflow.config import Config, SolverSettings
from rodflow.layout import discrete_file, flow_file
from rodflow.stages.dataset import prepare
from rodflow.stages.discrete import run_cell
from rodflow.stages.flow import run_flow
from rodflow.storage import read_json, read_table
from rodflow.tables import CELL, at_the_edge

VARIANTS: dict[str, tuple[str, dict]] = {
    "map, every step": ("drift_free_rod", {"interval": 1}),
    "map, every 2nd step": ("drift_free_rod", {"interval": 2}),
    "map, every 4th step": ("drift_free_rod", {"interval": 4}),
    "map, rounding errors 1% larger": ("drift_free_rod", {"interval": 2, "seed": 1.01}),
    "map, other rounding errors": ("drift_free_rod", {"interval": 2, "draw": 1}),
    "map, other rounding errors again": ("drift_free_rod", {"interval": 2, "draw": 2}),
    "ODE, order 2, step 1/2": ("drift_free_rod_ode", {"order": 2, "step": 0.5}),
    "ODE, order 2, step 1/4": ("drift_free_rod_ode", {"order": 2, "step": 0.25}),
    "ODE, order 1, step 1/2": ("drift_free_rod_ode", {"order": 1, "step": 0.5}),
}
DEFAULT, HALVED, JOLTED = "map, every 2nd step", "map, every step", "map, rounding errors 1% larger"
CONVERGED = 0.05


def cell_errors(
    config: Config, dataset: Path, folder: Path, variants: list[str], cell: tuple[str, str, int]
) -> list[dict]:
    """A row for each record in the edge window and variant of a cell: its error and cost up to there."""
    run = discrete_file(folder, *cell)
    run_cell(config, *cell, dataset, run.with_suffix(".h5"))
    summary = read_json(run.with_suffix(".json"))
    rows = []
    for variant in variants:
        flow, settings = VARIANTS[variant]
        output = flow_file(folder, *cell, flow)
        changed = config.model_copy(update={"solvers": {flow: SolverSettings(**settings)}})
        run_flow(changed, *cell, flow, dataset, run.with_suffix(".h5"), output)
        for row in at_the_edge(read_table(output), summary).itertuples():
            rows.append(
                dict(zip(CELL, cell, strict=True))
                | {
                    "variant": variant,
                    "step": row.step,
                    "error": row.error,
                    "gradients_per_step": row.gradients / (row.step - summary["flow_start"]),
                    "seconds": read_json(output.with_suffix(".json"))["seconds"],
                }
            )
    return rows


def errors(config: Config, processes: int, variants: list[str]) -> pd.DataFrame:
    """The table over all cells, so many at a time, each on one thread."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(config, folder / "dataset.npz")
        work = partial(cell_errors, config, folder / "dataset.npz", folder, variants)
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=single_thread) as pool:
            return pd.DataFrame([row for rows in pool.map(work, config.cells) for row in rows])


def single_thread() -> None:
    torch.set_num_threads(1)


def curve(table: pd.DataFrame) -> pd.DataFrame:
    """Per variant: the median over cells of its mean error over the default's, its cost, and in how many it is lost."""
    cells = table.groupby([*CELL, "variant"])
    means = cells["error"].mean().unstack("variant")
    lost = cells["error"].apply(lambda column: bool(column.isna().any())).unstack("variant")
    return pd.DataFrame(
        {
            "gradients_per_step": cells["gradients_per_step"].last().unstack("variant").median(),
            "error_over_default": means.div(means[DEFAULT], axis=0).median(),
            "largest": means.div(means[DEFAULT], axis=0).max(),
            "lost": lost.sum(),
        }
    ).loc[[variant for variant in VARIANTS if variant in means]]


def convergence(table: pd.DataFrame) -> pd.DataFrame:
    """Per cell: how far halving the step moves the mean error, over the whole edge window and before chaos.

    Chaos begins at the first record at which rounding errors that are 1% larger move the running mean of the error by
    more than ``CONVERGED``: from there on the run itself would be another one.
    """
    rows = []
    for cell, records in table.groupby(CELL, sort=False):
        running = records.pivot(index="step", columns="variant", values="error").expanding().mean()
        change = running.div(running[DEFAULT], axis=0) - 1
        chaotic = change.index[change[JOLTED].abs() > CONVERGED]
        tame = change[change.index < chaotic[0]] if len(chaotic) else change
        rows.append(
            {
                "architecture": cell[0],
                "optimizer": cell[1],
                "error_eos_mean": running[DEFAULT].iloc[-1],
                "change_halved": change[HALVED].iloc[-1],
                "edge_from": running.index[0],
                "chaos_from": chaotic[0] if len(chaotic) else pd.NA,
                "change_halved_before_chaos": tame[HALVED].iloc[-1] if len(tame) else float("nan"),
            }
        )
    return pd.DataFrame(rows).astype({"chaos_from": "Int64"})
