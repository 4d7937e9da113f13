"""Weights as one flat vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rodflow.errors import InvalidInput

PRECISIONS = (torch.float32, torch.float64)
"""Dtypes with digits enough for second derivatives."""


def flat_parameters(module: nn.Module) -> Tensor:
    """The module's parameters that require gradients as one vector ``[d]``, in the order of ``named_parameters``.

    Raises: ``InvalidInput`` for a module without any.
    """
    if not isinstance(module, nn.Module) or not any(p.requires_grad for p in module.parameters()):
        raise InvalidInput("module", type(module).__name__, "a module with parameters that require gradients")
    return torch.cat([p.detach().reshape(-1) for p in module.parameters() if p.requires_grad])


def flat(w0: object) -> Tensor:
    """w0 as a vector of its own, without a graph.

    Raises: ``InvalidInput`` if it is no flat vector of numbers in single or double precision.
    """
    wanted = (
        "a flat tensor [d] of floating numbers, float32 or float64; rodflow.flat_parameters(module) gives a module's"
    )
    if not isinstance(w0, Tensor):
        raise InvalidInput("w0", type(w0).__name__, wanted)
    if w0.ndim != 1 or not w0.numel() or w0.dtype not in PRECISIONS:
        raise InvalidInput("w0", described(w0), wanted)
    return w0.detach().clone()


def described(part: Tensor) -> str:
    """A tensor's dtype and shape."""
    return f"{str(part.dtype).removeprefix('torch.')} {list(part.shape)}"
