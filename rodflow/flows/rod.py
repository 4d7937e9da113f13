"""Rod flow: two consecutive iterates as a rod, a centre plus an oscillation, and an ODE for both."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from rodflow.errors import whole_number
from rodflow.flows.base import Flow, FlowDiverged, Layout, equal_steps, pack, require_step
from rodflow.optimizers.step_map import StepMap
from rodflow.training.discrete import Window
from rodflow.training.objective import Objective

SHORT = 1e-4
"""Share of the centre's length up to which the square of a column, which is what it adds to the mean, is left out."""


class Point(NamedTuple):
    """What the flow moves along: z̄ ``[n]``, the columns A ``[n, r]``, nu."""

    z: Tensor
    columns: Tensor
    nu: Tensor


class Velocity(NamedTuple):
    """ds/dt of the slow state s = (z̄, nu), one vector; the images O of A's columns and of d, ``[n, r + 1]``; (E, N)/2,
    whose part of z̄ is d.
    """

    ds: Tensor
    images: Tensor
    half: Tensor


class Centre(NamedTuple):
    """The increment of z and nu at a centre, one vector, and the gradient ``[d]`` of the loss there."""

    increment: Tensor
    gradient: Tensor


class Bend(NamedTuple):
    """What a column does to the increment of z and nu, and to the gradient.

    ``even`` is half the sum of the increments at both ends less the one at the centre, ``odd`` half their difference,
    ``behind`` the gradient at the end z̄ - column less the one at the centre.
    """

    even: Tensor
    odd: Tensor
    behind: Tensor


