"""Files of a flow's run and of a discrete run: :func:`save` writes either, :func:`load` reads either."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from rodflow.errors import InvalidInput
from rodflow.flows.columns import SERIES_COLUMNS
from rodflow.flows.integrate import FlowRun
from rodflow.jobs.files import read_arrays, refused_as, write_arrays
from rodflow.optimizers.step_map import StepMap
from rodflow.training import run_file
from rodflow.training.cost import Cost
from rodflow.training.discrete import DiscreteRun
from rodflow.training.objective import Objective

KIND = "flow run"
"""What a file says of itself."""


def save(run: DiscreteRun | FlowRun, path: str | Path) -> None:
    """Write a discrete run or a flow's to a file, whole or not at all; :func:`load` gives it back, bit by bit.

    Of a discrete run all series, states and windows are kept. The objective and the optimizer are code and are not: the
    optimizer's settings are kept as text, ``optimizer``, and of functions in it their names.

    Raises: ``OSError`` if the file cannot be written; ``InvalidInput`` for anything but a run.
    """
    if isinstance(run, DiscreteRun):
        run_file.save(run, path)
    elif isinstance(run, FlowRun):
        _save(run, path)
    else:
        raise InvalidInput("run", run, "what rodflow.train or rodflow.integrate returned")


def _save(flow: FlowRun, path: str | Path) -> None:
    arrays = {f"series_{name}": column.to_numpy() for name, column in flow.series.items()}
    for name in ("centres", "origin"):
        if (part := getattr(flow, name)) is not None:
            arrays[name] = part.cpu().numpy()
    attributes = {
        "kind": KIND,
        "start": flow.start,
        "seconds": flow.seconds,
        "diverged_at": -1 if flow.diverged_at is None else flow.diverged_at,
        "interrupted": flow.interrupted,
        **asdict(flow.cost),
    }
    write_arrays(path, arrays, attributes)


def load(
    path: str | Path, objective: Objective | None = None, optimizer: StepMap | None = None, device: str = "cpu"
) -> DiscreteRun | FlowRun:
    """What :func:`save` wrote, its tensors the same bit by bit.

    A discrete run has the windows that were kept in it when it was saved. With the ``objective`` and the ``optimizer``
    that it was trained with it gives any other window too, by a replay on ``device``, where windows then are.

    Raises: ``InvalidInput`` for a file that is damaged or holds neither, and for an objective or an optimizer that is
    not the run's: another loss at its first weights, other settings.
    """
    arrays, attributes = read_arrays(path)
    kind = attributes.get("kind")
    if kind == run_file.KIND:
        run = run_file.from_arrays(path, arrays, attributes)
        return run if objective is None or optimizer is None else _replayable(run, objective, optimizer, device)
    if kind == KIND:
        return _from_arrays(path, arrays, attributes)
    raise InvalidInput("file", str(path), "a file that rodflow.save wrote")


def _replayable(run: DiscreteRun, objective: Objective, optimizer: StepMap, device: str) -> DiscreteRun:
    """The run with what replays it. Raises: ``InvalidInput`` if these are not what it was trained with."""
    if run.optimizer != optimizer.description:
        raise InvalidInput("optimizer", optimizer.description, f"the run's own: {run.optimizer}")
    if run.w0 is None:
        raise InvalidInput("file", "a run without its first weights", "a run that rodflow.save wrote, for a replay")
    w0 = run.w0.to(device)
    loss, first = float(objective.value(w0)), float(run.loss[0])
    if not np.isclose(loss, first, rtol=float(torch.finfo(w0.dtype).eps) ** 0.5, equal_nan=True):
        allowed = f"the run's own, whose loss at its first weights is {first:g}"
        raise InvalidInput("objective", f"one whose loss there is {loss:g}", allowed)
    windows = {at: window.to(w0.dtype, device) for at, window in run.windows.items()}
    return replace(run, source=(objective, optimizer), w0=w0, windows=windows)


def _from_arrays(path: str | Path, arrays: dict[str, np.ndarray], attributes: dict[str, Any]) -> FlowRun:
    """The flow's run of a file's arrays and attributes. Raises: ``InvalidInput`` naming the file if they are none."""
    with refused_as(path, "a flow's run that rodflow saved"):
        series = pd.DataFrame({name: arrays[f"series_{name}"] for name in SERIES_COLUMNS})
        centres, origin = (torch.from_numpy(arrays[name]) if name in arrays else None for name in ("centres", "origin"))
        flow = FlowRun(
            series,
            centres,
            int(attributes["start"]),
            Cost(*(int(attributes[name]) for name in asdict(Cost()))),
            float(attributes["seconds"]),
            None if attributes["diverged_at"] < 0 else int(attributes["diverged_at"]),
            origin,
            bool(attributes["interrupted"]),
        )
        _require_whole(flow)
    return flow


def _require_whole(flow: FlowRun) -> None:
    """Check that a flow's parts belong together, and are finite up to its divergence. Raises: ``ValueError``."""
    steps = flow.series["step"].to_numpy()
    if steps.dtype.kind != "i" or not len(steps) or not (np.diff(steps) > 0).all() or steps[0] <= flow.start:
        raise ValueError(f"steps rise from the start, {flow.start}")
    reached = steps < (np.inf if flow.diverged_at is None else flow.diverged_at)
    if not np.isfinite(flow.series.loc[reached, ["loss", "gradients"]].to_numpy(float)).all():
        raise ValueError("loss is finite up to the divergence")
    if flow.centres is None:
        return
    if flow.origin is None or flow.origin.shape != flow.centres.shape[1:] or len(flow.centres) != len(steps):
        raise ValueError("centres are [records, weights], origin is [weights]")
    if not torch.isfinite(flow.centres[torch.from_numpy(reached)]).all():
        raise ValueError("centres are finite up to the divergence")
