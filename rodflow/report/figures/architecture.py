"""All optimizers on one architecture: effective sharpness, error, rod length; a row for each optimizer."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
from matplotlib.figure import Figure

from rodflow.catalogue import label
from rodflow.report.figures.panels import PlottedCell, draw_panel, legend, lost_text, mark_threshold, shade_edge, titled
from rodflow.report.figures.style import ORDER, RC, flow_style, in_order


@matplotlib.rc_context(RC)
def draw(
    cells: dict[str, PlottedCell],
    architecture: str,
    about: str = "",
    rates: Mapping[str, float] | None = None,
) -> Figure:
    """Effective sharpness over its threshold, error, and rod length beside the run's oscillation.

    ``cells``: what ``cell.draw`` takes, by optimizer; ``about``: what they share, for the title; ``rates``:
    their learning rates, for the rows'.
    """
    if not cells:
        raise ValueError("no optimizers to draw")
    rows = {name: cells[name] for name in in_order(cells, ORDER)}
    figure = Figure(figsize=(12, 1.6 + 1.75 * len(rows)), layout="constrained")
    figure.suptitle(titled(label(architecture), about))
    grid = figure.subplots(len(rows), 3, squeeze=False)
    for (left, middle, right), (name, cell) in zip(grid, rows.items(), strict=True):
        draw_panel(left, cell, "sharpness", "sharpness", scale=cell.threshold, excess=1.6, least=1.0)
        mark_threshold(left, 1.0)
        draw_panel(middle, cell, "error", log=True)
        draw_panel(right, cell.with_rods(), "rod_length", "oscillation", log=True)
        rate = f", learning rate {rates[name]:g}" if rates else ""
        left.set_title(f"{label(name)}{rate}", fontweight="bold")
        left.set_ylabel("sharpness /\nthreshold")
        middle.set_ylabel("error")
        right.set_ylabel("rod length")
        lost = [f"{flow_style(flow).label} {lost_text(at.values())}" for flow, at in cell.lost().items()]
        right.set_title(
            "\n".join("; ".join(lost[i : i + 2]) for i in range(0, len(lost), 2)), loc="right", fontsize=7.5
        )
        for axes in (left, middle, right):
            shade_edge(axes, cell)
    for axes in grid[-1]:
        axes.set_xlabel("optimizer step")
    legend(figure, list(rows.values()), steps=False, columns=4)
    return figure
