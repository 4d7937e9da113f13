"""What a training and a flow ask a scheduler for: memory and minutes, by the sizes of the config.

A network has ``weights``; of each example its forward pass holds some numbers (``held``) and takes some
``multiplications``. With n examples at once, 8 bytes a number:

    memory = BASE_MB + 8 bytes * (HELD * n * held + (VECTORS + records) * weights)
    minutes = BASE_MINUTES + 2 * gradients * (1 ms + 6 * examples * multiplications / speed)
    gradients = steps * (gradients a step: 1 of a run, GRADIENTS of a flow) + OF_RECORD * records

A job that is tried again asks for as many times the memory and the minutes as it has been tried. The minutes are never
more than a day at first: a job that is stopped goes on from its checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from math import ceil, prod
from typing import NamedTuple

from rodflow.config import Config

BASE_MB, BASE_MINUTES = 800, 20
"""The libraries alone take 430 MiB; on a cluster a job's start takes its time."""
GPU_MB = 4000
"""What a process that uses a GPU takes beside it, at least."""
HELD = 10
"""What a Hessian-vector product holds, over a forward pass: up to 9.4 in docs/performance.md (ViT)."""
VECTORS = 400
"""Vectors as long as the weights that rod flow holds: 390 (MLP, Adam)."""
GRADIENTS = {
    "twin": 1,
    "second_twin": 1,
    "edge_unit_step": 4,
    "drift_free_rod": 4,
    "stable": 10,
    "stable_corrected": 10,
    "drift_free_rod_ode": 70,
    "rod": 70,
}
"""Gradient equivalents of a flow's step, at most, in docs/performance.md and reference/errors.csv."""
DEARER = 270
"""Those of the other flows."""
OF_RECORD = 100
"""Gradient equivalents of a record: its eigensolver's products."""
SPEED, GPU_SPEED = 1e10, 5e11
"""Operations a second, of a thread and of a GPU, in double precision; a third of what was measured, or less."""
DAY = 24 * 60
UNKNOWN_MB, UNKNOWN_MINUTES = 4000, 480
"""For a network of the user's own, whose size no config tells."""


class Network(NamedTuple):
    """The size of a network; ``held`` and ``multiplications`` of one example."""

    weights: int
    held: int
    multiplications: int


def network(config: Config, architecture: str) -> Network | None:
    """The size of an architecture, None of one of the user's own.

    Examples other than the digits count as images of CIFAR-10: those of a file are not looked at here.
    """
    if architecture in config.own.networks:
        return None
    channels, side = (1, 8) if config.data.dataset == "digits" else (3, 32)
    outputs = len(config.data.classes or range(10))
    if architecture == "mlp":
        return _dense([channels * side**2, *config.sizes.mlp.widths, outputs])
    if architecture == "cnn":
        weights = held = multiplications = 0
        for inward, outward in pairwise([channels, *config.sizes.cnn.filters]):
            kernel = 9 * inward * outward
            weights += kernel + outward
            held += (2 * inward + outward) * side**2
            multiplications += kernel * side**2
            side //= 2
        rest = _dense([outward * side**2, config.sizes.cnn.dense, outputs])
        return Network(*map(sum, zip((weights, held, multiplications), rest, strict=True)))
    vit = config.sizes.vit
    tokens, width = max(1, side // vit.patch) ** 2, vit.width
    embedding = channels * vit.patch**2 * width
    maps = 4 * width**2 + 2 * width * vit.hidden
    of_token = 8 * width + 2 * vit.hidden + 2 * vit.heads * tokens
    return Network(
        embedding + tokens * width + vit.depth * (maps + 9 * width + vit.hidden) + 3 * width + (width + 1) * outputs,
        tokens * (channels * vit.patch**2 + width + vit.depth * of_token),
        tokens * (embedding + vit.depth * (maps + 2 * tokens * width)),
    )


def _dense(sizes: list[int]) -> Network:
    """Dense layers, with an activation between two."""
    maps = sum(map(prod, pairwise(sizes)))
    return Network(maps + sum(sizes[1:]), 2 * sum(sizes), maps)


def memory(config: Config, architectures: Iterable[str], gpu: bool = False, attempt: int = 1) -> int:
    """Megabytes that a job of the largest of the ``architectures`` asks for, in steps of 500."""
    held = min(config.chunk_size or config.data.examples, config.data.examples)
    records = config.steps // config.record_interval

    def of(size: Network | None) -> float:
        if size is None:
            return UNKNOWN_MB
        examples = 0 if gpu else HELD * held * size.held  # a GPU has memory of its own
        return BASE_MB + 8e-6 * (examples + (VECTORS + records) * size.weights)

    asked = max(of(network(config, architecture)) for architecture in architectures)
    return attempt * 500 * ceil(max(asked, GPU_MB if gpu else 0) / 500)


def minutes(config: Config, architectures: Iterable[str], flow: str = "", gpu: bool = False, attempt: int = 1) -> int:
    """Minutes that a run of the largest of the ``architectures`` asks for, or a ``flow``; in steps of 10."""
    a_step = GRADIENTS.get(flow, DEARER) if flow else 1
    gradients = config.steps * a_step + OF_RECORD * (config.steps // config.record_interval)
    speed = GPU_SPEED if gpu else SPEED * config.threads

    def of(size: Network | None) -> float:
        if size is None:
            return UNKNOWN_MINUTES
        seconds = 1e-3 + 6 * config.data.examples * size.multiplications / speed
        return BASE_MINUTES + 2 * gradients * seconds / 60

    asked = max(of(network(config, architecture)) for architecture in architectures)
    return attempt * min(DAY, 10 * ceil(asked / 10))
