"""Vectors to test with, and how they are compared."""

import math

import torch


def vector(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(a, b, rtol=1e-10, atol=1e-12):
    torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


def slope(errors):
    """By how many powers of two an error falls when the step is halved, over the last halving."""
    return math.log2(errors[-2] / errors[-1])


def run_states(objective, ours, w0, count):
    states = [ours.init(w0)]
    for t in range(count - 1):
        states.append(ours.step(states[-1], objective.gradient(states[-1].w), t))
    return states
