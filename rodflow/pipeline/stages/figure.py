"""series and tables of a run -> one figure, as PNG and PDF."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from rodflow.catalogue import FLOWS
from rodflow.config import Cell, Config
from rodflow.errors import InvalidInput
from rodflow.jobs.files import read_table, write_json
from rodflow.measures.summaries import FlowSummary, RunSummary
from rodflow.pipeline.finished import Finished, found
from rodflow.pipeline.provenance import provenance
from rodflow.pipeline.results import read_every_step, read_flow, read_landscape, read_run, read_study
from rodflow.report.cells import CellData, about_architecture, about_cell, cell_title
from rodflow.report.figures import (
    architecture as architecture_figure,
    cell as cell_figure,
    comparison as comparison_figure,
    fidelity as fidelity_figure,
    landscape as landscape_figure,
    overview as overview_figure,
    precision as precision_figure,
)
from rodflow.report.figures.panels import PlottedCell
from rodflow.report.figures.style import DISCRETE, save

Names = dict[str, str]
"""What a figure is of: an ``architecture``, an ``optimizer``, a ``landscape``; empty where it is not asked for."""
NAMES = ("architecture", "optimizer", "flow")
"""What a row of a table is of."""


def cell_data(results: Path, cells: dict[Cell, list[str]]) -> CellData:
    """What the stages left of ``cells``, at least one, which differ in seed."""
    series, discrete, every_step = {}, {}, {}
    ended: dict[tuple[str, int], int | None] = {}
    runs: dict[Cell, RunSummary] = {}
    flows: dict[Cell, dict[str, FlowSummary]] = {}
    for cell, names in cells.items():
        run = read_run(results, cell)
        runs[cell], flows[cell] = run.summary, {}
        discrete[cell.seed], every_step[cell.seed] = run.records, read_every_step(results, cell)
        ended[DISCRETE, cell.seed] = run.summary.diverged_at
        for flow in names:
            series[flow, cell.seed], flows[cell][flow] = read_flow(results, cell, flow, run)
            ended[flow, cell.seed] = flows[cell][flow].diverged_at
    first = next(iter(cells))
    shown = PlottedCell(series, discrete, runs[first].threshold, ended, every_step)
    return CellData(shown, runs[first], flows[first])


def draw_cell(config: Config, results: Path, names: Names, there: Finished) -> Figure:
    architecture, optimizer = names["architecture"], names["optimizer"]
    config.require(architecture=architecture, optimizer=optimizer)
    cells = there.of(architecture, optimizer)
    if not cells:
        raise InvalidInput("optimizer", optimizer, f"one with a finished run on {architecture}")
    shown, summary, _ = cell_data(results, cells)
    about = about_cell(config, architecture, optimizer, shown.seeds, summary.parameters)
    return cell_figure.draw(shown, cell_title(architecture, optimizer), about)


def draw_architecture(config: Config, results: Path, names: Names, there: Finished) -> Figure:
    architecture = names["architecture"]
    config.require(architecture=architecture)
    by_optimizer = {name: there.of(architecture, name) for name in config.optimizers}
    cells = {name: cell_data(results, cells) for name, cells in by_optimizer.items() if cells}
    if not cells:
        raise InvalidInput("architecture", architecture, "one with a finished run")
    shown = {name: data.shown for name, data in cells.items()}
    weights = next(iter(cells.values())).summary.parameters
    about = about_architecture(config, architecture, weights)
    return architecture_figure.draw(shown, architecture, about, config.learning_rates[architecture])


def draw_precision(config: Config, results: Path, names: Names, _: Finished) -> Figure:
    architecture, optimizer = names["architecture"], names["optimizer"]
    cell = Cell(architecture, optimizer, config.seeds_for(architecture)[0])
    return precision_figure.draw(*read_study(results, cell))


def draw_landscape(config: Config, results: Path, names: Names, _: Finished) -> Figure:
    config.require(landscape=names["landscape"])
    return landscape_figure.draw(*read_landscape(results, names["landscape"]))


def draw_overview(_: Config, results: Path, *__: object) -> Figure:
    return overview_figure.draw(read_table(results / "tables" / "errors.csv", ["ratio_to_stable", "n_stable"], NAMES))


def draw_comparison(_: Config, results: Path, *__: object) -> Figure:
    measured = ["gradient_equivalents_per_step", "error_eos_mean", "n", "floor", "diverged_at"]
    table = read_table(results / "tables" / "comparison.csv", measured, NAMES, empty=True)
    if not len(table):
        competing = ", ".join(name for name, entry in FLOWS.entries.items() if entry.competes)
        raise InvalidInput("flows", "comparison", f"one of {competing} for an optimizer that it models")
    return comparison_figure.draw(table)


def draw_fidelity(_: Config, results: Path, *__: object) -> Figure:
    measured = ["error_eos_mean", "sharpness_ratio", "n"]
    return fidelity_figure.draw(read_table(results / "tables" / "fidelity.csv", measured, NAMES))


DRAWN: dict[str, Callable[[Config, Path, Names, Finished], Figure]] = {
    "cell": draw_cell,
    "architecture": draw_architecture,
    "precision": draw_precision,
    "landscape": draw_landscape,
    "overview": draw_overview,
    "fidelity": draw_fidelity,
    "comparison": draw_comparison,
}


def draw_figure(config: Config, results: Path, kind: str, output: Path, incomplete: bool = False, **names: str) -> None:
    """Draw a figure of a ``kind`` in ``DRAWN``, from the files below ``results``, as PNG and PDF.

    A ``cell`` and its ``precision`` study (of the config's first seed) want the names of an ``architecture`` and an
    ``optimizer``, an ``architecture`` and a ``landscape`` their own; ``overview`` and ``fidelity`` show all cells,
    ``comparison`` those with a competing model. Of an ``incomplete`` run, only what is finished is drawn.

    Raises: ``InvalidInput`` for another kind, or for what the config does not hold or study, or is not finished.
    """
    begun = time.monotonic()
    if kind not in DRAWN:
        raise InvalidInput("kind", kind, f"one of {', '.join(DRAWN)}")
    there = found(config, results, incomplete)
    figure = DRAWN[kind](config, results, {"architecture": "", "optimizer": "", "landscape": ""} | names, there)
    save(figure, [output.with_suffix(".png"), output.with_suffix(".pdf")])
    made = provenance(config.model_dump(mode="json"), time.monotonic() - begun)
    write_json(output.with_suffix(".json"), made.model_dump())
