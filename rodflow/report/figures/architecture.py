"""All optimizers on one architecture: effective sharpness, error, rod length; a row for each optimizer."""

from __future__ import annotations

import matplotlib
from matplotlib.figure import Figure
from pandas import DataFrame

from rodflow.catalogue import label
from rodflow.report.figures.panels import PlottedCell, diverged_text, draw_panel, legend, mark_threshold, shade_edge
from rodflow.report.figures.style import ORDER, RC, flow_style, in_order


@matplotlib.rc_context(RC)
def draw(
    cells: dict[str, tuple[dict[tuple[str, int], DataFrame], dict[int, DataFrame], float]],
    architecture: str,
) -> Figure:
    """Effective sharpness over its threshold, error, and rod length beside the run's oscillation.

    ``cells`` by optimizer has what ``cell.draw`` takes: the flows' series, the discrete runs and the threshold.
    """
    if not cells:
        raise ValueError("no optimizers to draw")
    rows = {name: PlottedCell(*cells[name]) for name in in_order(cells, ORDER)}
    figure = Figure(figsize=(12, 1.6 + 1.75 * len(rows)), layout="constrained")
    figure.suptitle(label(architecture))
    grid = figure.subplots(len(rows), 3, squeeze=False)
    for (left, middle, right), (name, cell) in zip(grid, rows.items(), strict=True):
        draw_panel(left, cell, "sharpness", "sharpness", scale=cell.threshold, excess=1.6, least=1.0)
        mark_threshold(left, 1.0)
        draw_panel(middle, cell, "error", log=True)
        draw_panel(right, cell.with_rods(), "rod_length", "oscillation", log=True)
        left.set_title(label(name), fontweight="bold")
        left.set_ylabel("sharpness /\nthreshold")
        middle.set_ylabel("error")
        right.set_ylabel("rod length")
        lost = [f"{flow_style(flow).label} {diverged_text(at)}" for flow, at in cell.diverged().items()]
        right.set_title(
            "\n".join("; ".join(lost[i : i + 2]) for i in range(0, len(lost), 2)), loc="right", fontsize=7.5
        )
        for axes in (left, middle, right):
            shade_edge(axes, cell)
    for axes in grid[-1]:
        axes.set_xlabel("optimizer step")
    legend(figure, list(rows.values()), steps=False, columns=4)
    return figure
