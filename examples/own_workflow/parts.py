"""A table, a residual network, an optimizer and a loss of one's own: config.yaml names these functions."""

import torch
from sklearn.datasets import load_diabetes
from torch import nn

import rodflow as rf


def diabetes():
    """scikit-learn's table of 442 patients: ten features each, and how far the disease had gone a year later."""
    x, y = load_diabetes(return_X_y=True)
    return x, (y - y.mean()) / y.std()  # numbers, not labels: a regression


class Block(nn.Module):
    """A residual block: ``x + B(tanh(A x))``."""

    def __init__(self, width):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width))

    def forward(self, x):
        return x + self.inner(x)


def resnet(shape, outputs, width, depth):
    """A residual network on a table of ``shape`` (k,): k features to so many ``outputs``."""
    blocks = [Block(width) for _ in range(depth)]
    return nn.Sequential(nn.Linear(*shape, width), *blocks, nn.Tanh(), nn.Linear(width, outputs))


class Lion(rf.StepMap):
    """Lion (Chen et al., 2023) with a smooth sign, ``s(c) = c / sqrt(c^2 + softness^2)``, as flows need one:

        c = beta1 m + (1 - beta1) g,    w' = w - lr s(c),    m' = beta2 m + (1 - beta2) g

    The state also carries ``nu = m'^2``: from it comes the slope of s near the slow part of c, the inverse of the
    preconditioner.
    """

    def __init__(self, learning_rate, beta1=0.9, beta2=0.99, softness=0.1):
        self.learning_rate, self.beta1, self.beta2, self.softness = learning_rate, beta1, beta2, softness
        # where a step on a quadratic has the multiplier -1: m' = -m there
        self.threshold = 2 * (1 + beta2) / (1 + beta2 - 2 * beta1)
        self.transient = 20

    def init(self, w):
        return rf.State(w, torch.zeros_like(w), torch.zeros_like(w))

    def increment(self, state, gradient, t):
        c = self.beta1 * state.m + (1 - self.beta1) * gradient
        dm = (1 - self.beta2) * (gradient - state.m)
        dw = -self.learning_rate * c / torch.sqrt(c**2 + self.softness**2)
        return rf.State(dw, dm, (state.m + dm) ** 2 - state.nu)

    def preconditioner(self, nu, t):
        return (nu + self.softness**2) ** 1.5 / self.softness**2


def log_cosh(output, target):
    """``sum log cosh(output - target)``: a square near zero, an absolute value far away, smooth."""
    error = output - target
    return (error + nn.functional.softplus(-2 * error)).sum() - error.numel() * torch.log(torch.tensor(2.0))
