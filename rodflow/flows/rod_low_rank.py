"""Rod flow whose oscillation covariance keeps several columns instead of one."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rodflow.errors import InvalidInput
from rodflow.flows.base import FlowDiverged, Layout, Solver, midpoint_steps, pack
from rodflow.flows.rod import RodFlow
from rodflow.optimizers.step_map import StepMap
from rodflow.training.discrete import Window
from rodflow.training.objective import Objective


class LowRankRodFlow(RodFlow):
    """Rod flow with a low-rank closure Σ = A Aᵀ: r columns, δ the leading eigenvector times the root of its eigenvalue.

    One step of length h solves the decay of Σ exactly and its source at the middle of the step,

        Σ(t + h) = e^{-2h} Σ(t) + (1 - e^{-2h})/2 · (G+ G+ᵀ + G- G-ᵀ)/4

    as new columns of A, which a singular value decomposition in the preconditioned metric then cuts back to r. The
    centre and nu go along by the midpoint rule. Local error O(h^3); two evaluations (as :class:`RodFlow`'s) a step.

    y = (z̄, A, nu) with A ``[n, r]``; only ``step`` of the solver is used, at most 1/2 for a stable centre.
    """

    default_solver = Solver(step=0.25)

    def __init__(self, objective: Objective, optimizer: StepMap, solver: Solver | None = None, rank: int = 4):
        super().__init__(objective, optimizer, solver)
        if rank < 1:
            raise InvalidInput("rank", rank, "a positive number of columns")
        self.rank = rank

    def start(self, window: Window) -> Tensor:
        y = super().start(window)
        z, delta, nu = self.layout.split(y)
        columns = torch.cat([delta[:, None], delta.new_zeros(len(delta), min(self.rank, len(delta)) - 1)], 1)
        self.layout = Layout.of(z, columns, nu)
        return pack(z, columns, nu)

    def advance(self, y: Tensor, t0: float, t1: float) -> Tensor:
        return midpoint_steps(self._move, y, t0, t1, self.solver.step)

    def _move(self, y: Tensor, at: Tensor, t: float, h: float) -> Tensor:
        """y after a time h, with the source and the centre's velocity taken at the point ``at``, time t."""
        z, columns, nu = self._parts(y)
        z_at, columns_at, nu_at = self._parts(at)
        scale = self.dynamics.metric(nu_at, t, z_at)[:, None]
        dz, dnu, plus, minus = self.ends(t, z_at, leading(columns_at, scale), nu_at)
        gain = math.sqrt(-math.expm1(-2 * h) / 2) / 2
        grown = torch.cat([math.exp(-h) * columns, gain * plus[:, None], gain * minus[:, None]], 1)
        return torch.cat([z + h * dz, truncate(grown, scale, self.rank).reshape(-1), nu + h * dnu])

    def _parts(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z, columns, nu = self.layout.split(y)
        return z, columns.view(len(z), -1), nu

    def rod(self, y: Tensor) -> Tensor:
        columns = self._parts(y)[1]
        # columns are kept by falling singular value, so the first is the leading direction
        return self.dynamics.weights(columns[:, 0])


def truncate(columns: Tensor, scale: Tensor, rank: int) -> Tensor:
    """A ``[n, rank]`` with A Aᵀ nearest columns columnsᵀ in the metric ``scale [n, 1]``, by falling singular value.

    Raises: ``FlowDiverged`` where columns are not finite, and have no singular values.
    """
    scaled = scale * columns
    if not torch.isfinite(scaled).all():
        raise FlowDiverged("non-finite columns of the rod's covariance")
    u, s, _ = torch.linalg.svd(scaled, full_matrices=False)
    return u[:, :rank] * s[:rank] / scale


def leading(columns: Tensor, scale: Tensor) -> Tensor:
    """The leading eigenvector ``[n]`` of columns columnsᵀ in the metric, times the root of its eigenvalue."""
    return truncate(columns, scale, 1)[:, 0]
