"""Drift-free rod flow one optimizer step at a time, for fewer than three gradients a step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rodflow.errors import real_number, whole_number
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

        R(x) = 1 + x + x^p / (-2)^p,   s' = s_1 + (p-th difference of s_0, .., s_p) / (-2)^p,   s_{k+1} = s_k + Phi(s_k)

    and p the ``power``, which follows the map to that order on the right content and has R(-2) = 0. Content halfway, as
    ringing and the middle of a violent burst are, is neither right nor wrong, and R destroys part of it. So where the
    weights' part of the excess x^p/(-2)^p (s_c, s_a) is longer than ``split_tolerance`` times the centre, none of it is
    lost: what leaves c goes to a, and what leaves a to c, by (d, -(-1)^t d) with d = s_c - (-1)^t s_a, which changes
    the split and not the iterate; or nothing does, where d is longer than the rod. ``unsplit`` counts such steps.

    What this is a model of: all steps but one in ``interval``, and that one too where nothing is lost, are the
    optimizer's own in other coordinates. The optimizer is no model of itself. So the error of the map says how well the
    split holds, and nothing about continuous time, which is judged on :class:`DriftFreeRodODE`; the map is the fast
    integrator of that. docs/fidelity.md has both, and by how much they differ.

    ``2 + 2 (power - 1)/interval`` gradients a step. Where the rod grows more than ``LARGEST_GROWTH`` times in a step,
    or overflows, that step is taken along the corrected field by ``solver`` instead; ``guarded`` counts such steps.

    Raises: ``InvalidInput`` for an interval below one, a power below two, a negative split_tolerance, and as
    :class:`DriftFreeRodODE`.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: StepMap,
        *,
        solver: Solver | None = None,
        interval: int = 16,
        power: int = 7,
        split_tolerance: float = 1e-6,
        order: int = 2,
        rounding_scale: float = 1.0,
        rounding_seed: int = 0,
    ):
        super().__init__(
            objective,
            optimizer,
            solver=solver,
            order=order,
            rounding_scale=rounding_scale,
            rounding_seed=rounding_seed,
        )
        self.interval = whole_number("interval", interval, "a positive number of steps", least=1)
        self.power = whole_number("power", power, "a whole number, two or more", least=2)
        allowed = "a number >= 0, of the centre's length"
        self.split_tolerance = real_number("split_tolerance", split_tolerance, allowed, lambda x: x >= 0)
        self.guarded = self.unsplit = 0

    def unit(self, y: Tensor, t0: float, t1: float) -> Tensor:
        if t1 - t0 < 1:
            return super().unit(y, t0, t1)
        following = y + self.phi(t0, y)
        if t1 % self.interval == 0:
            following = self.separated(t0, y, following)
        if self._tame(y, following):
            return following
        self.guarded += 1
        return super().unit(y, t0, t1)

    @property
    def incidents(self) -> dict[str, int]:
        return {"guarded": self.guarded, "unsplit": self.unsplit}

    def state_dict(self) -> StateDict:
        return self.incidents

    def load_state_dict(self, state: StateDict) -> None:
        self.guarded, self.unsplit = int(state["guarded"]), int(state["unsplit"])

    def separated(self, t: float, y: Tensor, following: Tensor) -> Tensor:
        """R(x) of y from ``following``, the optimizer's step 1 + x of y; where that loses too much, another split."""
        p, s = self.power, following
        excess = (y - p * s) / 2**p
        for k in range(2, p + 1):
            s = s + self.phi(t + k - 1, s)
            excess.add_(s, alpha=math.comb(p, k) * (-1) ** k / 2**p)
        c, a = excess.chunk(2)
        lost = torch.hypot(self._length(c), self._length(a))
        centre, rod = y.chunk(2)
        if lost <= self.split_tolerance * self._length(centre):
            return following + excess
        self.unsplit += 1
        sign = self.parity(t + 1)
        moved = c - sign * a
        if not self._length(moved) <= self._length(rod):
            return following
        return following + torch.cat([moved, -sign * moved])

    def _tame(self, before: Tensor, after: Tensor) -> bool:
        allowed = torch.maximum(LARGEST_GROWTH * self.rod(before).norm(), SHORT * self._length(before.chunk(2)[0]))
        # a sum is finite only if all terms are
        return bool(torch.isfinite(after.sum()) and self.rod(after).norm() <= allowed)
