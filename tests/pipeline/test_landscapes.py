"""Toy landscapes: their formulas, orbits known in closed form, and what the flows make of them."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.checkout import smoke
from helpers.drawings import assert_moves
from helpers.problems import central_difference, optimizer, window
from matplotlib.text import Text
from scipy.optimize import brentq

from rodflow import config as configuration
from rodflow.catalogue import LANDSCAPES
from rodflow.config.run import LANDSCAPE_FLOWS
from rodflow.errors import InvalidInput
from rodflow.flows.drift_free_rod import DriftFreeRod
from rodflow.flows.integrate import trajectory
from rodflow.flows.rod_one_column import OneColumnRodFlow
from rodflow.flows.stable import StableFlow
from rodflow.jobs.files import read_json, read_model, read_table
from rodflow.measures.columns import LANDSCAPE_COLUMNS
from rodflow.measures.summaries import LandscapeSummary
from rodflow.optimizers.step_map import State
from rodflow.pipeline.job import Job
from rodflow.pipeline.stages import landscape as stage
from rodflow.problems import landscapes
from rodflow.report.figures import landscape as landscape_figure
from rodflow.report.figures.style import save
from rodflow.training.discrete import train
from rodflow.training.objective import Objective

FORMULAS = {
    "quartic": lambda x, y: 0.025 * x**2 + 2.05 * y**2 - y**4 / 4,
    "valley": lambda x, y: (4 + 0.4 * x) * y**2 / 2 - 0.012 * x + 0.02 * x**2,
    "square_root": lambda x, y: (1 + 0.02 * x**2) * y**2 / (1 + y**2) ** 0.5,
}
"""The losses once more, as their figures state them."""
ONSET = 0.1
"""An oscillation along y that is longer than this has set in."""


def point(*w: float) -> torch.Tensor:
    return torch.tensor(w, dtype=torch.float64)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The landscape stage's files."""
    folder = tmp_path_factory.mktemp("results")
    for name in LANDSCAPES:
        stage.run_landscape(name, Job("landscape", name=name).file(folder))
    return folder


def series(results, name: str) -> dict[str, pd.DataFrame]:
    table = read_table(Job("landscape", name=name).file(results))
    return {flow: rows.set_index("step") for flow, rows in table.groupby("flow")}


def onset(rows: pd.DataFrame) -> float:
    beyond = (rows["plus_y"] - rows["y"]).abs() > ONSET
    return float(beyond.idxmax()) if beyond.any() else float("inf")


@pytest.mark.parametrize("name", LANDSCAPES)
def test_formulas_and_gradients(name):
    objective = LANDSCAPES[name].objective
    for w in (point(*LANDSCAPES[name].w0), point(0.3, -0.4), point(-1.0, 0.7)):
        torch.testing.assert_close(objective.value(w), FORMULAS[name](*w))
        for v in (point(1, 0), point(0, 1)):
            difference = central_difference(lambda w: FORMULAS[name](*w), w, v)
            torch.testing.assert_close(objective.gradient(w) @ v, difference, rtol=1e-8, atol=1e-9)
    points, loss = LANDSCAPES[name].grid(5)
    torch.testing.assert_close(loss, FORMULAS[name](points[:, 0], points[:, 1]))


def test_valley_holds_gradient_descent_where_slope_and_oscillation_balance():
    """At lr (s + r x) = 2 and y^2 = 2 (p - k x)/r the iterates are (x, y), (x, -y), (x, y), ..."""
    valley = LANDSCAPES["valley"]
    w = point(0.0, (2 * 0.012 / 0.4) ** 0.5)
    torch.testing.assert_close(w - valley.learning_rate * valley.objective.gradient(w), point(0.0, -float(w[1])))


def test_quartic_settles_on_its_orbit_of_period_two(results):
    """a^2 = S/Q - 2/(lr Q) = 4.1 - 4."""
    amplitude = 0.1**0.5
    found = series(results, "quartic")
    for flow in ("discrete", "drift_free_rod"):
        last = found[flow].iloc[-1]
        assert abs(last["plus_y"] - last["y"]) == pytest.approx(amplitude, rel=1e-3)


