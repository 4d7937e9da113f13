"""A run and its flows in motion: in a plane, with their sharpness beside it; as a GIF, and as a player for the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame
from PIL import Image

from rodflow.jobs.files import atomic
from rodflow.report.figures.landscape import ITERATES, draw_levels
from rodflow.report.figures.panels import mark_threshold, titled
from rodflow.report.figures.style import DISCRETE, FLOW_STYLE, INK, RC, flow_style, in_order
from rodflow.report.figures.svg import SVG_RC, element, key

FRAMES = 64
"""Of a GIF, at most."""
MILLISECONDS, LAST_MILLISECONDS = 90, 2500
"""A frame is seen for so long, and the last one."""
TAIL = 24
"""Iterates that are seen at once, in steps."""
COLOURS = 128
DPI = 100
MOVING_ITERATES = ITERATES | {"linewidth": 0.5, "markersize": 5, "zorder": 3}


@dataclass(frozen=True)
class Motion:
    """What moves.

    ``title`` and ``about`` stand over it, the second in mathtext, the ``caption`` under it on the page. ``planes``, of
    the run (``DISCRETE``) and of flows, have a row a step: the centre ``x``, ``y`` and the rod's ends
    ``plus_x``, .. ``minus_y``, those of the run an iterate and its mirror image. ``sharpness`` has ``step`` and
    ``sharpness`` of each, at any steps. ``heights`` is the loss over the plane (x, y, loss), or None; the plane is
    shown within ``x_range`` and ``y_range``.
    """

    title: str
    about: str
    caption: str
    planes: Mapping[str, DataFrame]
    sharpness: Mapping[str, DataFrame]
    threshold: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    x_label: str = "x"
    y_label: str = "y"
    heights: DataFrame | None = None

    @property
    def flows(self) -> list[str]:
        """The flows, in their order."""
        return in_order((name for name in self.planes if name != DISCRETE), FLOW_STYLE)

    @property
    def steps(self) -> tuple[int, int]:
        """The first and the last step."""
        steps = self.planes[DISCRETE]["step"]
        return int(steps.iloc[0]), int(steps.iloc[-1])


@dataclass(frozen=True)
class Trail:
    """A line that grows: its ``points`` ``[n, 2]``, the step that each belongs to, and for how many steps it stays."""

    line: Line2D
    points: np.ndarray
    steps: np.ndarray
    tail: int | None = None

    def show(self, step: int) -> None:
        """Draw what is there at ``step``."""
        there = self.steps <= step
        if self.tail is not None:
            there &= self.steps > step - self.tail
        self.line.set_data(*self.points[there].T)


def draw(motion: Motion, panels: Mapping[str, Axes], name: str = "motion") -> list[Trail]:
    """Draw what stands still in the panels ``plane`` and ``sharpness``; what moves is in the trails."""
    trails: list[Trail] = []

    def trail(axes: Axes, points: np.ndarray, steps: np.ndarray, tail: int | None = None, **look: Any) -> None:
        (line,) = axes.plot([], [], **look, gid=f"{name}-{len(trails)}")
        # what lies far outside is put just outside: a line leads there, and is cut at the frame
        low, high = np.array([axes.get_xlim(), axes.get_ylim()]).T
        trails.append(Trail(line, np.clip(points, low - 0.5 * (high - low), high + 0.5 * (high - low)), steps, tail))

    if "plane" in panels:
        _plane(motion, panels["plane"])
        for flow in (DISCRETE, *motion.flows):
            rows, look = motion.planes[flow].dropna(subset=["x", "y"]), flow_style(flow)
            steps, centre = rows["step"].to_numpy(int), rows[["x", "y"]].to_numpy(float)
            dot = {"marker": "o", "markersize": 6, "markeredgecolor": "white", "linestyle": "none"}
            if flow == DISCRETE:
                trail(panels["plane"], rows[["plus_x", "plus_y"]].to_numpy(float), steps, TAIL, **MOVING_ITERATES)
                continue
            trail(panels["plane"], centre, steps, **look.line, zorder=above(flow))
            if rows["plus_x"].notna().any():
                ends = rows[["plus_x", "plus_y", "minus_x", "minus_y"]].to_numpy(float).reshape(-1, 2, 2)
                shaft = {"linewidth": 2.2, "marker": "o", "markersize": 4, "zorder": 6}
                trail(panels["plane"], ends.reshape(-1, 2), np.repeat(steps, 2), 1, color=look.colour, **shaft)
            trail(panels["plane"], centre, steps, 1, color=look.colour, **dot, zorder=7)
    if "sharpness" in panels:
        _sharpness(motion, panels["sharpness"])
        for flow in (DISCRETE, *motion.flows):
            points = motion.sharpness[flow][["step", "sharpness"]].dropna().to_numpy(float)
            steps = points[:, 0].astype(int)
            points[:, 1] /= motion.threshold
            trail(
                panels["sharpness"],
                points,
                steps,
                **flow_style(flow).line,
                zorder=2 if flow == DISCRETE else above(flow),
            )
    return trails


def above(flow: str) -> float:
    """Where a flow's line lies: a dashed one over a solid one, which would hide it where they coincide."""
    return 4 if flow_style(flow).linestyle == "solid" else 5