class RodFlow(Flow):
    """Rod flow with the covariance of its rod, for any step map; time in optimizer steps.

    With z̄ = (z_t + z_{t+1})/2, δ = (z_{t+1} - z_t)/2 and G the increment of z, these hold exactly for Σ = δδᵀ:

        z̄' - z̄ = E,      Σ' - Σ = (G+ G+ᵀ + G- G-ᵀ)/4 - 2Σ,      E = (G+ + G-)/2,      G± = G(z̄ ± δ)

    Rod flow makes both ODEs, with one backward error correction of the centre (Regis & Chewi, arXiv 2602.01480, for
    gradient descent, where G = -lr ∇L; derived here from that construction for the phase space z = (w, m) of momentum).
    The source of Σ does not keep rank one, so Σ needs a closure. How the authors take a rod from Σ could not be read.
    Here all of Σ is followed; :class:`rodflow.flows.rod_one_column.OneColumnRodFlow` has another closure. The columns
    a_i of Σ = sum a_i a_iᵀ, orthogonal in the preconditioned metric (see :meth:`Dynamics.metric`), act by what each
    adds:

        E = G(z̄) + sum_i [(G(z̄ + a_i) + G(z̄ - a_i))/2 - G(z̄)],      O_i = (G(z̄ + a_i) - G(z̄ - a_i))/2

        dz̄/dt = E,      dnu/dt = N,      both at (z̄ - E/2, nu - N/2, t - 1/2)                                       (1)
        dΣ/dt = (E Eᵀ + sum_i O_i O_iᵀ)/2 - 2Σ                                                                      (2)

    with N made of the increments of nu as E is of G; for one column these are the equations above. (1) is the backward
    error correction of the whole slow state: a velocity that depends on nu and on time, as with bias correction, is
    corrected in these too. Corrected in z̄ alone, a flow with a second moment is of first order, as the stable flow is.
    Source E Eᵀ/2 and decay -2Σ settle to a column d = E/2, the drift, within a step. It is kept apart,
    Σ = d dᵀ + A Aᵀ, so that all ``columns`` of A ``[n, r]``, by default 3, are free for what oscillates. And z̄ - E/2 is
    the end z̄ - d of its rod, whose gradient is at hand: the correction costs a step of the optimizer and no gradient,

        d(z̄, nu)/dt = (E, N) + (G, N)(z̄ - d; nu - N/2, t - 1/2) - (G, N)(z̄; nu, t)                                 (3)

    Columns start from δ - d. (Kept apart, d is E/2 at every instant, so that dΣ/dt gains d(d dᵀ)/dt: nothing where the
    drift is steady. Where the drift dies away within two steps, this moved the centre by less than 1e-3 of its way, and
    Σ by up to 0.75 of itself: three problems of 12 to 30 dimensions, tests/science.)

    A step of length h is one of the classical Runge-Kutta method for z̄ and nu, with d and N/2 of (3) held at those of
    its first stage; the columns are those of the exponential of the decay, from both middle stages,

        e^{-h} a_i,      sqrt((1 - e^{-2h})/4) O_d,      sqrt((1 - e^{-2h})/4) O_i,

    cut back to r by a singular value decomposition in the metric. Because d is held, the order in h is one (measured:
    1.0), and the rate of the critical mode is -2, not -4, so that a step of one unit is stable. (Three stages would not
    do: a mode of rate -2 would then change its sign with every step, and feed the rod below the threshold.) A
    ``step`` is at most 1. A column too short for a difference, below sqrt(epsilon) of the centre's
    length, is evaluated at that length and its image scaled back. A column, or d, that is shorter than ``SHORT`` times
    the centre has no part in the mean, and its image is taken from one end: a stage takes 2 + r to 3 + 2r gradients, a
    step of one unit with three columns 25 to 28 in the default run, and 36 at most. With two columns and such a step
    gradient descent on the MLP of config.yaml enters the edge late: the unstable column is cut away.

    y = (z̄, A, nu) at time t + 1/2, in the window's dtype.

    Raises: ``InvalidInput`` for a step that is not in (0, 1], and for columns below one. Advancing raises
    ``FlowDiverged`` where columns are not finite.
    """

    time_offset = 0.5

    def __init__(self, objective: Objective, optimizer: StepMap, *, step: float = 1.0, columns: int = 3):
        super().__init__(objective, optimizer)
        self.step = require_step(step)
        self.columns = whole_number("columns", columns, "a positive number of columns", least=1)

    def start(self, window: Window) -> Tensor:
        z, delta, nu = half_differences(window)
        drift = self.dynamics.increment(z, nu, window.at + self.time_offset)[: len(z)] / 2
        empty = z.new_zeros(len(z), min(self.columns, len(z)) - 1)
        columns = torch.cat([(delta - drift)[:, None], empty], 1)
        self.layout = Layout.of(z, columns, nu)
        return pack(z, columns, nu)

    def point(self, y: Tensor) -> Point:
        """The parts of y."""
        z, columns, nu = self.layout.split(y)
        return Point(z, columns.view(len(z), -1), nu)

    def oscillation(self, y: Tensor) -> Tensor:
        """The weights' part of A."""
        return self.dynamics.weights(self.point(y).columns)

    def advance(self, y: Tensor, t0: float, t1: float) -> Tensor:
        beginnings, h = equal_steps(t0, t1, self.step)
        point = self.point(y)
        for t in beginnings:
            point = self.stepped(point, t, h)
        return pack(*point)

    def stepped(self, at: Point, t: float, h: float) -> Point:
        """The point a time h after ``at``, time t."""
        k1 = self.velocity(at, t)
        k2 = self.velocity(self._moved(at, k1.ds, t, h / 2, k1.images), t + h / 2, k1.half)
        k3 = self.velocity(self._moved(at, k2.ds, t, h / 2, k2.images), t + h / 2, k1.half)
        k4 = self.velocity(self._moved(at, k3.ds, t, h, k3.images), t + h, k1.half)
        ds = (k1.ds + 2 * k2.ds + 2 * k3.ds + k4.ds) / 6
        return self._moved(at, ds, t, h, torch.cat([k2.images, k3.images], 1) / math.sqrt(2))

    def velocity(self, at: Point, t: float, half: Tensor | None = None) -> Velocity:
        """The right-hand side at a point, time t, for a ``half`` = (E, N)/2, or that of A's columns."""
        z, columns, nu = at
        n = len(z)
        known = list(columns.T) if half is None else [*columns.T, half[:n]]
        here, bends = self._bends(z, known, nu, t)
        if half is None:
            half = (here.increment + sum(bend.even for bend in bends)) / 2
            bends += self._bends(z, [half[:n]], nu, t, here)[1]
        mean = here.increment + sum(bend.even for bend in bends)
        images = torch.stack([bend.odd[:n] for bend in bends], 1)  # of (2)
        earlier = self.dynamics.increment_along(  # of (3); rounding must not make nu negative
            z - half[:n], (nu - half[n:]).clamp(min=0), here.gradient + bends[-1].behind, t - 1 / 2
        )
        return Velocity(mean + earlier - here.increment, images, half)

    def _bends(
        self, z: Tensor, columns: list[Tensor], nu: Tensor, t: float, here: Centre | None = None
    ) -> tuple[Centre, list[Bend]]:
        """The increment ``here`` at z, unless it is known, and what each column does to it.

        A column that is too short for a difference is lengthened; what it would have added is scaled back.
        """
        stretches = [self.dynamics.stretch(z, column) for column in columns]
        ends = [stretch * column for stretch, column in zip(stretches, columns, strict=True)]
        least = SHORT * self.dynamics.weights(z).norm()
        long = [bool(self.dynamics.weights(column).norm() > least) for column in columns]
        points = [z] if here is None else []
        points += [z - end for end in ends] + [z + end for end, both in zip(ends, long, strict=True) if both]
        gradients = self.dynamics.gradients(points)
        found = iter(
            Centre(self.dynamics.increment_along(point, nu, gradient, t), gradient)
            for point, gradient in zip(points, gradients, strict=True)
        )
        here = next(found) if here is None else here
        behind = [next(found) for _ in ends]
        bends = []
        for end, both, stretch in zip(behind, long, stretches, strict=True):
            minus = end.increment - here.increment
            plus = next(found).increment - here.increment if both else -minus
            even, odd = (plus + minus) / (2 * stretch**2), (plus - minus) / (2 * stretch)
            bends.append(Bend(even, odd, (end.gradient - here.gradient) / stretch))
        return here, bends

    def _moved(self, at: Point, ds: Tensor, t: float, h: float, images: Tensor) -> Point:
        """The point a time h after ``at`` along ds, the velocity of (z̄, nu), with columns fed by ``images [n, *]``."""
        dz, dnu = torch.tensor_split(ds, [len(at.z)])
        nu = at.nu + h * dnu
        scale = self.dynamics.metric(nu, t + h, at.z)[:, None]
        grown = torch.cat([math.exp(-h) * at.columns, math.sqrt(-math.expm1(-2 * h) / 4) * images], 1)
        return Point(at.z + h * dz, truncate(grown, scale, at.columns.shape[1]), nu)


def half_differences(window: Window) -> tuple[Tensor, Tensor, Tensor]:
    """z̄, δ ``[n]`` and nu of the window's middle state and the next."""
    here, after = window.state(), window.state(1)
    z, following = torch.cat([here.w, here.m]), torch.cat([after.w, after.m])
    return (z + following) / 2, (following - z) / 2, (here.nu + after.nu) / 2


def truncate(columns: Tensor, scale: Tensor, rank: int) -> Tensor:
    """A ``[n, rank]`` with A Aᵀ nearest columns columnsᵀ in the metric ``scale [n, 1]``, by falling singular value.

    With scale columns = Q R = U S Vᵀ, A = U S / scale = columns V, and R, which is small, has the same V.

    Raises: ``FlowDiverged`` where columns are not finite, and have no singular values.
    """
    scaled = scale * columns
    if not torch.isfinite(scaled).all():
        raise FlowDiverged("non-finite columns of the rod's covariance")
    _, small = torch.linalg.qr(scaled, mode="r")
    return columns @ torch.linalg.svd(small).Vh[:rank].T
