"""prepared images -> the discrete run of a cell."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
import torch

from rodflow.catalogue import OPTIMIZERS
from rodflow.config import Cell, Config
from rodflow.errors import InvalidInput
from rodflow.jobs.checkpoint import Checkpoint
from rodflow.jobs.files import read_images, write_json, write_table
from rodflow.jobs.process import set_up
from rodflow.measures.summaries import RunSummary
from rodflow.optimizers.schedules import Scheduled, schedule
from rodflow.optimizers.step_map import StepMap
from rodflow.pipeline.layout import checkpoint_file, steps_file
from rodflow.pipeline.memory import naming_chunk_size
from rodflow.pipeline.provenance import discrete_code, fingerprint, provenance
from rodflow.pipeline.run_file import save
from rodflow.problems.datasets import Images
from rodflow.problems.images import Problem, image_problem
from rodflow.training.discrete import WINDOW_HALF_WIDTH, DiscreteRun, train

WARM_UP = 20
"""Steps before the flows start, in which an adaptive method's second moment forms; the transient comes on top."""


def cell_optimizer(config: Config, cell: Cell) -> StepMap:
    """The step map of a cell, on its schedule. Of the shared hyperparameters it takes what it has.

    Raises: ``InvalidInput`` for one of its own hyperparameters that it does not have.
    """
    name = cell.optimizer
    own = config.hyperparameters_of.get(name)
    for key, value in ({} if own is None else own.model_dump(exclude_none=True)).items():
        if key not in OPTIMIZERS.entries[name].takes:
            raise InvalidInput(f"hyperparameters_of.{name}.{key}", value, f"nothing: {name} has no {key}")
    rate = config.learning_rates[cell.architecture][name]
    step_map = OPTIMIZERS[name](learning_rate=rate, **config.hyperparameters_for(name))
    chosen = config.schedule
    if chosen.kind == "constant":
        return step_map
    return Scheduled(step_map, schedule(chosen.kind, chosen.warmup, config.horizon, chosen.floor))


def cell_problem(config: Config, cell: Cell, dataset: Path, dtype: str) -> Problem:
    """The objective and initial weights of a cell, on the prepared images; sets the process up.

    ``dtype``: of both, or "mixed" for weights in float64 and images in float32.
    """
    set_up(config.threads)
    return image_problem(
        Images(*read_images(dataset)),
        cell.architecture,
        getattr(config.sizes, cell.architecture).model_dump(),
        config.loss,
        cell.seed,
        torch.float64 if dtype == "mixed" else getattr(torch, dtype),
        config.device,
        config.chunk_size,
        config.compile,
        torch.float32 if dtype == "mixed" else None,
    )


def start_step(config: Config, optimizer: StepMap) -> int:
    """Where all flows of a cell start: ``flow_start`` if configured, else warm-up plus the momentum's transient."""
    return config.flow_start or WARM_UP + optimizer.transient


@naming_chunk_size
def run_cell(config: Config, cell: Cell, dataset: Path, output: Path) -> None:
    """Train one cell. ``output`` is an HDF5 file.

    Beside it lie its records (.parquet), the numbers of every step (``-steps.parquet``) and its summary (.json).

    Raises: ``InvalidInput`` for a cell without a learning rate, or too few steps for a record after the flows' start.
    """
    begun = time.monotonic()
    config.require_rate(cell)
    step_map = cell_optimizer(config, cell)
    start = start_step(config, step_map)
    if start + config.record_interval > config.steps:
        raise InvalidInput("steps", config.steps, f"at least one record after the flows' start at step {start}")
    problem = cell_problem(config, cell, dataset, config.dtype)
    settings, device = config.discrete_settings(cell), str(problem.w0.device)
    key = fingerprint({"cell": cell, "settings": settings, "device": device}, discrete_code(cell), [dataset])
    with Checkpoint(checkpoint_file(output), key, config.checkpoint_seconds) as checkpoint:
        run = train(
            problem.objective,
            step_map,
            problem.w0,
            config.steps,
            record_interval=config.record_interval,
            eigenvalues=config.sharpness.count,
            sharpness_tolerance=config.sharpness.tolerance,
            progress=str(cell),
            perturbation=config.perturbation,
            checkpoint=checkpoint,
        )
        if start + WINDOW_HALF_WIDTH <= run.last_step:
            run.window(start)
        seconds = time.monotonic() - begun
        save(run, output)
        write_table(output.with_suffix(".parquet"), run.table())
        write_table(steps_file(output), every_step(run))
        summary = RunSummary(
            **cell._asdict(),
            threshold=run.threshold,
            flow_start=start,
            parameters=problem.w0.numel(),
            diverged_at=run.diverged_at,
            provenance=provenance(settings, seconds, device),
        )
        write_json(output.with_suffix(".json"), summary.model_dump())


def every_step(run: DiscreteRun) -> pd.DataFrame:
    """One row a step: step, loss, gradient norm, oscillation; NaN from a divergence on."""
    series = {name: values.double().cpu().numpy() for name, values in run.by_step.items()}
    return pd.DataFrame({"step": range(len(run.loss)), **series})
