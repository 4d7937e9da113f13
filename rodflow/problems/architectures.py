"""The networks: MLP, CNN and ViT in plain torch, with smooth activations.

Every operation here has correct derivatives of any order under ``torch.func``
(forward over reverse included): GELU instead of ReLU, average instead of max
pooling, attention written out as matrix products, and a layer normalisation
made of elementary operations.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from rodflow.catalogue import ARCHITECTURES
from rodflow.errors import InvalidInput, whole_number


class LayerNorm(nn.Module):
    """Layer normalisation over the last axis: ``gain * (x - mean) / sqrt(var + eps) + bias``.

    Ba, Kiros & Hinton (2016). Written with elementary operations, so that
    Hessian-vector products and third derivatives come from the chain rule
    alone and not from a fused kernel's hand-written backward.

    Shapes: input and output ``[..., width]``.
    """

    def __init__(self, width: int, eps: float = 1e-5):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        variance = (centred * centred).mean(-1, keepdim=True)
        return self.gain * centred * torch.rsqrt(variance + self.eps) + self.bias


class Attention(nn.Module):
    """Multi-head self-attention, ``softmax(q k^T / sqrt(width / heads)) v``; ``[n, tokens, width]`` to the same."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise InvalidInput("heads", heads, f"a divisor of the width {width}")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [n, heads, tokens, width / heads]
        scores = q @ k.transpose(-1, -2) * (width // self.heads) ** -0.5
        mixed = torch.softmax(scores, -1) @ v
        return self.out(mixed.transpose(1, 2).reshape(n, tokens, width))


class Block(nn.Module):
    """Pre-norm transformer block: attention, then a two-layer perceptron, both residual."""

    def __init__(self, width: int, heads: int, hidden: int):
        super().__init__()
        self.norm1, self.norm2 = LayerNorm(width), LayerNorm(width)
        self.attention = Attention(width, heads)
        self.perceptron = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.perceptron(self.norm2(x))


class ViT(nn.Module):
    """Vision transformer on non-overlapping patches, mean-pooled; ``[n, channels, side, side]`` to ``[n, classes]``."""

    def __init__(
        self, channels: int, side: int, classes: int, patch: int, width: int, depth: int, heads: int, hidden: int
    ):
        super().__init__()
        if side % patch:
            raise InvalidInput("patch", patch, f"a divisor of the image side {side}")
        self.patch = patch
        self.embedding = nn.Linear(channels * patch * patch, width)
        self.position = nn.Parameter(0.02 * torch.randn((side // patch) ** 2, width))
        self.blocks = nn.Sequential(*(Block(width, heads, hidden) for _ in range(depth)))
        self.norm = LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        n, channels, side, _ = x.shape
        p, along = self.patch, side // self.patch
        patches = x.reshape(n, channels, along, p, along, p).permute(0, 2, 4, 1, 3, 5)
        tokens = self.embedding(patches.reshape(n, along * along, channels * p * p)) + self.position
        return self.head(self.norm(self.blocks(tokens)).mean(1))


def mlp(channels: int, side: int, classes: int, widths: tuple[int, ...]) -> nn.Module:
    """Fully connected network with GELU between layers; ``[n, channels, side, side]`` to ``[n, classes]``."""
    sizes = (channels * side * side, *widths)
    layers: list[nn.Module] = [nn.Flatten()]
    for inward, outward in pairwise(sizes):
        layers += [nn.Linear(inward, outward), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], classes))


def cnn(channels: int, side: int, classes: int, filters: tuple[int, ...], dense: int) -> nn.Module:
    """3x3 convolutions, GELU and 2x2 average pooling per entry of ``filters``, then one dense hidden layer."""
    if not filters:
        raise InvalidInput("filters", filters, "at least one number of filters")
    if side % 2 ** len(filters):
        raise InvalidInput("filters", filters, f"at most as many as {side} can be halved")
    layers: list[nn.Module] = []
    for inward, outward in zip((channels, *filters), filters, strict=False):
        layers += [nn.Conv2d(inward, outward, 3, padding=1), nn.GELU(), nn.AvgPool2d(2)]
    pooled = filters[-1] * (side // 2 ** len(filters)) ** 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(pooled, dense), nn.GELU(), nn.Linear(dense, classes))


def build(architecture: str, channels: int, side: int, classes: int, seed: int, **sizes: Any) -> nn.Module:
    """A network with reproducible initial weights, in float64 so that every dtype starts from the same numbers.

    Parameters: ``architecture`` one of ``ARCHITECTURES``; images ``[channels, side, side]``; ``seed`` of the
    initial weights; ``sizes`` the keyword arguments of that architecture.

    Raises: ``InvalidInput`` for an unknown architecture or sizes that do not fit the images.
    """
    if architecture not in ARCHITECTURES:
        raise InvalidInput("architecture", architecture, f"one of {', '.join(ARCHITECTURES)}")
    seed = whole_number("seed", seed, "a whole number from 0 to 2^63 - 1", most=2**63 - 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ARCHITECTURES[architecture](channels, side, classes, **sizes).double()
