"""One cell in each variant of the precision study, side by side: when it enters the edge, how, and who follows."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from pandas import DataFrame

from rodflow.catalogue import label
from rodflow.config.run import STUDIED_FLOWS, VARIANTS
from rodflow.measures.precision import discrete_records, flow_records, onset_step, overshoot, variant_label
from rodflow.measures.summaries import StudySummary
from rodflow.report.figures.panels import PlottedCell, draw_panel, legend, mark_threshold, shade_edge
from rodflow.report.figures.style import INK, RC

NOTE = (
    "Perturbed: after each step every weight is off by at most 1.2e-7 of itself, float32's epsilon.   The run's "
    "oscillation is a second difference:\nfar below the edge it shows how its path bends, and not how small the "
    "alternating part is, which the rod's length does."
)


@matplotlib.rc_context(RC)
def draw(series: DataFrame, summary: StudySummary) -> Figure:
    """Effective sharpness in thresholds, oscillation and rod length, and the flows' error; a column for each variant.

    ``series`` and ``summary`` are what the precision stage leaves. The onset
    (``rodflow.measures.precision.onset_step``) is a vertical line with its step, the overshoot stands in the first row.
    Rows share their vertical axis.
    """
    start, threshold = summary.flow_start, summary.threshold
    figure = Figure(figsize=(10, 8), layout="constrained")
    name = f"{label(summary.architecture)}, {label(summary.optimizer)}, seed {summary.seed}"
    figure.suptitle(f"{name}: the same cell in three precisions")
    grid = figure.subplots(3, len(VARIANTS))
    variants = [variant_label(name) for name in VARIANTS]
    cells = {variant: variant_cell(series, variant, summary) for variant in variants}
    highest = np.nanmax([1.0, *(cell.discrete[0]["sharpness"].max() / threshold for cell in cells.values())])
    for column, (variant, cell) in zip(grid.T, cells.items(), strict=True):
        sharpness, rod, error = column
        draw_panel(sharpness, cell, "sharpness", "sharpness", scale=threshold, excess=1.3, least=highest)
        mark_threshold(sharpness, 1.0)
        draw_panel(rod, cell, "rod_length", "oscillation", log=True)
        draw_panel(error, cell, "error", log=True)
        error.set_xlabel("optimizer step")
        for axes in column:
            shade_edge(axes, cell)
        sharpness.set_title(variant, loc="center", fontweight="bold", pad=18)
        mark_onset(column, onset_step(series, variant, start, threshold), int(cell.discrete[0]["step"].max()))
        largest = overshoot(series, variant, start, threshold)
        if np.isfinite(largest):
            box = {"facecolor": "white", "edgecolor": "none", "pad": 2}
            text = f"overshoot {largest:.2f}"
            sharpness.text(0.96, 0.07, text, transform=sharpness.transAxes, ha="right", fontsize=8, color=INK, bbox=box)
    labels = ("effective sharpness /\nthreshold", "oscillation, rod length", "error of the flow's centre")
    for row, text in zip(grid, labels, strict=True):
        row[0].set_ylabel(text)
        share_limits(row)
    legend(figure, list(cells.values()), steps=False, columns=5)
    figure.legends[-1].set_title(NOTE, prop=FontProperties(size=8))
    return figure


def variant_cell(series: DataFrame, variant: str, summary: StudySummary) -> PlottedCell:
    """What the panels of one variant show."""
    flows = {(flow, 0): flow_records(series, variant, flow) for flow in STUDIED_FLOWS}
    ended = {(name, 0): step for name, step in summary.diverged_at.get(variant, {}).items()}
    return PlottedCell(flows, {0: discrete_records(series, variant)}, summary.threshold, ended)


def mark_onset(column: np.ndarray, onset: int | None, last: int) -> None:
    """A thin vertical line through a column's panels at the onset, its step above; or a word that there was none."""
    top: Axes = column[0]
    if onset is None:
        text, where, side = f"no onset by step {last:,}", top.get_xlim()[1], "right"
    else:
        text, where, side = f"onset at step {onset:,}", onset, "center"
        for axes in column:
            axes.axvline(onset, color=INK, linewidth=0.8, zorder=1.6)
    top.text(where, 1.02, text, transform=top.get_xaxis_transform(), ha=side, va="bottom", fontsize=8, color=INK)


def share_limits(row: np.ndarray) -> None:
    """Give the panels of a row that show anything the same vertical limits, and tick labels to the first one only.

    Axes that matplotlib shares would share the missing ticks of a panel without data too.
    """
    shown = [axes for axes in row if len(axes.get_yticks())]
    if not shown:
        return
    limits = np.array([axes.get_ylim() for axes in shown])
    for axes in shown:
        axes.set_ylim(limits[:, 0].min(), limits[:, 1].max())
    for axes in shown[1:]:
        axes.tick_params(which="both", labelleft=False)
