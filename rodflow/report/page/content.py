"""What stands on the page of a run, from the tables, series and summaries of its stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import yaml

from rodflow.catalogue import is_floor, label
from rodflow.config import Cell, Config
from rodflow.measures.errors import RATIOS
from rodflow.measures.missing import in_words
from rodflow.measures.summaries import Provenance
from rodflow.report.cells import CellData, about_cell, about_data, cell_title
from rodflow.report.figures.charts import Chart, error_chart, loss_chart, mark, strip, strip_scale
from rodflow.report.figures.motion import Player
from rodflow.report.figures.overview import two_digits
from rodflow.report.figures.panels import EVERY_STEP, PlottedCell, lost_text, markers
from rodflow.report.figures.style import DISCRETE, FLOOR_STYLE, FLOW_STYLE, flow_style, in_order
from rodflow.report.figures.svg import key
from rodflow.report.replication import Claim, remake

FOLDER = Path(__file__).parent
NONE = float("nan")


def render(
    config: Config,
    claims: list[Claim],
    errors: pd.DataFrame,
    thresholds: pd.DataFrame,
    cells: Mapping[tuple[str, str], CellData | None],
    figures: Mapping[str, str],
    made: Provenance,
    players: Sequence[Player] = (),
) -> str:
    """The page as HTML. ``cells`` by architecture and optimizer, None for one without a run; ``figures``: a text by
    name, a path without suffix from the page; ``made``: the provenance of the tables; ``players``: what moves."""
    charted = in_order((flow for cell in cells.values() if cell for flow in cell.shown.flows), FLOW_STYLE)
    repeated = any(len(config.seeds_for(architecture)) > 1 for architecture in config.architectures)
    legend = [("Discrete run: its oscillation, its loss", key(flow_style(DISCRETE).line))]
    legend += [("Its loss at every step", key(EVERY_STEP))]
    legend += [(flow_style(flow).label, key(flow_style(flow).line)) for flow in charted]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string((FOLDER / "page.html").read_text(encoding="utf-8"))
    return page.render(
        style=jinja2.utils.markupsafe.Markup((FOLDER / "style.css").read_text(encoding="utf-8")),
        script=jinja2.utils.markupsafe.Markup((FOLDER / "page.js").read_text(encoding="utf-8")),
        players=players,
        **_overview(config, cells, errors),
        run=config.run,
        about=_about(config),
        missing=in_words(errors),
        claims=claims,
        seeds_note="; medians over seeds, and the chart shows the first that is finished" if repeated else "",
        legend=legend,
        floor=FLOOR_STYLE.label if any(map(is_floor, config.flows)) else "",
        rows=[
            (
                label(optimizer),
                [_cell(config, a, optimizer, cells[a, optimizer], errors, thresholds) for a in config.architectures],
            )
            for optimizer in config.optimizers
        ],
        figures=[
            {"name": name, "text": text, "command": remake(config, f"figures/{config.run}/{name}.png")}
            for name, text in figures.items()
        ],
        footer=f"Tables made at commit {made.commit or 'unknown'}, {made.finished}; "
        + ", ".join(f"{name} {version}" for name, version in made.versions.items() if version)
        + f". {remake(config, f'figures/{config.run}/index.html')} makes this page again.",
    )


def _about(config: Config) -> str:
    return (
        f"{counted(len(config.architectures), 'architecture')}, {counted(len(config.optimizers), 'optimizer')}, "
        f"{counted(len(config.cells), 'cell')} with {config.seeds_named}: "
        f"full-batch training for {config.steps} steps "
        f"on {about_data(config)}, and {counted(len(config.flows), 'continuous-time model')} beside it."
    )


def counted(number: int, what: str) -> str:
    """Such as "1 cell" and "2 cells"."""
    return f"{number} {what}{'s' * (number != 1)}"


def _overview(config: Config, cells: Mapping[tuple[str, str], CellData | None], errors: pd.DataFrame) -> dict[str, Any]:
    """A row a cell: its flows' errors at the edge beside its twins', the median over seeds of each, and the records."""
    at_edge = errors.groupby(["architecture", "optimizer", "flow"])["error_eos_mean"].median()
    flows = in_order((flow for o in config.optimizers for flow in config.flows_of(o) if not is_floor(flow)), FLOW_STYLE)
    shapes = markers(flows)
    known = at_edge[np.isfinite(at_edge) & (at_edge > 0)]
    decades = np.log10([known.min(), known.max()] if len(known) else [0.5, 0.5])
    limits = (float(10 ** np.floor(decades[0])), float(10 ** (np.floor(decades[1]) + 1)))
    rows = []
    for (architecture, optimizer), data in cells.items():
        name = f"{architecture}-{optimizer}"
        own = {flow: at_edge.get((architecture, optimizer, flow), NONE) for flow in config.flows_of(optimizer)}
        twins = [error for flow, error in own.items() if is_floor(flow) and np.isfinite(error)]
        band = (min(twins, default=NONE), max(twins, default=NONE))
        told = errors[(errors["architecture"] == architecture) & (errors["optimizer"] == optimizer)]
        shown = {flow: error for flow, error in own.items() if not is_floor(flow)}
        titles = {flow: f"{flow_style(flow).label}: {two_digits(error)}" for flow, error in shown.items()}
        twins_said = " to ".join(dict.fromkeys(map(two_digits, band)))
        rows.append(
            {
                "name": name,
                "title": cell_title(architecture, optimizer),
                "about": _about_cell(config, architecture, optimizer, data),
                "strip": strip(name, shown, shapes, band, limits, titles | {"floor": f"Twins: {twins_said}"}),
                "twins": twins_said,
                "n": _records(told),
            }
        )
    return {
        "overview": rows,
        "strip_scale": strip_scale(limits),
        "marks": [(flow_style(flow).label, mark(shapes[flow], flow_style(flow).colour)) for flow in flows],
    }


def _about_cell(config: Config, architecture: str, optimizer: str, data: CellData | None) -> str:
    """The data, rate, seeds and size of a cell; empty for one without a run, whose size is unknown."""
    if data is None:
        return ""
    return about_cell(config, architecture, optimizer, data.shown.seeds, data.summary.parameters)


def _cell(
    config: Config,
    architecture: str,
    optimizer: str,
    files: CellData | None,
    errors: pd.DataFrame,
    thresholds: pd.DataFrame,
) -> dict[str, Any]:
    cell, name = Cell(architecture, optimizer, 0), f"{architecture}-{optimizer}"  # no setting depends on the seed
    own = errors[(errors["architecture"] == architecture) & (errors["optimizer"] == optimizer)]
    row = thresholds[(thresholds["architecture"] == architecture) & (thresholds["optimizer"] == optimizer)]
    lost = {name: lost_text(at.values()) for name, at in files.shown.lost().items()} if files else {}
    flows = []
    for flow in config.flows_of(optimizer):
        numbers = own[own["flow"] == flow]
        flows.append(
            {
                "label": flow_style(flow).label,
                "error": two_digits(float(numbers["error_eos_mean"].median())),
                "ratio": two_digits(float(numbers["ratio_to_stable"].median())),
                "to_floor": two_digits(float(numbers["ratio_to_floor"].median())),
                "n": _records(numbers),
                "sharpness": _thresholds(row.get(f"sharpness_{flow}_median", NONE) / row["threshold"]),
                "lost": lost.get(flow, ""),
                "missing": _missing(numbers),
            }
        )
    return {
        "name": name,
        "title": cell_title(architecture, optimizer),
        "about": _about_cell(config, architecture, optimizer, files),
        "charts": _charts(files, cell_title(architecture, optimizer)) if files else [],
        "lost": lost.get(DISCRETE, ""),
        "missing": _missing(row),
        "discrete_label": flow_style(DISCRETE).label,
        "sharpness": _thresholds(row["sharpness_eos_median"] / row["threshold"]),
        "flows": flows,
        "facts": _facts(files) if files else [],
        "command": remake(config, f"figures/{config.run}/cells/{name}.png"),
        "settings": yaml.safe_dump(config.discrete_settings(cell), sort_keys=False).strip(),
    }


def _records(rows: pd.DataFrame) -> str:
    """The records behind the error and its ratios, the smallest number of them over both and over seeds."""
    over = [rows["n"], *(rows[n] for ratio, n in RATIOS.items() if rows[ratio].notna().any())]
    known = pd.concat(over).dropna()
    return str(int(known.min())) if len(known) else "–"


def _missing(rows: pd.DataFrame) -> str:
    """Such as "missing: seeds 1, 2"; without the seeds where it is all; empty where nothing is missing."""
    seeds = rows.loc[rows["missing"].notna(), "seed"]
    if not len(seeds):
        return ""
    return (
        "missing" if len(seeds) == len(rows) else f"missing: seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    )


def _thresholds(sharpness: pd.Series) -> str:
    """The median over seeds of a sharpness in thresholds; a dash where no seed has one."""
    return f"{sharpness.median():.2f}" if sharpness.notna().any() else "–"


def _charts(files: CellData, title: str) -> list[Chart]:
    """The charts of a cell's first seed, with a description for readers who cannot see them."""
    shown = files.shown.first_seed()
    seed, lost = shown.seeds[0], shown.lost()
    described = []
    for flow in shown.flows:
        reached = shown.series[flow, seed]["error"].dropna()
        last = two_digits(float(reached.iloc[-1])) if len(reached) else "unknown"
        end = f", {lost_text(lost[flow].values())}" if flow in lost else ""
        described.append(f"{flow_style(flow).label} ends at {last}{end}")
    late = {seed: frame[frame["step"] >= files.summary.flow_start] for seed, frame in shown.discrete.items()}
    return [
        error_chart(
            PlottedCell(shown.series, late, shown.threshold, shown.ended),
            f"Error against step, {title}: {'; '.join(described) or 'no flow'}.",
        ),
        loss_chart(shown, f"Loss against step, {title}: the run at every step, and what the flows predict."),
    ]


def _facts(files: CellData) -> list[tuple[str, str]]:
    """Weights, threshold, code, machine and running time of a cell, in words."""
    summary, made = files.summary, files.summary.provenance
    seconds = {flow: own.provenance.wall_time_seconds for flow, own in files.flows.items()}
    flows = ", ".join(f"{flow_style(flow).label} {time:.3g} s" for flow, time in seconds.items())
    return [
        ("Weights", f"{summary.parameters:,}"),
        ("Threshold", f"{summary.threshold:.4g}"),
        ("Flows from step", str(summary.flow_start)),
        ("Commit", made.commit or "unknown"),
        ("Hardware", f"{made.device}, {made.processors} processors, {made.platform}"),
        ("Runtime", "; ".join(filter(None, [f"training {made.wall_time_seconds:.3g} s", flows]))),
        ("Finished", made.finished),
    ]
