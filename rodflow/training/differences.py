"""Differences that derivatives are compared with, and the points aside of special ones where that is done."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ASIDE = 1e-3
"""How far from w a point aside of it is, relative to w's length."""
DOUBLE = 1e-10
"""Rounding errors below this one are those of double precision."""
THIRD_STEPS = 1e-4, 1e-6
"""Steps of differences of Hessian-vector products; the second one crosses hardly any kinks."""


def length(w: Tensor) -> float:
    """The length of w, or one for w = 0."""
    return float(w.norm()) or 1.0


def aside(w: Tensor) -> Tensor:
    """A point near w: equal weights and zero biases are special ones."""
    generator = torch.Generator().manual_seed(0)
    way = torch.randn(w.numel(), generator=generator, dtype=torch.float64).to(w.device, w.dtype)
    return w + ASIDE * length(w) / w.numel() ** 0.5 * way


def direction(w: Tensor, seed: int) -> Tensor:
    """A random direction ``[d]``, of length one."""
    v = torch.randn(w.numel(), generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(w)
    return v / v.norm()


def is_third_derivative(
    third: Tensor, product: Callable[[Tensor, Tensor], Tensor], w: Tensor, u: Tensor, size: float
) -> bool:
    """Whether ``third [d]`` is how the Hessian's ``product`` with u changes from w along u, but for rounding errors of
    a product as long as ``size``.
    """
    for h in (step * length(w) for step in THIRD_STEPS):
        difference = (product(w + h * u, u) - product(w - h * u, u)) / (2 * h)
        if not float((third - difference).norm()) > 0.02 * float(difference.norm()) + 1e-6 * size / length(w):
            return True
    return False
