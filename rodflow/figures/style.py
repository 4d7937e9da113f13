"""One look for all figures: a line per flow, names for readers, files with reproducible bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from rodflow.storage import atomic

INK = "#404040"
"""Of what belongs to no flow: thresholds, marks and notes."""
EDGE_COLOUR = "#f7f2dd"
REPEAT_ALPHA = 0.35
"""Opacity of the seeds after the first."""
WIDTH_OF_TITLE = 7.2
"""Inches that the longest of the figures' titles takes, and a legend of three columns: however few panels there are."""

RC = {
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
    linestyle: str | tuple[float, tuple[float, ...]]
    linewidth: float = 1.5

    @property
    def line(self) -> dict:
        """Keyword arguments of a matplotlib line."""
        return {"color": self.colour, "linestyle": self.linestyle, "linewidth": self.linewidth}


DISCRETE = "discrete"
FLOW_STYLE = {
    DISCRETE: LineStyle("Discrete run", "#8c8c8c", "solid", 3.0),
    "stable": LineStyle("Stable flow", "#E69F00", (0, (5, 2))),
    "stable_corrected": LineStyle("Stable flow, corrected", "#CC79A7", (0, (5, 1.5, 1, 1.5))),
    "rod": LineStyle("Rod flow", "#0072B2", "solid"),
    "rod_low_rank": LineStyle("Rod flow, low rank", "#56B4E9", (0, (2.5, 1.2))),
    "drift_free_rod": LineStyle("Rod flow, drift-free", "#009E73", (0, (1, 1.2)), 1.8),
    "central": LineStyle("Central flow", "#D55E00", (0, (8, 1.5, 1.5, 1.5))),
    "central_momentum": LineStyle("Central flow, phase space", "#882255", (0, (8, 1.5, 1.5, 1.5, 1.5, 1.5))),
    "edge": LineStyle("Edge flow", "#000000", (0, (3, 1.2, 1, 1.2, 1, 1.2)), 1.2),
}
"""Okabe-Ito colours, a wine red and dashes, keyed by the name of the flow; ``DISCRETE`` is the training run itself."""
MARKERS = ["o", "s", "D", "^", "v", "P", "X", "*"]
"""Of the flows of a figure, in their order, where each is a point."""
LABELS = {
    "gd": "Gradient descent",
    "heavy_ball": "Heavy ball",
    "nesterov": "Nesterov",
    "scalar_rmsprop": "Scalar RMSProp",
    "rmsprop": "RMSProp",
    "scalar_adam": "Scalar Adam",
    "adam": "Adam",
    "scalar_nadam": "Scalar NAdam",
    "nadam": "NAdam",
    "adamw": "AdamW",
    "adagrad": "Adagrad",
    "qhm": "Quasi-hyperbolic momentum",
    "mlp": "MLP",
    "cnn": "CNN",
    "vit": "ViT",
    "quartic": "Quartic",
    "valley": "Sharpening valley",
    "square_root": "Square-root trough",
}
"""Readers' names of optimizers, architectures and landscapes, in the order in which figures show them."""


def label(name: str) -> str:
    """The reader's name of an optimizer, an architecture or a landscape; an unknown one keeps its own."""
    return LABELS.get(name, name)


def flow_style(flow: str) -> LineStyle:
    """The line of a flow; an unknown one is a thin dark line under its own name."""
    return FLOW_STYLE.get(flow, LineStyle(flow, INK, (0, (1, 3)), 1.2))


def in_order(names, known) -> list:
    """``names`` without repeats: the known ones in the order of ``known``, then the others as they come."""
    names = list(dict.fromkeys(names))
    return [name for name in known if name in names] + [name for name in names if name not in known]


def save(figure: Figure, paths: list[Path]) -> None:
    """Write ``figure`` to each of ``paths`` (.png or .pdf), reproducibly, whole or not at all; then close it."""
    for path in map(Path, paths):
        kind = path.suffix.lstrip(".").lower()
        metadata = {"pdf": {"CreationDate": None}, "png": {"Software": None}}
        if kind not in metadata:
            raise ValueError(f"a figure is saved as .png or .pdf, not {path.name}")
        with atomic(path) as temporary, matplotlib.rc_context(RC):
            figure.savefig(temporary, format=kind, dpi=150, metadata=metadata[kind])
    figure.clear()
