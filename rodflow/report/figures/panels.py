"""What the panels of several figures share: lines with their end marked, robust limits, the legend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, StrMethodFormatter
from pandas import DataFrame, concat

from rodflow.catalogue import is_floor
from rodflow.measures.constants import EDGE
from rodflow.report.figures.style import (
    DISCRETE,
    EDGE_COLOUR,
    FLOOR_STYLE,
    FLOW_STYLE,
    INK,
    MARKERS,
    REPEAT_ALPHA,
    flow_style,
    in_order,
)

Series = dict[tuple[str, int], DataFrame]
"""The time series of flows, keyed by flow and seed."""
Discrete = dict[int, DataFrame]
"""The discrete runs' records, keyed by seed."""
EVERY_STEP: dict[str, Any] = {"color": "#202020", "linewidth": 0.5, "zorder": 3.5}
"""The line of what the run has at every step: thin, over all others, which it would otherwise be hidden by."""
CROSS: dict[str, Any] = {"marker": "X", "markersize": 8, "markeredgecolor": "white", "linestyle": "none"}
"""The mark where a line was stopped or diverged."""
NOT_AT_THE_EDGE = "not at the edge"
"""Why a panel of the edge window is empty where all that it shows has been run."""


@dataclass(frozen=True)
class Lost:
    """Where a line ends before the steps do: a flow was ``stopped`` at a record, which it reached, or ``diverged``."""

    word: str
    step: int


@dataclass(frozen=True)
class PlottedCell:
    """What a figure shows of one optimizer on one architecture: its flows and runs, over all seeds.

    ``ended``, by name and seed, is the ``diverged_at`` of the summaries of runs (``DISCRETE``) and flows, and of the
    tables; None, or no entry, where a series is whole. ``every_step`` has the run's ``loss`` at each step, by seed.
    """

    series: Series
    discrete: Discrete
    threshold: float
    ended: Mapping[tuple[str, int], int | None] = field(default_factory=dict)
    every_step: Discrete = field(default_factory=dict)

    @property
    def seeds(self) -> list[int]:
        return sorted({seed for _, seed in self.series} | set(self.discrete))

    @property
    def flows(self) -> list[str]:
        """The flows that are lines: all but the twins."""
        return in_order((flow for flow, _ in self.series if not is_floor(flow)), FLOW_STYLE)

    @property
    def floor(self) -> DataFrame | None:
        """Steps, and the smallest and largest ``error`` of the first seed's twins there; None without a twin."""
        twins = [
            frame.set_index("step")["error"]
            for (flow, seed), frame in self.series.items()
            if is_floor(flow) and seed == self.seeds[0]
        ]
        if not twins:
            return None
        both = concat(twins, axis=1)
        return DataFrame({"least": both.min(axis=1), "most": both.max(axis=1)}).reset_index()

    def with_rods(self) -> PlottedCell:
        """The same runs, with only the flows that have a rod or are named after one."""
        rods = {key: f for key, f in self.series.items() if "rod" in key[0] or f["rod_length"].notna().any()}
        return replace(self, series=rods)

    def first_seed(self) -> PlottedCell:
        """The runs and flows of the first seed alone."""
        first = self.seeds[:1]
        return replace(
            self,
            series={key: frame for key, frame in self.series.items() if key[1] in first},
            discrete={seed: frame for seed, frame in self.discrete.items() if seed in first},
        )

    def alpha(self, seed: int) -> float:
        return 1.0 if seed == self.seeds[0] else REPEAT_ALPHA

    def lost(self) -> dict[str, dict[int, Lost]]:
        """By name and seed, where the run or a flow stopped early; those that did not are left out."""
        found: dict[str, dict[int, Lost]] = {}
        for name in (DISCRETE, *self.flows):
            for seed in self.seeds:
                frame = self.discrete.get(seed) if name == DISCRETE else self.series.get((name, seed))
                step = self.ended.get((name, seed))
                if frame is None or step is None:
                    continue
                # what is stopped was measured there once more; what diverged has no numbers there
                there = frame.loc[frame["step"] == step, "sharpness"]
                word = "stopped" if name != DISCRETE and np.isfinite(there).any() else "diverged"
                found.setdefault(name, {})[seed] = Lost(word, step)
        return found

    def lines(self, column: str, discrete_column: str | None) -> list[tuple[str, int, DataFrame, str]]:
        """What a panel shows, in drawing order: name, seed, table and column; later seeds first, below."""
        shown = []
        for seed in reversed(self.seeds):
            if discrete_column is not None and seed in self.discrete:
                shown.append((DISCRETE, seed, self.discrete[seed], discrete_column))
            shown += [(f, seed, self.series[f, seed], column) for f in self.flows if (f, seed) in self.series]
        return shown


