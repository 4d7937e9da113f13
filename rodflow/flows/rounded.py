"""Flows of an oscillation that the run's rounding errors keep alive: a step at a time, errors put on after each."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rodflow.discrete import rounding_errors
from rodflow.errors import InvalidInput
from rodflow.flows.base import Flow, Solver
from rodflow.flows.correction import corrected
from rodflow.objective import Objective
from rodflow.optimizers import StepMap

DRAWS, STEPS = 1000, 2**20
"""So many draws, and as many steps in which no two share errors: the generator's seeds have 32 bits, half the run's."""


class RoundedFlow(Flow):
    """A flow whose field is ``phi``, the increments of one step, corrected to ``order``, and which rounds as runs do.

    A subclass gives phi and :meth:`round`, and sets ``rounding`` from the window in :meth:`start`, where
    ``split_order`` is that of the filter that tells the oscillation from the drift. ``seed`` counts in rounding errors
    of the discrete run, whose own are not known: ``draw`` says which random ones stand for them, so that flows that
    differ in nothing else show what depends on it.

    Raises: ``InvalidInput`` for an order other than 1, 2, 3, a negative seed, or a draw out of bounds.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: StepMap,
        solver: Solver | None = None,
        order: int = 2,
        seed: float = 1.0,
        split_order: int = 16,
        draw: int = 0,
    ):
        super().__init__(objective, optimizer, solver)
        if not seed >= 0:
            raise InvalidInput("seed", seed, "a number >= 0, in rounding errors of the discrete run")
        if not 0 <= draw < DRAWS:
            raise InvalidInput("draw", draw, f"a whole number >= 0 and below {DRAWS}")
        self.field = corrected(self.phi, order)
        self.seed, self.split_order, self.draw, self.rounding = seed, split_order, draw, 0.0

    def phi(self, t: float | Tensor, y: Tensor) -> Tensor:
        """The increment of y over one step of the optimizer."""
        raise NotImplementedError

    def round(self, t: float, y: Tensor) -> Tensor:
        """y with the rounding errors of the discrete run's step to t put on, if t is a whole number."""
        raise NotImplementedError

    def errors(self, w: Tensor, t: float) -> Tensor:
        """The rounding errors ``[d]`` of weights w in the run's step to t; zero unless t is a whole number."""
        size = self.seed * self.rounding
        if not size or t != math.floor(t):
            return torch.zeros_like(w)
        return rounding_errors(w, size, int(t) + self.draw * STEPS)

    def unit(self, y: Tensor, t0: float, t1: float) -> Tensor:
        """y at t1 from y at t0, no more than a unit of time later."""
        return self.solver.advance(self.field, y, t0, t1)

    def advance(self, y: Tensor, t0: float, t1: float) -> Tensor:
        while t0 < t1:
            t = min(math.floor(t0) + 1.0, t1)
            y = self.round(t, self.unit(y, t0, t))
            t0 = t
        return y
