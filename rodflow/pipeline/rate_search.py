"""The search for a learning rate at which a run enters its edge of stability gently and stays there to its end.

Progressive sharpening makes it short. Below the edge a run at rate lr goes along a path that hardly depends on lr, and
at step t it is at its point s = lr t. With the sharpness Lambda(s) there, preconditioned and in thresholds, the run
meets its threshold at step t if ``lr Lambda(lr t) = 1``. One climb of this path, in steps as long as the edge allows,
tells at which rate the threshold is met at the step that is wanted. A run at this rate confirms it. If it does not, it
is ended as soon as that is known, and its own records tell the next rate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from rodflow.measures.constants import EDGE, LEAP, LEAST_SHARE

CLIMB = 0.6
"""The effective sharpness, in thresholds, that the climb keeps: below the edge, in long steps."""
STILL = 1e-7
"""The climb's first learning rate: nothing moves, and the second moment forms at the first weights."""
FIRST, GROWTH = 0.1, 3.0
"""The share of ``CLIMB`` with which the climb sets out, and the most by which its rate grows between two records."""
ARRIVAL, LATEST = 0.4, 0.55
"""Shares of a run's steps after which it is to be at its threshold: wanted at first, and the latest that is tried."""
WIDEST = 4.0
"""The largest factor between the rates of two trials that follow each other."""
NARROW = 1.06
"""No rate is sought between one that is too small and one that is too large by less than this factor."""
FALL = 0.8
"""A run whose sharpness falls below this share of itself from one record at the edge to the next fell off its edge."""
RAISE = 1.25
"""The factor by which a rate is raised at which a run does not stay at its edge for long."""
TRIALS = 6
"""The most trials of a cell."""

FOUND, LATE, LEFT, LEAPT, DIVERGED = "found", "late", "left", "leapt", "diverged"
REASONS = {
    LATE: "its sharpness does not rise enough, or too late",
    LEFT: "it leaves its edge, by itself or in a burst",
    LEAPT: f"it leaps into its edge, above {LEAP} thresholds",
    DIVERGED: "it diverges",
}
"""Why a rate is not ``FOUND``, in words."""

OnRecord = Callable[[int, float], None]
"""Told the step and the effective sharpness, in thresholds, of each record; it ends the run by :class:`Ended`."""


class Ended(Exception):
    """Enough of a run is known."""


class Trainer(Protocol):
    """A cell that can be trained at any learning rate for ``steps``, with a record every ``interval``."""

    steps: int
    interval: int
    start: int
    """The step from which on a leap counts, after that of the first steps: where the flows start."""

    def factor(self, t: int) -> float:
        """What its schedule multiplies the learning rate by at step t."""

    def at(self, rate: float, on_record: OnRecord) -> int | None:
        """Train at a rate, on the schedule. The step at which the run diverged, if it did."""

    def along(self, rate_at: Callable[[float], float], on_record: OnRecord) -> int | None:
        """Train at the rate of each step, without the schedule."""


class Point(NamedTuple):
    """Of a path: how far along it, the sum of the learning rates of all steps, and the sharpness there at a rate of 1,
    preconditioned, in thresholds.
    """

    s: float
    sharpness: float


@dataclass(frozen=True)
class Trial:
    """What a run at a rate measured, as far as it went, and what that says of the rate."""

    rate: float
    verdict: str
    """``FOUND``, or one of ``REASONS``."""
    share: float
    """Records in the edge window, of all that a whole run has."""
    largest: float
    """The largest effective sharpness from the flows' start on, in thresholds."""
    last: float
    """The effective sharpness at the last record, in thresholds."""
    ended: int
    """The step of that record."""
    too_large: bool
    """Whether a smaller rate is needed. If not, and it left its edge, that is not known."""
    path: tuple[Point, ...]
    """Up to the edge."""


def search(trainer: Trainer) -> list[Trial]:
    """The trials of a cell, at least one; the last one is ``FOUND``, or else the best, measured to its end.

    A run is good that has ``LEAST_SHARE`` of its records in the edge window, the last one too, and none above ``LEAP``
    thresholds from the flows' start on.
    """
    path = climb(trainer)
    if not path:  # not finite, or nowhere convex, where it starts
        return [attempt(trainer, STILL, whole=True)]
    trials: list[Trial] = []
    low, high, arrival = 0.0, math.inf, ARRIVAL
    early = math.inf  # the smallest rate at which a run was at its edge too early and left it softly
    rising = False  # whether a run that leaves its edge softly is taken to need a larger rate, to be held there
    rate, _ = predicted(trainer, path, arrival)
    while len(trials) < TRIALS and min(high, early) > NARROW * low:
        rate = float(f"{rate:.2e}")  # as it is written into a config
        trials.append(trial := attempt(trainer, rate))
        if trial.verdict == FOUND:
            return trials
        if trial.too_large:
            high = min(high, rate)
        elif trial.verdict == LEFT and not rising:
            early = min(early, rate)
        else:
            low = max(low, rate)
        too_early = rate >= min(high, early)
        if too_early:
            arrival = (arrival + LATEST) / 2
        following = predicted(trainer, trial.path, arrival)[0] if trial.path else rate / WIDEST
        if too_early and trial.ended < ARRIVAL / 2 * trainer.steps:
            following = min(following, rate / 2)  # what it did before it was ended says little of the path
        elif trial.verdict == LATE and early < math.inf:  # between the two it gets to its edge and is not held there
            rising, low, early = True, early, math.inf
            following = RAISE * low
        elif rising:
            following = max(following, RAISE * rate)
        following = min(max(following, rate / WIDEST), max(rate, low) * WIDEST)
        rate = _between(low, min(high, early), following)
    best = max(trials, key=lambda trial: (min(trial.share, LEAST_SHARE), -max(trial.largest, 1), trial.last))
    whole = best if best.ended >= trainer.steps else attempt(trainer, best.rate, whole=True)
    return [*(trial for trial in trials if trial is not whole), whole]


