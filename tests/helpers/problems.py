"""Small problems whose answers are known in closed form or from dense linear algebra."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rodflow.catalogue import OPTIMIZERS
from rodflow.optimizers.family import AdamFamily
from rodflow.optimizers.step_map import State
from rodflow.problems import landscapes
from rodflow.problems.architectures import build
from rodflow.problems.networks import Problem, digits
from rodflow.training.discrete import DiscreteRun, Window
from rodflow.training.objective import Objective, flat_parameters


@dataclass
class Landscape:
    """A loss with its gradient and Hessian by hand."""

    objective: Objective
    gradient: Callable[[Tensor], Tensor]
    hessian: Callable[[Tensor], Tensor]


def quadratic(hessian: Tensor) -> Landscape:
    """L = w.H w/2, H ``[d, d]`` symmetric."""
    return Landscape(Objective(lambda w: w @ (hessian @ w) / 2), lambda w: hessian @ w, lambda w: hessian)


def quartic(sharpness: float | tuple[float, ...], softening: float | tuple[float, ...]) -> Landscape:
    """:func:`rodflow.problems.landscapes.quartic`; numbers, or tuples of one for each component."""
    s, q = torch.as_tensor(sharpness, dtype=torch.float64), torch.as_tensor(softening, dtype=torch.float64)
    return Landscape(
        Objective(landscapes.quartic(sharpness, softening)),
        lambda w: s * w - q * w**3,
        lambda w: torch.diag(s - 3 * q * w**2),
    )


def valley(sharpness: float = 1.0, sharpening: float = 0.5, slope: float = 0.1, curvature: float = 0.0) -> Landscape:
    """:func:`rodflow.problems.landscapes.valley`."""
    return Landscape(
        Objective(landscapes.valley(sharpness, sharpening, slope, curvature)),
        lambda w: torch.stack(
            [sharpening * w[1] ** 2 / 2 - slope + curvature * w[0], (sharpness + sharpening * w[0]) * w[1]]
        ),
        lambda w: torch.stack(
            [
                torch.stack([torch.full_like(w[0], curvature), sharpening * w[1]]),
                torch.stack([sharpening * w[1], sharpness + sharpening * w[0]]),
            ]
        ),
    )


def square_root(narrowing: float = 0.1) -> Landscape:
    """:func:`rodflow.problems.landscapes.square_root`."""
    r = narrowing

    def gradient(w: Tensor) -> Tensor:
        x, y = w
        u = 1 + y**2
        return torch.stack([2 * r * x * y**2 * u**-0.5, (1 + r * x**2) * (2 * y + y**3) * u**-1.5])

    def hessian(w: Tensor) -> Tensor:
        x, y = w
        u = 1 + y**2
        mixed = 2 * r * x * (2 * y + y**3) * u**-1.5
        second = (1 + r * x**2) * (2 - y**2) * u**-2.5
        return torch.stack([torch.stack([2 * r * y**2 * u**-0.5, mixed]), torch.stack([mixed, second])])

    return Landscape(Objective(landscapes.square_root(narrowing)), gradient, hessian)


def bowl(dimension: int = 3) -> Landscape:
    """L = sum_i s_i (1 - cos w_i) + (sum w)^2/20 with s = 1, 1/2, 1/3, ...: nonquadratic, smooth, coupled."""
    s = 1 / torch.arange(1, dimension + 1, dtype=torch.float64)
    return Landscape(
        Objective(lambda w: (s.to(w.dtype) * (1 - torch.cos(w))).sum() + w.sum() ** 2 / 20),
        lambda w: s.to(w.dtype) * torch.sin(w) + w.sum() / 10,
        lambda w: torch.diag(s.to(w.dtype) * torch.cos(w)) + 0.1,
    )


SIZES = {
    "mlp": {"widths": (5,)},
    "cnn": {"filters": (2,), "dense": 4},
    "vit": {"patch": 2, "width": 4, "depth": 1, "heads": 2, "hidden": 6},
}


@dataclass
class Network:
    """A network on random images, as an objective and as a plain function of its weights."""

    module: nn.Module
    x: Tensor
    y: Tensor
    w0: Tensor
    criterion: str

    def objective(self, chunk_size: int | None = None) -> Objective:
        return Objective.from_module(self.module, self.x, self.y, self.criterion, chunk_size)

    def loss(self, w: Tensor) -> Tensor:
        """The loss by torch.nn.functional, with torch's own flattening of parameters undone by hand."""
        parameters, start = {}, 0
        for name, p in self.module.named_parameters():
            parameters[name] = w[start : start + p.numel()].reshape(p.shape)
            start += p.numel()
        output = functional_call(self.module, parameters, (self.x,))
        if self.criterion == "cross_entropy":
            return nn.functional.cross_entropy(output, self.y)
        target = torch.eye(output.shape[1], dtype=output.dtype)[self.y]
        return output.shape[1] * nn.functional.mse_loss(output, target) / 2

    def hessian(self, w: Tensor) -> Tensor:
        return torch.func.hessian(self.loss)(w)


