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
from collections.abc import Callable, Sequence
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
ARRIVAL, LATER = 0.4, 0.45
"""Shares of a run's steps after which it is to be at its threshold: at first, and where a rate was too large."""
NARROW = 1.1
"""No rate is tried that is nearer than about this factor to one that is too small or too large."""
STRIDE = 1.5
"""The factor between the rates that are tried on either side of one at which a run left its edge."""
WIDEST = 4.0
"""What a rate is divided by at which a run is above its edge at its first record."""
FALL = 0.8
"""A run whose sharpness falls below this share of itself from one record to the next leaves its edge in a burst."""
FADE = 0.25
"""The largest share of a run's records, its last ones, that it may be off its edge at which it does not stay."""
TRIALS = 6
"""The most trials of a cell."""

FOUND, FADED, LATE, LEFT, LEAPT, DIVERGED = "found", "faded", "late", "left", "leapt", "diverged"
REASONS = {
    LATE: "its sharpness does not rise enough, or too late",
    LEFT: "it leaves its edge, by itself or in a burst",
    LEAPT: f"it leaps into its edge, above {LEAP} thresholds",
    DIVERGED: "it diverges",
}
"""Why a rate is neither ``FOUND`` nor ``FADED``, in words."""

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
    """``FOUND``; ``FADED``, good but for leaving its edge softly near its end; or one of ``REASONS``."""
    share: float
    """Records in the edge window, of all that a whole run has."""
    largest: float
    """The largest effective sharpness from the flows' start on, in thresholds."""
    last: float
    """The effective sharpness at the last record, in thresholds."""
    ended: int
    """The step of that record."""
    left: int | None
    """The step from which on no record is in the edge window; None where the last one is."""
    path: tuple[Point, ...]
    """Up to the edge."""


def search(trainer: Trainer) -> list[Trial]:
    """The trials of a cell, at least one; the last one is ``FOUND``, or else the best, measured to its end.

    A run is good that has ``LEAST_SHARE`` of its records in the edge window, the last one too, and none above ``LEAP``
    thresholds from the flows' start on. The best is ``FADED``, if any is, and else has most of that share.
    """
    path = climb(trainer)
    if not path:  # not finite, or nowhere convex, where it starts
        return [attempt(trainer, STILL, whole=True)]
    trials: list[Trial] = []
    while len(trials) < TRIALS and (rate := following(trainer, path, trials)):
        trials.append(attempt(trainer, rate))
        if trials[-1].verdict == FOUND:
            return trials
    best = max(trials, key=lambda t: (t.verdict == FADED, min(t.share, LEAST_SHARE), -max(t.largest, 1), t.last))
    whole = best if best.ended >= trainer.steps else attempt(trainer, best.rate, whole=True)
    return [*(trial for trial in trials if trial is not whole), whole]


def following(trainer: Trainer, climbed: Sequence[Point], trials: list[Trial]) -> float | None:
    """The rate of the next trial, as it is written into a config; None where those that are left are all but tried.

    It is what the latest path predicts, or the middle of those that are too small and too large if it is none of them.
    What a run that left its edge needs is not known: rates above and below it are tried by turns.
    """
    telling = [trial for trial in trials if trial.verdict not in (LEFT, FADED)]
    low = max((trial.rate for trial in telling if trial.verdict == LATE), default=0.0)
    high = min((trial.rate for trial in telling if trial.verdict != LATE), default=math.inf)
    path = telling[-1].path if telling else climbed
    middle = predicted(trainer, path, ARRIVAL if high == math.inf else LATER)[0] if path else high / WIDEST
    if not low * NARROW <= middle <= high / NARROW:
        bounds = [bound for bound in (low * NARROW, high / NARROW) if 0 < bound < math.inf]
        middle = math.prod(bounds) ** (1 / len(bounds))
    for strides in (0, 1, -1, 2, -2, 0.5, -0.5):
        rate = float(f"{middle * STRIDE**strides:.2e}")
        if low < rate < high and all(abs(math.log(rate / trial.rate)) > math.log(NARROW) / 2 for trial in trials):
            return rate
    return None


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


def predicted(trainer: Trainer, path: Sequence[Point], arrival: float) -> tuple[float, bool]:
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
        at_edge = [i for i, sharpness in enumerate(found) if sharpness >= EDGE]
        if not math.isfinite(found[-1]):
            return DIVERGED
        if largest() > LEAP:
            return LEAPT
        if len(at_edge) + total - len(found) < LEAST_SHARE * total:
            return LATE if total - min(at_edge, default=len(found)) < LEAST_SHARE * total else LEFT
        if len(found) < total or at_edge[-1] == total - 1:
            return FOUND
        softly = all(after >= FALL * before for before, after in itertools.pairwise(found[at_edge[-1] :]))
        return FADED if softly and total - 1 - at_edge[-1] <= FADE * total else LEFT

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
    at_edge = [i for i, sharpness in enumerate(found) if sharpness >= EDGE]
    off = steps[max(at_edge, default=-1) + 1 :]
    path, s = [], 0.0
    for i, (t, sharpness) in enumerate(zip(steps, found, strict=True)):
        s += rate * sum(map(trainer.factor, range(steps[i - 1] if i else 0, t)))
        if not 0 < sharpness < LEAP or any(before >= EDGE for before in found[:i]):
            break
        path.append(Point(s, sharpness / (rate * trainer.factor(t))))
    last, ended = (found[-1], steps[-1]) if found else (math.nan, 0)
    return Trial(rate, verdict, len(at_edge) / total, largest(), last, ended, off[0] if off else None, tuple(path))
