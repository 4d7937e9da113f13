"""A small chart of one cell for the page: the error of its flows and the run's oscillation, as SVG."""

from __future__ import annotations

import io
from html import escape
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rodflow.report.figures.panels import PlottedCell, draw_panel, shade_edge
from rodflow.report.figures.style import RC, LineStyle

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

SVG: dict[RcKeyType, Any] = {"svg.fonttype": "none", "svg.hashsalt": "rodflow"}
"""Text stays text, and the same chart gives the same bytes."""


@matplotlib.rc_context(RC | SVG)
def chart(cell: PlottedCell, description: str) -> str:
    """The flows' ``error`` and the run's ``oscillation`` over the steps, on a log axis; the edge window is shaded.

    A flow that was stopped ends with a cross. ``description`` is read out in place of the picture.
    """
    figure = Figure(figsize=(4.4, 2.4), layout="constrained")
    axes = figure.subplots()
    draw_panel(axes, cell, "error", "oscillation", log=True)
    shade_edge(axes, cell)
    axes.set_xlabel("optimizer step")
    return _svg(figure, description)


@matplotlib.rc_context(RC | SVG)
def key(style: LineStyle) -> str:
    """A sample of a line, for a legend."""
    figure = Figure(figsize=(0.55, 0.14))
    figure.add_artist(Line2D([0.02, 0.98], [0.5, 0.5], **style.line))
    return _svg(figure, "")


def _svg(figure: Figure, description: str) -> str:
    """The picture as an element of a page; the same picture gives the same text."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    _, _, element = file.getvalue().partition("<svg ")
    role = f'role="img" aria-label="{escape(description)}"' if description else 'aria-hidden="true"'
    return f"<svg {role} {element.strip()}"
