"""Drift-free rod flow one optimizer step at a time, for four gradients a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rodflow.errors import InvalidInput
from rodflow.flows.base import Solver
from rodflow.flows.drift_free_rod_ode import DriftFreeRodODE
from rodflow.optimizers.step_map import StepMap
from rodflow.training.objective import Objective

if TYPE_CHECKING:
    from rodflow.jobs.checkpoint import StateDict

LARGEST_GROWTH = 4.0
"""A rod that grows by more than this factor in one step changes too fast for the map."""
SHORT = 0.01
"""Share of the centre's length up to which a rod may grow as it likes."""


class DriftFreeRod(DriftFreeRodODE):
    """Drift-free rod flow with a unit step that is made for its two kinds of modes, slow ones and alternating ones.

    With Phi = (even, -2a - odd) as in :class:`DriftFreeRodODE`, ``s' = s + Phi(s)`` is the optimizer itself in other
    coordinates, exact, but (c + e, a - (-1)^t e) is the same iterate: nothing keeps alternating content out of c and
    slow content out of a. On a mode Phi = x, the right content has x near 0, the wrong one x near -2. So every
    ``interval`` steps that step is taken with

        R(x) = 1 + x - x^3/8,      k1 = Phi(s), k2 = Phi(s + k1/2), s' = s + Phi(s - (k2 - k1)/4)

    which follows the map to third order on the right content and has R(-2) = 0. It is the time-one (time-``interval``)
    map of a smooth flow that agrees with the corrected drift-free rod flow to that order.

    ``2 + 4/interval`` gradients a step. Where the rod grows more than ``LARGEST_GROWTH`` times in a step, or overflows,
    that step is taken along the corrected field by ``solver`` instead; ``guarded`` counts such steps.

    Raises: ``InvalidInput`` for an interval below one, and as :class:`DriftFreeRodODE`.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: StepMap,
        solver: Solver | None = None,
        interval: int = 2,
        order: int = 2,
        rounding_scale: float = 1.0,
        split_order: int = 16,
        rounding_seed: int = 0,
    ):
        super().__init__(objective, optimizer, solver, order, rounding_scale, split_order, rounding_seed)
        if interval < 1:
            raise InvalidInput("interval", interval, "a positive number of steps")
        self.interval, self.guarded = interval, 0

    def unit(self, y: Tensor, t0: float, t1: float) -> Tensor:
        if t1 - t0 < 1:
            return super().unit(y, t0, t1)
        following = self.separating_step(t0, y) if t1 % self.interval == 0 else y + self.phi(t0, y)
        if self._tame(y, following):
            return following
        self.guarded += 1
        return super().unit(y, t0, t1)

    @property
    def incidents(self) -> dict[str, int]:
        return {"guarded": self.guarded}

    def state_dict(self) -> StateDict:
        return {"guarded": self.guarded}

    def load_state_dict(self, state: StateDict) -> None:
        self.guarded = int(state["guarded"])

    def separating_step(self, t: float, y: Tensor) -> Tensor:
        """One step with R(x) = 1 + x - x^3/8, which takes alternating content out of c and slow content out of a."""
        k1 = self.phi(t, y)
        k2 = self.phi(t + 1 / 2, y.add(k1, alpha=1 / 2))
        return y + self.phi(t, y.sub(k2 - k1, alpha=1 / 4))

    def _tame(self, before: Tensor, after: Tensor) -> bool:
        allowed = torch.maximum(LARGEST_GROWTH * self.rod(before).norm(), SHORT * self._length(before.chunk(2)[0]))
        # a sum is finite only if all terms are
        return bool(torch.isfinite(after.sum()) and self.rod(after).norm() <= allowed)
