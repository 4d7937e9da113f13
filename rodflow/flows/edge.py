"""Edge flow: centre, direction and length of an oscillation of period two, each with an equation of its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rodflow.flows.base import Layout, Solver, pack
from rodflow.flows.drift_free_rod_ode import alternating_part
from rodflow.flows.noise import NoisyFlow
from rodflow.optimizers.step_map import StepMap
from rodflow.training.discrete import Window

FASTEST_DECAY = 2.0
"""A rod shortens by at most the factor exp(-2) a step: ln|lr s - 1| has a pole at lr s = 1, far below the edge."""


class EdgeFlow(NoisyFlow):
    """Edge flow (Marion, arXiv 2606.18080), reconstructed from its description; for step maps (w) without moments.

    The description at hand: the centre follows a corrected gradient flow on the symmetrised loss, the direction the
    Rayleigh-quotient dynamics, and the logarithm of the length grows with the sharpness over 2/lr. What was not
    specified is chosen here. With centre c, unit direction u, length r, and the finite-difference Hessian action h,

        h = [∇L(c + r u) - ∇L(c - r u)]/(2r),      s = u·h,      Ls(c) = [L(c + r u) + L(c - r u)]/2,

    the increments of one step are

        c'     - c     = -lr ∇Ls(c)
        u'     - u     =  lr (I - u uᵀ) h
        ln r'  - ln r  =  ln(lr s - 1), at least -2

    and the flow is that of their backward error correction to ``order`` (see
    :func:`rodflow.flows.correction.corrected`). Gradient descent takes r u to (lr h - r u) up to the sign, so a linear
    mode grows exactly by lr s - 1 a step: the logarithm is exact for it where the first order, lr s - 2, is 10% off at
    lr s = 2.2. The increment of u is that map's to first order in lr s - 2; its fixed points are those of the Rayleigh
    quotient, and the top one is stable. lr ∇L is read off the step map, so that a schedule of rates is followed.

    Time is in optimizer steps. y = (c, u, ln r), sizes d, d and one; c + r u is the iterate at the start and at every
    second step from there. An evaluation costs two gradients times ``order``; stable at steps of 1/2 (rk4, order 2).

    Where the rod is too short to matter to the loss: after each step its length takes up ``rounding_scale`` times the
    part along u of the discrete run's rounding errors, which are those of
    :class:`rodflow.flows.drift_free_rod_ode.DriftFreeRodODE`. Ends are never nearer to the centre than sqrt(epsilon)
    |c|, epsilon that of the flow's dtype. And r is kept above sqrt(tiny) of that dtype, so that u keeps a direction.

    u and r are told from the window by :func:`rodflow.flows.drift_free_rod_ode.alternating_part`.

    Raises: ``InvalidInput`` for an optimizer with moments, an order other than 1, 2, 3, a negative rounding_scale, or a
    rounding_seed out of bounds.
    """

    default_solver = Solver("rk4", step=0.5)

    @classmethod
    def supports(cls, optimizer: StepMap) -> bool:
        state = optimizer.init(torch.zeros(1))
        return super().supports(optimizer) and state.m.numel() == state.nu.numel() == 0

    def start(self, window: Window) -> Tensor:
        here, a = window.state(), alternating_part(window).w
        self.rounding = window.rounding
        self.layout = Layout((len(a), len(a), 1, 0))
        return self._pack(here.w - a, a)

    def phi(self, t: float | Tensor, y: Tensor) -> Tensor:
        """The increments of (c, u, ln r) over one step, from two gradients."""
        c, u, log_length, nu = self.layout.split(y)
        u = u / u.norm()
        length = torch.maximum(log_length.exp(), math.sqrt(self.dynamics.objective.epsilon(c)) * c.norm())
        plus, minus = self.dynamics.increments([(c + end * u, nu) for end in (length, -length)], t)
        h = (minus - plus) / (2 * length)  # lr times the Hessian's action
        s = u @ h
        growth = torch.log((s - 1).clamp(min=math.exp(-FASTEST_DECAY)))
        return torch.cat([(plus + minus) / 2, h - s * u, growth.expand(1)])

    def round(self, t: float, y: Tensor) -> Tensor:
        """y with u of length one, and at a whole number t with the rounding errors of the run's step to t in r.

        Only their part along u: which way the rod points is for the Rayleigh quotient's dynamics to say, where the
        whole error, of all directions, would turn a short rod away from the critical one at each step.
        """
        c, a = self.centre(y).w, self.rod(y)
        u = self.layout.split(y)[1]
        along = u / u.norm()
        return self._pack(c, a + along * (along @ self.errors(c, t)), u)

    def oscillation(self, y: Tensor) -> Tensor:
        return self.rod(y)[:, None]

    def rod(self, y: Tensor) -> Tensor:
        _, u, log_length, _ = self.layout.split(y)
        return log_length.exp() * u / u.norm()

    def _pack(self, c: Tensor, a: Tensor, u: Tensor | None = None) -> Tensor:
        """y with centre c and rod a; the direction of a rod of length zero is u, or the diagonal if u is not given."""
        length, shortest = a.norm(), math.sqrt(torch.finfo(a.dtype).tiny)
        if length > shortest:
            u = a
        elif u is None:
            u = torch.ones_like(a)
        return pack(c, u / u.norm(), length.clamp(min=shortest).log(), c.new_zeros(0))