def lost_text(places: Iterable[Lost]) -> str:
    """Such as "stopped at step 120" or, over several seeds, "stopped at steps 120, 130; diverged at step 140"."""
    steps: dict[str, set[int]] = {}
    for lost in places:
        steps.setdefault(lost.word, set()).add(lost.step)
    return "; ".join(
        f"{word} at step{'s' * (len(at) > 1)} {', '.join(f'{step:,}' for step in sorted(at))}"
        for word, at in sorted(steps.items(), reverse=True)
    )


def draw_panel(
    axes: Axes,
    cell: PlottedCell,
    column: str,
    discrete_column: str | None = None,
    log: bool = False,
    scale: float = 1.0,
    excess: float | None = None,
    least: float = 0.0,
) -> None:
    """Draw ``column`` of every flow, over ``discrete_column`` of the run, divided by ``scale``.

    A series that was lost ends with an x. With ``excess`` the flows may raise the upper limit at most so many times
    above the discrete run: a diverging flow would flatten everything else. A linear axis reaches from 0 to at
    least ``least``. Below an ``error`` lies the band of the twins' errors, from the bottom up; its top is seen.
    """
    lost = cell.lost()
    drawn: dict[bool, list[np.ndarray]] = {True: [], False: []}
    marks = []
    for name, seed, frame, key in cell.lines(column, discrete_column):
        steps, values = frame["step"].to_numpy(float), frame[key].to_numpy(float) / scale
        kept = np.isfinite(values) & (values > 0 if log else True)
        if not kept.any():
            continue
        look, alpha, front = flow_style(name), cell.alpha(seed), 2 + (seed == cell.seeds[0])
        marker = "." if kept.sum() == 1 else None
        axes.plot(steps, np.where(kept, values, np.nan), **look.line, alpha=alpha, marker=marker, zorder=front)
        drawn[name == DISCRETE].append(values[kept])
        if seed in lost.get(name, {}):
            marks.append((steps[kept][-1], values[kept][-1], look.colour, alpha))
    spans = [f["step"] for f in (*cell.series.values(), *cell.discrete.values()) if len(f)]
    first, last = (min(map(min, spans)), max(map(max, spans))) if spans else (0, 0)
    if first < last:
        margin = 0.02 * (last - first)
        axes.set_xlim(first - margin, last + margin)
    else:
        axes.set_xlim(first - 1, first + 1)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.locator_params(axis="x", nbins=6, integer=True)
    if not drawn[True] and not drawn[False]:
        axes.set(yticks=[], ylim=(0, 1.08 * least or 1))
        text = "no data: the run diverged" if DISCRETE in lost else "no data"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#555555")
        return
    if log:
        axes.set_yscale("log")
    top = _limit(axes, drawn, log, excess, least)
    if column == "error" and (floor := cell.floor) is not None:
        _shade_floor(axes, floor, log)
    for step, value, colour, alpha in marks:
        axes.plot(step, min(value, top), **CROSS, color=colour, alpha=max(alpha, 0.6), zorder=5, clip_on=False)


def draw_every_step(axes: Axes, cell: PlottedCell) -> None:
    """The run's loss at every step, on the limits that its records and the flows have set."""
    limits = axes.get_ylim()
    for seed, frame in cell.every_step.items():
        axes.plot(frame["step"], frame["loss"], **EVERY_STEP, alpha=cell.alpha(seed))
    axes.set_ylim(limits)


def titled(title: str, about: str) -> str:
    """A figure's title, and under it what it is about, where there is anything to say."""
    return f"{title}\n{about}" if about else title


def _shade_floor(axes: Axes, floor: DataFrame, log: bool) -> None:
    """The band up to the smaller of the twins' errors, and paler on to the larger."""
    steps, bottom = floor["step"].to_numpy(float), 0.0
    if log:
        highest = float(floor["most"].max())  # NaN without any
        bottom = min(axes.get_ylim()[0], highest / 3) if highest > 0 else axes.get_ylim()[0]
        axes.set_ylim(bottom)
    for name, alpha in (("most", 0.45), ("least", 0.7)):
        heights = np.maximum(floor[name].to_numpy(float), bottom)
        axes.fill_between(steps, bottom, heights, color=FLOOR_STYLE.colour, alpha=alpha, linewidth=0, zorder=1)


