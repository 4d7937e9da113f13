"""What training and flows ask of their arguments."""

from __future__ import annotations

import os

import torch

from rodflow.errors import InvalidInput
from rodflow.optimizers.step_map import EQUIVALENT, StepMap
from rodflow.training.weights import PRECISIONS


def require_dtype(dtype: object) -> torch.dtype:
    """Single or double precision. Raises: ``InvalidInput`` for anything else."""
    if not isinstance(dtype, torch.dtype) or dtype not in PRECISIONS:
        raise InvalidInput("dtype", dtype, "torch.float32 or torch.float64")
    return dtype


def require_device(device: torch.device | str) -> torch.device:
    """A device that torch has here. Raises: ``InvalidInput`` for anything else."""
    try:
        return torch.empty(0, device=device).device
    except (AssertionError, RuntimeError, TypeError) as error:
        raise InvalidInput("device", device, f"a device that torch has here ({str(error).splitlines()[0]})") from error


def require_objective(objective: object) -> None:
    """Check that something has a loss and its derivatives. Raises: ``InvalidInput``."""
    if not hasattr(objective, "value_and_gradient"):
        allowed = "a rodflow.Objective: Objective.from_module(module, x, y), or Objective(function of w)"
        raise InvalidInput("objective", objective, allowed)


def require_step_map(optimizer: object) -> None:
    """Check that something is a step map. Raises: ``InvalidInput``."""
    if not isinstance(optimizer, StepMap):
        raise InvalidInput("optimizer", optimizer, EQUIVALENT)


def require_room(steps: int, numbers: int, itemsize: int) -> None:
    """Check that the numbers that so many steps leave fit into this machine's memory. Raises: ``InvalidInput``."""
    needed, there = numbers * itemsize / 2**30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if needed > there:
        allowed = f"fewer, or a larger record_interval: the records take {needed:.3g} GiB, and memory has {there:.3g}"
        raise InvalidInput("steps", steps, allowed)
