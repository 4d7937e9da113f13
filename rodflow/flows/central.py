"""Central flow: the time average of an optimizer that oscillates at the edge of stability."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd.functional import jvp

from rodflow.errors import real_number, whole_number
from rodflow.flows import complementarity
from rodflow.flows.base import Flow, FlowDiverged, Layout, midpoint_steps, pack, require_step
from rodflow.optimizers.step_map import State, StepMap
from rodflow.training.curvature import Curvature
from rodflow.training.discrete import Window
from rodflow.training.objective import Linearised, Objective

if TYPE_CHECKING:
    from rodflow.jobs.checkpoint import StateDict

RESIDUAL = 1e-2
"""Tolerance of the critical eigenvectors; their eigenvalues are at most about its square away, relatively."""


class CentralFlow(Flow):
    """Central flow of Cohen et al. (arXiv 2410.24206), for any step map without a first moment.

    With P the preconditioner, x the oscillation about the time average w, Sigma = E[x xᵀ] and T[Sigma] = ∇<H, Sigma>:

        dw/dt  = -lr P^-1 (∇L + T[Sigma]/2)                                                                         (1)
        dnu/dt = (E[q] - nu) (1 - beta2)/beta2,      E[q] = q(∇L) + the part of q of covariance H Sigma H           (2)

    Sigma is what keeps the effective sharpness from passing its threshold, two. Let V ``[d, k]`` be the critical
    eigenvectors of M = lr P^-1/2 H P^-1/2, those with eigenvalues above (1 - tolerance) thresholds, and U = P^-1/2 V.
    Then Sigma = U X Uᵀ, and X ``[k, k]`` solves a semidefinite complementarity problem at every evaluation,

        X >= 0,      Z = -d/dt(Vᵀ M V) + relaxation (threshold - Vᵀ M V) >= 0,      <X, Z> = 0                      (3)

    where d/dt, linear in X, moves H by third derivatives along dw/dt and P along dnu/dt and t. For gradient descent and
    one direction at the threshold, S its Hessian eigenvalue, X = max(0, -2 <∇S, ∇L>/|∇S|²). The published flow has no
    ``relaxation`` (per step): with it an eigenvalue that is off the threshold comes back like exp(-relaxation t), and
    one below it meets the constraint a little earlier. No eigenvalue is pulled by more than ``tolerance`` thresholds
    times the relaxation. docs/central.md has the details.

    Nothing here knows an optimizer: P is the step map's, E[q] second differences of its increment of nu in the gradient
    (exact for a quadratic q), beta2 the rate at which that increment forgets nu. As published, E[q] leaves out
    ∇L · T[Sigma], and nu at time t is that after the step from t, so that P is the step map's at t + 1. A record is
    measured at nu before the step, which is the flow's of one step earlier, as the run is.

    Time is in optimizer steps. y = (w, A, nu) with A ``[d, directions]``, Sigma = A Aᵀ at the middle of the last step.
    The midpoint rule with Sigma constant over each half, in steps of one unit (half of it is no nearer to the run:
    docs/central.md), or in shorter ones of length ``step``. An evaluation costs a gradient, the Hessian-vector products
    of a warm-started eigensolver, and k(k+1)/2 third derivatives; a step takes two.
    ``directions`` has to exceed the number of critical ones: ``crowded`` counts the evaluations at which it did not.

    Raises: ``InvalidInput`` for an optimizer with a first moment, a step that is not in (0, 1], directions below one, a
    tolerance that is not in (0, 1), a negative relaxation. Advancing raises ``FlowDiverged`` where no oscillation stops
    the sharpness from rising, as on a quadratic past the threshold.
    """

    lookback = 1

    def __init__(
        self,
        objective: Objective,
        optimizer: StepMap,
        *,
        step: float = 1.0,
        directions: int = 4,
        tolerance: float = 0.05,
        relaxation: float = 1.0,
    ):
        super().__init__(objective, optimizer)
        self.step = require_step(step)
        directions = whole_number("directions", directions, "a positive number of critical directions", least=1)
        allowed = "a share of the threshold, above 0 and below 1"
        tolerance = real_number("tolerance", tolerance, allowed, lambda x: 0 < x < 1)
        allowed = "a finite rate >= 0, per optimizer step"
        relaxation = real_number("relaxation", relaxation, allowed, lambda x: 0 <= x < math.inf)
        self.directions, self.tolerance, self.relaxation = directions, tolerance, relaxation
        self.curvature, self.crowded = Curvature(objective, directions, RESIDUAL), 0

    @classmethod
    def supports(cls, optimizer: StepMap) -> bool:
        return super().supports(optimizer) and optimizer.init(torch.zeros(1)).m.numel() == 0

    @property
    def incidents(self) -> dict[str, int]:
        return {"crowded": self.crowded}

    def state_dict(self) -> StateDict:
        return {"crowded": self.crowded, "curvature": self.curvature.state_dict()}

    def load_state_dict(self, state: StateDict) -> None:
        self.crowded = int(state["crowded"])
        self.curvature.load_state_dict(state.get("curvature", {}))

    def start(self, window: Window) -> Tensor:
        w, m, _ = window.midpoint()
        here, after = window.state(0), window.state(1)
        step = self.dynamics.increment(torch.cat([after.w, after.m]), after.nu, window.at + 1)
        nu = (here.nu + 2 * after.nu + after.nu + step[len(w) + len(m) :]) / 4  # w's midpoint, each nu after its step
        self.curvature = Curvature(self.curvature.objective, min(self.directions, len(w)), RESIDUAL)
        parts = torch.cat([w, m]), w.new_zeros(len(w), self.curvature.eigenvalues), nu
        self.layout = Layout.of(*parts)
        return pack(*parts)

    def advance(self, y: Tensor, t0: float, t1: float) -> Tensor:
        return midpoint_steps(self._move, y, t0, t1, self.step)

    def _move(self, y: Tensor, at: Tensor, t: float, h: float) -> Tensor:
        """y after a time h, with Sigma and the velocity taken at the point ``at``, time t."""
        z, _, nu = self.layout.split(y)
        z_at, _, nu_at = self.layout.split(at)
        dz, columns, dnu = self.velocity(t, z_at, nu_at)
        return torch.cat([z + h * dz, columns.reshape(-1), nu + h * dnu])

    def oscillation(self, y: Tensor) -> Tensor:
        """A ``[d, directions]`` with Sigma = A Aᵀ, orthogonal, the longest first."""
        return self.layout.split(y)[1].view(-1, self.curvature.eigenvalues)

    def measured(self, t: float, before: Tensor, y: Tensor) -> tuple[State, Tensor]:
        """The centre with nu before the step from t, which is that after the step before, and the oscillation."""
        return self.centre(y)._replace(nu=self.centre(before).nu), self.oscillation(y)

    def covariance(self, y: Tensor) -> Tensor:
        """Sigma ``[d, d]``, of the weights."""
        columns = self.oscillation(y)
        return columns @ columns.T

    def velocity(self, t: float, z: Tensor, nu: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """dz/dt ``[n]``, A ``[d, directions]`` and dnu/dt at time t. Here z is w ``[d]``."""
        optimizer, objective, state = self.dynamics.optimizer, self.dynamics.objective, self.dynamics.state(z, nu)
        w = state.w
        linearised, p = objective.linearise(w), optimizer.preconditioner(nu, t + 1)
        gradient = linearised.gradient
        slow = SecondMoment(optimizer, state, gradient, t)
        dz, push = self.response(t, state, gradient, slow)  # of (1), without Sigma
        dnu = slow.of_gradient  # of (2), likewise
        columns = w.new_zeros(len(w), self.curvature.eigenvalues)
        rate = optimizer.rate(t)
        v = self._critical(w, p, rate, linearised)
        k = v.shape[1]
        if not k:
            return dz, columns, dnu
        u = v / p.sqrt()[:, None]
        products, third = linearised.third_derivatives(u)
        block = rate * u.T @ products
        block = (block + block.T) / 2

        def drift(dz: Tensor, dlogp: Tensor) -> Tensor:
            """d/dt of the critical block Vᵀ M V, [k, k], from the velocities of z and of log P."""
            turned = v.T @ (dlogp[:, None] * v) @ block
            return rate * third @ self.dynamics.weights(dz) - (turned + turned.T) / 2

        warming = math.log(optimizer.rate(t + 1 / 2) / optimizer.rate(t - 1 / 2))  # of a schedule, per step
        # Z of (3) is alpha + beta X
        alpha = -drift(dz, slow.log_preconditioner(dnu, 1.0)) - warming * block + self.relaxation * self._gap(block)
        beta, pushes, moments = w.new_zeros(k, k, k, k), z.new_zeros(k, k, len(z)), nu.new_zeros(k, k, len(nu))
        for i in range(k):
            for j in range(i, k):
                pushes[i, j] = pushes[j, i] = push(third[i, j] / 2)
                moments[i, j] = moments[j, i] = slow.of_oscillation(products[:, i], products[:, j])
                response = drift(pushes[i, j], slow.log_preconditioner(moments[i, j], 0.0))
                beta[:, :, i, j] = beta[:, :, j, i] = -response
        if not (torch.isfinite(alpha).all() and torch.isfinite(beta).all()):
            raise FlowDiverged(f"non-finite third derivatives at step {t:g}")
        solution = complementarity.solve(alpha.double().cpu().numpy(), beta.double().cpu().numpy())
        x = torch.from_numpy(solution).to(w)
        dz = dz + torch.einsum("ij,ijn->n", x, pushes)
        dnu = dnu + torch.einsum("ij,ijn->n", x, moments)
        values, vectors = torch.linalg.eigh(x)
        left, s, _ = torch.linalg.svd(u @ (vectors * values.clamp(min=0).sqrt()), full_matrices=False)
        columns[:, :k] = left * s
        return dz, columns, dnu

    def response(
        self, t: float, state: State, gradient: Tensor, slow: SecondMoment
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """dz/dt ``[n]`` at the mean gradient ``[d]``, and its linear response to a change of that gradient."""
        optimizer = self.dynamics.optimizer
        rate = optimizer.rate(t) / optimizer.preconditioner(state.nu, t + 1)
        return -rate * gradient, lambda change: -rate * change

    def _critical(self, w: Tensor, p: Tensor, rate: float, linearised: Linearised) -> Tensor:
        """The orthonormal critical eigenvectors V ``[d, k]`` of M. Raises: ``FlowDiverged`` where M is not finite."""
        optimizer = self.dynamics.optimizer
        values = self.curvature.effective_sharpness(w, p, rate, linearised)
        if not torch.isfinite(values).all():
            raise FlowDiverged("non-finite Hessian")
        assert self.curvature.vectors is not None
        k = int((values > (1 - self.tolerance) * optimizer.threshold).sum())
        self.crowded += k == self.curvature.eigenvalues < len(w)
        return self.curvature.vectors[:, :k].to(w)

    def _gap(self, block: Tensor) -> Tensor:
        """threshold - Vᵀ M V, ``[k, k]``, its eigenvalues no lower than -tolerance thresholds."""
        threshold = self.dynamics.optimizer.threshold
        values, vectors = torch.linalg.eigh(block)
        return (vectors * (threshold - values).clamp(min=-self.tolerance * threshold)) @ vectors.T


class SecondMoment:
    """dnu/dt of the published flow, and what it does to log P: read off a step map at one state, gradient and time."""

    def __init__(self, optimizer: StepMap, state: State, gradient: Tensor, t: float):
        self.optimizer, self.state, self.gradient = optimizer, state, gradient
        self.t = torch.as_tensor(t, dtype=state.w.dtype, device=state.w.device)
        # an average forgets: the increment's derivative in nu is -(1 - beta2)
        forgets = jvp(lambda nu: self._increment(nu, gradient), state.nu, torch.ones_like(state.nu))[1]
        self.kept = 1 + forgets
        self.of_gradient = self._increment(state.nu, gradient) / self.kept

    def _increment(self, nu: Tensor, gradient: Tensor) -> Tensor:
        return self.optimizer.increment(self.state._replace(nu=nu), gradient, self.t).nu

    def of_oscillation(self, a: Tensor, b: Tensor) -> Tensor:
        """The share of dnu/dt of a gradient's covariance ``(a bᵀ + b aᵀ)/2``, a and b ``[d]``."""
        nu, g = self.state.nu, self.gradient
        ends = self._increment(nu, g + a + b) + self._increment(nu, g - a - b)
        mixed = self._increment(nu, g + a - b) + self._increment(nu, g - a + b)
        return (ends - mixed) / (8 * self.kept)

    def log_preconditioner(self, dnu: Tensor, dt: float) -> Tensor:
        """d log P/dt, ``[d]`` or ``[1]``, where nu moves at ``dnu`` and time at ``dt``."""
        point, direction = (self.state.nu, self.t + 1), (dnu, torch.full_like(self.t, dt))
        return jvp(lambda nu, t: torch.log(self.optimizer.preconditioner(nu, t)), point, direction)[1]