def test_square_root_has_an_orbit_of_finite_length():
    """lr (2 + a^2) = 2 (1 + a^2)^(3/2), where nothing moves along the trough."""
    lr = 1.1
    amplitude = brentq(lambda a: lr * (2 + a**2) - 2 * (1 + a**2) ** 1.5, 0.01, 10)
    objective, ours = Objective(landscapes.square_root(0.0)), optimizer("gd", lr)
    run = train(objective, ours, point(1.0, 0.05), 120, record_interval=20)
    flow = DriftFreeRod(objective, ours)
    *_, (_, y) = trajectory(flow, run.window(8), [120])
    assert float(flow.rod(y)[1].abs()) == pytest.approx(amplitude, rel=1e-3)
    assert float(run.oscillation[120]) == pytest.approx(amplitude, rel=1e-3)


def test_valley_reaches_the_edge_by_drift_and_is_held_there(results):
    discrete = series(results, "valley")["discrete"]
    assert discrete["sharpness"].iloc[0] < 1.91
    assert discrete["sharpness"].max() < 1.25 * 2
    assert discrete["sharpness"].iloc[-100:].between(1.98, 2.02).all()


def test_onset_on_the_valley(results):
    """The drift-free rod enters the edge with the run, rod flow a little later; one column never does."""
    found = series(results, "valley")
    run = onset(found["discrete"])
    assert 100 < run < 300
    assert onset(found["drift_free_rod"]) == pytest.approx(run, rel=0.1)
    assert onset(found["rod"]) == pytest.approx(run, rel=0.1)
    assert onset(found["rod_one_column"]) == float("inf")
    error = read_json(Job("landscape", name="valley").file(results).with_suffix(".json"))["mean_error"]
    assert error["drift_free_rod"] < error["stable"] / 100
    assert error["rod"] < error["stable"] / 3
    assert error["rod_one_column"] > 0.9 * error["stable"]


def test_one_column_enters_the_edge_if_it_starts_along_the_oscillation():
    """The same valley from further off its floor, so that the oscillation is longer than the drift."""
    valley, ours = LANDSCAPES["valley"], optimizer("gd", LANDSCAPES["valley"].learning_rate)
    run = train(valley.objective, ours, point(valley.w0[0], 0.05), 160, record_interval=20)
    entered = next(t for t in range(20, 160) if run.oscillation[t] > ONSET)
    flow = OneColumnRodFlow(valley.objective, ours)
    lengths = {t: float(flow.rod(y)[1].abs()) for t, y in trajectory(flow, run.window(8), range(9, 161))}
    assert next(t for t in range(20, 161) if lengths[t] > ONSET) == pytest.approx(entered, rel=0.1)


@pytest.mark.parametrize("name", ["quartic", "square_root"])
def test_all_rods_follow_where_the_oscillation_is_longer_than_the_drift(results, name):
    error = read_json(Job("landscape", name=name).file(results).with_suffix(".json"))["mean_error"]
    assert max(error[flow] for flow in ("rod", "rod_one_column", "drift_free_rod")) < error["stable"] / 50


def test_only_the_oscillation_moves_a_point_along_the_square_root_trough(results):
    found = series(results, "square_root")
    assert found["discrete"]["sharpness"].iloc[0] > 2.15 and found["discrete"]["sharpness"].iloc[-1] < 2.01
    assert found["stable"]["sharpness"].iloc[-1] > 2.15
    assert found["drift_free_rod"]["x"].iloc[-1] == pytest.approx(found["discrete"]["x"].iloc[-1], abs=1e-3)


