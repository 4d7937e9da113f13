"""Rod flow with the whole covariance of the rod: every column of it has two ends of its own."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from rodflow.errors import InvalidInput
from rodflow.flows.base import Flow, Layout, Solver, pack
from rodflow.flows.rod_low_rank import truncate
from rodflow.optimizers.step_map import StepMap
from rodflow.training.discrete import Window
from rodflow.training.objective import Objective


class Point(NamedTuple):
    """What the flow moves along: z̄ ``[n]``, the columns A ``[n, r]``, nu."""

    z: Tensor
    columns: Tensor
    nu: Tensor


class Velocity(NamedTuple):
    """dz̄/dt ``[n]``, dnu/dt, the images O of A's columns and of d, ``[n, r + 1]``, and d ``[n]`` itself."""

    dz: Tensor
    dnu: Tensor
    images: Tensor
    drift: Tensor


class CovarianceRodFlow(Flow):
    """Rod flow that takes all columns of the rod's covariance, for any step map.

    With z̄ = (z_t + z_{t+1})/2, δ = (z_{t+1} - z_t)/2 and G the increment of z, these hold exactly for Σ = δδᵀ:

        z̄' - z̄ = E,      Σ' - Σ = (G+ G+ᵀ + G- G-ᵀ)/4 - 2Σ,      E = (G+ + G-)/2,      G± = G(z̄ ± δ)

    Rod flow makes both ODEs, with one backward error correction of the centre (Regis & Chewi, arXiv 2602.01480, for
    gradient descent, where G = -lr ∇L; derived here from that construction for the phase space z = (w, m) of momentum).
    The source of Σ does not keep rank one. :class:`rodflow.flows.rod.RodFlow` projects it on one vector. Below the edge
    Σ tends to E Eᵀ/4, so that one vector follows the drift and misses the oscillation. Here the columns a_i of
    Σ = sum a_i a_iᵀ, orthogonal in the preconditioned metric (see :meth:`Dynamics.metric`), act by what each adds:

        E = G(z̄) + sum_i [(G(z̄ + a_i) + G(z̄ - a_i))/2 - G(z̄)],      O_i = (G(z̄ + a_i) - G(z̄ - a_i))/2

        dz̄/dt = E at z̄ - E/2,      dΣ/dt = (E Eᵀ + sum_i O_i O_iᵀ)/2 - 2Σ,      dnu/dt like E, from nu's increments

    which for one column are the equations above. How the authors take a rod from Σ could not be read.

    Source E Eᵀ/2 and decay -2Σ settle to a column d = E/2, the drift, within a step. It is kept apart,
    Σ = d dᵀ + A Aᵀ, so that all ``columns`` of A ``[n, r]`` are free for what oscillates. And z̄ - E/2 is the end z̄ - d
    of its rod, so that the corrected velocity E + G(z̄ - d) - G(z̄) needs no gradient of its own.

    y = (z̄, A, nu), at time t + 1/2. A step of length h is one of the classical Runge-Kutta method for z̄ and nu, with d
    held at E/2 of its first stage; the columns are those of the exponential of the decay, from both middle stages,

        e^{-h} a_i,      sqrt((1 - e^{-2h})/4) O_d,      sqrt((1 - e^{-2h})/4) O_i,

    cut back to r by a singular value decomposition in the metric. A stage takes 3 + 2r gradients, a step of one unit 28
    with two columns. Only ``step`` of the solver is used, at most 1. A column too short for a difference, below
    sqrt(epsilon) of the centre's length, is evaluated at that length and its image scaled back.

    Raises: ``InvalidInput`` for columns below one. Advancing raises ``FlowDiverged`` where columns are not finite.
    """

    time_offset = 0.5
    default_solver = Solver("rk4", step=1.0)

    def __init__(self, objective: Objective, optimizer: StepMap, solver: Solver | None = None, columns: int = 2):
        super().__init__(objective, optimizer, solver)
        if columns < 1:
            raise InvalidInput("columns", columns, "a positive number of columns")
        self.columns = columns

    def start(self, window: Window) -> Tensor:
        here, after = window.state(), window.state(1)
        z, following = torch.cat([here.w, here.m]), torch.cat([after.w, after.m])
        centre, delta, nu = (z + following) / 2, (following - z) / 2, (here.nu + after.nu) / 2
        drift = self.dynamics.increment(centre, nu, window.at + self.time_offset)[: len(z)] / 2
        empty = z.new_zeros(len(z), min(self.columns, len(z)) - 1)
        columns = torch.cat([(delta - drift)[:, None], empty], 1)
        self.layout = Layout.of(centre, columns, nu)
        return pack(centre, columns, nu)

    def advance(self, y: Tensor, t0: float, t1: float) -> Tensor:
        steps = max(1, math.ceil((t1 - t0) / self.solver.step - 1e-9))
        h = (t1 - t0) / steps
        point = self.point(y)
        for i in range(steps):
            point = self.step(point, t0 + i * h, h)
        return pack(*point)

    def step(self, at: Point, t: float, h: float) -> Point:
        """The point a time h after ``at``, time t."""
        k1 = self.velocity(at, t)
        k2 = self.velocity(self._moved(at, k1, t, h / 2, k1.images), t + h / 2, k1.drift)
        k3 = self.velocity(self._moved(at, k2, t, h / 2, k2.images), t + h / 2, k1.drift)
        k4 = self.velocity(self._moved(at, k3, t, h, k3.images), t + h, k1.drift)
        mean = k1._replace(
            dz=(k1.dz + 2 * k2.dz + 2 * k3.dz + k4.dz) / 6, dnu=(k1.dnu + 2 * k2.dnu + 2 * k3.dnu + k4.dnu) / 6
        )
        return self._moved(at, mean, t, h, torch.cat([k2.images, k3.images], 1) / math.sqrt(2))

    def velocity(self, at: Point, t: float, drift: Tensor | None = None) -> Velocity:
        """The right-hand side at a point, time t, for a given ``drift`` d ``[n]``, or for E/2 of the other columns."""
        z, columns, nu = at
        n = len(z)
        here = self.dynamics.increment(z, nu, t)
        mean, images = here.clone(), []
        for column in columns.T:
            even, odd, _ = self._bend(z, column, nu, t, here)
            mean += even
            images.append(odd[:n])
        drift = mean[:n] / 2 if drift is None else drift
        even, odd, behind = self._bend(z, drift, nu, t, here)
        mean += even
        images.append(odd[:n])
        return Velocity(mean[:n] + behind[:n], mean[n:], torch.stack(images, 1), drift)

    def _bend(self, z: Tensor, column: Tensor, nu: Tensor, t: float, here: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The increments at z ± column, less ``here``, that at z: their mean, half difference, the one at z - column.

        A column that is too short for a difference is lengthened; what it would have added is scaled back.
        """
        shortest = math.sqrt(torch.finfo(z.dtype).eps) * float(self.dynamics.weights(z).norm())
        length = float(self.dynamics.weights(column).norm())
        stretch = max(1.0, shortest / length) if length > 0 else 1.0
        end = stretch * column
        plus, minus = self.dynamics.increment(z + end, nu, t), self.dynamics.increment(z - end, nu, t)
        return ((plus + minus) / 2 - here) / stretch**2, (plus - minus) / (2 * stretch), (minus - here) / stretch

    def _moved(self, at: Point, v: Velocity, t: float, h: float, images: Tensor) -> Point:
        """The point a time h after ``at`` along v, with columns that ``images [n, *]`` feed."""
        nu = at.nu + h * v.dnu
        scale = self.dynamics.metric(nu, t + h, at.z)[:, None]
        grown = torch.cat([math.exp(-h) * at.columns, math.sqrt(-math.expm1(-2 * h) / 4) * images], 1)
        return Point(at.z + h * v.dz, truncate(grown, scale, at.columns.shape[1]), nu)

    def point(self, y: Tensor) -> Point:
        """The parts of y."""
        z, columns, nu = self.layout.split(y)
        return Point(z, columns.view(len(z), -1), nu)

    def rod(self, y: Tensor) -> Tensor:
        """The weights' part of A's longest column: what the covariance has beside the drift."""
        return self.dynamics.weights(self.point(y).columns[:, 0])
