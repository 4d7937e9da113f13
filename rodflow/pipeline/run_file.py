"""The file of a cell's discrete run: what of the run is kept, and whether it is the one that the config asks for."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from rodflow.errors import InvalidInput
from rodflow.optimizers.step_map import State
from rodflow.training import run_file
from rodflow.training.discrete import WINDOW_HALF_WIDTH, DiscreteRun


def save(run: DiscreteRun, path: Path) -> None:
    """Write a run; of the states at its records the weights, which flows are compared with, and no first weights."""
    none = run.states.w.new_zeros(len(run.states.w), 0)
    run_file.save(replace(run, states=State(run.states.w, none, none), w0=None), path)


def load_once(path: Path) -> DiscreteRun:
    """What :func:`save` wrote, which the flows of a cell that one process makes share."""
    status = path.stat() if path.exists() else None
    return _loaded(path, status and (status.st_mtime_ns, status.st_size, status.st_ino))


@lru_cache(maxsize=1)
def _loaded(path: Path, version: object) -> DiscreteRun:
    return run_file.load(path)


def require_fit(
    run: DiscreteRun, path: Path, weights: int, threshold: float, start: int, steps: int, record_interval: int
) -> None:
    """Check that a run is of the network, the optimizer, the start and the length that a flow of it is to have.

    Raises: ``InvalidInput`` for the first that differs.
    """
    kept = start in run.windows and run.windows[start].half_width >= WINDOW_HALF_WIDTH
    reaches = run.diverged_at is None or run.last_step >= start + WINDOW_HALF_WIDTH
    for what, found, wanted in (
        ("weights", run.midpoints.shape[1], weights),
        ("threshold", run.threshold, threshold),
        ("steps", len(run.loss) - 2, steps),
        ("record_interval", int(run.record_steps[0]), record_interval),
        ("records", len(run.record_steps), steps // record_interval),
        ("window at the flows' start", start if kept else None, start if reaches else None),
    ):
        if found != wanted:
            raise InvalidInput(f"{path}: {what}", found, f"{wanted}, which the config asks for")
