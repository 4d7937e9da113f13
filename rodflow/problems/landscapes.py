"""Toy landscapes: losses of a point (x, y) in the plane on which the edge of stability can be looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rodflow.training.objective import Objective

Loss = Callable[[Tensor], Tensor]
"""L(w): a point w ``[d]`` to a value ``[]``."""


def quartic(sharpness: float | tuple[float, ...], softening: float | tuple[float, ...]) -> Loss:
    """L = sum_i S_i w_i^2/2 - Q_i w_i^4/4, a number standing for all components: softer away from the minimum.

    Beyond the edge, lr S > 2, gradient descent has the orbit w -> -w of period two, where lr L'(w) = 2w: at
    w^2 = S/Q - 2/(lr Q). L has no lower bound beyond w^2 = S/Q.
    """

    def loss(w: Tensor) -> Tensor:
        s, q = (torch.as_tensor(value, dtype=w.dtype, device=w.device) for value in (sharpness, softening))
        return (s * w**2 / 2 - q * w**4 / 4).sum()

    return loss


def valley(sharpness: float, sharpening: float, slope: float, curvature: float = 0.0) -> Loss:
    """L = (s + r x) y^2/2 - p x + k x^2/2: along the floor y = 0 the sharpness is s + r x, and x moves to p/k.

    Without curvature k the floor falls for ever, at slope p. An oscillation of length |y| pushes x back with
    r y^2/2, so gradient descent is held where lr (s + r x) = 2, at y^2 = 2 (p - k x)/r. With k = 0 it circles that
    point at the frequency lr sqrt(2 r p), in ever wider bursts; k > 2 lr r (p - k x) makes it settle.
    """

    def loss(w: Tensor) -> Tensor:
        x, y = w
        return (sharpness + sharpening * x) * y**2 / 2 - slope * x + curvature * x**2 / 2

    return loss


def square_root(narrowing: float) -> Loss:
    """L = (1 + r x^2) y^2/sqrt(1 + y^2): a trough whose walls grow straight.

    The floor y = 0 is level and has the sharpness 2 (1 + r x^2), from which it falls away on both sides. Only an
    oscillation moves a point along the floor, towards x = 0. At fixed x the orbit y -> -y of period two is at
    lr (1 + r x^2) (2 + y^2) = 2 (1 + y^2)^(3/2).
    """

    def loss(w: Tensor) -> Tensor:
        x, y = w
        return (1 + narrowing * x**2) * y**2 / torch.sqrt(1 + y**2)

    return loss


@dataclass(frozen=True)
class Landscape:
    """A loss in the plane with the run of gradient descent that shows it.

    ``formula`` is the loss in mathtext. The run takes ``steps`` optimizer steps from ``w0`` = (x, y);
    ``x_range`` and ``y_range`` are the part of the plane that a figure shows.

    Every run starts a little off the floor, at y0, and at or not far below the edge: in float64 nothing else keeps the
    oscillation alive until the edge is reached, as the rounding of float32 does in the training of a network.
    """

    loss: Loss
    formula: str
    w0: tuple[float, float]
    learning_rate: float
    steps: int
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    @property
    def objective(self) -> Objective:
        """The loss with its derivatives, its cost counted from zero."""
        return Objective(self.loss)

    def grid(self, count: int = 81) -> tuple[Tensor, Tensor]:
        """Points ``[count^2, 2]`` evenly over the ranges, float64, and the loss at each ``[count^2]``."""
        axes = [torch.linspace(*ends, count, dtype=torch.float64) for ends in (self.x_range, self.y_range)]
        points = torch.cartesian_prod(*axes)
        return points, torch.vmap(self.loss)(points)


# beyond the edge at lr S = 2.05 from the start: the orbit of period two has length sqrt(0.1)
QUARTIC = Landscape(
    quartic(sharpness=(0.05, 4.1), softening=(0.0, 1.0)),
    r"$0.025\,x^2 + 2.05\,y^2 - y^4/4$",
    w0=(1.0, 0.02),
    learning_rate=0.5,
    steps=200,
    x_range=(-0.05, 1.05),
    y_range=(-0.5, 0.5),
)

# the edge is x = 0. Drift comes from lr (s + r x) = 1.9 and would go on to x = 0.3, 2.06; a step of it is longer
# than y0, so that a rod of one column lies along the valley when the edge comes
VALLEY = Landscape(
    valley(sharpness=4.0, sharpening=0.4, slope=0.012, curvature=0.04),
    r"$(4 + 0.4\,x)\,y^2/2 - 0.012\,x + 0.02\,x^2$",
    w0=(-0.5, 3e-3),
    learning_rate=0.5,
    steps=500,
    x_range=(-0.55, 0.35),
    y_range=(-0.6, 0.6),
)

# beyond the edge at lr 2 (1 + r x^2) = 2.16: the oscillation takes x down to the edge
SQUARE_ROOT = Landscape(
    square_root(narrowing=0.02),
    r"$(1 + 0.02\,x^2)\,y^2/\sqrt{1 + y^2}$",
    w0=(4.2, 0.02),
    learning_rate=0.8,
    steps=300,
    x_range=(3.4, 4.3),
    y_range=(-0.45, 0.45),
)
