"""The stable flow: the optimizer's continuous-time limit with no oscillation. The baseline that rod flow beats."""

from __future__ import annotations

import torch
from torch import Tensor

from rodflow.flows.base import Flow, Layout, Solver, pack
from rodflow.flows.correction import corrected
from rodflow.optimizers.step_map import StepMap
from rodflow.training.discrete import Window
from rodflow.training.objective import Objective


class StableFlow(Flow):
    """``dz/dt = G(z; nu, t)``, ``dnu/dt`` the increment of nu; one unit of time is one step.

    y = (z, nu). Order 1 is the naive limit, order 2 and 3 are backward-error corrected (see
    :func:`rodflow.flows.correction.corrected`): they follow the discrete run more closely while it is stable, and
    know no more of the oscillation. Past the edge of stability the field stiffens, so the solver is adaptive; its
    tolerance is a hundredth of that of order 1 where the equation is more exact.
    """

    default_solver = Solver("rkc2", step=20.0, atol=1e-8)
    corrected_solver = Solver("rkc2", step=20.0, rtol=1e-6, atol=1e-10)

    def __init__(self, objective: Objective, optimizer: StepMap, *, solver: Solver | None = None, order: int = 1):
        if solver is None and order != 1:
            solver = self.corrected_solver
        super().__init__(objective, optimizer, solver=solver)
        self.corrected = corrected(self.increment, order)

    def start(self, window: Window) -> Tensor:
        w, m, nu = window.midpoint()
        self.layout = Layout.of(torch.cat([w, m]), nu)
        return pack(w, m, nu)

    def field(self, t: float | Tensor, y: Tensor) -> Tensor:
        return self.corrected(t, y)

    def increment(self, t: float | Tensor, y: Tensor) -> Tensor:
        """The increment of the whole state y = (z, nu): one step of the optimizer, less y. One gradient."""
        z, nu = self.layout.split(y)
        return self.dynamics.increment(z, nu, t)
