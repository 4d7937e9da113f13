"""What stands on the page of a run, from the tables, series and summaries of its stages."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml

from rodflow.catalogue import is_floor, label
from rodflow.config import Cell, Config
from rodflow.measures.errors import RATIOS
from rodflow.measures.missing import in_words
from rodflow.measures.summaries import FlowSummary, Provenance, RunSummary
from rodflow.report.figures.error_chart import chart, key
from rodflow.report.figures.overview import two_digits
from rodflow.report.figures.panels import PlottedCell
from rodflow.report.figures.style import DISCRETE, FLOOR_STYLE, FLOW_STYLE, flow_style
from rodflow.report.replication import Claim, remake

FOLDER = Path(__file__).parent
CHARTED = ("stable", "rod", "drift_free_rod")
"""The flows that the small charts show, where a cell has one of them; otherwise they show all that it has."""
NONE = float("nan")


@dataclass(frozen=True)
class CellFiles:
    """What the stages left of a cell, first seed: records and summary of its run, series and summaries of its flows."""

    records: pd.DataFrame
    summary: RunSummary
    series: Mapping[str, pd.DataFrame]
    summaries: Mapping[str, FlowSummary]


def render(
    config: Config,
    claims: list[Claim],
    errors: pd.DataFrame,
    thresholds: pd.DataFrame,
    cells: Mapping[tuple[str, str], CellFiles | None],
    figures: Mapping[str, str],
    made: Provenance,
) -> str:
    """The page as HTML. ``cells`` by architecture and optimizer, None for one without a run; ``figures``: a text by
    name, a path without suffix from the page; ``made``: the provenance of the tables."""
    charted = [flow for flow in config.flows if any(cell and flow in _charted(cell.series) for cell in cells.values())]
    repeated = any(len(config.seeds_for(architecture)) > 1 for architecture in config.architectures)
    legend = [("Discrete run: its oscillation", key(flow_style(DISCRETE)))]
    legend += [(flow_style(flow).label, key(flow_style(flow))) for flow in FLOW_STYLE if flow in charted]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string((FOLDER / "page.html").read_text(encoding="utf-8"))
    return page.render(
        style=jinja2.utils.markupsafe.Markup((FOLDER / "style.css").read_text(encoding="utf-8")),
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
    data = config.data
    return (
        f"{len(config.architectures)} architectures, {len(config.optimizers)} optimizers, "
        f"{len(config.cells)} cell{'s' * (len(config.cells) > 1)} with {config.seeds_named}: "
        f"full-batch training for {config.steps} steps "
        f"on {data.examples} examples of {data.dataset}, and {len(config.flows)} continuous-time models beside it."
    )


def _charted(flows: Collection[str]) -> list[str]:
    flows = [flow for flow in flows if not is_floor(flow)]
    return [flow for flow in CHARTED if flow in flows] or flows


def _cell(
    config: Config,
    architecture: str,
    optimizer: str,
    files: CellFiles | None,
    errors: pd.DataFrame,
    thresholds: pd.DataFrame,
) -> dict[str, Any]:
    cell, name = Cell(architecture, optimizer, 0), f"{architecture}-{optimizer}"  # no setting depends on the seed
    own = errors[(errors["architecture"] == architecture) & (errors["optimizer"] == optimizer)]
    row = thresholds[(thresholds["architecture"] == architecture) & (thresholds["optimizer"] == optimizer)]
    flows = []
    for flow in config.flows_of(optimizer):
        numbers = own[own["flow"] == flow]
        stopped = numbers["diverged_at"].dropna()
        flows.append(
            {
                "label": flow_style(flow).label,
                "error": two_digits(float(numbers["error_eos_mean"].median())),
                "ratio": two_digits(float(numbers["ratio_to_stable"].median())),
                "to_floor": two_digits(float(numbers["ratio_to_floor"].median())),
                "n": _records(numbers),
                "sharpness": _thresholds(row.get(f"sharpness_{flow}_median", NONE) / row["threshold"]),
                "stopped": ", ".join(str(int(step)) for step in stopped),
                "missing": _missing(numbers),
            }
        )
    return {
        "name": name,
        "title": f"{label(architecture)}, {label(optimizer)}",
        "chart": _chart(files, f"{label(architecture)}, {label(optimizer)}") if files else "",
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


def _chart(files: CellFiles, title: str) -> str:
    """The chart of a cell, with a description for readers who cannot see it."""
    summary, flows = files.summary, _charted(files.series)
    late = files.records[files.records["step"] >= summary.flow_start]
    described = []
    for flow in flows:
        reached = files.series[flow]["error"].dropna()
        last = two_digits(float(reached.iloc[-1])) if len(reached) else "unknown"
        stopped = files.summaries[flow].diverged_at is not None
        described.append(f"{flow_style(flow).label} ends at {last}{', stopped early' * stopped}")
    description = f"Error against step, {title}: {'; '.join(described) or 'no flow'}."
    drawn = {(flow, 0): frame for flow, frame in files.series.items() if flow in flows or is_floor(flow)}
    shown = PlottedCell(drawn, {0: late}, summary.threshold)
    return chart(shown, description)


def _facts(files: CellFiles) -> list[tuple[str, str]]:
    """Weights, threshold, code, machine and running time of a cell, in words."""
    summary, made = files.summary, files.summary.provenance
    seconds = {flow: own.provenance.wall_time_seconds for flow, own in files.summaries.items()}
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
