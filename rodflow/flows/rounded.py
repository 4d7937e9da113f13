"""Flows of an oscillation that the run's rounding errors keep alive: a step at a time, errors put on after each."""

from __future__ import annotations

import math

from torch import Tensor

from rodflow.errors import InvalidInput
from rodflow.flows.base import Flow, Solver
from rodflow.flows.correction import corrected
from rodflow.objective import Objective
from rodflow.optimizers import StepMap


class RoundedFlow(Flow):
    """A flow whose field is ``phi``, the increments of one step, corrected to ``order``, and which rounds as runs do.

    A subclass gives phi and :meth:`round`, and sets ``rounding`` from the window in :meth:`start`, where
    ``split_order`` is that of the filter that tells the oscillation from the drift. ``seed`` counts in rounding errors
    of the discrete run.

    Raises: ``InvalidInput`` for an order other than 1, 2, 3, or a negative seed.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: StepMap,
        solver: Solver | None = None,
        order: int = 2,
        seed: float = 1.0,
        split_order: int = 16,
    ):
        super().__init__(objective, optimizer, solver)
        if not seed >= 0:
            raise InvalidInput("seed", seed, "a number >= 0, in rounding errors of the discrete run")
        self.field = corrected(self.phi, order)
        self.seed, self.split_order, self.rounding = seed, split_order, 0.0

    def phi(self, t: float | Tensor, y: Tensor) -> Tensor:
        """The increment of y over one step of the optimizer."""
        raise NotImplementedError

    def round(self, t: float, y: Tensor) -> Tensor:
        """y with the rounding errors of the discrete run's step to t put on, if t is a whole number."""
        raise NotImplementedError

    def unit(self, y: Tensor, t0: float, t1: float) -> Tensor:
        """y at t1 from y at t0, no more than a unit of time later."""
        return self.solver.advance(self.field, y, t0, t1)

    def advance(self, y: Tensor, t0: float, t1: float) -> Tensor:
        while t0 < t1:
            t = min(math.floor(t0) + 1.0, t1)
            y = self.round(t, self.unit(y, t0, t))
            t0 = t
        return y
