"""A toy landscape: the run and its flows in the plane, and their sharpness, rods and errors over the steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame

from rodflow.catalogue import label
from rodflow.measures.summaries import LandscapeSummary
from rodflow.report.figures.panels import PlottedCell, draw_panel, mark_threshold, write_out_1_2_5
from rodflow.report.figures.style import DISCRETE, FLOW_STYLE, RC, flow_style, in_order

ENDS = "drift_free_rod"
"""The flow whose rod ends are drawn."""
CONTOURS = 9
LEVELS: dict[str, Any] = {"colors": "#d4d4d4", "linewidths": 0.8}
ITERATES: dict[str, Any] = {
    "color": "#b4b4b4",
    "linewidth": 0.35,
    "marker": ".",
    "markersize": 3.5,
    "markerfacecolor": "#303030",
    "markeredgewidth": 0,
    "zorder": 2,
}


@matplotlib.rc_context(RC)
def draw(table: DataFrame, grid: DataFrame, summary: LandscapeSummary) -> Figure:
    """Left the plane; right the sharpness times the learning rate, rod length and error of the centre.

    ``table`` has the columns of the landscape stage (one row a step, for ``discrete`` and each flow), ``grid`` has x,
    y and loss at every point of a rectangular grid, ``summary`` the landscape's name, formula, rate and threshold.
    """
    series = {str(name): rows.set_index("step") for name, rows in table.groupby("flow")}
    discrete = series[DISCRETE]
    for rows in series.values():
        rows["length"] = np.hypot(rows["plus_x"] - rows["x"], rows["plus_y"] - rows["y"])
        rows["error"] = np.hypot(rows["x"] - discrete["x"], rows["y"] - discrete["y"])
    figure = Figure(figsize=(11, 6.6), layout="constrained")
    name, formula, rate = summary.landscape, summary.formula, summary.learning_rate
    figure.suptitle(f"{label(name)}, $L =$ {formula}: gradient descent at lr = {rate:g}")
    panels = figure.subplot_mosaic(
        [["plane", "sharpness"], ["plane", "rod"], ["plane", "error"]], width_ratios=[1.25, 1]
    )
    draw_plane(panels["plane"], series, grid)

    flows = in_order((name for name in series if name != DISCRETE), FLOW_STYLE)
    frames = {(name, 0): series[name].reset_index() for name in flows}
    ended = {(name, 0): step for name, step in summary.diverged_at.items()}
    cell = PlottedCell(frames, {0: discrete.reset_index()}, summary.threshold, ended)
    sharpness, rod, error = panels["sharpness"], panels["rod"], panels["error"]
    draw_panel(sharpness, cell, "sharpness", "sharpness")
    mark_threshold(sharpness, cell.threshold)
    around(sharpness, [*(rows["sharpness"] for rows in series.values()), np.array([cell.threshold])])
    sharpness.set(title="(b) lr × sharpness at the centre; dashed: threshold", ylabel="lr × sharpness")
    rods = {key: frame for key, frame in frames.items() if frame["length"].notna().any()}
    draw_panel(rod, replace(cell, series=rods), "length", "length", log=True)
    rod.set(title="(c) Rod length, and the discrete oscillation", ylabel="length")
    draw_panel(error, cell, "error", log=True)
    error.set(title="(d) Error of the flow's centre", ylabel=r"$\Vert$centre $- w^*\Vert$", xlabel="optimizer step")
    for axes in (rod, error):
        plain_numbers(axes)
    for axes in (sharpness, rod, error):
        over_solid(axes)
    figure.align_ylabels([sharpness, rod, error])
    figure.legend(handles=handles(flows), loc="outside lower center", ncols=4)
    return figure


def draw_plane(axes: Axes, series: dict[str, DataFrame], grid: DataFrame) -> None:
    """Contours of the loss, the iterates, the centre of each flow, both ends of the drift-free rod."""
    axes.grid(False)
    draw_levels(axes, grid)
    if ENDS in series:
        for end in ("plus", "minus"):
            axes.plot(series[ENDS][f"{end}_x"], series[ENDS][f"{end}_y"], **ends_style(), zorder=1)
    axes.plot(series[DISCRETE]["plus_x"], series[DISCRETE]["plus_y"], **ITERATES)
    size = 10.0
    for name in in_order((name for name in series if name != DISCRETE), FLOW_STYLE):
        look, centres = flow_style(name), series[name][["x", "y"]].dropna()
        axes.plot(centres["x"], centres["y"], **look.line, zorder=4)
        if len(centres):
            dot: dict[str, Any] = {"color": look.colour, "markeredgecolor": "white", "markersize": size}
            axes.plot(*centres.iloc[-1], marker="o", **dot, zorder=5, clip_on=False)
            size *= 0.68  # flows that end together make rings
    over_solid(axes)
    axes.set(xlim=(grid["x"].min(), grid["x"].max()), ylim=(grid["y"].min(), grid["y"].max()))
    axes.set(title="(a) In the plane: iterates, centres and rods; a dot where a flow ends", xlabel="x", ylabel="y")


def draw_levels(axes: Axes, grid: DataFrame) -> None:
    """Level lines of a loss that is known at every point (x, y) of a rectangular grid."""
    heights = grid.pivot(index="y", columns="x", values="loss")
    # levels at equal shares of the plane: a valley's walls would take all of the equally spaced ones
    levels = np.unique(np.quantile(grid["loss"], np.linspace(0.02, 0.98, CONTOURS)))
    axes.contour(heights.columns, heights.index, heights, levels, **LEVELS, zorder=0)


def ends_style() -> dict[str, Any]:
    """The line of the drift-free rod's ends: a broad pale one, under the iterates."""
    return {"color": flow_style(ENDS).colour, "linewidth": 3.0, "linestyle": "solid", "alpha": 0.45}


def handles(flows: list[str]) -> list[Line2D]:
    """The legend of all panels."""
    found = [
        Line2D([], [], **ITERATES, label="Iterates of the run"),
        Line2D([], [], **flow_style(DISCRETE).line, label="Discrete run at $w^*$"),
    ]
    found += [Line2D([], [], **flow_style(name).line, label=flow_style(name).label) for name in flows]
    if ENDS in flows:
        found.append(Line2D([], [], **ends_style(), label=f"{flow_style(ENDS).label}: rod ends"))
    found.append(
        Line2D([], [], color=LEVELS["colors"], linewidth=LEVELS["linewidths"], label="Level lines of the loss")
    )
    return found


def over_solid(axes: Axes) -> None:
    """Put dashed lines over solid ones, which would hide them where flows coincide."""
    for line in axes.get_lines():
        if line.is_dashed() and line.get_zorder() >= 2:
            line.set_zorder(line.get_zorder() + 0.5)


def plain_numbers(axes: Axes) -> None:
    """On a logarithmic axis of less than two decades, write out 1, 2, 5."""
    low, high = axes.get_ylim()
    if axes.get_yscale() == "log" and high < 100 * low:
        write_out_1_2_5(axes.yaxis)


def around(axes: Axes, values: list[Any]) -> None:
    """Vertical limits a little beyond all finite ``values``."""
    finite = np.concatenate([np.asarray(v, float)[np.isfinite(v)] for v in values])
    low, high = finite.min(), finite.max()
    margin = 0.08 * (high - low) or 0.1
    axes.set_ylim(low - margin, high + margin)