def _between(low: float, high: float, rate: float) -> float:
    """``rate``, if it lies well between a rate that is too small and one that is too large; else one that does."""
    if not low:
        return min(rate, high / 1.1)
    if high == math.inf:
        return max(rate, low * 1.1)
    margin = (high / low) ** 0.15
    return rate if low * margin <= rate <= high / margin else math.sqrt(low * high)


def climb(trainer: Trainer) -> list[Point]:
    """The path from the first weights until it tells a rate, at ``CLIMB`` thresholds wherever that is known."""
    path: list[Point] = []
    rate, s, before = STILL, 0.0, 0

    def on_record(t: int, sharpness: float) -> None:
        nonlocal rate, s, before
        s, before = s + rate * (t - before), t
        if not 0 < sharpness < math.inf:
            raise Ended
        path.append(Point(s, sharpness / rate))
        if predicted(trainer, path, ARRIVAL)[1]:
            raise Ended
        wanted = CLIMB * rate / sharpness
        rate = FIRST * wanted if len(path) == 1 else min(wanted, GROWTH * rate)

    try:
        trainer.along(lambda t: rate, on_record)
    except Ended:
        pass
    return path


def predicted(trainer: Trainer, path: list[Point] | tuple[Point, ...], arrival: float) -> tuple[float, bool]:
    """The rate at which a run is at its threshold after a share of its steps; whether the path gets so far.

    A point of the path is where a run at ``rate = s / F`` is at that step, F being the sum of the schedule's factors.
    Its effective sharpness there, over that of the point before, is interpolated on logarithmic axes, and beyond the
    path extrapolated: its slope is 1 for a sharpness that stays, more where it rises.
    """
    t = round(arrival * trainer.steps)
    travelled = sum(trainer.factor(k) for k in range(t))
    s, sharpness = np.array(path).T
    rates = np.log(s / travelled)
    excess = rates + np.log(trainer.factor(t) * sharpness)
    above = np.flatnonzero(excess >= 0)
    if len(above) and above[0] > 0:
        pair = slice(above[0] - 1, above[0] + 1)
        return math.exp(np.interp(0, excess[pair], rates[pair])), True
    i = 0 if len(above) else -1
    half = max(2, len(path) // 2)
    slope = np.polyfit(rates[-half:], excess[-half:], 1)[0] if len(path) > 1 and i else 1.0
    return math.exp(rates[i] - excess[i] / np.clip(slope, 1, 4)), i == 0


def attempt(trainer: Trainer, rate: float, whole: bool = False) -> Trial:
    """Train at a rate; to the end, if ``whole``, and else until it is known that the run is not good."""
    total = trainer.steps // trainer.interval
    steps: list[int] = []
    found: list[float] = []

    def largest() -> float:
        return max(
            (sharpness for t, sharpness in zip(steps, found, strict=True) if t >= trainer.start), default=math.nan
        )

    def judged() -> str:
        at_edge = [sharpness >= EDGE for sharpness in found]
        if not math.isfinite(found[-1]):
            return DIVERGED
        if largest() > LEAP:
            return LEAPT
        if len(found) == total and any(at_edge) and not at_edge[-1]:
            return LEFT
        if sum(at_edge) + total - len(found) < LEAST_SHARE * total:
            return LEFT if any(at_edge[: total // 2]) else LATE
        return FOUND

    def on_record(t: int, sharpness: float) -> None:
        steps.append(t)
        found.append(sharpness)
        if not whole and judged() != FOUND:
            raise Ended

    try:
        diverged = trainer.at(rate, on_record) is not None
    except Ended:
        diverged = False
    verdict = DIVERGED if diverged or not found else judged()
    share = sum(sharpness >= EDGE for sharpness in found) / total
    falls = [t for t, (a, b) in zip(steps[1:], itertools.pairwise(found), strict=False) if a >= EDGE and b < FALL * a]
    fell = any(t >= trainer.start for t in falls)
    too_large = verdict in (LEAPT, DIVERGED) or (verdict == LEFT and (fell or share >= LEAST_SHARE))
    path, s = [], 0.0
    for i, (t, sharpness) in enumerate(zip(steps, found, strict=True)):
        s += rate * sum(map(trainer.factor, range(steps[i - 1] if i else 0, t)))
        if not 0 < sharpness < LEAP or any(before >= EDGE for before in found[:i]):
            break
        path.append(Point(s, sharpness / (rate * trainer.factor(t))))
    last = found[-1] if found else math.nan
    ended = steps[-1] if steps else 0
    return Trial(rate, verdict, share, largest(), last, ended, too_large, tuple(path))
