"""Small charts of one cell for the page, as SVG: the flows' errors, the losses, and the errors at the edge in a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from rodflow.report.figures.panels import PlottedCell, draw_every_step, draw_panel, shade_edge
from rodflow.report.figures.style import FLOOR_STYLE, flow_style
from rodflow.report.figures.svg import SVG_RC, element

STRIP = (4.4, 0.24)
"""Inches of a strip."""


class Chart(NamedTuple):
    """A picture, and the numbers that the page shows where it is pointed at."""

    picture: str
    numbers: dict[str, Any]
    """``left`` and ``right`` edge of the axes as shares of the width, the ``steps`` there, and ``lines``: what each is
    called, its steps and its values."""


@matplotlib.rc_context(SVG_RC)
def error_chart(cell: PlottedCell, description: str) -> Chart:
    """The flows' ``error`` and the run's ``oscillation`` over the steps, on a log axis; the edge window is shaded.

    A flow that was stopped, or diverged, ends with a cross. ``description`` is read out in place of the picture.
    """
    return _chart(cell, description, "error", "oscillation", (4.4, 2.4))


@matplotlib.rc_context(SVG_RC)
def loss_chart(cell: PlottedCell, description: str) -> Chart:
    """The losses that the flows predict, the run's mean of two steps, and its loss at every step, on a log axis."""
    return _chart(cell, description, "predicted_loss", "loss", (4.4, 1.9))


def _chart(cell: PlottedCell, description: str, column: str, of_run: str, size: tuple[float, float]) -> Chart:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    draw_panel(axes, cell, column, of_run, log=True, excess=10 if column == "predicted_loss" else None)
    if column == "predicted_loss":
        draw_every_step(axes, cell)
    shade_edge(axes, cell)
    axes.set(xlabel="optimizer step", ylabel="loss" if column == "predicted_loss" else "error")
    return Chart(element(figure, description), _numbers(axes, cell, column, of_run))


def _numbers(axes: Axes, cell: PlottedCell, column: str, of_run: str) -> dict[str, Any]:
    """What is drawn, for :class:`Chart`; the figure has been laid out."""
    box, lines = axes.get_position(), []
    for name, _, frame, key in cell.lines(column, of_run):
        rows = frame[["step", key]].dropna()
        called = f"{flow_style(name).label}: its {of_run}" if name == "discrete" else flow_style(name).label
        lines.append([called, rows["step"].astype(int).tolist(), [float(f"{value:.3g}") for value in rows[key]]])
    edges = {"left": round(float(box.x0), 4), "right": round(float(box.x1), 4)}
    return edges | {"steps": [round(float(limit), 1) for limit in axes.get_xlim()], "lines": lines}


@matplotlib.rc_context(SVG_RC)
def strip(
    name: str,
    errors: Mapping[str, float],
    shapes: Mapping[str, str],
    band: tuple[float, float],
    limits: tuple[float, float],
    titles: Mapping[str, str],
) -> str:
    """The errors of a cell's flows in one row, on a log axis, each a mark of its shape; ``titles`` name their numbers.

    ``band``: the smallest and largest error of its twins, NaN without any: the floor reaches up to them. ``name``
    tells the strips of a page apart.
    """
    figure, axes = _row(STRIP, limits)
    if np.isfinite(band).all():
        floor: dict[str, Any] = {"color": FLOOR_STYLE.colour, "linewidth": 0, "zorder": 1}
        axes.axvspan(limits[0], band[0], alpha=0.9, **floor)
        axes.axvspan(band[0], max(band[1], band[0] * 1.02), alpha=0.5, **floor).set_gid(f"{name}-floor")
    for flow, error in errors.items():
        if np.isfinite(error):
            dot: dict[str, Any] = {
                "markersize": 7,
                "markeredgecolor": "white",
                "markeredgewidth": 0.6,
                "linestyle": "none",
            }
            axes.plot(
                error, 0.5, shapes[flow], color=flow_style(flow).colour, **dot, gid=f"{name}-{flow}", clip_on=False
            )
    return element(figure, "", {f"{name}-{key}": title for key, title in titles.items()})


@matplotlib.rc_context(SVG_RC)
def strip_scale(limits: tuple[float, float]) -> str:
    """The axis above all strips, labelled by decade; labels at its ends are shifted into the picture."""
    figure, axes = _row((STRIP[0], 0.2), limits)
    axes.grid(False)
    decades = np.asarray(LogLocator(numticks=4).tick_values(*limits))  # few: a phone shows them in larger letters
    shares = np.log(decades / limits[0]) / np.log(limits[1] / limits[0])  # of the axis, up to each decade
    inside = (shares > -1e-9) & (shares < 1 + 1e-9)
    axes.xaxis.set_major_locator(FixedLocator(decades[inside]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.tick_params(axis="x", labelbottom=True, length=0, pad=-9)
    for label, share in zip(axes.get_xticklabels(), shares[inside], strict=True):
        label.set_horizontalalignment("left" if share < 0.06 else "right" if share > 0.94 else "center")
    return element(figure, f"from {limits[0]:.0e} to {limits[1]:.0e}")


def _row(size: tuple[float, float], limits: tuple[float, float]) -> tuple[Figure, Axes]:
    """A figure that is nothing but an axis, with a line at each decade."""
    figure = Figure(figsize=size)
    axes = figure.add_axes((0.03, 0, 0.94, 1))
    axes.set(xscale="log", xlim=limits, ylim=(0, 1), yticks=[])
    axes.xaxis.set_major_locator(LogLocator(numticks=20))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", which="both", labelbottom=False, length=0)
    axes.spines[:].set_visible(False)
    return figure, axes


@matplotlib.rc_context(SVG_RC)
def mark(shape: str, colour: str) -> str:
    """A mark of the strips, for their legend."""
    figure = Figure(figsize=(0.16, 0.16))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.plot(0, 0, shape, color=colour, markersize=7)
    return element(figure)
