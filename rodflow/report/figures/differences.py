"""The errors of two runs against each other, a panel for each flow."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame

from rodflow.catalogue import label
from rodflow.report.figures.style import FLOW_STYLE, INK, MARKERS, ORDER, RC, flow_style, in_order

COLUMNS = 4
"""Panels side by side."""


@matplotlib.rc_context(RC)
def draw(pairs: DataFrame, names: tuple[str, str]) -> Figure:
    """``pairs`` has a row a cell and flow: the mean errors ``a`` and ``b`` in the edge window of the runs ``names``.

    A point on the diagonal has the same error in both runs, below it the smaller one in b. All panels have the same
    axes; a point's form is its architecture.
    """
    pairs = pairs[(pairs["a"] > 0) & (pairs["b"] > 0) & np.isfinite(pairs["a"]) & np.isfinite(pairs["b"])]
    flows = in_order(pairs["flow"], FLOW_STYLE)
    architectures = in_order(pairs["architecture"], ORDER)
    if not flows:
        raise ValueError("no flow of both runs has an error at the edge")
    columns = min(len(flows), COLUMNS)
    rows = math.ceil(len(flows) / columns)
    figure = Figure(figsize=(max(2.3 * columns + 0.6, 5.0), 2.3 * rows + 1.2), layout="constrained")
    figure.suptitle(f"Mean error in the edge window, a point a cell\na: {names[0]}, b: {names[1]}", fontsize=10)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    ends = [pairs[["a", "b"]].min().min() / 1.5, pairs[["a", "b"]].max().max() * 1.5]
    for axes, flow in zip(grid.flat, flows, strict=False):
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
        axes.plot(ends, ends, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        own = pairs[pairs["flow"] == flow]
        for architecture, marker in zip(architectures, MARKERS, strict=False):
            cells = own[own["architecture"] == architecture]
            axes.plot(cells["a"], cells["b"], marker, color=flow_style(flow).colour, markersize=5, alpha=0.8)
        number = f"{len(own)} cell{'s' * (len(own) > 1)}"
        axes.set_title(f"{flow_style(flow).label}\n{number}, median b/a {(own['b'] / own['a']).median():.3g}")
    for axes in grid.flat[len(flows) :]:
        axes.remove()
    for i in range(columns):
        lowest = grid[(len(flows) - 1 - i) // columns, i]
        lowest.tick_params(labelbottom=True)
        lowest.set_xlabel("error in a")
    for axes in grid[:, 0]:
        axes.set_ylabel("error in b")
    handles = [
        Line2D([], [], color=INK, marker=marker, linestyle="none", label=label(architecture))
        for architecture, marker in zip(architectures, MARKERS, strict=False)
    ]
    handles.append(Line2D([], [], color=INK, linewidth=0.8, linestyle=(0, (4, 3)), label="the same error"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure
