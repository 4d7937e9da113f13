"""Central flow in phase space: an experimental extension to step maps with a first moment."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.functional import jvp

from rodflow.flows.central import CentralFlow, SecondMoment
from rodflow.optimizers.step_map import State, StepMap


class CentralMomentumFlow(CentralFlow):
    """Central flow for step maps with a first moment. Experimental: derived here, see docs/central.md.

    With G(z, g; nu, t) the increment of z = (w, m) at the gradient g and a preconditioner held at P,

        dz/dt = G(z, ∇L + T[Sigma]/2),      dnu/dt as in :class:`rodflow.flows.central.CentralFlow`

    with Sigma the covariance of the weights, from the same complementarity problem at the step map's own threshold, at
    which a multiplier is -1. Where the flow is a good average the run has no growing modulation of its oscillation;
    momentum delays the oscillation's push on the weights, and strong self-stabilisation makes that modulation grow.

    y = (z, A, nu). Raises: ``InvalidInput`` for an optimizer without a first moment, and as ``CentralFlow``.
    """

    @classmethod
    def supports(cls, optimizer: StepMap) -> bool:
        return optimizer.smooth and not super().supports(optimizer)

    def response(
        self, t: float, state: State, gradient: Tensor, slow: SecondMoment
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        # the step divides by P of the updated nu, which is to be this one
        before = state._replace(nu=state.nu - slow.of_gradient)

        def increment(gradient: Tensor) -> Tensor:
            dw, dm, _ = self.dynamics.optimizer.increment(before, gradient, t)
            return torch.cat([dw, dm])

        return increment(gradient), lambda change: jvp(increment, gradient, change)[1]
