"""A small chart of errors against steps, as SVG that goes into a page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

import numpy as np

from rodflow.figures.style import EDGE_COLOUR, LineStyle

WIDTH, HEIGHT = 320.0, 170.0
LEFT, RIGHT, TOP, BOTTOM = 38.0, 6.0, 8.0, 20.0
"""Margins, in the same units as width and height; they hold the labels of the axes."""


@dataclass(frozen=True)
class Line:
    """A series over steps ``[n]``, NaN where there is none; ``stopped`` marks its last point with a cross."""

    style: LineStyle
    steps: np.ndarray
    values: np.ndarray
    stopped: bool = False


def dashes(style: LineStyle) -> str:
    """A line's dashes as SVG has them, in units of the drawing; empty for a solid line."""
    if isinstance(style.linestyle, str):
        return ""
    return " ".join(f"{style.linewidth * length:.3g}" for length in style.linestyle[1])


def svg(lines: list[Line], edge: list[tuple[float, float]], description: str) -> str:
    """The chart: steps across, values upwards on a log scale, the intervals of steps in ``edge`` shaded.

    Values that are not positive numbers leave gaps; without any there is a note instead of lines.
    """
    shown = [line for line in lines if _drawable(line.values).any()]
    parts = [
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(description)}" '
        'xmlns="http://www.w3.org/2000/svg">'
    ]
    if not shown:
        parts.append(f'<text x="{WIDTH / 2:g}" y="{HEIGHT / 2:g}" text-anchor="middle">no data</text></svg>')
        return "".join(parts)
    steps = np.concatenate([line.steps for line in shown])
    values = np.concatenate([line.values[_drawable(line.values)] for line in shown])
    first, last = float(steps.min()), float(max(steps.max(), steps.min() + 1))
    low, high = math.log10(values.min()), math.log10(values.max())
    pad = max(0.04 * (high - low), 0.02)
    low, high = low - pad, high + pad

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (step - first) / (last - first)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - math.log10(value)) / (high - low)

    for begin, end in edge:
        begin, end = max(begin, first), min(end, last)
        if begin < end:
            parts.append(
                f'<rect x="{x(begin):.1f}" y="{TOP:g}" width="{x(end) - x(begin):.1f}" '
                f'height="{HEIGHT - TOP - BOTTOM:g}" fill="{EDGE_COLOUR}"/>'
            )
    for decade in _decades(low, high):
        parts.append(
            f'<path d="M{LEFT:g} {y(10.0**decade):.1f}H{WIDTH - RIGHT:g}" class="rule"/>'
            f'<text x="{LEFT - 4:g}" y="{y(10.0**decade) + 3.5:.1f}" text-anchor="end">'
            f'10<tspan dy="-4" font-size="8">{decade}</tspan></text>'
        )
    parts.append(f'<path d="M{LEFT:g} {TOP:g}V{HEIGHT - BOTTOM:g}H{WIDTH - RIGHT:g}" class="axis"/>')
    for step, anchor in ((first, "start"), (last, "end")):
        parts.append(f'<text x="{x(step):.1f}" y="{HEIGHT - 6:g}" text-anchor="{anchor}">{step:g}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:g}" y="{HEIGHT - 6:g}" text-anchor="middle">step</text>')
    for line in shown:
        parts.append(_path(line, x, y))
    return "".join(parts) + "</svg>"


def key(style: LineStyle) -> str:
    """A line's sample, for a legend."""
    return (
        '<svg viewBox="0 0 40 10" width="40" height="10" aria-hidden="true">'
        f'<path d="M1 5H39" fill="none" stroke="{style.colour}" stroke-width="{style.linewidth:g}" '
        f'stroke-dasharray="{dashes(style)}"/></svg>'
    )


def _drawable(values: np.ndarray) -> np.ndarray:
    return np.isfinite(values) & (values > 0)


def _decades(low: float, high: float) -> list[int]:
    """The powers of ten to label: at most four between two logarithms."""
    inside = list(range(math.ceil(low), math.floor(high) + 1))
    return inside[:: max(1, math.ceil(len(inside) / 4))]


def _path(line: Line, x, y) -> str:
    known = _drawable(line.values)
    words, pen = [], "M"
    for step, value, there in zip(line.steps, line.values, known, strict=True):
        words.append(f"{pen}{x(step):.1f} {y(value):.1f}" if there else "")
        pen = "L" if there else "M"
    path = (
        f'<path d="{"".join(words)}" fill="none" stroke="{line.style.colour}" '
        f'stroke-width="{line.style.linewidth:g}" stroke-dasharray="{dashes(line.style)}" stroke-linejoin="round"/>'
    )
    if not line.stopped:
        return path
    end = np.flatnonzero(known)[-1]
    cross, down = x(line.steps[end]), y(line.values[end])
    return path + (
        f'<path d="M{cross - 4:.1f} {down - 4:.1f}l8 8m0 -8l-8 8" fill="none" '
        f'stroke="{line.style.colour}" stroke-width="2.4"/>'
    )
