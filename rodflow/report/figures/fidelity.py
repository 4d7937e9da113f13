"""Every cell's error and sharpness in the edge window, a point for each flow: which model follows the run."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator
from pandas import DataFrame

from rodflow.catalogue import is_floor, label
from rodflow.measures.constants import NEAR
from rodflow.report.figures.panels import floor_handle, markers, note_why_empty, point_handles
from rodflow.report.figures.style import (
    FLOOR_STYLE,
    FLOW_STYLE,
    INK,
    ORDER,
    RC,
    WIDTH_OF_TITLE,
    flow_style,
    in_order,
)

FURTHEST = 1.6
"""Sharpness ratios are drawn at most this large; the points beyond lie on the edge."""


@matplotlib.rc_context(RC)
def draw(fidelity: DataFrame) -> Figure:
    """``fidelity`` has the columns of fidelity.csv; medians over seeds. A column of panels for each architecture.

    Above: ``error_eos_mean`` on a log axis, and a bar up to the floor, the mean of the twins'. Below:
    ``sharpness_ratio``, with the band of ``NEAR`` around one. Beside a row stands ``n``, the number of its records at
    the edge, the largest of the flows'. A panel without a cell at the edge says so.
    """
    twins = fidelity["flow"].map(is_floor)
    floors = fidelity[twins].groupby(["architecture", "optimizer"])["error_eos_mean"].mean()
    records = fidelity.groupby(["architecture", "optimizer"])["n"].max().dropna()
    architectures, optimizers = in_order(fidelity["architecture"], ORDER), in_order(fidelity["optimizer"], ORDER)
    fidelity = fidelity[~twins]
    flows = in_order(fidelity["flow"], FLOW_STYLE)
    marker = markers(flows)
    medians = fidelity.groupby(["architecture", "optimizer", "flow"])[["error_eos_mean", "sharpness_ratio"]].median()
    size = (max(3.2 * len(architectures) + 1.6, WIDTH_OF_TITLE), 0.6 * len(optimizers) + 2.6)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle("In the edge window: distance from the discrete run, and sharpness against it")
    grid = figure.subplots(2, len(architectures), squeeze=False, sharey=True, sharex="row")
    rows = np.arange(len(optimizers))
    for j, architecture in enumerate(architectures):
        for axes, column in zip(grid[:, j], ("error_eos_mean", "sharpness_ratio"), strict=True):
            for flow in flows:
                keys = [(architecture, optimizer, flow) for optimizer in optimizers]
                values = medians.reindex(keys)[column].to_numpy(float)
                if column == "sharpness_ratio":
                    values = np.minimum(values, FURTHEST)
                if np.isnan(values).all():  # which would leave a log axis without limits
                    continue
                colour = flow_style(flow).colour
                axes.plot(values, rows, marker[flow], color=colour, markersize=5.5, markeredgecolor="white", zorder=3)
            if not axes.get_lines():
                note_why_empty(axes)
            for row, optimizer in enumerate(optimizers):
                if (architecture, optimizer) in records.index:
                    n = f"n {records[architecture, optimizer]:.0f}"
                    at = {"transform": axes.get_yaxis_transform(), "fontsize": 6.5, "color": INK}
                    axes.text(1.01, row, n, va="center", **at)
            axes.set_yticks(rows, [label(name) for name in optimizers])
            axes.grid(axis="x", visible=False)
        grid[0, j].set(title=label(architecture), xscale="log", xlabel="mean error in the edge window")
        grid[1, j].axvspan(1 - NEAR, 1 + NEAR, color="#e9f3ee", zorder=0)
        grid[1, j].set(xlabel=f"median sharpness / the run's\n(beyond {FURTHEST}: on the right edge)")
    left = grid[0, 0].get_xlim()[0]
    for j, architecture in enumerate(architectures):
        heights = floors.reindex([(architecture, optimizer) for optimizer in optimizers]).to_numpy(float)
        known = heights > 0
        least = min(left, 0.5 * float(heights[known].min())) if known.any() else left
        grid[0, j].barh(rows[known], heights[known], left=0, height=0.7, color=FLOOR_STYLE.colour, alpha=0.8, zorder=1)
        grid[0, j].set_xlim(left=least)
        left = least
    for panels in grid:
        if not any(axes.get_lines() for axes in panels):
            panels[0].xaxis.set_major_locator(NullLocator())
            panels[0].xaxis.set_minor_locator(NullLocator())
    grid[1, 0].set_xlim(right=FURTHEST + 0.03)  # of the whole row, once the left limit is known
    grid[0, 0].set_ylim(len(rows) - 0.5, -0.5)  # downwards
    handles: list[Line2D | Patch] = [*point_handles(marker)]
    if len(floors):
        handles.append(floor_handle())
    columns = int(size[0] / 2.2)  # inches that the longest label takes
    figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, len(handles)))
    return figure
