"""Cost against error of every continuous-time model, a panel for each cell that a competing model ran on."""

from __future__ import annotations

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from pandas import DataFrame

from rodflow.catalogue import is_floor, label
from rodflow.report.figures.panels import (
    NOT_AT_THE_EDGE,
    floor_handle,
    markers,
    note_why_empty,
    point_handles,
    write_out_1_2_5,
)
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


@matplotlib.rc_context(RC)
def draw(comparison: DataFrame) -> Figure:
    """``comparison`` has the columns of comparison.csv; medians over seeds. Columns architectures, rows optimizers.

    Across: gradient equivalents per optimizer step, two (both rod ends) marked. Upwards: ``error_eos_mean``. A flow
    that was stopped on a seed is hollow: it is measured on the records that it reached. A band reaches up to the floor;
    the smallest ``n`` of the panel's points, the number of records behind them, stands in its corner.
    """
    comparison = comparison[~comparison["flow"].map(is_floor)]
    architectures, optimizers = in_order(comparison["architecture"], ORDER), in_order(comparison["optimizer"], ORDER)
    flows = in_order(comparison["flow"], FLOW_STYLE)
    marker = markers(flows)
    size = (max(2.7 * len(architectures) + 1.4, WIDTH_OF_TITLE), 2.1 * len(optimizers) + 1.5)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle("What a continuous-time model costs, and how far it is from the run at the edge")
    grid = figure.subplots(len(optimizers), len(architectures), squeeze=False, sharex=True, sharey="row")
    at_the_edge = comparison.dropna(subset="error_eos_mean")
    groups = at_the_edge.groupby(["optimizer", "architecture", "flow"])
    floors: dict[Axes, float] = {}
    for i, optimizer in enumerate(optimizers):
        for j, architecture in enumerate(architectures):
            axes = grid[i, j]
            axes.set(xscale="log", yscale="log")
            axes.axvline(2, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
            for flow in flows:
                if (optimizer, architecture, flow) not in groups.groups:
                    continue
                rows = groups.get_group((optimizer, architecture, flow))
                point = rows[["gradient_equivalents_per_step", "error_eos_mean"]].median()
                colour, stopped = flow_style(flow).colour, rows["diverged_at"].notna().any()
                axes.plot(
                    *point,
                    marker[flow],
                    color=colour,
                    markersize=7,
                    markerfacecolor="white" if stopped else colour,
                    markeredgecolor=colour,
                    markeredgewidth=1.4,
                    zorder=3,
                )
            own = comparison[(comparison["optimizer"] == optimizer) & (comparison["architecture"] == architecture)]
            reached = own.dropna(subset="error_eos_mean")
            if reached["floor"].notna().any():
                floors[axes] = float(reached["floor"].median())
            if len(reached):
                corner = {"transform": axes.transAxes, "ha": "right", "va": "top", "fontsize": 7, "color": INK}
                axes.text(0.98, 0.98, f"n {reached['n'].min():.0f}", **corner)
            else:
                note_why_empty(axes, "missing" if own["missing"].notna().all() else NOT_AT_THE_EDGE)
            if i == 0:
                axes.set_title(label(architecture), loc="center", fontweight="bold")
        grid[i, 0].set_ylabel(f"{label(optimizer)}\nmean error")
    for row in grid:  # which shares its limits: down to its lowest floor
        low, high = row[0].get_ylim()
        low = min([low, *(floors[axes] / 2 for axes in row if axes in floors)])
        for axes in row:
            if axes in floors:
                axes.axhspan(low, floors[axes], color=FLOOR_STYLE.colour, alpha=0.8, linewidth=0, zorder=0)
        row[0].set_ylim(low, high)
    for axes in grid.flat:
        write_out_1_2_5(axes.xaxis)
    for axes in grid[-1]:
        axes.set_xlabel("gradient equivalents a step")
    handles: list[Line2D | Patch] = [*point_handles(marker)]
    handles.append(
        Line2D([], [], color=INK, linewidth=0.8, linestyle=(0, (4, 3)), label="a gradient at each end of a rod")
    )
    handles.append(
        Line2D([], [], color=INK, marker="o", markerfacecolor="white", linestyle="none", label="hollow: stopped early")
    )
    if floors:
        handles.append(floor_handle())
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
