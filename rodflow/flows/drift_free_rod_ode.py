"""Drift-free rod flow: centre and oscillation told apart by parity, so that the drift is no part of the rod."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rodflow.errors import InvalidInput
from rodflow.flows.base import Layout, Solver, pack
from rodflow.flows.noise import NoisyFlow
from rodflow.optimizers.step_map import State
from rodflow.training.discrete import Window


class DriftFreeRodODE(NoisyFlow):
    """The flow of the smooth parts c and a of an optimizer's iterates ``s_t = c_t + (-1)^t a_t``, for any step map.

    With s = (w, m, nu) the whole state and G its increment, these hold exactly for any map:

        c' - c = [G(c + a) + G(c - a)] / 2     =: even
        a' + a = -[G(c + a) - G(c - a)] / 2    =: -odd

    so the flow of Phi(c, a) = (even, -2a - odd), corrected to ``order`` (see
    :func:`rodflow.flows.correction.corrected`), follows both. A mode of multiplier mu has da/dt = -(1 + mu) a: slow
    modes leave a at rate 2, the critical one, mu = -1, neither grows nor decays. This project's own; half differences
    (:class:`rodflow.flows.rod.RodFlow`) keep the drift in the rod instead.

    y = (c, a), each laid out as (w, m, nu); c + a is the iterate at the start and at every second step from there. An
    evaluation costs two gradients times ``order``. Stable at steps of 1/2 (rk4, order 1 and 2) or 1/4 (order 3); 1/4 is
    the default, since 1/2 is too long where a run enters the edge in leaps (docs/fidelity.md).

    Two things happen to a that the map does not say, both where a is too short to matter to the loss:

    * After each step a takes up ``rounding_scale`` times the rounding error of the discrete run, a random one of at
      most |w_i| times the run's relative error of a step (``Window.rounding``); the same errors each time. Rounding
      keeps a run's oscillation alive below the edge, and so it decides when the edge is entered.
    * A rod shorter than sqrt(epsilon) |c|, epsilon that of the flow's dtype, is evaluated at that length and its odd
      part scaled back: the difference of the two increments would otherwise be rounding noise. A component of the
      second moment is lengthened to at most half of the centre's, so that it stays positive at both ends.

    Raises: ``InvalidInput`` for an order other than 1, 2, 3, a negative rounding_scale, a rounding_seed out of
    bounds, an odd or negative ``split_order``.
    """

    default_solver = Solver("rk4", step=0.25)

    def start(self, window: Window) -> Tensor:
        here, alternating = window.state(), alternating_part(window, self.split_order)
        a = pack(*alternating)
        self.rounding = window.rounding
        self.layout = Layout.of(torch.cat([here.w, here.m]), here.nu)  # of c, and of a
        return torch.cat([pack(*here) - a, a])

    def phi(self, t: float | Tensor, y: Tensor) -> Tensor:
        """The increments of c and a over one step: (even, -2a - odd), from two gradients."""
        c, a = y.chunk(2)
        stretch = self._at_least(math.sqrt(torch.finfo(y.dtype).eps) * self._length(c), a)
        end = self._stretched(c, a, stretch)
        plus, minus = self._increment(t, c + end), self._increment(t, c - end)
        change = torch.empty_like(y)  # in place, since a pass over memory takes as long as many an example's gradient
        even, odd = change.chunk(2)
        torch.add(plus, minus, out=even).div_(2)
        torch.sub(minus, plus, out=odd).div_(2 * stretch).sub_(a, alpha=2)
        return change

    def round(self, t: float, y: Tensor) -> Tensor:
        """y with the rounding errors of the discrete run's step to t, a whole number, added to a's weights."""
        y = y.clone()
        self.rod(y).add_(self.errors(self.centre(y).w, t))
        return y

    def centre(self, y: Tensor) -> State:
        return super().centre(y.chunk(2)[0])

    def rod(self, y: Tensor) -> Tensor:
        return self.dynamics.weights(self.layout.split(y.chunk(2)[1])[0])

    def _increment(self, t: float | Tensor, s: Tensor) -> Tensor:
        z, nu = self.layout.split(s)
        # within a step the centre's second moment may fall below zero by rounding; an optimizer's never does
        return self.dynamics.increment(z, nu.clamp(min=0), t)

    def _length(self, s: Tensor) -> Tensor:
        return self.dynamics.weights(self.layout.split(s)[0]).norm()

    def _stretched(self, c: Tensor, a: Tensor, stretch: Tensor) -> Tensor:
        """a, ``stretch`` times as long; a second moment that was shorter than half of the centre's stays so."""
        end = stretch * a
        most = torch.maximum(self.layout.split(c)[1] / 2, self.layout.split(a)[1].abs())
        self.layout.split(end)[1].clamp_(-most, most)
        return end

    def _at_least(self, shortest: Tensor, a: Tensor) -> Tensor:
        """The factor, one or more, that makes the weights of a ``shortest`` long; one where they are zero."""
        length = self._length(a)
        largest = 1 / torch.finfo(a.dtype).tiny ** 0.5
        return torch.where(length > 0, shortest / length, 1.0).clamp(1.0, largest)


def alternating_part(window: Window, order: int) -> State:
    """The part of the states that changes sign at every step, at the window's middle, by a binomial filter:

        a = sum_k C(n, n/2 + k) (-1)^k s_{t + k} / 2^n,     k = -n/2 .. n/2

    with n the even ``order``, or the width of the window if that is less. Second differences are n = 2, and leave slow
    curvature in a; the filter lets through only the n-th difference of the slow part, divided by 2^n.

    Raises: ``InvalidInput`` for an order that is odd or below 2.
    """
    if order % 2 or order < 2:
        raise InvalidInput("split_order", order, "a positive even number")
    half = min(order // 2, window.half_width)
    order = 2 * half
    weights = [math.comb(order, half + k) * (-1) ** k / 2**order for k in range(-half, half + 1)]
    states = [window.state(k) for k in range(-half, half + 1)]
    return State(
        *(sum(x * part for x, part in zip(weights, parts, strict=True)) for parts in zip(*states, strict=True))
    )
