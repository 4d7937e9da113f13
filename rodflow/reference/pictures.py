"""the reference, and a toy landscape -> the pictures that pages of the project show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import pandas as pd
from matplotlib.figure import Figure

from rodflow import config as configuration
from rodflow.catalogue import FLOWS
from rodflow.jobs.files import read_table
from rodflow.pipeline.layout import landscape_file
from rodflow.pipeline.results import read_landscape
from rodflow.pipeline.stages.landscape import run_landscape
from rodflow.report.cells import about_architecture
from rodflow.report.figures import architecture, landscape
from rodflow.report.figures.panels import PlottedCell
from rodflow.report.figures.style import save

FAMILIES = ("gd", "heavy_ball", "rmsprop", "adam")
"""One optimizer of each family, of the MLP's picture."""


def kept_cell(reference: Path, name: str, optimizer: str) -> PlottedCell:
    """A cell's series and records from the folder ``reference``, without the models of other authors."""

    def own(file: str) -> pd.DataFrame:
        table = read_table(reference / file)
        return table[(table["architecture"] == name) & (table["optimizer"] == optimizer)]

    series: dict[tuple[str, int], pd.DataFrame] = {}
    for (flow, seed), rows in own("flows.parquet").groupby(["flow", "seed"], sort=False):
        if not FLOWS.entries[str(flow)].competes:
            series[str(flow), cast(int, seed)] = rows.reset_index(drop=True)
    runs = own("discrete.parquet").groupby("seed")
    discrete = {cast(int, seed): rows.reset_index(drop=True) for seed, rows in runs}
    kept = own("cells.csv")
    ends = [*own("errors.csv")[["flow", "seed", "diverged_at"]].itertuples(index=False, name=None)]
    ends += [
        ("discrete", seed, step) for seed, step in kept[["seed", "diverged_at"]].itertuples(index=False, name=None)
    ]
    ended = {(flow, seed): int(step) for flow, seed, step in ends if pd.notna(step)}
    return PlottedCell(series, discrete, float(kept["threshold"].iloc[0]), ended)


def draw_mlp(reference: Path) -> Figure:
    """Four optimizers on the reference's MLP."""
    config, cells = configuration.load(reference / "config.yaml"), read_table(reference / "cells.csv")
    weights = int(cells.loc[cells["architecture"] == "mlp", "parameters"].iloc[0])
    shown = {optimizer: kept_cell(reference, "mlp", optimizer) for optimizer in FAMILIES}
    return architecture.draw(shown, "mlp", about_architecture(config, "mlp", weights), config.learning_rates["mlp"])


def draw_valley(_: Path) -> Figure:
    """Gradient descent and four flows in the sharpening valley, run anew."""
    with TemporaryDirectory() as folder:
        file = landscape_file(folder, "valley")
        file.parent.mkdir()
        run_landscape("valley", file)
        return landscape.draw(*read_landscape(Path(folder), "valley"))


PICTURES: dict[str, Callable[[Path], Figure]] = {"mlp.png": draw_mlp, "valley.png": draw_valley}
"""The pictures by their name, drawn from the folder of the reference."""


def draw_pictures(reference: Path, output: Path) -> None:
    """Every picture, into the folder ``output``."""
    for name, draw in PICTURES.items():
        save(draw(reference), [output / name])
