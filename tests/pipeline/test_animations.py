"""What moves: the plane of a run's two leading directions, GIFs with the same bytes, and the player's numbers."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.checkout import smoke
from helpers.drawings import assert_moves
from helpers.runs import run_everything

from rodflow import config as configuration
from rodflow.config import Cell
from rodflow.errors import InvalidInput
from rodflow.optimizers.step_map import State
from rodflow.pipeline.finished import on_disk
from rodflow.pipeline.job import Job
from rodflow.pipeline.results import read_plane
from rodflow.pipeline.stages.animation import animate, cell_motion, motions
from rodflow.pipeline.stages.plane import leading_plane
from rodflow.report.figures.motion import Motion, player, save_gif
from rodflow.training.discrete import DiscreteRun
from rodflow.training.run_file import load

CONFIG = configuration.parse(
    smoke(
        architectures=["mlp"],
        optimizers=["gd"],
        flows=["stable", "rod"],
        precision_cells=[],
        landscapes=[],
        animated_cells=["mlp-gd"],
    )
)
CELL = Cell("mlp", "gd", 0)
NAMES = {"architecture": "mlp", "optimizer": "gd"}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("animations")
    run_everything(CONFIG, root)
    return root / "results/smoke"


def made_up(swing: float) -> DiscreteRun:
    """A run of three weights whose centre goes along (3, 4, 0)/5 and whose iterates alternate along (0, 0, 1)."""
    steps = torch.arange(10, 101, 10)
    centres = steps[:, None] * torch.tensor([[0.6, 0.8, 0.0]], dtype=torch.float64)
    w = centres + swing * torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64) * (-1.0) ** (steps[:, None] // 10)
    none = torch.zeros(0)
    empty = w.new_zeros(len(w), 0)
    return DiscreteRun(2.0, steps, none, none, none, centres, State(w, empty, empty), none[:, None], none)


def test_leading_plane_of_a_run_whose_directions_are_known():
    plane = leading_plane(made_up(0.01), 25)
    torch.testing.assert_close(plane.axes, torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64))
    assert plane.drift_share == pytest.approx(1) and plane.oscillation_share == pytest.approx(1)


def test_a_run_without_a_record_has_no_plane():
    plane = leading_plane(made_up(0.01), 100)
    assert not plane.axes.any() and (plane.drift_share, plane.oscillation_share) == (None, None)


def test_plane_holds_the_projections_of_run_and_flows(results):
    """At the records, of what the run's file holds; of the flows no more than the error that their series say."""
    table, summary = read_plane(results, CELL)
    run = load(results / "discrete/mlp-gd-seed0.h5")
    axes, start = leading_plane(run, summary.flow_start).axes, summary.flow_start
    torch.testing.assert_close(axes @ axes.T, torch.eye(2, dtype=torch.float64))
    planes = {flow: rows.set_index("step") for flow, rows in table.groupby("flow")}
    steps = [int(t) for t in run.record_steps if t > start]
    kept = torch.isin(run.record_steps, torch.tensor(steps))
    centres, w = (part[kept].double() @ axes.T for part in (run.midpoints, run.states.w))
    origin = (run.window(start).midpoint().w.double() @ axes.T)[0]
    shown = planes["discrete"].loc[steps]
    np.testing.assert_allclose(shown["x"], centres[:, 0] - origin, atol=1e-6)
    np.testing.assert_allclose(shown["y"], 0, atol=1e-6)
    np.testing.assert_allclose(
        shown[["plus_x", "plus_y"]], w - torch.stack([origin.expand(len(w)), centres[:, 1]], 1), atol=1e-6
    )
    for flow in ("stable", "rod"):
        error = pd.read_parquet(results / f"flows/mlp-gd-seed0-{flow}.parquet").set_index("step").loc[steps, "error"]
        off = planes[flow].loc[steps, ["x", "y"]].to_numpy() - shown[["x", "y"]].to_numpy()
        assert (np.hypot(*off.T) <= error + 1e-6).all()
        assert planes[flow]["plus_x"].isna().all() == (flow == "stable")
        assert planes[flow].index.tolist() == list(range(start + 1, CONFIG.steps + 1))


