"""the reference, and a toy landscape -> the pictures that pages of the project show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import pandas as pd

from rodflow import config as configuration
from rodflow.catalogue import FLOWS
from rodflow.jobs.files import read_table
from rodflow.pipeline.job import Job
from rodflow.pipeline.results import read_landscape
from rodflow.pipeline.stages.animation import landscape_motion
from rodflow.pipeline.stages.landscape import run_landscape
from rodflow.report.cells import about_architecture
from rodflow.report.figures import architecture, landscape, momentum
from rodflow.report.figures.motion import save_gif
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


def draw_mlp(reference: Path, output: Path) -> None:
    """Four optimizers on the reference's MLP."""
    config, cells = configuration.load(reference / "config.yaml"), read_table(reference / "cells.csv")
    weights = int(cells.loc[cells["architecture"] == "mlp", "parameters"].iloc[0])
    shown = {optimizer: kept_cell(reference, "mlp", optimizer) for optimizer in FAMILIES}
    about = about_architecture(config, "mlp", weights)
    save(architecture.draw(shown, "mlp", about, config.learning_rates["mlp"]), [output])


@contextmanager
def valley() -> Iterator[Path]:
    """The results of a run that has nothing but gradient descent and its flows in the sharpening valley, run anew."""
    with TemporaryDirectory() as folder:
        file = Job("landscape", name="valley").file(folder)
        file.parent.mkdir()
        run_landscape("valley", file)
        yield Path(folder)


def draw_valley(_: Path, output: Path) -> None:
    """Gradient descent and four flows in the valley."""
    with valley() as results:
        save(landscape.draw(*read_landscape(results, "valley")), [output])


def draw_momentum(_: Path, output: Path) -> None:
    """How fast an oscillation dies with momentum, in the run and in the flows."""
    save(momentum.draw(), [output])


def move_valley(reference: Path, output: Path) -> None:
    """Gradient descent, rod flow and the stable flow in the valley, as an animation."""
    config = configuration.load(reference / "config.yaml").model_copy(update={"landscapes": ["valley"]})
    with valley() as results:
        save_gif(landscape_motion(config, results, {"landscape": "valley"}), output)


PICTURES: dict[str, Callable[[Path, Path], None]] = {
    "mlp.png": draw_mlp,
    "valley.png": draw_valley,
    "valley.gif": move_valley,
    "momentum.png": draw_momentum,
}
"""The pictures by their name, drawn from the folder of the reference."""


def draw_pictures(reference: Path, output: Path) -> None:
    """Every picture, into the folder ``output``."""
    for name, draw in PICTURES.items():
        draw(reference, output / name)
