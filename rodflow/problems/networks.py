"""A network on examples: the objective, and the weights from which training starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rodflow.errors import InvalidInput
from rodflow.jobs.progress import log
from rodflow.problems import architectures, datasets
from rodflow.training.arguments import require_device, require_dtype
from rodflow.training.losses import Loss
from rodflow.training.objective import Objective, flat_parameters
from rodflow.training.replay import Compile


@dataclass
class Problem:
    """An objective and the weights w0 ``[d]`` from which training starts."""

    objective: Objective
    w0: Tensor


GPU_FLOPS = 1e8
"""Floating-point operations of a gradient from which on a GPU gains: starting the operations of a smaller one takes
longer there than a processor core takes for all of them.
"""


def resolve_device(device: str, flops: Callable[[], float]) -> torch.device:
    """``auto`` is a GPU where there is one and a gradient has enough ``flops`` to gain; the log says which.

    Raises ``InvalidInput`` for ``cuda`` without one, and for what is no device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidInput("device", "cuda", "auto or cpu (torch sees no GPU on this machine)")
    if device == "auto" and torch.cuda.is_available():
        size = flops()
        device = "cuda" if size >= GPU_FLOPS else "cpu"
        log.info("device %s: a gradient takes %.1g operations, and a GPU gains from %.1g on", device, size, GPU_FLOPS)
    device = "cpu" if device == "auto" else device
    return torch.device(device) if device in ("cpu", "cuda") else require_device(device)


def network_problem(
    examples: datasets.Examples,
    network: str | architectures.Network,
    sizes: dict[str, Any] | None = None,
    loss: str | Loss = "mse",
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: str = "auto",
    chunk_size: int | None = None,
    compile: Compile = "auto",
    gradient_dtype: torch.dtype | None = None,
    reduction: str = "sum",
) -> Problem:
    """A network on examples. The same ``seed`` gives the same initial weights, rounded to ``dtype``; the network is
    evaluated in ``gradient_dtype``, if that is given, and else in ``dtype`` too.

    ``network``: a name of ``ARCHITECTURES``, or a function, as in :func:`rodflow.problems.architectures.build`;
    ``sizes``: its keyword arguments. ``loss`` and
    ``reduction``: as in :meth:`Objective.from_module`.

    Raises: ``InvalidInput`` for a network or a loss that the examples do not fit.
    """
    dtype = require_dtype(dtype)
    shape, outputs, targets = examples.x.shape[1:], examples.outputs, torch.as_tensor(examples.y)
    x = torch.as_tensor(examples.x)
    if isinstance(network, str) and not x.is_floating_point():
        allowed = "a network of your own, for inputs of whole numbers; or data.normalise: true"
        raise InvalidInput("architectures", network, allowed)
    if loss == "binary_cross_entropy" and examples.classes:
        if examples.classes != 2:
            raise InvalidInput("loss", loss, f"mse or cross_entropy, for {examples.classes} classes")
        outputs, targets = 1, targets[:, None].double()
    module = architectures.build(network, shape, outputs, seed, **(sizes or {}))
    evaluated, w0 = gradient_dtype or dtype, flat_parameters(module).to(dtype)
    x, y = (part.to(evaluated) if part.is_floating_point() else part for part in (x, targets))

    def objective(where: torch.device) -> Objective:
        return Objective.from_module(module, x.to(where), y.to(where), loss, chunk_size, compile, reduction)

    def gradient_flops() -> float:
        nowhere = torch.device("meta")
        return objective(nowhere).gradient_flops(w0.to(nowhere))

    where = resolve_device(device, gradient_flops)
    return Problem(objective(where), w0.to(where))


def digits(architecture: str = "mlp", examples: int = 500, **settings: Any) -> Problem:
    """Handwritten digits, learnt by ``architecture``; ``settings`` as for :func:`network_problem`."""
    return network_problem(datasets.select(*datasets.digits(), examples), architecture, **settings)


def cifar10(
    architecture: str = "mlp",
    examples: int = 1000,
    classes: list[int] | None = None,
    file: str | None = None,
    **settings: Any,
) -> Problem:
    """CIFAR-10 images, from ``file`` or fetched; ``settings`` as for :func:`network_problem`."""
    return network_problem(datasets.select(*datasets.cifar10(file), examples, classes), architecture, **settings)
