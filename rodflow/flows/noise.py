"""Flows whose oscillation rounding errors keep alive, as they do in the run: put on after each step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rodflow.errors import real_number, whole_number
from rodflow.flows.base import Flow, Solver
from rodflow.flows.correction import corrected
from rodflow.optimizers.step_map import StepMap
from rodflow.training.objective import Objective
from rodflow.training.rounding import rounding_errors

SEEDS = 1000
"""Number of rounding seeds."""


def require_seed(rounding_seed: int) -> int:
    """A rounding seed. Raises: ``InvalidInput`` for anything else."""
    return whole_number("rounding_seed", rounding_seed, f"a whole number >= 0 and below {SEEDS}", most=SEEDS - 1)


def own_errors(w: Tensor, size: float, t: int, seed: int) -> Tensor:
    """Random errors ``[d]`` of relative size up to ``size`` for the step to t, from another stream than the run's."""
    return rounding_errors(w, size, t, stream=seed + 1)


class NoisyFlow(Flow):
    """A flow whose field is ``phi``, the increments of one step, corrected to ``order``, and which rounds as runs do.

    A subclass gives phi and :meth:`round`, and sets ``rounding`` from the window in :meth:`start`.
    ``rounding_scale`` is the size of the errors, in those of the discrete run. The run's own errors are not known:
    ``rounding_seed`` says which random ones stand for them, so that flows that differ in nothing else show what
    depends on it.

    Raises: ``InvalidInput`` for an order other than 1, 2, 3, a negative rounding_scale, or a rounding_seed out of
    bounds.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: StepMap,
        *,
        solver: Solver | None = None,
        order: int = 2,
        rounding_scale: float = 1.0,
        rounding_seed: int = 0,
    ):
        super().__init__(objective, optimizer, solver=solver)
        self.corrected = corrected(self.phi, order)
        allowed = "a finite number >= 0, in rounding errors of the discrete run"
        self.rounding_scale = real_number("rounding_scale", rounding_scale, allowed, lambda x: 0 <= x < math.inf)
        self.rounding_seed, self.rounding = require_seed(rounding_seed), 0.0

    def phi(self, t: float | Tensor, y: Tensor) -> Tensor:
        """The increment of y over one step of the optimizer."""
        raise NotImplementedError

    def field(self, t: float | Tensor, y: Tensor) -> Tensor:
        return self.corrected(t, y)

    def round(self, t: float, y: Tensor) -> Tensor:
        """y with the rounding errors of the discrete run's step to t put on, if t is a whole number."""
        raise NotImplementedError

    def errors(self, w: Tensor, t: float) -> Tensor:
        """The rounding errors ``[d]`` of weights w in the run's step to t; zero unless t is a whole number."""
        size = self.rounding_scale * self.rounding
        if not size or t != math.floor(t):
            return torch.zeros_like(w)
        return own_errors(w, size, int(t), self.rounding_seed)

    def unit(self, y: Tensor, t0: float, t1: float) -> Tensor:
        """y at t1 from y at t0, no more than a unit of time later."""
        return self.solve(self.field, y, t0, t1)

    def advance(self, y: Tensor, t0: float, t1: float) -> Tensor:
        while t0 < t1:
            t = min(math.floor(t0) + 1.0, t1)
            y = self.round(t, self.unit(y, t0, t))
            t0 = t
        return y
