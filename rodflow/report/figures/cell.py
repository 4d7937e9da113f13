"""One optimizer on one architecture: the discrete run and every flow, in four panels."""

from __future__ import annotations

import matplotlib
from matplotlib.figure import Figure

from rodflow.report.figures.panels import (
    PlottedCell,
    draw_every_step,
    draw_panel,
    legend,
    mark_threshold,
    shade_edge,
    titled,
)
from rodflow.report.figures.style import RC


@matplotlib.rc_context(RC)
def draw(cell: PlottedCell, title: str, about: str = "", figure: Figure | None = None) -> Figure:
    """Loss, effective sharpness, error and rod length over optimizer steps.

    ``series`` of the cell have the columns of ``rodflow.flows.columns.SERIES_COLUMNS``; its ``discrete`` has step,
    loss (its mean over two steps), sharpness and oscillation. NaN is a gap. ``about`` stands under the title: the
    data, the rate, the seed, the size. Drawn on ``figure`` if an empty one is given.
    """
    threshold = cell.threshold
    figure = Figure() if figure is None else figure
    figure.set(size_inches=(10, 7.6), layout_engine="constrained")
    figure.suptitle(titled(title, about))
    (loss, sharpness), (error, rod) = figure.subplots(2, 2)

    draw_panel(loss, cell, "predicted_loss", "loss", log=True, excess=10)
    draw_every_step(loss, cell)
    loss.set(title="(a) Loss: every step, mean of two, and predicted", ylabel="loss")

    draw_panel(sharpness, cell, "sharpness", "sharpness", excess=1.6, least=threshold)
    mark_threshold(sharpness, threshold)
    sharpness.text(
        1.01,
        threshold,
        f"threshold\n{threshold:.3g}",
        transform=sharpness.get_yaxis_transform(),
        va="center",
        fontsize=8,
    )
    sharpness.set(title="(b) Effective sharpness", ylabel="effective sharpness")

    draw_panel(error, cell, "error", log=True)
    error.set(title="(c) Error of the flow's centre", ylabel=r"$\Vert$centre $- w^*\Vert$")

    draw_panel(rod, cell.with_rods(), "rod_length", "oscillation", log=True)
    rod.set(title="(d) Rod length, and the discrete oscillation", ylabel="length")

    for axes in (loss, sharpness, error, rod):
        axes.set_xlabel("optimizer step")
        shade_edge(axes, cell)
    legend(figure, [cell], steps=True, columns=4)
    return figure
