"""Which layer of a module is at fault: each is tried alone, on what reaches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from rodflow.training.forward import forward_pass

Function = Callable[[Tensor], Tensor]
"""A function from a vector ``[k]`` to a number ``[]``."""


def layer_to_blame(
    module: nn.Module, evaluate: Callable[[], object], at_fault: Callable[[Function, Tensor], Any]
) -> str:
    """The name of the first layer for which ``at_fault(function, point)`` is true; empty if only the whole module is.

    ``function`` is a random combination of the layer's outputs, of its parameters and floating inputs in one vector;
    ``point`` is where they are when ``evaluate`` calls the module. A layer comes after the layers inside of it.
    """
    calls: dict[str, tuple[nn.Module, Any, dict[str, Tensor]]] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, positional: Any, named: Any, _: Any) -> None:
            state = {n: p.detach() for n, p in layer.named_parameters()}
            calls.setdefault(name, (layer, (positional, named), state))

        return hook

    hooks = [layer.register_forward_hook(keep(n), with_kwargs=True) for n, layer in module.named_modules() if n]
    try:
        with torch.no_grad(), forward_pass():
            evaluate()
    finally:
        for handle in hooks:
            handle.remove()
    for name, call in calls.items():
        function, point = _alone(*call)
        if point.numel() and at_fault(function, point):
            return name
    return ""


def _alone(layer: nn.Module, arguments: Any, state: dict[str, Tensor]) -> tuple[Function, Tensor]:
    """A layer as a function of the floating numbers that enter it, and these numbers."""
    buffers = {name: b.clone() for name, b in layer.named_buffers()}
    parts, spec = pytree.tree_flatten((state, arguments))
    moving = [i for i, part in enumerate(parts) if isinstance(part, Tensor) and part.is_floating_point()]
    sizes = [parts[i].numel() for i in moving]

    def function(vector: Tensor) -> Tensor:
        given = list(parts)
        for i, piece in zip(moving, torch.split(vector, sizes), strict=True):
            given[i] = piece.view(parts[i].shape).to(parts[i].dtype)
        inside, (positional, named) = pytree.tree_unflatten(given, spec)
        again = {name: b.clone() for name, b in buffers.items()}  # a layer in training mode writes to its buffers
        output = functional_call(layer, inside | again, positional, named)
        generator, total = torch.Generator().manual_seed(0), vector.new_zeros(())
        for part in pytree.tree_leaves(output):
            if isinstance(part, Tensor) and part.is_floating_point():
                total = total + (part * torch.randn(part.shape, generator=generator).to(part)).sum()
        return total

    point = torch.cat([parts[i].detach().reshape(-1) for i in moving]) if moving else torch.empty(0)
    return function, point