def network(architecture: str = "mlp", criterion: str = "mse", examples: int = 7, classes: int = 3) -> Network:
    """A network of some hundred weights on ``examples`` random images of 4x4 pixels."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(examples, 1, 4, 4, generator=generator, dtype=torch.float64)
    y = torch.arange(examples) % classes
    module = build(architecture, (1, 4, 4), classes, 3, **SIZES[architecture])
    # initial biases and gains are special points (equal, or zero): move off them
    w0 = flat_parameters(module)
    w0 = w0 + 0.1 * torch.randn(len(w0), generator=generator, dtype=torch.float64)
    return Network(module, x, y, w0, criterion)


def digits_mlp(examples: int = 20, dtype: torch.dtype = torch.float64) -> Problem:
    """A narrow perceptron on a few real digits."""
    return digits("mlp", examples, sizes={"widths": (3,)}, dtype=dtype, device="cpu")


LEARNING_RATES = {
    "gd": 0.1,
    "heavy_ball": 0.1,
    "nesterov": 0.1,
    "scalar_rmsprop": 0.02,
    "rmsprop": 0.01,
    "scalar_adam": 0.02,
    "adam": 0.01,
    "scalar_nadam": 0.02,
    "nadam": 0.01,
    "adamw": 0.01,
    "adagrad": 0.05,
    "qhm": 0.1,
}


def optimizer(name: str, learning_rate: float | None = None, **settings) -> AdamFamily:
    """The optimizer of that name, at a learning rate that suits the small networks."""
    return OPTIMIZERS[name](learning_rate or LEARNING_RATES[name], **settings)


def window(states: list[State], at: int) -> Window:
    """An odd number of consecutive states, the middle one at step ``at``."""
    return Window(at, State(*(torch.stack(parts) for parts in zip(*states, strict=True))))


def rod_window(centre: Tensor, delta: Tensor, at: int = 0) -> Window:
    """Gradient descent's states around a half-difference rod: z_t = centre - delta, z_{t+1} = centre + delta."""
    none = centre.new_zeros(0)
    return window([State(w, none, none) for w in (centre + delta, centre - delta, centre + delta)], at)


def central_difference(function: Callable[[Tensor], Tensor], w: Tensor, v: Tensor, step: float = 1e-3) -> Tensor:
    """The derivative of ``function`` at w along v, fourth order in ``step``, the distance gone."""
    length = v.norm()
    v = v / length

    def quotient(h: float) -> Tensor:
        return (function(w + h * v) - function(w - h * v)) / (2 * h)

    return length * (4 * quotient(step) - quotient(2 * step)) / 3


def series_of(run: DiscreteRun) -> dict[str, Tensor]:
    """All that a run recorded, by name."""
    parts = {name: part for name, part in vars(run).items() if isinstance(part, Tensor) and name != "w0"}
    return parts | {f"state_{name}": part for name, part in run.states._asdict().items()}
