"""One look for all figures: a line per flow, names for readers, files with reproducible bytes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure

from rodflow.catalogue import ARCHITECTURES, FLOWS, LANDSCAPES, OPTIMIZERS, Dashes
from rodflow.jobs.files import atomic

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

INK = "#404040"
"""Colour of thresholds, marks and notes."""
EDGE_COLOUR = "#f7f2dd"
REPEAT_ALPHA = 0.35
"""Opacity of the seeds after the first."""
WIDTH_OF_TITLE = 7.2
"""Inches that the longest of the figures' titles takes, and a legend of three columns: however few panels there are."""

RC: dict[RcKeyType, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.handlelength": 3.6,
    "figure.titlesize": 12,
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class LineStyle:
    """How one flow, or the discrete run, is drawn; lines differ in dashes as well as in colour."""

    label: str
    colour: str
    linestyle: Dashes
    linewidth: float = 1.5

    @property
    def line(self) -> dict[str, Any]:
        """Keyword arguments of a matplotlib line."""
        return {"color": self.colour, "linestyle": self.linestyle, "linewidth": self.linewidth}


DISCRETE, FLOOR = "discrete", "floor"
FLOOR_STYLE = LineStyle("Floor, the run again", "#d0d0d0", "solid", 1.0)
"""The twins, which are no models but the run again: the band below which an error says nothing of a model."""
FLOW_STYLE = (
    {DISCRETE: LineStyle("Discrete run", "#8c8c8c", "solid", 3.0)}
    | {name: LineStyle(flow.label, flow.colour, flow.linestyle, flow.linewidth) for name, flow in FLOWS.entries.items()}
    | {FLOOR: FLOOR_STYLE}
)
"""Lines by the name of the flow; ``DISCRETE`` is the training run itself, ``FLOOR`` stands for all its twins."""
MARKERS = ["o", "s", "D", "^", "v", "P", "X", "*"]
"""Of the flows of a figure, in their order, where each is a point."""
ORDER = [*OPTIMIZERS, *ARCHITECTURES, *LANDSCAPES]
"""The order in which figures show optimizers, architectures and landscapes."""


def flow_style(flow: str) -> LineStyle:
    """The line of a flow; an unknown one is a thin dark line under its own name."""
    return FLOW_STYLE.get(flow, LineStyle(flow, INK, (0, (1, 3)), 1.2))


def in_order(names: Iterable[str], known: Collection[str]) -> list[str]:
    """``names`` without repeats: the known ones in the order of ``known``, then the others as they come."""
    names = list(dict.fromkeys(names))
    return [name for name in known if name in names] + [name for name in names if name not in known]


def save(figure: Figure, paths: list[Path]) -> None:
    """Write ``figure`` to each of ``paths`` (.png or .pdf), reproducibly, whole or not at all; then close it."""
    for path in map(Path, paths):
        kind = path.suffix.lstrip(".").lower()
        metadata: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "png": {"Software": None}}
        if kind not in metadata:
            raise ValueError(f"a figure is saved as .png or .pdf, not {path.name}")
        with atomic(path) as temporary, matplotlib.rc_context(RC):
            figure.savefig(temporary, format=kind, dpi=150, metadata=metadata[kind])
    figure.clear()
