"""prepared examples -> the discrete run of a cell."""

from __future__ import annotations

import copy
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from rodflow.catalogue import OPTIMIZERS
from rodflow.config import Cell, Config
from rodflow.errors import InvalidInput
from rodflow.jobs.checkpoint import Checkpoint
from rodflow.jobs.files import read_examples, write_json, write_table
from rodflow.jobs.process import set_up
from rodflow.measures.summaries import RunSummary
from rodflow.optimizers.schedules import Scheduled, schedule
from rodflow.optimizers.step_map import StepMap
from rodflow.pipeline.job import Job
from rodflow.pipeline.memory import naming_chunk_size
from rodflow.pipeline.own import blamed, call, load
from rodflow.pipeline.provenance import checkpoint_file, fingerprint, provenance
from rodflow.pipeline.run_file import save
from rodflow.problems.datasets import Examples
from rodflow.problems.networks import Problem, network_problem
from rodflow.training.columns import STEP_COLUMNS
from rodflow.training.discrete import WINDOW_HALF_WIDTH, DiscreteRun, train

WARM_UP = 20
"""Steps before the flows start, in which an adaptive method's second moment forms; the transient comes on top."""


def cell_optimizer(config: Config, cell: Cell) -> StepMap:
    """The step map of a cell, on its schedule. Of the shared hyperparameters it takes what it has.

    Raises: ``InvalidInput`` for one of its own hyperparameters that it does not have.
    """
    name, rate = cell.optimizer, config.learning_rates[cell.architecture][cell.optimizer]
    own = config.hyperparameters_of.get(name)
    for key, value in ({} if own is None else own.model_dump(exclude_none=True)).items():
        if key not in OPTIMIZERS.entries[name].takes:
            raise InvalidInput(f"hyperparameters_of.{name}.{key}", value, f"nothing: {name} has no {key}")
    step_map: StepMap
    if name in config.own.optimizers:
        step_map = call(config.own, "optimizers", name, StepMap, learning_rate=rate)
    else:
        step_map = OPTIMIZERS[name](learning_rate=rate, **config.hyperparameters_for(name))
    chosen = config.schedule
    if chosen.kind == "constant":
        return step_map
    return Scheduled(step_map, schedule(chosen.kind, chosen.warmup, config.horizon, chosen.floor))


def cell_problem(config: Config, cell: Cell, dataset: Path, dtype: str) -> Problem:
    """The objective and initial weights of a cell, on the prepared examples; sets the process up.

    ``dtype``: of both, or "mixed" for weights in float64 and inputs in float32.
    """
    set_up(config.threads)
    examples, name = Examples(*read_examples(dataset)), cell.architecture
    own_network, own_loss = name in config.own.networks, config.own.losses.get(config.loss)
    with blamed(config.own, config.parts(networks=name, losses=config.loss)):
        return network_problem(
            examples,
            partial(user_network, config, name, examples.x[:2]) if own_network else name,
            {} if own_network else config.sizes_of(name),
            config.loss if own_loss is None else load(config.own, "losses", config.loss),
            cell.seed,
            torch.float64 if dtype == "mixed" else getattr(torch, dtype),
            config.device,
            config.chunk_size,
            config.compile,
            torch.float32 if dtype == "mixed" else None,
            "sum" if own_loss is None else own_loss.reduction,
        )


def user_network(config: Config, name: str, few: np.ndarray, shape: tuple[int, ...], outputs: int) -> nn.Module:
    """The network of that name among the user's own, for inputs such as the ``few``.

    Raises: ``InvalidInput`` if it is no network, or, with a built-in loss, not one of so many outputs.
    """
    module: nn.Module = call(config.own, "networks", name, nn.Module, shape, outputs)
    if config.loss not in config.own.losses:
        with torch.no_grad():  # of a copy: in training mode a module may write to its buffers
            found = tuple(copy.deepcopy(module).double()(torch.as_tensor(few)).shape)
        if found != (len(few), outputs):
            allowed = f"a network that maps [n, {', '.join(map(str, shape))}] to [n, {outputs}], not to {list(found)}"
            raise InvalidInput(f"own.networks.{name}.function", config.own.networks[name].function, allowed)
    return module


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
    key = fingerprint(
        {"cell": cell, "settings": settings, "device": device}, Job("discrete", cell).code(config), [dataset]
    )
    with Checkpoint(checkpoint_file(output), key, config.checkpoint_seconds) as checkpoint:
        with blamed(config.own, config.parts_of(cell)):
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
        write_table(output.with_name(f"{output.stem}-steps.parquet"), every_step(run))
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
    series = {name: getattr(run, name).double().numpy() for name in STEP_COLUMNS[1:]}
    return pd.DataFrame({"step": range(len(run.loss)), **series})
