"""The file of a discrete run: written, read back, and checked to be one.

Sizes and dtypes belong together, and numbers are finite as far as the run got.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rodflow.errors import InvalidInput
from rodflow.jobs.files import read_arrays, refused_as, write_arrays
from rodflow.optimizers.step_map import State
from rodflow.training.discrete import WINDOW_HALF_WIDTH, DiscreteRun, Window

RUN_ARRAYS = (
    "record_steps",
    "loss",
    "gradient_norm",
    "oscillation",
    "midpoints",
    "sharpness",
    "oscillation_along_sharpest",
)


def save(run: DiscreteRun, path: Path) -> None:
    """Write a run and its windows as HDF5; of the states at its records the weights, which flows are compared with."""
    arrays = {name: getattr(run, name).numpy() for name in RUN_ARRAYS}
    arrays["weights"] = run.states.w.numpy()
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


def load_once(path: Path) -> DiscreteRun:
    """:func:`load`, which the flows of a cell that one process makes share."""
    status = path.stat() if path.exists() else None
    return _loaded(path, status and (status.st_mtime_ns, status.st_size, status.st_ino))


@lru_cache(maxsize=1)
def _loaded(path: Path, version: object) -> DiscreteRun:
    return load(path)


def load(path: Path) -> DiscreteRun:
    """Read what :func:`save` wrote: a run whose ``states`` have no m and nu.

    Raises: ``InvalidInput`` if the file does not hold a run.
    """
    arrays, attributes = read_arrays(path)
    with refused_as(path, "a run written by the discrete stage"):
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        windows = {
            int(at): Window(int(at), State(*(tensors[f"window{at}_{part}"] for part in State._fields)), float(rounding))
            for at, rounding in zip(attributes["windows"], attributes["roundings"], strict=True)
        }
        series: dict[str, Any] = {name: tensors[name] for name in RUN_ARRAYS}
        none = tensors["weights"].new_zeros(len(tensors["weights"]), 0)
        run = DiscreteRun(
            threshold=float(attributes["threshold"]),
            **series,
            states=State(tensors["weights"], none, none),
            diverged_at=None if attributes["diverged_at"] < 0 else int(attributes["diverged_at"]),
            windows=windows,
            perturbation=float(attributes["perturbation"]),
        )
        require_whole(run)
    return run


def require_whole(run: DiscreteRun) -> None:
    """Check that a run's parts belong together, and are finite up to its divergence.

    Raises: ``ValueError`` saying what does not.
    """

    def require(holds: bool, said: str) -> None:
        if not holds:
            raise ValueError(said)

    steps, records, weights = len(run.loss), len(run.record_steps), run.midpoints.shape[-1]
    dtype = run.midpoints.dtype
    floats = (run.loss, run.gradient_norm, run.oscillation, run.midpoints, *run.states)
    windows = run.windows.values()
    require(dtype in (torch.float32, torch.float64), f"midpoints are {dtype}")
    of_windows = [part for window in windows for part in window.states]
    require(all(part.dtype == dtype for part in (*floats, *of_windows)), f"all but the sharpness is in {dtype}")
    for name in ("sharpness", "oscillation_along_sharpest"):
        require(getattr(run, name).dtype == torch.float64, f"{name} is in float64")
    for name in ("loss", "gradient_norm", "oscillation"):
        require(getattr(run, name).shape == (steps,), f"{name} has a number a step")
    t = run.record_steps
    require(t.dtype == torch.int64 and t.shape == (records,) and records > 0, "record_steps are whole numbers")
    rising = bool((t.diff() > 0).all()) and bool(0 < t[0]) and bool(t[-1] < steps - 1)
    require(rising, f"record_steps rise from 1 to {steps - 2}")
    require(run.midpoints.shape == (records, weights) and weights > 0, "midpoints are [records, weights]")
    require(run.oscillation_along_sharpest.shape == (records,), "oscillation_along_sharpest has a number a record")
    require(run.sharpness.ndim == 2 and run.sharpness.shape[0] == records, "sharpness is [records, eigenvalues]")
    require(run.sharpness.shape[1] > 0, "sharpness has an eigenvalue")
    parts = [(run.states, records)]
    for window in windows:
        require(window.half_width >= WINDOW_HALF_WIDTH, f"a window has {WINDOW_HALF_WIDTH} states on either side")
        require(0 <= window.at - window.half_width, f"a window around step {window.at} begins before step 0")
        parts.append((window.states, 2 * window.half_width + 1))
        require(bool(torch.isfinite(torch.cat([p.flatten() for p in window.states])).all()), "a window is finite")
        require(0 < window.rounding < math.inf, "roundings are positive")
    for states, count in parts:
        sizes = {"w": (weights,), "m": (0, weights), "nu": (0, 1, weights)}
        for name, allowed in sizes.items():
            part = getattr(states, name)
            fits = part.ndim == 2 and part.shape[0] == count and part.shape[1] in allowed
            require(fits, f"states {name} are {list(part.shape)}")
    require(0 < run.threshold < math.inf, f"threshold is {run.threshold}")
    require(0 <= run.perturbation < math.inf, f"perturbation is {run.perturbation}")
    reached = steps if run.diverged_at is None else run.diverged_at
    require(reached <= steps, f"diverged_at is {reached}, of {steps} steps")
    require(bool(torch.isfinite(run.loss[:reached]).all()), "loss is finite up to the divergence")
    before = t < reached - 1  # a record wants the step after it
    for name in ("midpoints", "sharpness", "oscillation_along_sharpest"):
        require(bool(torch.isfinite(getattr(run, name)[before]).all()), f"{name} is finite up to the divergence")


def require_fit(
    run: DiscreteRun, path: Path, weights: int, threshold: float, start: int, steps: int, record_interval: int
) -> None:
    """Check that a run is of the network, the optimizer, the start and the length that a flow of it is to have.

    Raises: ``InvalidInput`` for the first that differs.
    """
    reaches = run.diverged_at is None or run.last_step >= start + WINDOW_HALF_WIDTH
    for what, found, wanted in (
        ("weights", run.midpoints.shape[1], weights),
        ("threshold", run.threshold, threshold),
        ("steps", len(run.loss) - 2, steps),
        ("record_interval", int(run.record_steps[0]), record_interval),
        ("records", len(run.record_steps), steps // record_interval),
        ("window at the flows' start", start if start in run.windows else None, start if reaches else None),
    ):
        if found != wanted:
            raise InvalidInput(f"{path}: {what}", found, f"{wanted}, which the config asks for")
