"""The twin: a second discrete run from the same window, with rounding errors of its own. How good a model can be."""

from __future__ import annotations

import torch
from torch import Tensor

from rodflow.errors import InvalidInput
from rodflow.flows.base import Flow, Layout, pack
from rodflow.flows.noise import own_errors, require_seed
from rodflow.optimizers.step_map import State, StepMap
from rodflow.training.discrete import Window, midpoint
from rodflow.training.objective import Objective


class Twin(Flow):
    """The optimizer itself, from the run's window, in the flow's dtype, with rounding errors of the run's size.

    A run at the edge of stability forgets where its rounding errors took it. So a second run with other errors is as
    near to it as chance lets anything be: the mean error of twins is the *floor*, below which the error of a model says
    nothing. How well the floor is known is told by twins that differ in ``rounding_seed`` alone.

    y = (s_{t-1}, s_t, s_{t+1}), three whole states; its centre is their midpoint (s_{t-1} + 2 s_t + s_{t+1})/4, as the
    run's is, and its rod w_t less that. A step takes one gradient. After it each weight is off by at most
    ``Window.rounding`` of itself, at random. There is no solver: time is a whole number of steps.

    Raises: ``InvalidInput`` for a rounding_seed out of bounds; advancing to a time between two steps does too.
    """

    def __init__(self, objective: Objective, optimizer: StepMap, *, rounding_seed: int = 1):
        super().__init__(objective, optimizer)
        self.rounding_seed, self.rounding = require_seed(rounding_seed), 0.0

    @classmethod
    def supports(cls, optimizer: StepMap) -> bool:
        return True

    def start(self, window: Window) -> Tensor:
        self.rounding = window.rounding
        here = window.state()
        self.layout = Layout.of(torch.cat([here.w, here.m]), here.nu)  # of each of the three
        return torch.cat([pack(*window.state(offset)) for offset in (-1, 0, 1)])

    def advance(self, y: Tensor, t0: float, t1: float) -> Tensor:
        for time in (t0, t1):
            if time != int(time):
                raise InvalidInput("time", time, "a whole number of optimizer steps")
        before, here, after = y.chunk(3)
        for t in range(int(t0), int(t1)):
            z, nu = self.layout.split(after)
            following = after + self.dynamics.increment(z, nu, t + 1)
            w = self.dynamics.weights(self.layout.split(following)[0])
            w += own_errors(w, self.rounding, t + 2, self.rounding_seed)
            before, here, after = here, after, following
        return torch.cat([before, here, after])

    def centre(self, y: Tensor) -> State:
        return midpoint(*self._states(y))

    def oscillation(self, y: Tensor) -> Tensor:
        return (self._states(y)[1].w - self.centre(y).w)[:, None]

    def _states(self, y: Tensor) -> list[State]:
        return [self.dynamics.state(*self.layout.split(part)) for part in y.chunk(3)]
