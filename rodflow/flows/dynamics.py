"""The increment of an optimizer on an objective, at any phase-space point: all that a flow needs to know of either."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.functional import jvp

from rodflow.errors import InvalidObject
from rodflow.optimizers.step_map import State, StepMap
from rodflow.training.objective import Objective


class LinearisedStep(NamedTuple):
    """G and the increment of nu, one vector, how it changes along a direction v ``[n]`` of z and another of nu, and the
    gradient ``[d]`` of the loss there.
    """

    increment: Tensor
    along: Callable[[Tensor, Tensor], Tensor]
    gradient: Tensor


class Dynamics:
    """G(z; nu, t) for phase-space points z = (w, m), or z = w without momentum.

    Shapes: d weights; z and G ``[n]`` with n = d, or (1 + k) d with k first moments a weight;
    nu and its increment as the optimizer keeps them.
    """

    def __init__(self, objective: Objective, optimizer: StepMap):
        self.objective, self.optimizer = objective, optimizer
        self.moments = optimizer.init(torch.zeros(1)).m.numel()  # how many first moments a weight has
        self._checked = False  # whether the step's derivative was compared with a difference

    def weights(self, z: Tensor) -> Tensor:
        """The weights ``[d]`` of a phase-space point."""
        return z[: len(z) // (1 + self.moments)]

    def state(self, z: Tensor, nu: Tensor) -> State:
        """The optimizer's state at phase-space point z ``[n]`` and second moment nu."""
        w = self.weights(z)
        return State(w, z[len(w) :], nu)

    def increment(self, z: Tensor, nu: Tensor, t: float | Tensor) -> Tensor:
        """G and the increment of nu, one vector, from one gradient at z."""
        return self.increments([(z, nu)], t)[0]

    def increments(self, points: list[tuple[Tensor, Tensor]], t: float | Tensor) -> list[Tensor]:
        """G and the increment of nu, one vector, at each of the ``points`` (z, nu); a gradient each."""
        gradients = self.gradients([z for z, _ in points])
        moves = zip(points, gradients, strict=True)
        return [self.increment_along(z, nu, gradient, t) for (z, nu), gradient in moves]

    def gradients(self, points: list[Tensor]) -> list[Tensor]:
        """The gradient ``[d]`` of the loss at the weights of each phase-space point."""
        return self.objective.gradients([self.weights(z) for z in points])

    def increment_along(self, z: Tensor, nu: Tensor, gradient: Tensor, t: float | Tensor) -> Tensor:
        """G and the increment of nu, one vector, of a step along a gradient ``[d]`` that is known."""
        return torch.cat(self.optimizer.increment(self.state(z, nu), gradient, t))

    def stretch(self, centre: Tensor, part: Tensor) -> Tensor:
        """The factor, one or more, by which to lengthen ``part`` before taking a difference at ``centre`` ± part.

        Both ``[n]``; the weights of the part become sqrt(epsilon) times as long as the centre's, epsilon the rounding
        error of the objective: below, the difference of two increments is rounding noise. One where the part's weights
        are zero.
        """
        w = self.weights(centre)
        length, shortest = self.weights(part).norm(), math.sqrt(self.objective.epsilon(w)) * w.norm()
        return torch.where(length > 0, shortest / length, 1.0).clamp(1.0, torch.finfo(w.dtype).tiny ** -0.5)

    def wants_derivative(self, centre: Tensor, part: Tensor) -> bool:
        """Whether the difference of the increments at ``centre`` ± part should be a derivative.

        So in mixed precision, up to epsilon^(1/3) of the centre's length: there the gradients' rounding errors are as
        large a share of the difference as what a derivative leaves out, and the states have digits for neither.
        """
        w = self.weights(centre)
        epsilon = self.objective.epsilon(w)
        return epsilon > torch.finfo(w.dtype).eps and bool(self.weights(part).norm() <= epsilon ** (1 / 3) * w.norm())

    def linearise(self, z: Tensor, nu: Tensor, t: float | Tensor) -> LinearisedStep:
        """G and the increment of nu at a point, with its derivative in z and nu.

        The chain rule through the optimizer is torch's (its double-backward form, several times faster here than
        forward mode); the Hessian-vector product is the objective's.

        Raises: ``InvalidInput`` for a step that torch cannot differentiate, as one under ``torch.no_grad``.
        """
        state = self.state(z, nu)
        gradient, hessian, _ = self.objective.linearise(state.w)

        def increment(w: Tensor, m: Tensor, nu: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
            return tuple(self.optimizer.increment(State(w, m, nu), gradient, t))

        def derivative(v: Tensor, vnu: Tensor) -> Tensor:
            direction = self.state(v, vnu)
            return torch.cat(jvp(increment, (*state, gradient), (*direction, hessian(direction.w)))[1])

        if not self._checked:
            self._require_derivative(state, gradient, t)
        return LinearisedStep(self.increment_along(z, nu, gradient, t), derivative, gradient)

    def _require_derivative(self, state: State, gradient: Tensor, t: float | Tensor) -> None:
        """Check the step's derivative along the gradient, of length one, against a difference; once."""

        def increment(gradient: Tensor) -> Tensor:
            return torch.cat(self.optimizer.increment(state, gradient, t))

        h = torch.finfo(gradient.dtype).eps ** (1 / 3)
        difference = (increment((1 + h) * gradient) - increment((1 - h) * gradient)) / (2 * h)
        derivative = jvp(increment, gradient, gradient)[1]
        if not torch.isfinite(difference).all():
            return
        noise = 10 * h**2 * sum(float(part.norm()) for part in (*state, difference))
        if float((derivative - difference).norm()) > 0.01 * float(difference.norm()) + noise:
            said = "its derivative disagrees with a finite difference; avoid torch.no_grad, .data, detach"
            raise InvalidObject(f"{type(self.optimizer).__name__}.step", said)
        self._checked = True

    def metric(self, nu: Tensor, t: float | Tensor, like: Tensor) -> Tensor:
        """The scale of each phase-space coordinate ``[n]``: P^1/2 for w, and lr P^-1/2 for m, lr the rate at t.

        In these coordinates a step of size lr along m moves w by the same length, and the preconditioned Hessian
        is symmetric; lengths and directions of a rod are measured in them. All ones for gradient descent.
        """
        root = torch.sqrt(self.optimizer.preconditioner(nu, t)).expand(len(self.weights(like)))
        return torch.cat([root] + [self.optimizer.rate(t) / root] * self.moments)
