"""Drift-free rod flow: centre and oscillation told apart by parity, so that the drift is no part of the rod."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rodflow.flows.base import Layout, Solver, pack
from rodflow.flows.noise import NoisyFlow
from rodflow.optimizers.step_map import State
from rodflow.training.discrete import Window, midpoint


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

    What is measured is what the model says of the run's midpoint w*_t = (w_{t-1} + 2 w_t + w_{t+1})/4, made of its own
    iterates, see :meth:`measured`; ringing, where multipliers are complex, is in w*_t not as it is in c.

    Raises: ``InvalidInput`` for an order other than 1, 2, 3, a negative rounding_scale, a rounding_seed out of bounds.
    """

    default_solver = Solver("rk4", step=0.25)
    lookback = 1

    def start(self, window: Window) -> Tensor:
        here, alternating = window.state(), alternating_part(window)
        a = pack(*alternating)
        self.rounding, self.began = window.rounding, window.at
        self.layout = Layout.of(torch.cat([here.w, here.m]), here.nu)  # of c, and of a
        return torch.cat([pack(*here) - a, a])

    def phi(self, t: float | Tensor, y: Tensor) -> Tensor:
        """The increments of c and a over one step: (even, -2a - odd), from two gradients; see :meth:`_derived`."""
        c, a = y.chunk(2)
        z, rod = self.layout.split(c)[0], self.layout.split(a)[0]
        if self.dynamics.wants_derivative(z, rod):
            return self._derived(t, c, a)
        stretch = self.dynamics.stretch(z, rod)
        end = self._stretched(c, a, stretch)
        plus, minus = self._increments(t, c + end, c - end)
        change = torch.empty_like(y)  # in place, since a pass over memory takes as long as many an example's gradient
        even, odd = change.chunk(2)
        torch.add(plus, minus, out=even).div_(2)
        torch.sub(minus, plus, out=odd).div_(2 * stretch).sub_(a, alpha=2)
        return change

    def _derived(self, t: float | Tensor, c: Tensor, a: Tensor) -> Tensor:
        """:meth:`phi` with the odd part from a Hessian-vector product at c, which cancels no digits; the even part is
        the increment at c where a is too short for two ends to differ from it.
        """
        z, nu = self.layout.split(c)
        here, along, _ = self.dynamics.linearise(z, nu.clamp(min=0), t)
        rod, rod_nu = self.layout.split(a)
        even = here
        if self.dynamics.stretch(z, rod) == 1:
            end = self._stretched(c, a, a.new_ones(()))
            plus, minus = self._increments(t, c + end, c - end)
            even = (plus + minus) / 2
        return torch.cat([even, -2 * a - along(rod, rod_nu)])

    def round(self, t: float, y: Tensor) -> Tensor:
        """y with the rounding errors of the discrete run's step to t, a whole number, added to a's weights."""
        y = y.clone()
        self.rod(y).add_(self.errors(self.centre(y).w, t))
        return y

    def centre(self, y: Tensor) -> State:
        return super().centre(y.chunk(2)[0])

    def rod(self, y: Tensor) -> Tensor:
        return self.dynamics.weights(self.layout.split(y.chunk(2)[1])[0])

    def iterate(self, t: float, y: Tensor) -> Tensor:
        """The optimizer's state s_t = c + (-1)^t a, laid out as c; t is a whole number of steps."""
        c, a = y.chunk(2)
        return c + self.parity(t) * a

    def parity(self, t: float) -> int:
        """(-1)^t, t counted from the start."""
        return 1 if (t - self.began) % 2 == 0 else -1

    def oscillation(self, y: Tensor) -> Tensor:
        return self.rod(y)[:, None]

    def measured(self, t: float, before: Tensor, y: Tensor) -> tuple[State, Tensor]:
        """The midpoint (s_{t-1} + 2 s_t + s_{t+1})/4 of the model's iterates, by the same formula as the run's, and a.

        s_{t+1} is the optimizer's step from s_t, which takes a gradient.
        """
        here = self.iterate(t, y)
        three = self.iterate(t - 1, before), here, here + self._increments(t, here)[0]
        states = [self.dynamics.state(*self.layout.split(s)) for s in three]
        return midpoint(*states), self.oscillation(y)

    def _increments(self, t: float | Tensor, *states: Tensor) -> list[Tensor]:
        points = [self.layout.split(s) for s in states]
        # within a step the centre's second moment may fall below zero by rounding; an optimizer's never does
        return self.dynamics.increments([(z, nu.clamp(min=0)) for z, nu in points], t)

    def _length(self, s: Tensor) -> Tensor:
        return self.dynamics.weights(self.layout.split(s)[0]).norm()

    def _stretched(self, c: Tensor, a: Tensor, stretch: Tensor) -> Tensor:
        """a, ``stretch`` times as long; a second moment that was shorter than half of the centre's stays so."""
        end = stretch * a
        most = torch.maximum(self.layout.split(c)[1] / 2, self.layout.split(a)[1].abs())
        self.layout.split(end)[1].clamp_(-most, most)
        return end


def half_band(reach: int) -> dict[int, float]:
    """The weights w_k, by odd offset k > 0, of the maximally flat half-band filter over offsets up to ``reach``:

        smooth part = s_t / 2 + sum_k w_k (s_{t + k} + s_{t - k}),     k = 1, 3, .. up to reach

    Twice the weights interpolate s_t from its odd neighbours (Lagrange), so every polynomial up to degree ``reach`` is
    smooth, and none of such a polynomial times (-1)^t is. The gain on a mode e^{i theta t} is one half at 90 degrees;
    the gains at theta and at 180 degrees - theta add up to one. Reach 1 is the second difference (1, 2, 1)/4, reach 7
    has the weights (1225, -245, 49, -5)/4096 (Herrmann, IEEE Trans. Circuit Theory 18, 1971).

    >>> half_band(3)
    {1: 0.28125, 3: -0.03125}
    """
    odd = range(1, reach + 1, 2)
    return {k: math.prod(j * j / (j * j - k * k) for j in odd if j != k) / 4 for k in odd}


def alternating_part(window: Window) -> State:
    """The part of the states that changes sign at every step, at the window's middle: s_t less its smooth part.

    The smooth part is that of the :func:`half_band` filter as wide as the window. It tells modes apart at 90 degrees;
    a binomial filter would leave in the smooth part most of what is 60 degrees away from alternating, as ringing is.
    """
    weights = half_band(window.half_width)
    parts = zip(window.state(), *(window.state(sign * k) for k in weights for sign in (1, -1)), strict=True)
    each = [w for w in weights.values() for _ in (1, -1)]
    return State(*(here / 2 - sum(w * s for w, s in zip(each, others, strict=True)) for here, *others in parts))
