"""Losses of a network: sums over examples, smooth in the output, with a check of what they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rodflow.errors import InvalidInput
from rodflow.training.weights import described

Loss = Callable[[Any, Any], Tensor]
"""(output, target) of a batch -> a number, ``[]``."""
IGNORED = -100
"""The class index that is no class, as everywhere in torch."""


def mean_squared_error(output: Tensor, target: Tensor) -> Tensor:
    """``sum_i ||output_i - target_i||^2 / 2``; target of the output's shape, or class indices ``[n]``, made one-hot."""
    if not target.is_floating_point():
        classes = torch.arange(output.shape[-1], device=target.device)
        target = target[:, None] == classes  # one_hot would read the targets into Python, to check them
    return 0.5 * ((output - target.to(output.dtype)) ** 2).sum()


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """``-sum_i log softmax(output_i)[target_i]``: output ``[n, classes, ..]``, target class indices ``[n, ..]``, or
    probabilities of the output's shape. An index of ``IGNORED`` adds nothing. The objective divides the sum, over all
    positions of an example, by n, whatever is ignored; torch's ``reduction="mean"`` by the positions that count.
    """
    return nn.functional.cross_entropy(output, _numbers(output, target), reduction="sum", ignore_index=IGNORED)


def binary_cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """``-sum log sigmoid((2 target - 1) output)``, for targets 0 and 1, or between them, of the output's shape."""
    return nn.functional.binary_cross_entropy_with_logits(output, target.to(output.dtype), reduction="sum")


LOSSES: dict[str, Loss] = {
    "mse": mean_squared_error,
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
}


def require_targets(loss: str, output: tuple[int, ...], target: Tensor) -> None:
    """Check that the targets of all examples are what a named loss of an ``output`` of this shape takes.

    Raises: ``InvalidInput`` naming y.
    """
    shape, whole = tuple(target.shape), not target.is_floating_point()
    indices = f"class indices [{output[0]}]"
    if loss == "binary_cross_entropy":
        if shape != output:
            raise InvalidInput("y", described(target), f"targets of the output's shape, {list(output)}")
        low, high = 0.0, 1.0
    elif len(output) == 2 and whole and loss in ("mse", "cross_entropy"):
        if shape != output[:1]:
            raise InvalidInput("y", described(target), f"{indices}, or floating targets {list(output)}")
        low, high = 0.0, output[1] - 1.0
    elif loss == "cross_entropy" and whole:
        if shape != (output[0], *output[2:]):
            raise InvalidInput("y", described(target), f"class indices {[output[0], *output[2:]]}")
        low, high = 0.0, output[1] - 1.0
    else:
        if shape != output:
            raise InvalidInput("y", described(target), f"{indices}, or floating targets {list(output)}")
        low, high = (0.0, 1.0) if loss == "cross_entropy" else (-float("inf"), float("inf"))
    if loss == "cross_entropy" and output[1] == 1:
        raise InvalidInput("loss", loss, "binary_cross_entropy or mse, for a network with one output")
    if target.is_meta:
        return
    counted = target[target != IGNORED] if loss == "cross_entropy" and whole else target
    if not len(counted):
        raise InvalidInput("y", f"{IGNORED} alone", "a target that is not ignored")
    if not bool(((counted >= low) & (counted <= high)).all()):
        raise InvalidInput("y", f"from {counted.min()} to {counted.max()}", f"numbers from {low:g} to {high:g}")


def _numbers(output: Tensor, target: Tensor) -> Tensor:
    """Targets in a dtype that torch's cross-entropy takes: class indices as int64, probabilities as the output is."""
    return target.to(output.dtype) if target.is_floating_point() else target.long()
