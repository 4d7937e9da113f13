"""series of a run or a landscape -> an animation, as GIF; and what moves on the page."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rodflow.catalogue import label
from rodflow.config import Config
from rodflow.config.run import ANIMATED_LANDSCAPES
from rodflow.errors import InvalidInput
from rodflow.jobs.files import write_json
from rodflow.pipeline.finished import Finished
from rodflow.pipeline.provenance import provenance
from rodflow.pipeline.results import read_landscape
from rodflow.report.figures.motion import TAIL, Motion, save_gif
from rodflow.report.figures.style import DISCRETE

ANIMATED_FLOWS = ("stable", "rod")
"""The flows that move beside the run."""


def landscape_motion(config: Config, results: Path, name: str) -> Motion:
    """Gradient descent, rod flow and the stable flow on a toy landscape."""
    config.require(landscape=name)
    table, grid, summary = read_landscape(results, name)
    rows = {flow: table[table["flow"] == flow] for flow in (DISCRETE, *ANIMATED_FLOWS)}
    return Motion(
        title=f"{label(name)}, L = {summary.formula}, gradient descent at learning rate {summary.learning_rate:g}",
        caption="Left the plane, with level lines of the loss; right the learning rate times the sharpness at each "
        f"centre, over its threshold. The rod is rod flow's oscillation; the last {TAIL} iterates are seen.",
        planes=rows,
        sharpness=rows,
        threshold=summary.threshold,
        x_range=(float(grid["x"].min()), float(grid["x"].max())),
        y_range=(float(grid["y"].min()), float(grid["y"].max())),
        heights=grid,
    )


def motions(config: Config, results: Path, there: Finished) -> dict[str, Motion]:
    """What moves on the page, by its name."""
    return {name: landscape_motion(config, results, name) for name in ANIMATED_LANDSCAPES if name in there.landscapes}


ANIMATED: dict[str, Callable[[Config, Path, str], Motion]] = {"landscape": landscape_motion}


def animate(config: Config, results: Path, kind: str, name: str, output: Path) -> None:
    """Write the animation of a ``landscape``, from the files below ``results``, as GIF; its provenance beside it.

    Raises: ``InvalidInput`` for another ``kind``, or a name that the config does not hold.
    """
    begun = time.monotonic()
    if kind not in ANIMATED:
        raise InvalidInput("kind", kind, f"one of {', '.join(ANIMATED)}")
    save_gif(ANIMATED[kind](config, results, name), output.with_suffix(".gif"))
    made = provenance(config.model_dump(mode="json"), time.monotonic() - begun)
    write_json(output.with_suffix(".json"), made.model_dump())
