"""Every architecture, optimizer and flow at a glance: how much smaller its error is than the stable flow's."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullLocator
from pandas import DataFrame

from rodflow.catalogue import is_floor, label
from rodflow.measures.constants import FEW
from rodflow.report.figures.style import FLOOR, FLOW_STYLE, ORDER, RC, flow_style, in_order

LARGEST_RATIO = 1000.0
"""The colour scale reaches at most from its inverse to it."""


@matplotlib.rc_context(RC | {"axes.grid": False})
def draw(errors: DataFrame) -> Figure:
    """Heat maps of ``ratio_to_stable``, the median over seeds: a panel for each flow but the stable one, if any is.

    The twins share the last panel, the floor: no model can have a larger ratio. Under a ratio stands its ``n_stable``,
    the number of records that it is over, the smallest of the seeds'; cells of fewer than ``FEW`` are hatched. A cell
    without a ratio has a dash; a star marks a median that some seeds, having diverged, are missing from.
    """
    errors = errors.assign(flow=[FLOOR if is_floor(flow) else flow for flow in errors["flow"]])
    flows = in_order((flow for flow in errors["flow"] if flow != "stable"), FLOW_STYLE) or ["stable"]
    optimizers = in_order(errors["optimizer"], ORDER)
    architectures = in_order(errors["architecture"], ORDER)
    ratios = errors.assign(ratio=errors["ratio_to_stable"].where(np.isfinite(errors["ratio_to_stable"])))
    groups = ratios.groupby(["flow", "optimizer", "architecture"])["ratio"]
    medians, complete = groups.median(), groups.count() == groups.size()
    numbers = ratios[ratios["ratio"].notna()].groupby(["flow", "optimizer", "architecture"])["n_stable"].min()
    shown = medians[[flow != "stable" for flow in medians.index.get_level_values("flow")]]
    logs = np.abs(np.log10(shown[shown > 0]))
    reach = 10 ** float(np.clip(logs.max() if len(logs) else 1, math.log10(2), math.log10(LARGEST_RATIO)))
    norm, colours = LogNorm(1 / reach, reach, clip=True), matplotlib.colormaps["PuOr_r"].with_extremes(bad="#ececec")

    count = math.ceil(len(flows) / 5)
    columns = math.ceil(len(flows) / count)
    width, height = columns * (0.3 + 0.85 * len(architectures)) + 2.4, count * (0.6 + 0.42 * len(optimizers)) + 1
    figure = Figure(figsize=(max(width, 6.5), max(height, 3.4)), layout="constrained")
    figure.suptitle("How many times closer to the discrete run than the stable flow")
    grid = figure.subplots(count, columns, squeeze=False, sharey=True)
    starred = missing = few = False
    for axes, flow in zip(grid.flat, flows, strict=False):
        table = np.full((len(optimizers), len(architectures)), np.nan)
        for i, optimizer in enumerate(optimizers):
            for j, architecture in enumerate(architectures):
                key = (flow, optimizer, architecture)
                value = float(medians.get(key, np.nan))
                table[i, j] = value
                known = not math.isnan(value)
                star = known and not complete[key]
                starred, missing = starred or star, missing or not known
                ink = _ink(colours(norm(max(value, 1 / reach)))) if known else "#555555"
                axes.text(j, i - 0.14 * known, two_digits(value) + "*" * star, ha="center", va="center", color=ink)
                if known:
                    n = int(numbers[key])
                    axes.text(j, i + 0.27, f"n {n}", ha="center", va="center", color=ink, fontsize=6)
                    if n < FEW:
                        few = True
                        box = Rectangle(
                            (j - 0.5, i - 0.5), 1, 1, hatch="////", fill=False, linewidth=0, edgecolor="#777777"
                        )
                        axes.add_patch(box)
        image = axes.imshow(np.clip(table, 1 / reach, reach), cmap=colours, norm=norm, aspect="auto")
        axes.set_title(flow_style(flow).label, loc="center")
        axes.set_xticks(range(len(architectures)), [label(name) for name in architectures])
        axes.set_yticks(range(len(optimizers)), [label(name) for name in optimizers])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xticks(np.arange(len(architectures) - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(len(optimizers) - 1) + 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1.5)
        axes.tick_params(which="minor", length=0)
    for axes in grid.flat[len(flows) :]:
        axes.remove()
    bar = figure.colorbar(image, ax=figure.axes, shrink=0.9, aspect=30, pad=0.02)
    bar.set_label(
        "stable flow's error in the edge window / the flow's\n"
        "(median over seeds; above 1: closer to the run; n: records)"
    )
    bar.set_ticks([tick for tick in _ticks(reach) if 1 / reach <= tick <= reach])
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    bar.outline.set_visible(False)
    notes = ["–  no ratio: not at the edge, not run, or diverged"] * missing
    notes += [f"hatched: fewer than {FEW} records"] * few
    notes += ["*  some seeds have no ratio and are left out"] * starred
    if notes:
        figure.supxlabel("      ".join(notes), fontsize=8, color="#333333")
    return figure


def two_digits(value: float) -> str:
    """A number with two significant digits; an en dash for NaN."""
    if math.isnan(value):
        return "–"
    if value == 0:
        return "0"
    rounded = float(f"{value:.1e}")
    if not 1e-3 <= abs(rounded) < 1e4:
        return f"{value:.1e}"
    digits = 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:.{max(digits, 0)}f}"


def _ticks(reach: float) -> list[float]:
    decades = range(-4, 5)
    if reach >= 30:
        return [10.0**n for n in decades]
    return [m * 10.0**n for n in decades for m in (1, 2, 5)]


def _ink(colour: tuple[float, float, float, float]) -> str:
    """Black or white, whichever is legible on ``colour``."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3])
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else "white"