@pytest.mark.parametrize("name", LANDSCAPES)
def test_the_stage_writes_every_step(results, name):
    file, landscape = Job("landscape", name=name).file(results), LANDSCAPES[name]
    table, summary = read_table(file), read_json(file.with_suffix(".json"))
    assert list(table) == LANDSCAPE_COLUMNS
    assert summary["diverged_at"] == dict.fromkeys(["discrete", *LANDSCAPE_FLOWS])
    for flow, rows in table.groupby("flow"):
        first = 1 if flow == "discrete" else summary["flow_start"] + 1
        assert rows["step"].tolist() == list(range(first, landscape.steps + 1))
        ends = rows[["plus_x", "plus_y", "minus_x", "minus_y"]].to_numpy()
        assert np.isnan(ends).all() if flow == "stable" else np.isfinite(ends).all()
        assert np.isfinite(rows[["x", "y", "loss", "sharpness"]].to_numpy()).all()
    shown = table[table["flow"] == "discrete"]
    for column, ends in (("plus_x", landscape.x_range), ("plus_y", landscape.y_range)):
        assert shown[column].between(*ends).all()
    grid = read_table(file.with_name(f"{file.stem}-grid.parquet"))
    assert list(grid) == ["x", "y", "loss"] and len(grid) == 81**2
    assert summary["provenance"]["config"]["learning_rate"] == landscape.learning_rate


def test_the_run_is_gradient_descent(results):
    """The table's iterates, step by step, and their centre."""
    landscape, rows = LANDSCAPES["valley"], series(results, "valley")["discrete"]
    w, iterates = point(*landscape.w0), []
    for _ in range(40):
        iterates.append(w.numpy())
        w = w - landscape.learning_rate * landscape.objective.gradient(w)
    iterates = np.array(iterates)
    np.testing.assert_allclose(rows.loc[1:39, ["plus_x", "plus_y"]], iterates[1:], rtol=1e-12)
    centre = (iterates[:-2] + 2 * iterates[1:-1] + iterates[2:]) / 4
    np.testing.assert_allclose(rows.loc[1:38, ["x", "y"]], centre, rtol=1e-9, atol=1e-15)


def test_a_flow_that_diverges_is_marked():
    """L = -w^4: dw/dt = 4 w^3 reaches infinity at time 1/(8 w^2) = 12.5."""
    states = [State(point(0.1, 0.1), point(), point())] * 3
    flow = StableFlow(Objective(lambda w: -(w**4).sum()), optimizer("gd", 1.0))
    rows, diverged_at = stage.flow_rows(flow, window(states, 0), range(1, 20))
    assert diverged_at == 13
    assert rows["step"].tolist() == list(range(1, 20))
    assert rows["x"].notna().tolist() == [step < 13 for step in range(1, 20)]


def test_a_run_that_diverges_before_the_flows_start_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(landscapes, "QUARTIC", replace(LANDSCAPES["quartic"], w0=(1.0, 3.0)))
    with pytest.raises(InvalidInput, match="at: got 8"):
        stage.run_landscape("quartic", tmp_path / "quartic.parquet")
    assert not list(tmp_path.iterdir())


def test_a_landscape_that_the_config_lacks_is_refused():
    config = configuration.parse(smoke())
    config.require(landscape="valley")
    with pytest.raises(InvalidInput, match="landscape: got 'quartic'"):
        config.require(landscape="quartic")


def drawing(results, name, lost=None):
    file = Job("landscape", name=name).file(results)
    table = read_table(file)
    if lost is not None:
        table.loc[(table["flow"] == lost) & (table["step"] > 50), LANDSCAPE_COLUMNS[3:]] = np.nan
    return landscape_figure.draw(
        table,
        read_table(file.with_name(f"{file.stem}-grid.parquet")),
        read_model(file.with_suffix(".json"), LandscapeSummary),
    )


@pytest.mark.parametrize(
    ("name", "lost"), [*((name, None) for name in LANDSCAPES), ("valley", "stable"), ("valley", "rod")]
)
def test_figures_draw_without_a_warning(results, tmp_path, name, lost):
    paths = [tmp_path / "figure.png", tmp_path / "figure.pdf"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save(drawing(results, name, lost), paths)
    assert all(path.stat().st_size > 10_000 for path in paths)


def test_the_valley_moves(results, tmp_path):
    assert_moves(configuration.parse(smoke()), results, "landscape", tmp_path, landscape="valley")


def test_figure_labels(results):
    figure = drawing(results, "valley")
    words = "\n".join(text.get_text() for text in figure.findobj(Text))
    for expected in ("Sharpening valley", "lr = 0.5", "optimizer step", "lr × sharpness", "Stable flow", "rod ends"):
        assert expected in words
    assert {axes.get_title(loc="left")[:3] for axes in figure.axes} == {"(a)", "(b)", "(c)", "(d)"}
