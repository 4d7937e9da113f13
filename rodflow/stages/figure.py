"""series and tables of a run -> one figure, as PNG and PDF."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd

from rodflow.config import Config
from rodflow.errors import InvalidInput
from rodflow.figures import architecture as architecture_figure
from rodflow.figures import cell as cell_figure
from rodflow.figures import landscape as landscape_figure
from rodflow.figures import overview as overview_figure
from rodflow.figures.style import save
from rodflow.layout import discrete_file, flow_file, grid_file, landscape_file
from rodflow.provenance import provenance
from rodflow.storage import read_json, read_table, write_json

CellData = tuple[dict[tuple[str, int], pd.DataFrame], dict[int, pd.DataFrame], float]


def cell_data(config: Config, results: Path, architecture: str, optimizer: str) -> CellData:
    """A cell's flow series by (flow, seed), its discrete records by seed, and its threshold."""
    series, discrete, threshold = {}, {}, float("nan")
    for seed in config.seeds:
        file = discrete_file(results, architecture, optimizer, seed)
        discrete[seed], threshold = read_table(file), read_json(file.with_suffix(".json"))["threshold"]
        for flow in config.flows:
            series[flow, seed] = read_table(flow_file(results, architecture, optimizer, seed, flow))
    return series, discrete, threshold


def draw_figure(
    config: Config,
    results: Path,
    kind: str,
    output: Path,
    architecture: str = "",
    optimizer: str = "",
    landscape: str = "",
) -> None:
    """Draw ``kind``: a ``cell`` (architecture and optimizer), an ``architecture``, the ``overview`` or a ``landscape``.

    Raises: ``InvalidInput`` for another kind, or a cell or landscape that the config does not hold.
    """
    begun = time.monotonic()
    if kind not in ("cell", "architecture", "overview", "landscape"):
        raise InvalidInput("kind", kind, "cell, architecture, overview or landscape")
    if kind == "cell":
        config.require(architecture=architecture, optimizer=optimizer)
        figure = cell_figure.draw(*cell_data(config, results, architecture, optimizer), architecture, optimizer)
    elif kind == "architecture":
        config.require(architecture=architecture)
        cells = {name: cell_data(config, results, architecture, name) for name in config.optimizers}
        figure = architecture_figure.draw(cells, architecture)
    elif kind == "landscape":
        config.require(landscape=landscape)
        file = landscape_file(results, landscape)
        summary = read_json(file.with_suffix(".json"))
        figure = landscape_figure.draw(read_table(file), read_table(grid_file(file)), summary)
    else:
        figure = overview_figure.draw(read_table(results / "tables" / "errors.csv"))
    save(figure, [output.with_suffix(".png"), output.with_suffix(".pdf")])
    settings = config.model_dump(mode="json")
    write_json(output.with_suffix(".json"), provenance(settings, time.monotonic() - begun))
