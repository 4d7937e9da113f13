"""series of a run or a landscape -> an animation, as GIF; and what moves on the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from rodflow.catalogue import label
from rodflow.config import Config
from rodflow.config.run import ANIMATED_FLOWS, ANIMATED_LANDSCAPES
from rodflow.errors import InvalidInput
from rodflow.jobs.files import write_json
from rodflow.pipeline.finished import Finished
from rodflow.pipeline.provenance import provenance
from rodflow.pipeline.results import read_flow, read_landscape, read_plane, read_run
from rodflow.report.cells import about_cell, cell_title
from rodflow.report.figures.motion import TAIL, Motion, save_gif
from rodflow.report.figures.style import DISCRETE

Names = Mapping[str, str]
"""What moves: an ``architecture`` and an ``optimizer``, or a ``landscape``."""


def landscape_motion(config: Config, results: Path, names: Names) -> Motion:
    """Gradient descent, rod flow and the stable flow on a toy landscape."""
    name = names["landscape"]
    config.require(landscape=name)
    table, grid, summary = read_landscape(results, name)
    rows = {flow: table[table["flow"] == flow] for flow in (DISCRETE, *ANIMATED_FLOWS)}
    return Motion(
        title=f"{label(name)}: gradient descent at learning rate {summary.learning_rate:g}",
        about=f"L = {summary.formula}",
        caption="Left the plane, with level lines of the loss; right the learning rate times the sharpness at each "
        f"centre, over its threshold. The rod is rod flow's oscillation; the last {TAIL} iterates are seen.",
        planes=rows,
        sharpness=rows,
        threshold=summary.threshold,
        x_range=(float(grid["x"].min()), float(grid["x"].max())),
        y_range=(float(grid["y"].min()), float(grid["y"].max())),
        heights=grid,
    )


def cell_motion(config: Config, results: Path, names: Names) -> Motion:
    """The first seed of a cell, rod flow and the stable flow, in the plane of drift and oscillation."""
    architecture, optimizer = names["architecture"], names["optimizer"]
    cell = next((cell for cell in config.animations if cell[:2] == (architecture, optimizer)), None)
    if cell is None:
        raise InvalidInput(
            "animated_cells", config.animated_cells, f"a list with {architecture}-{optimizer}, of the run"
        )
    table, summary = read_plane(results, cell)
    run = read_run(results, cell)
    flows = [flow for flow in config.animated_flows(optimizer) if (table["flow"] == flow).any()]
    planes = {flow: table[table["flow"] == flow] for flow in (DISCRETE, *flows)}
    sharpness = {DISCRETE: run.records} | {flow: read_flow(results, cell, flow, run).series for flow in flows}
    swing, way = (planes[DISCRETE][[f"plus_{axis}", f"minus_{axis}"]].to_numpy(float) for axis in "yx")
    shares = (summary.oscillation_share, summary.drift_share)
    known = " (the plane holds {:.0%} of its square, {:.0%} of the drift's)".format(*shares) if all(shares) else ""
    about = about_cell(config, architecture, optimizer, [cell.seed], run.summary.parameters)
    return Motion(
        title=cell_title(architecture, optimizer),
        about=about,
        caption=f"{about[0].upper()}{about[1:]}. Left the plane of the run's two leading directions: the drift of its "
        f"centre, and its oscillation, which is measured from that centre{known}; right the effective sharpness. "
        f"The rod is rod flow's oscillation; the last {TAIL} iterates are seen.",
        planes=planes,
        sharpness=sharpness,
        threshold=run.summary.threshold,
        x_range=around(way),
        y_range=around(np.stack([1.3 * swing, -1.3 * swing])),
        x_label="along the drift",
        y_label="across, from the run's centre",
    )


def around(values: np.ndarray) -> tuple[float, float]:
    """Limits a little beyond all finite ``values``; 0 and 1 where these are none, or one."""
    finite = values[np.isfinite(values)]
    if not len(finite) or finite.min() == finite.max():
        return 0.0, 1.0
    margin = 0.03 * (finite.max() - finite.min())
    return float(finite.min() - margin), float(finite.max() + margin)


def motions(config: Config, results: Path, there: Finished) -> dict[str, Motion]:
    """What moves on the page, by its name."""
    found = {
        n: landscape_motion(config, results, {"landscape": n}) for n in ANIMATED_LANDSCAPES if n in there.landscapes
    }
    for architecture, optimizer, _ in there.planes:
        names = {"architecture": architecture, "optimizer": optimizer}
        found[f"{architecture}-{optimizer}"] = cell_motion(config, results, names)
    return found


ANIMATED: dict[str, Callable[[Config, Path, Names], Motion]] = {"landscape": landscape_motion, "cell": cell_motion}


def animate(config: Config, results: Path, kind: str, output: Path, **names: str) -> None:
    """Write one of the ``ANIMATED`` kinds as GIF, from the files below ``results``, its provenance beside it.

    Raises: ``InvalidInput`` for another ``kind``, or for what the config does not hold or animate.
    """
    begun = time.monotonic()
    if kind not in ANIMATED:
        raise InvalidInput("kind", kind, f"one of {', '.join(ANIMATED)}")
    asked = {"architecture": "", "optimizer": "", "landscape": ""} | names
    save_gif(ANIMATED[kind](config, results, asked), output.with_suffix(".gif"))
    made = provenance(config.model_dump(mode="json"), time.monotonic() - begun)
    write_json(output.with_suffix(".json"), made.model_dump())
