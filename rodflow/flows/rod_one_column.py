"""Rod flow with one column of its covariance: the closure that misses the edge."""

from __future__ import annotations

import torch
from torch import Tensor

from rodflow.flows.base import Flow, Layout, Solver, pack
from rodflow.flows.rod import half_differences
from rodflow.training.discrete import Window


class OneColumnRodFlow(Flow):
    """Rod flow whose rod is one vector, for any step map; time in optimizer steps.

    With the letters of :class:`rodflow.flows.rod.RodFlow`, Σ = δδᵀ and nothing beside it, by the orthogonal projection
    of dΣ/dt on rank-one matrices in the metric, with v = δ/|δ| and the derivative J± = dG/dz at both ends:

        dz̄/dt = E - (J+ + J-) E/4,      dδ/dt = (I - v vᵀ/2) Q v/|δ| - δ,      Q v = [G+ (G+·v) + G- (G-·v)]/4

    and dnu/dt corrected likewise; the steps of E, and of N, are taken at (nu - N/2, t - 1/2), as in its (1), along the
    gradients at hand. It is an ODE that ``solver`` integrates. Below the edge Σ tends to E Eᵀ/4, so that its one column
    is the drift: it never samples the unstable direction and passes the edge unseen. An evaluation costs two gradients
    and two Hessian-vector products. On a mode of the centre of sharpness S = x thresholds the rate is -2x(1 + x), -4 at
    the edge, and grows as the centre sharpens: the solver is adaptive. (A fixed step of 1/2 becomes unstable past the
    edge, and the spurious oscillation can look like the true one, with an error smaller than that of the flow itself.)

    y = (z̄, δ, nu) at time t + 1/2, in the window's dtype. Advancing raises ``FlowDiverged`` where the solver gives up.
    """

    time_offset = 0.5
    default_solver = Solver("rkc2", step=20.0, atol=1e-8)

    def start(self, window: Window) -> Tensor:
        parts = half_differences(window)
        self.layout = Layout.of(*parts)
        return pack(*parts)

    def oscillation(self, y: Tensor) -> Tensor:
        """The weights' part of δ, drift included."""
        return self.dynamics.weights(self.layout.split(y)[1])[:, None]

    def field(self, t: float | Tensor, y: Tensor) -> Tensor:
        z, delta, nu = self.layout.split(y)
        n = len(z)
        ends = [z + delta, z - delta]
        plus, minus = (self.dynamics.linearise(end, nu, t) for end in ends)
        mean = (plus.increment + minus.increment) / 2
        dz, dnu = torch.tensor_split(mean, [n])
        fixed, half = torch.zeros_like(nu), (nu - dnu / 2).clamp(min=0)
        earlier = sum(
            self.dynamics.increment_along(end, half, at.gradient, t - 1 / 2)
            for end, at in zip(ends, (plus, minus), strict=True)
        )
        ds = earlier / 2 - (plus.along(dz, fixed) + minus.along(dz, fixed)) / 4
        scale = self.dynamics.metric(nu, t, z)
        ddelta = rank_one_projection(scale * plus.increment[:n], scale * minus.increment[:n], scale * delta) / scale
        return torch.cat([ds[:n], ddelta, ds[n:]])


def rank_one_projection(plus: Tensor, minus: Tensor, delta: Tensor) -> Tensor:
    """dδ/dt, all ``[n]``, in the coordinates in which it projects; zero at δ = 0."""
    length = delta.norm().clamp(min=torch.finfo(delta.dtype).tiny)
    v = delta / length
    source = (plus * (plus @ v) + minus * (minus @ v)) / 4
    return (source - v * (v @ source) / 2) / length - delta
