"""prepared images -> the discrete run of a cell."""

from __future__ import annotations

import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from rodflow.checkpoint import Checkpoint, fingerprint
from rodflow.config import Config
from rodflow.discrete import WINDOW_HALF_WIDTH, DiscreteRun, Window, train
from rodflow.errors import InvalidInput
from rodflow.layout import checkpoint_file
from rodflow.memory import naming_chunk_size
from rodflow.optimizers import OPTIMIZERS, State, StepMap
from rodflow.problems import Problem, image_problem
from rodflow.problems.datasets import Images
from rodflow.process import set_up
from rodflow.provenance import provenance
from rodflow.schedules import Scheduled, schedule
from rodflow.storage import read_arrays, read_images, refused_as, write_arrays, write_json, write_table
from rodflow.stored_run import require_whole

WARM_UP = 20
"""Steps before the flows start, in which an adaptive method's second moment forms; the transient comes on top."""


def cell_optimizer(config: Config, architecture: str, optimizer: str) -> StepMap:
    """The step map of a cell, on its schedule. Of the shared hyperparameters it takes what it has.

    Raises: ``InvalidInput`` for one of its own hyperparameters that it does not have.
    """
    kind = OPTIMIZERS[optimizer]
    taken = {entry.name for entry in fields(kind) if entry.init}
    own = config.hyperparameters_of.get(optimizer)  # type: ignore[call-overload]
    for key, value in ({} if own is None else own.model_dump(exclude_none=True)).items():
        if key not in taken:
            raise InvalidInput(f"hyperparameters_of.{optimizer}.{key}", value, f"nothing: {optimizer} has no {key}")
    settings = {key: value for key, value in config.hyperparameters_for(optimizer).items() if key in taken}
    rate = config.learning_rates[architecture][optimizer]  # type: ignore[index]
    step_map, chosen = kind(learning_rate=rate, **settings), config.schedule
    if chosen.kind == "constant":
        return step_map
    return Scheduled(step_map, schedule(chosen.kind, chosen.warmup, config.horizon, chosen.floor))


def cell_problem(config: Config, architecture: str, seed: int, dataset: Path, dtype: str) -> Problem:
    """The objective and initial weights of a cell, on the prepared images; sets the process up."""
    set_up(config.threads)
    return image_problem(
        Images(*read_images(dataset)),
        architecture,
        getattr(config.sizes, architecture).model_dump(),
        config.loss,
        seed,
        getattr(torch, dtype),
        config.device,
        config.chunk_size,
    )


def start_step(config: Config, optimizer: StepMap) -> int:
    """Where all flows of a cell start: ``flow_start`` if configured, else warm-up plus the momentum's transient."""
    return config.flow_start or WARM_UP + optimizer.transient


@naming_chunk_size
def run_cell(config: Config, architecture: str, optimizer: str, seed: int, dataset: Path, output: Path) -> None:
    """Train one cell. ``output`` is an HDF5 file; beside it lie its records (.parquet) and its provenance (.json)."""
    begun = time.monotonic()
    step_map = cell_optimizer(config, architecture, optimizer)
    start = start_step(config, step_map)
    if start + config.record_interval > config.steps:
        raise InvalidInput("steps", config.steps, f"at least one record after the flows' start at step {start}")
    problem = cell_problem(config, architecture, seed, dataset, config.dtype)
    settings, device = config.discrete_settings(architecture, optimizer), str(problem.w0.device)
    cell = {"architecture": architecture, "optimizer": optimizer, "seed": seed}
    key = fingerprint({**cell, "settings": settings, "device": device}, __name__, [dataset])
    with Checkpoint(checkpoint_file(output), key, config.checkpoint_seconds) as checkpoint:
        run = train(
            problem.objective,
            step_map,
            problem.w0,
            config.steps,
            config.record_interval,
            config.sharpness.count,
            config.sharpness.tolerance,
            progress=f"{architecture} {optimizer} seed {seed}",
            perturbation=config.perturbation,
            checkpoint=checkpoint,
        )
        if start + WINDOW_HALF_WIDTH <= run.last_step:
            run.window(start)
        seconds = time.monotonic() - begun
        save(run, output)
        write_table(output.with_suffix(".parquet"), records(run))
        record = {
            **cell,
            "threshold": run.threshold,
            "flow_start": start,
            "parameters": problem.w0.numel(),
            "diverged_at": run.diverged_at,
            "provenance": provenance(settings, seconds, device),
        }
        write_json(output.with_suffix(".json"), record)


def records(run: DiscreteRun) -> pd.DataFrame:
    """One row a record: step, loss averaged over two steps, gradient norm, effective sharpness, oscillation."""
    t = run.record_steps
    return pd.DataFrame(
        {
            "step": t.numpy(),
            "loss": ((run.loss[t] + run.loss[t + 1]) / 2).double().numpy(),
            "gradient_norm": run.gradient_norm[t].double().numpy(),
            "sharpness": run.sharpness[:, 0].numpy(),
            "oscillation": run.oscillation[t].double().numpy(),
            "oscillation_along_sharpest": run.oscillation_along_sharpest.numpy(),
        }
    )


SERIES = (
    "record_steps",
    "loss",
    "gradient_norm",
    "oscillation",
    "midpoints",
    "sharpness",
    "oscillation_along_sharpest",
)


def save(run: DiscreteRun, path: Path) -> None:
    """Write a run and its windows as HDF5."""
    arrays = {name: getattr(run, name).numpy() for name in SERIES}
    arrays |= {f"state_{name}": part.numpy() for name, part in run.states._asdict().items()}
    for at, window in run.windows.items():
        arrays |= {f"window{at}_{name}": part.cpu().numpy() for name, part in window.states._asdict().items()}
    kept = sorted(run.windows)
    attributes = {
        "threshold": run.threshold,
        "diverged_at": -1 if run.diverged_at is None else run.diverged_at,
        "perturbation": run.perturbation,
        "windows": np.array(kept, int),
        "roundings": np.array([run.windows[at].rounding for at in kept], float),
    }
    write_arrays(path, arrays, attributes)


def load(path: Path) -> DiscreteRun:
    """Read what :func:`save` wrote. Raises: ``InvalidInput`` if the file does not hold a run."""
    arrays, attributes = read_arrays(path)
    with refused_as(path, "a run written by the discrete stage"):
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        windows = {
            int(at): Window(int(at), State(*(tensors[f"window{at}_{part}"] for part in State._fields)), float(rounding))
            for at, rounding in zip(attributes["windows"], attributes["roundings"], strict=True)
        }
        run = DiscreteRun(
            threshold=float(attributes["threshold"]),
            **{name: tensors[name] for name in SERIES},
            states=State(*(tensors[f"state_{part}"] for part in State._fields)),
            diverged_at=None if attributes["diverged_at"] < 0 else int(attributes["diverged_at"]),
            windows=windows,
            perturbation=float(attributes["perturbation"]),
        )
        require_whole(run)
    return run