def test_gif_has_the_same_bytes_each_time(results, tmp_path):
    assert_moves(CONFIG, results, "cell", tmp_path, **NAMES)


def test_the_players_points_are_those_that_matplotlib_draws(results):
    """At the last step: the script puts a line where the picture has it without a script."""
    for name, motion in motions(CONFIG, results, on_disk(CONFIG, results)).items():
        shown = player(name, motion)
        assert (shown.moves["first"], shown.moves["last"]) == motion.steps
        compared = 0
        for trail in shown.moves["trails"]:
            assert len(trail["points"]) == len(trail["steps"]) > 0
            group = re.search(rf'<g id="{trail["id"]}">(.*?)</g>', "".join(shown.pictures), re.DOTALL).group(1)
            if trail["tail"] is not None or (path := re.match(r'\s*<path d="([^"]*)"', group)) is None:
                continue
            drawn = np.array(re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path.group(1)), float)
            inside = [point for point in trail["points"] if 0 < min(point) and max(point) < 230]  # the rest is cut off
            nearest = np.abs(np.array([inside[0], inside[-1]])[:, None] - drawn).max(2).min(1)
            assert (nearest < 0.06).all()
            compared += 1
        assert compared >= 5  # both centres, three sharpnesses


def test_a_run_that_is_lost_moves_as_far_as_it_goes(tmp_path):
    """NaN from a step on, a flow that leaves the plane, and nothing at all."""
    steps = np.arange(1, 31)
    rows = pd.DataFrame({"step": steps, "x": steps / 30, "y": 0.0, "plus_x": steps / 30, "plus_y": 0.1})
    rows = rows.assign(minus_x=rows["x"], minus_y=-0.1, sharpness=1.5)
    for lost in (20, 1):
        numbers = [name for name in rows if name != "step"]
        short = rows.copy()
        short.loc[short["step"] >= lost, numbers] = np.nan
        away = rows.assign(x=1e6 * rows["x"], plus_x=np.nan)
        tables = {"discrete": short, "stable": away, "rod": short}
        motion = Motion("a", "b", "c", tables, tables, 2.0, (0, 1), (-1, 1))
        save_gif(motion, tmp_path / f"{lost}.gif")
        for trail in player("a", motion).moves["trails"]:
            assert np.isfinite(np.array(trail["points"], float)).all()


def test_a_cell_that_is_not_animated_is_refused(results):
    config = CONFIG.model_copy(update={"animated_cells": []})
    with pytest.raises(InvalidInput, match=r"animated_cells: got .*mlp-gd"):
        cell_motion(config, results, NAMES)
    with pytest.raises(InvalidInput, match="kind: got 'page'"):
        animate(CONFIG, results, "page", results / "page")
    with pytest.raises(InvalidInput, match="landscape: got 'quartic'"):
        animate(CONFIG, results, "landscape", results / "quartic", landscape="quartic")


def test_animated_cells_are_those_of_the_grid_and_move_where_all_is_finished(results):
    wider = configuration.parse(smoke(animated_cells=["vit-adam", "mlp-gd"], seeds_of={"mlp": [3, 0]}))
    assert wider.animations == [Cell("vit", "adam", 0), Cell("mlp", "gd", 3)]
    assert configuration.parse(smoke(animated_cells=["cnn-gd"])).animations == []
    assert on_disk(CONFIG, results).planes == [CELL]
    other = CONFIG.model_copy(update={"animated_cells": []})
    assert other.discrete_settings(CELL) == CONFIG.discrete_settings(CELL)
    summary = Job("plane", CELL).file(results).with_suffix(".json")
    kept = summary.read_text()
    summary.unlink()
    assert on_disk(CONFIG, results).planes == []
    summary.write_text(kept)
    flow = results / "flows/mlp-gd-seed0-rod.json"
    kept = flow.read_text()
    flow.unlink()
    assert on_disk(CONFIG, results).planes == []  # which moves in it
    flow.write_text(kept)