def _limit(axes: Axes, drawn: dict[bool, list[np.ndarray]], log: bool, excess: float | None, least: float) -> float:
    """Set the vertical limits and return the upper one."""
    everything = np.concatenate(drawn[True] + drawn[False])
    bottom, top = float(everything.min()), float(everything.max())
    if excess is not None:
        known = [*drawn[True], np.array([least])]
        reference = max(float(values.max()) for values in known)
        top = min(top, excess * reference) if reference > 0 else top
    if log and bottom < top:
        pad = (top / bottom) ** 0.05
        axes.set_ylim(bottom / pad, top * pad)
    elif not log:
        axes.set_ylim(min(bottom, 0.0) * 1.05, 1.08 * max(top, least) or 1)
    return axes.get_ylim()[1]


def markers(flows: list[str]) -> dict[str, str]:
    """The marker of each flow of a figure in which it is a point; eight of them, in turn."""
    return dict(zip(flows, MARKERS * len(flows), strict=False))


def point_handles(marker: dict[str, str]) -> list[Line2D]:
    """The legend of flows that are points, by their :func:`markers`."""
    looks = {flow: flow_style(flow) for flow in marker}
    return [
        Line2D([], [], color=looks[flow].colour, marker=shape, linestyle="none", label=looks[flow].label)
        for flow, shape in marker.items()
    ]


def floor_handle(text: str = FLOOR_STYLE.label) -> Patch:
    """The floor in a legend."""
    return Patch(facecolor=FLOOR_STYLE.colour, label=text)


def note_why_empty(axes: Axes, why: str = NOT_AT_THE_EDGE) -> None:
    """A note in a panel of the edge window that has nothing to show."""
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", color=INK)


def write_out_1_2_5(axis: Axis) -> None:
    """On a logarithmic axis mark 1, 2 and 5 of each decade, with plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def mark_threshold(axes: Axes, threshold: float) -> None:
    """A dashed line at the threshold of a sharpness."""
    axes.axhline(threshold, color=INK, linestyle=(0, (6, 3)), linewidth=0.9, zorder=1.5)


def edge_intervals(records: DataFrame, threshold: float) -> list[tuple[float, float]]:
    """The stretches of steps with an effective sharpness at the edge, each record reaching half-way to the next."""
    steps, at_edge = records["step"].to_numpy(float), records["sharpness"].to_numpy(float) >= EDGE * threshold
    half = float(np.median(np.diff(steps))) / 2 if len(steps) > 1 else 0.5
    changes = np.flatnonzero(np.diff(np.concatenate([[0], at_edge.astype(int), [0]])))
    return [(steps[a] - half, steps[b - 1] + half) for a, b in zip(changes[::2], changes[1::2], strict=True)]


def shade_edge(axes: Axes, cell: PlottedCell) -> None:
    """Shade where the first seed's discrete sharpness is at the edge of stability."""
    if not cell.discrete:
        return
    limits = axes.get_xlim()
    for begin, end in edge_intervals(cell.discrete[min(cell.discrete)], cell.threshold):
        axes.axvspan(begin, end, color=EDGE_COLOUR, linewidth=0, zorder=0)
    axes.set_xlim(limits)


def legend(figure: Figure, cells: list[PlottedCell], steps: bool, columns: int) -> None:
    """The common legend, under the panels; with ``steps``, it tells what is drawn at every step, and where
    each line was lost."""
    named = cells[0].lost() if steps else {}
    names = in_order((flow for cell in cells for flow in cell.flows), FLOW_STYLE)
    handles: list[Line2D | Patch] = []
    for name in [DISCRETE] * any(cell.discrete for cell in cells) + names:
        look = flow_style(name)
        text = f"{look.label}\n({lost_text(named[name].values())})" if name in named else look.label
        handles.append(Line2D([], [], **look.line, label=text))
    if any(cell.floor is not None for cell in cells):
        handles.append(floor_handle(f"{FLOOR_STYLE.label}:\nrounding alone makes this error"))
    if any(cell.discrete for cell in cells):
        handles.append(
            Patch(
                facecolor=EDGE_COLOUR,
                edgecolor="#b9ad74",
                linewidth=0.5,
                label=(f"Edge window: discrete\nsharpness ≥ {EDGE:g} threshold"),
            )
        )
    if steps and cells[0].every_step:
        handles.insert(1, Line2D([], [], **EVERY_STEP, label="Discrete run, every step"))
    words = {lost.word for cell in cells for by in cell.lost().values() for lost in by.values()}
    if words:
        text = f"{' or '.join(sorted(words, reverse=True)).capitalize()}: last point\n(on the top edge: off scale)"
        handles.append(Line2D([], [], **CROSS, color=INK, label=text))
    if any(len(cell.seeds) > 1 for cell in cells):
        handles.append(Line2D([], [], color=INK, alpha=REPEAT_ALPHA, label="Faint: further seeds"))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, len(handles)))
