"""A network on labelled images: the objective, and the weights from which training starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rodflow.config.schema import Sizes
from rodflow.errors import InvalidInput
from rodflow.problems import architectures, datasets
from rodflow.training.objective import Objective, flat_parameters
from rodflow.training.replay import Compile


@dataclass
class Problem:
    """An objective and the weights w0 ``[d]`` from which training starts."""

    objective: Objective
    w0: Tensor


def resolve_device(device: str) -> torch.device:
    """``auto`` is a GPU where there is one. Raises ``InvalidInput`` for ``cuda`` without one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidInput("device", "cuda", "auto or cpu (torch sees no GPU on this machine)")
    return torch.device(device)


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
) -> Problem:
    """A network on images. The same ``seed`` gives the same initial weights, rounded to ``dtype``."""
    _, channels, side, _ = images.x.shape
    where = resolve_device(device)
    sizes = Sizes().model_dump().get(architecture, {}) if sizes is None else sizes
    module = architectures.build(architecture, channels, side, images.classes, seed, **sizes)
    x = torch.as_tensor(images.x).to(where, dtype)
    y = torch.as_tensor(images.y).to(where)
    objective = Objective.from_module(module, x, y, loss, chunk_size, compile)
    return Problem(objective, flat_parameters(module).to(where, dtype))


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
