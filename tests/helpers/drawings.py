"""What a drawn figure says, and made-up data to draw."""

import numpy as np
import pandas as pd
from matplotlib.text import Text
from PIL import Image

from rodflow.pipeline.stages.animation import animate
from rodflow.report.figures.motion import FRAMES
from rodflow.report.figures.panels import PlottedCell

STEPS = np.arange(10, 1001, 10)
DRAWN_FLOWS = ("stable", "stable_corrected", "rod", "rod_one_column", "twin", "second_twin")


def run(seed=0, threshold=2.0, lost=None):
    """A made-up discrete run that reaches the edge half-way; it diverges at step ``lost``."""
    noise = np.random.default_rng(seed).normal(size=(2, len(STEPS)))
    sharpness = threshold * np.minimum(0.2 + STEPS / 600, 1 + 0.02 * noise[0])
    oscillation = 0.2 / (1 + np.exp((500 - STEPS) / 25)) * np.exp(0.2 * noise[1]) + 1e-4
    frame = pd.DataFrame(
        {"step": STEPS, "loss": np.exp(-STEPS / 400), "sharpness": sharpness, "oscillation": oscillation}
    )
    if lost is not None:
        frame.loc[frame.step >= lost, ["loss", "sharpness", "oscillation"]] = np.nan
    return frame


def flow(name, discrete, lost=None):
    """A made-up flow: the stable ones leave the run at the edge, the others follow it."""
    rod = name.startswith("rod") or "twin" in name
    scales = {"stable": 1.0, "stable_corrected": 0.7, "rod": 0.06, "rod_one_column": 0.04, "twin": 0.02}
    scale = scales.get(name, 0.03)
    frame = pd.DataFrame({"step": STEPS, "error": scale * (0.002 + np.clip(STEPS - 480, 0, None) / 500)})
    frame["loss"] = np.exp(-STEPS / 400)
    frame["predicted_loss"] = frame.loss * (1.02 if rod else 0.9)
    frame["sharpness"] = discrete.sharpness.ffill() * (1 if rod else 1 + np.clip(STEPS - 480, 0, None) / 400)
    frame["rod_length"] = discrete.oscillation * 1.1 if rod else np.nan
    frame["displacement"] = frame["relative_error"] = 1.0
    frame["discrete_loss"], frame["discrete_sharpness"] = discrete.loss, discrete.sharpness
    frame["oscillation"], frame["gradients"], frame["hessian_vector_products"] = discrete.oscillation, STEPS, STEPS
    frame.loc[discrete.loss.isna(), "error"] = np.nan
    if lost is not None:
        frame.loc[frame.step >= lost, frame.columns != "step"] = np.nan
        frame.loc[frame.step == lost - 10, ["sharpness", "predicted_loss"]] = 1e4
    return frame


def experiment(seeds=2, threshold=2.0, lost=None, flow_lost=None, flow_stopped=None):
    """What figures show of one cell; a flow in ``flow_lost`` has no number there, one in ``flow_stopped`` its last."""
    discrete = {seed: run(seed, threshold, lost) for seed in range(seeds)}
    stopped = flow_stopped or {}
    gone = {key: at + 10 for key, at in stopped.items()} | (flow_lost or {})
    series = {(f, s): flow(f, discrete[s], gone.get((f, s))) for f in DRAWN_FLOWS for s in range(seeds)}
    ended = {("discrete", s): lost for s in discrete} | gone | stopped
    steps = np.arange(1002)
    zigzag = pd.DataFrame({"step": steps, "loss": np.exp(-steps / 400) * (1 + 0.05 * (-1.0) ** steps)})
    return PlottedCell(series, discrete, threshold, ended, dict.fromkeys(discrete, zigzag))


def assert_moves(config, results, kind, folder, **names):
    """The animation has the same bytes each time, frames that all differ, and a modest size."""
    for attempt in ("first", "second"):
        animate(config, results, kind, folder / attempt / kind, **names)
    first, second = (folder / attempt / f"{kind}.gif" for attempt in ("first", "second"))
    assert first.read_bytes() == second.read_bytes() and first.with_suffix(".json").exists()
    with Image.open(first) as picture:
        assert 20 < picture.n_frames <= FRAMES + 1 and picture.info["loop"] == 0
        shown = set()
        for frame in range(picture.n_frames):
            picture.seek(frame)
            shown.add(picture.convert("RGB").tobytes())
        assert len(shown) == picture.n_frames
    assert first.stat().st_size < 300_000


def texts(figure):
    return "\n".join(t.get_text() for t in figure.findobj(Text))


def sticks_out(figure):
    """The figure's title and entries of its legend that do not lie within it, to a pixel."""
    figure.draw_without_rendering()
    shown = [figure._suptitle, *(text for legend in figure.legends for text in legend.get_texts())]
    boxes = {text.get_text(): text.get_window_extent() for text in shown}
    return [text for text, box in boxes.items() if box.x0 < -1 or box.x1 > figure.bbox.width + 1]
