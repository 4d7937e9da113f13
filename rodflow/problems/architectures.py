"""The networks: MLP, CNN and ViT in plain torch, with smooth activations.

Every operation here has correct derivatives of any order under ``torch.func``
(forward over reverse included): GELU where nothing else is asked for, average
instead of max pooling, attention written out as matrix products, and a layer
normalisation made of elementary operations.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from rodflow.catalogue import ARCHITECTURES
from rodflow.errors import InvalidInput, whole_number

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "relu": nn.ReLU,
}
"""What may stand between two layers. The second derivative of relu, which flows take, misses its kink."""


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

    def __init__(self, width: int, heads: int, hidden: int, activation: str):
        super().__init__()
        self.norm1, self.norm2 = LayerNorm(width), LayerNorm(width)
        self.attention = Attention(width, heads)
        self.perceptron = nn.Sequential(nn.Linear(width, hidden), ACTIVATIONS[activation](), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.perceptron(self.norm2(x))


def image(shape: tuple[int, ...], name: str) -> tuple[int, int]:
    """Channels and side of inputs that are square images: ``(channels, side, side)``, or ``(side, side)`` of grey ones.

    Raises: ``InvalidInput`` for inputs of another shape, which the network ``name`` does not take.
    """
    channels, *sides = (1, *shape) if len(shape) == 2 else shape
    if len(sides) != 2 or sides[0] != sides[1]:
        allowed = f"mlp, or a network of your own, for inputs {list(shape)}: {name} takes square images"
        raise InvalidInput("architectures", name, allowed)
    return channels, sides[0]


class ViT(nn.Module):
    """Vision transformer on non-overlapping patches, mean-pooled; square images ``[n, *shape]`` to ``[n, outputs]``."""

    def __init__(
        self,
        shape: tuple[int, ...],
        outputs: int,
        patch: int = 4,
        width: int = 16,
        depth: int = 1,
        heads: int = 2,
        hidden: int = 32,
        activation: str = "gelu",
    ):
        super().__init__()
        channels, side = image(shape, "vit")
        if side % patch:
            raise InvalidInput("patch", patch, f"a divisor of the image side {side}")
        self.channels, self.side, self.patch = channels, side, patch
        self.embedding = nn.Linear(channels * patch * patch, width)
        self.position = nn.Parameter(0.02 * torch.randn((side // patch) ** 2, width))
        self.blocks = nn.Sequential(*(Block(width, heads, hidden, activation) for _ in range(depth)))
        self.norm = LayerNorm(width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        n, channels, p, along = len(x), self.channels, self.patch, self.side // self.patch
        patches = x.reshape(n, channels, along, p, along, p).permute(0, 2, 4, 1, 3, 5)
        tokens = self.embedding(patches.reshape(n, along * along, channels * p * p)) + self.position
        return self.head(self.norm(self.blocks(tokens)).mean(1))


def mlp(
    shape: tuple[int, ...], outputs: int, widths: tuple[int, ...] = (32, 32), activation: str = "gelu"
) -> nn.Module:
    """Fully connected network with an activation between layers; ``[n, *shape]`` to ``[n, outputs]``."""
    sizes = (prod(shape), *widths)
    layers: list[nn.Module] = [nn.Flatten()]
    for inward, outward in pairwise(sizes):
        layers += [nn.Linear(inward, outward), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))


def cnn(
    shape: tuple[int, ...],
    outputs: int,
    filters: tuple[int, ...] = (4, 8),
    dense: int = 16,
    activation: str = "gelu",
) -> nn.Module:
    """3x3 convolutions, activation and 2x2 average pooling per entry of ``filters``, then one dense hidden layer;
    square images ``[n, *shape]`` to ``[n, outputs]``.
    """
    channels, side = image(shape, "cnn")
    if not filters:
        raise InvalidInput("filters", filters, "at least one number of filters")
    if side % 2 ** len(filters):
        raise InvalidInput("filters", filters, f"at most as many as {side} can be halved")
    smooth = ACTIVATIONS[activation]
    layers: list[nn.Module] = [nn.Unflatten(1, (1, side))] if len(shape) == 2 else []
    for inward, outward in zip((channels, *filters), filters, strict=False):
        layers += [nn.Conv2d(inward, outward, 3, padding=1), smooth(), nn.AvgPool2d(2)]
    pooled = filters[-1] * (side // 2 ** len(filters)) ** 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(pooled, dense), smooth(), nn.Linear(dense, outputs))


Network = Callable[..., nn.Module]
"""``network(shape, outputs, **settings)``: a module that maps inputs ``[n, *shape]`` to ``[n, outputs]``."""


def build(network: str | Network, shape: tuple[int, ...], outputs: int, seed: int, **settings: Any) -> nn.Module:
    """A network with reproducible initial weights, in float64 so that every dtype starts from the same numbers.

    Parameters: ``network`` one of ``ARCHITECTURES``, or a function that makes one; ``shape`` of an input; ``seed`` of
    the initial weights, by torch's generator; ``settings`` the keyword arguments of that network.

    Raises: ``InvalidInput`` for an unknown network or settings that do not fit the inputs.
    """
    if isinstance(network, str) and network not in ARCHITECTURES:
        raise InvalidInput("architecture", network, f"one of {', '.join(ARCHITECTURES)}")
    make = ARCHITECTURES[network] if isinstance(network, str) else network
    seed = whole_number("seed", seed, "a whole number from 0 to 2^63 - 1", most=2**63 - 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make(shape, outputs, **settings).double()
