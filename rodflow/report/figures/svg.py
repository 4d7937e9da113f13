"""A figure as an SVG element of a page: text stays text, what is pointed at says its name, same figure, same bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rodflow.report.figures.style import RC

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

SVG_RC: dict[RcKeyType, Any] = RC | {"svg.fonttype": "none", "svg.hashsalt": "rodflow"}
"""Under these settings a figure that becomes an element is drawn."""


def element(figure: Figure, description: str = "", titles: Mapping[str, str] | None = None) -> str:
    """The figure as ``<svg>``. A screen reader says ``description``, or leaves out a picture without one.

    ``titles``: what a browser shows where an artist is pointed at, by the artist's gid.
    """
    file = io.StringIO()
    with matplotlib.rc_context(SVG_RC):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    _, _, text = file.getvalue().partition("<svg ")
    for gid, title in (titles or {}).items():
        group = f'<g id="{gid}">'
        text = text.replace(group, f"{group}<title>{escape(title)}</title>")
    role = f'role="img" aria-label="{escape(description)}"' if description else 'aria-hidden="true"'
    return f"<svg {role} {text.strip()}"


def key(look: Mapping[str, Any]) -> str:
    """A sample of a line that is drawn with ``look``, for a legend."""
    figure = Figure(figsize=(0.55, 0.14))
    figure.add_artist(Line2D([0.06, 0.94], [0.5, 0.5], **look))
    return element(figure)
