"""The file of a discrete run: written, read back, and checked to be one.

Sizes and dtypes belong together, and numbers are finite as far as the run got.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rodflow.jobs.files import read_arrays, refused_as, write_arrays
from rodflow.optimizers.step_map import State
from rodflow.training.discrete import DiscreteRun, Window
from rodflow.training.weights import PRECISIONS

KIND = "discrete run"
"""What a file says of itself."""
RUN_ARRAYS = (
    "record_steps",
    "loss",
    "gradient_norm",
    "oscillation",
    "midpoints",
    "sharpness",
    "oscillation_along_sharpest",
)


def save(run: DiscreteRun, path: str | Path) -> None:
    """Write a run and its windows as HDF5."""
    arrays = {name: getattr(run, name) for name in RUN_ARRAYS} | _parts("state", run.states)
    for at, window in run.windows.items():
        arrays |= _parts(f"window{at}", window.states)
    if run.w0 is not None:
        arrays["w0"] = run.w0
    kept = sorted(run.windows)
    attributes = {
        "kind": KIND,
        "threshold": run.threshold,
        "diverged_at": -1 if run.diverged_at is None else run.diverged_at,
        "interrupted": run.interrupted,
        "perturbation": run.perturbation,
        "optimizer": run.optimizer,
        "windows": np.array(kept, int),
        "roundings": np.array([run.windows[at].rounding for at in kept], float),
        "losses": np.array([run.windows[at].loss for at in kept], float),
    }
    write_arrays(path, {name: part.cpu().numpy() for name, part in arrays.items()}, attributes)


def _parts(name: str, state: State) -> dict[str, Tensor]:
    return {f"{name}_{part}": tensor for part, tensor in state._asdict().items()}


def load(path: str | Path) -> DiscreteRun:
    """Read what :func:`save` wrote. Raises: ``InvalidInput`` if the file does not hold a run."""
    return from_arrays(path, *read_arrays(path))


def from_arrays(path: str | Path, arrays: dict[str, np.ndarray], attributes: dict[str, Any]) -> DiscreteRun:
    """The run of a file's arrays and attributes. Raises: ``InvalidInput`` naming the file if they are none."""
    with refused_as(path, "a discrete run that rodflow saved"):
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        optimizer = str(attributes["optimizer"])

        def state(name: str) -> State:
            return State(*(tensors[f"{name}_{part}"] for part in State._fields))

        windows = {
            int(at): Window(int(at), state(f"window{at}"), float(rounding), optimizer, float(loss))
            for at, rounding, loss in zip(*(attributes[k] for k in ("windows", "roundings", "losses")), strict=True)
        }
        series: dict[str, Any] = {name: tensors[name] for name in RUN_ARRAYS}
        run = DiscreteRun(
            threshold=float(attributes["threshold"]),
            **series,
            states=state("state"),
            diverged_at=None if attributes["diverged_at"] < 0 else int(attributes["diverged_at"]),
            windows=windows,
            perturbation=float(attributes["perturbation"]),
            optimizer=optimizer,
            w0=tensors.get("w0"),
            interrupted=bool(attributes["interrupted"]),
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
    w0 = run.states.w[0] if run.w0 is None else run.w0
    floats = (run.loss, run.gradient_norm, run.oscillation, run.midpoints, *run.states, w0)
    windows = run.windows.values()
    require(dtype in PRECISIONS, f"midpoints are {dtype}")
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
    require(w0.shape == (weights,), f"w0 is {list(w0.shape)}")
    parts = [(run.states, records)]
    for window in windows:
        require(window.half_width >= 1, "a window has a state on either side")
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