def _plane(motion: Motion, axes: Axes) -> None:
    axes.grid(False)
    if motion.heights is not None:
        draw_levels(axes, motion.heights)
    axes.set(xlim=motion.x_range, ylim=motion.y_range, xlabel=motion.x_label, ylabel=motion.y_label)


def _sharpness(motion: Motion, axes: Axes) -> None:
    first, last = motion.steps
    seen = [rows["sharpness"].to_numpy(float) / motion.threshold for rows in motion.sharpness.values()]
    finite = np.concatenate([values[np.isfinite(values)] for values in seen])
    low = min(1.0, float(finite.min())) if len(finite) else 0.0
    high = min(max(1.0, float(finite.max())), 2.0) if len(finite) else 2.0
    margin = 0.08 * (high - low) or 0.1
    axes.set(xlim=(first, last + 0.02 * (last - first)), ylim=(low - margin, high + margin))
    axes.set(xlabel="optimizer step", ylabel="sharpness / threshold")
    mark_threshold(axes, 1.0)


def looks(motion: Motion) -> list[tuple[str, dict[str, Any]]]:
    """What stands in the legend, and how it is drawn."""
    found = [("Iterates of the run", MOVING_ITERATES), ("The run's sharpness", flow_style(DISCRETE).line)]
    for flow in motion.flows:
        rod = bool(motion.planes[flow]["plus_x"].notna().any())
        found.append((f"{flow_style(flow).label}{': centre and rod' * rod}", flow_style(flow).line))
    return found


@matplotlib.rc_context(RC)
def save_gif(motion: Motion, path: Path) -> None:
    """Write the motion as a GIF that repeats. The same motion gives the same bytes.

    A frame is an odd number of steps after the last one, so that the last iterate changes sides.
    """
    figure = Figure(figsize=(7.6, 4.2), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    trails = draw(motion, {"plane": left, "sharpness": right})
    figure.suptitle(titled(motion.title, motion.about), fontsize=10)
    handles = [Line2D([], [], **look, label=label) for label, look in looks(motion)]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    clock = right.text(0.02, 0.97, "", transform=right.transAxes, va="top", color=INK)
    figure.set_dpi(DPI)
    canvas.draw()
    figure.set_layout_engine("none")
    still = canvas.copy_from_bbox(figure.bbox)
    first, last = motion.steps
    stride = max(1, -(-(last - first) // FRAMES)) // 2 * 2 + 1
    frames = []
    for step in [*range(first, last, stride), last]:
        canvas.restore_region(still)
        clock.set_text(f"step {step:,}")
        for trail in sorted(trails, key=lambda trail: trail.line.get_zorder()):
            trail.show(step)
            figure.draw_artist(trail.line)
        figure.draw_artist(clock)
        frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))
    palette = frames[-1].quantize(COLOURS, dither=Image.Dither.NONE)  # which shows all that there is
    few = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = [MILLISECONDS] * (len(few) - 1) + [LAST_MILLISECONDS]
    with atomic(path) as temporary:
        few[0].save(temporary, format="GIF", save_all=True, append_images=few[1:], duration=durations, loop=0)


class Player(NamedTuple):
    """A motion on the page: what stands still as SVG, and what its script moves."""

    name: str
    title: str
    caption: str
    pictures: list[str]
    legend: list[tuple[str, str]]
    moves: dict[str, Any]
    """``first`` and ``last`` step; ``trails``, each with the ``id`` of its line, its ``points`` in the picture's
    coordinates, the ``steps`` at which they are there, and for how many steps, or null."""


@matplotlib.rc_context(SVG_RC)
def player(name: str, motion: Motion) -> Player:
    """The motion for the page; ``name`` tells it from others there. Without a script, the end is seen."""
    pictures, trails = [], []
    first, last = motion.steps
    for panel in ("plane", "sharpness"):
        figure = Figure(figsize=(4.3, 3.2), layout="constrained", dpi=72)  # of an SVG's coordinates
        axes = figure.subplots()
        drawn = draw(motion, {panel: axes}, f"{name}-{panel}")
        for trail in drawn:
            trail.show(int(trail.steps.max(initial=first)))
        pictures.append(element(figure, f"{motion.title}: {panel}. {motion.caption}"))
        height = figure.bbox.height
        for trail in drawn:
            places = axes.transData.transform(trail.points)
            points = [[round(float(x), 1), round(float(height - y), 1)] for x, y in places]
            trails.append(
                {"id": trail.line.get_gid(), "points": points, "steps": trail.steps.tolist(), "tail": trail.tail}
            )
    legend = [(label, key(look)) for label, look in looks(motion)]
    moves = {"first": first, "last": last, "trails": trails}
    return Player(name, motion.title, motion.caption, pictures, legend, moves)
