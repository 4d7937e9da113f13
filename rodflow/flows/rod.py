"""Rod flow: two consecutive iterates as a rod, a centre plus an oscillation, and an ODE for both."""

from __future__ import annotations

import torch
from torch import Tensor

from rodflow.flows.base import Flow, Layout, Solver, pack
from rodflow.training.discrete import Window


class RodFlow(Flow):
    """Rod flow with half-differences and the rank-one closure, for any step map.

    With z̄ = (z_t + z_{t+1})/2, δ = (z_{t+1} - z_t)/2, Σ = δδᵀ, and G± = G(z̄ ± δ), J± = dG/dz there:

        dz̄/dt  = (G+ + G-)/2 - (J+ + J-)(G+ + G-)/8
        dΣ/dt  = (G+ G+ᵀ + G- G-ᵀ)/4 - 2Σ
        dnu/dt = the mean of nu's increments at both ends

    Regis & Chewi (arXiv 2602.01480) for gradient descent, where G = -lr ∇L; derived here from that construction for
    the phase space z = (w, m) of momentum. The source of Σ does not keep rank one. The closure is the orthogonal
    projection on rank-one matrices in the preconditioned metric (see :meth:`Dynamics.metric`), with v = δ/|δ|:

        dδ/dt = (I - v vᵀ/2) Q v / |δ| - δ,      Q v = [G+ (G+·v) + G- (G-·v)]/4

    y = (z̄, δ, nu), at time t + 1/2. An evaluation costs two gradients and two Hessian-vector products. On a mode of
    the centre of sharpness S = x thresholds the rate is -2x(1 + x), -4 at the edge, and grows as the centre sharpens:
    the solver is adaptive. (A fixed step of 1/2 becomes unstable past the edge, and the spurious oscillation can look
    like the true one, with an error smaller than that of the flow itself.)
    """

    time_offset = 0.5
    default_solver = Solver("rkc2", step=20.0, atol=1e-8)

    def start(self, window: Window) -> Tensor:
        here, after = window.state(), window.state(1)
        z, following = torch.cat([here.w, here.m]), torch.cat([after.w, after.m])
        parts = (z + following) / 2, (following - z) / 2, (here.nu + after.nu) / 2
        self.layout = Layout.of(*parts)
        return pack(*parts)

    def field(self, t: float | Tensor, y: Tensor) -> Tensor:
        z, delta, nu = self.layout.split(y)
        dz, dnu, plus, minus = self.ends(t, z, delta, nu)
        scale = self.dynamics.metric(nu, t, z)
        ddelta = rank_one_projection(scale * plus, scale * minus, scale * delta) / scale
        return torch.cat([dz, ddelta, dnu])

    def ends(self, t: float | Tensor, z: Tensor, delta: Tensor, nu: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """dz̄/dt, dnu/dt, and the increments G+ and G- at the ends z̄ ± δ of the rod."""
        plus, dnu_plus, jacobian_plus = self.dynamics.linearise(z + delta, nu, t)
        minus, dnu_minus, jacobian_minus = self.dynamics.linearise(z - delta, nu, t)
        mean = (plus + minus) / 2
        dz = mean - (jacobian_plus(mean) + jacobian_minus(mean)) / 4
        return dz, (dnu_plus + dnu_minus) / 2, plus, minus

    def rod(self, y: Tensor) -> Tensor:
        return self.dynamics.weights(self.layout.split(y)[1])


def rank_one_projection(plus: Tensor, minus: Tensor, delta: Tensor) -> Tensor:
    """dδ/dt of the rank-one closure, all ``[n]``, in the coordinates in which it projects; zero at δ = 0."""
    length = delta.norm().clamp(min=torch.finfo(delta.dtype).tiny)
    v = delta / length
    source = (plus * (plus @ v) + minus * (minus @ v)) / 4
    return (source - v * (v @ source) / 2) / length - delta
