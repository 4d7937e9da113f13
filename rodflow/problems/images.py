"""A network on labelled images: the objective, and the weights from which training starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rodflow.config.schema import Sizes
from rodflow.errors import InvalidInput
from rodflow.jobs.progress import log
from rodflow.problems import architectures, datasets
from rodflow.training.objective import Objective, flat_parameters
from rodflow.training.replay import Compile
from rodflow.training.tensors import require_device, require_dtype


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

    Raises ``InvalidInput`` for ``cuda`` without one.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidInput("device", "cuda", "auto or cpu (torch sees no GPU on this machine)")
    if device == "auto" and torch.cuda.is_available():
        size = flops()
        device = "cuda" if size >= GPU_FLOPS else "cpu"
        log.info("device %s: a gradient takes %.1g operations, and a GPU gains from %.1g on", device, size, GPU_FLOPS)
    return require_device("cpu" if device == "auto" else device)


def image_problem(
    images: datasets.Images,
    architecture: str,
    sizes: dict[str, Any] | None = None,
    loss: str = "mse",
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: str = "auto",
    chunk_size: int | None = None,
    compile: Compile = "auto",
    gradient_dtype: torch.dtype | None = None,
) -> Problem:
    """A network on images. The same ``seed`` gives the same initial weights, rounded to ``dtype``; the network is
    evaluated in ``gradient_dtype``, if that is given, and else in ``dtype`` too.
    """
    dtype, (_, channels, side, _) = require_dtype(dtype), images.x.shape
    sizes = Sizes().model_dump().get(architecture, {}) if sizes is None else sizes
    module = architectures.build(architecture, channels, side, images.classes, seed, **sizes)
    x, y, w0 = (
        torch.as_tensor(images.x).to(gradient_dtype or dtype),
        torch.as_tensor(images.y),
        flat_parameters(module).to(dtype),
    )

    def objective(where: torch.device) -> Objective:
        return Objective.from_module(module, x.to(where), y.to(where), loss, chunk_size, compile)

    def gradient_flops() -> float:
        nowhere = torch.device("meta")
        return objective(nowhere).gradient_flops(w0.to(nowhere))

    where = resolve_device(device, gradient_flops)
    return Problem(objective(where), w0.to(where))


def digits(architecture: str = "mlp", examples: int = 500, **settings: Any) -> Problem:
    """Handwritten digits, learnt by ``architecture``; ``settings`` as for :func:`image_problem`."""
    return image_problem(datasets.select(*datasets.digits(), examples), architecture, **settings)


def cifar10(
    architecture: str = "mlp",
    examples: int = 1000,
    classes: list[int] | None = None,
    file: str | None = None,
    **settings: Any,
) -> Problem:
    """CIFAR-10 images, from ``file`` or fetched; ``settings`` as for :func:`image_problem`."""
    return image_problem(datasets.select(*datasets.cifar10(file), examples, classes), architecture, **settings)
