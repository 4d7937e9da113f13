"""Where tensors are computed: a dtype and a device as users give them."""

from __future__ import annotations

import torch

from rodflow.errors import InvalidInput
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
