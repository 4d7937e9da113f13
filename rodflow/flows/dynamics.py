"""The increment of an optimizer on an objective, at any phase-space point: all that a flow needs to know of either."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.functional import jvp

from rodflow.optimizers.step_map import State, StepMap
from rodflow.training.objective import Objective


class Dynamics:
    """G(z; nu, t) for phase-space points z = (w, m), or z = w without momentum.

    Shapes: d weights; z and G ``[n]`` with n = d or 2d; nu and its increment as the optimizer keeps them.
    """

    def __init__(self, objective: Objective, optimizer: StepMap):
        self.objective, self.optimizer = objective, optimizer
        self.has_momentum = optimizer.init(torch.zeros(1)).m.numel() > 0

    def weights(self, z: Tensor) -> Tensor:
        """The weights ``[d]`` of a phase-space point."""
        return z[: len(z) // 2] if self.has_momentum else z

    def state(self, z: Tensor, nu: Tensor) -> State:
        """The optimizer's state at phase-space point z ``[n]`` and second moment nu."""
        w = self.weights(z)
        return State(w, z[len(w) :], nu)

    def increment(self, z: Tensor, nu: Tensor, t: float | Tensor) -> Tensor:
        """G and the increment of nu, one vector, from one gradient at z."""
        return self.increments([(z, nu)], t)[0]

    def increments(self, points: list[tuple[Tensor, Tensor]], t: float | Tensor) -> list[Tensor]:
        """G and the increment of nu, one vector, at each of the ``points`` (z, nu); a gradient each."""
        states = [self.state(z, nu) for z, nu in points]
        gradients = self.objective.gradients([state.w for state in states])
        moves = zip(states, gradients, strict=True)
        return [torch.cat(self.optimizer.increment(state, gradient, t)) for state, gradient in moves]

    def stretch(self, centre: Tensor, part: Tensor) -> Tensor:
        """The factor, one or more, by which to lengthen ``part`` before taking a difference at ``centre`` ± part.

        Both ``[n]``; the weights of the part become sqrt(epsilon) times as long as the centre's, epsilon the dtype's:
        below, the difference of two increments is rounding noise. One where the part's weights are zero.
        """
        length, finfo = self.weights(part).norm(), torch.finfo(part.dtype)
        shortest = math.sqrt(finfo.eps) * self.weights(centre).norm()
        return torch.where(length > 0, shortest / length, 1.0).clamp(1.0, finfo.tiny**-0.5)

    def linearise(self, z: Tensor, nu: Tensor, t: float | Tensor) -> tuple[Tensor, Tensor, Callable[[Tensor], Tensor]]:
        """G, the increment of nu, and the product v ``[n]`` -> (dG/dz) v ``[n]`` at fixed nu.

        The chain rule through the optimizer is torch's (its double-backward form, several times faster here than
        forward mode); the Hessian-vector product is the objective's.
        """
        state = self.state(z, nu)
        gradient, hessian = self.objective.linearise(state.w)

        def increment(w: Tensor, m: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
            dw, dm, _ = self.optimizer.increment(State(w, m, nu), gradient, t)
            return dw, dm

        def jacobian_product(v: Tensor) -> Tensor:
            vw, vm, _ = self.state(v, nu)
            point, direction = (state.w, state.m, gradient), (vw, vm, hessian(vw))
            return torch.cat(jvp(increment, point, direction)[1])

        dw, dm, dnu = self.optimizer.increment(state, gradient, t)
        return torch.cat([dw, dm]), dnu, jacobian_product

    def metric(self, nu: Tensor, t: float | Tensor, like: Tensor) -> Tensor:
        """The scale of each phase-space coordinate ``[n]``: P^1/2 for w, and lr P^-1/2 for m, lr the rate at t.

        In these coordinates a step of size lr along m moves w by the same length, and the preconditioned Hessian
        is symmetric; lengths and directions of a rod are measured in them. All ones for gradient descent.
        """
        root = torch.sqrt(self.optimizer.preconditioner(nu, t)).expand(len(self.weights(like)))
        return torch.cat([root, self.optimizer.rate(t) / root]) if self.has_momentum else root
