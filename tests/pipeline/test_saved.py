"""Runs and flows in files, in tables and in pictures: what a user of the library keeps."""

import pickle
from dataclasses import fields

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from helpers.problems import network, optimizer
from matplotlib import pyplot

import rodflow as rf
from rodflow.errors import InvalidInput
from rodflow.flows.columns import SERIES_COLUMNS
from rodflow.jobs.files import read_arrays, write_arrays
from rodflow.training.columns import RECORD_COLUMNS

NET = network()


def trained(name="adam", dtype=torch.float64, **settings):
    settings = {"steps": 60, "record_interval": 10, "eigenvalues": 2} | settings
    return rf.train(NET.objective(), optimizer(name), NET.w0.to(dtype), **settings)


def followed(run, **settings):
    flow = rf.StableFlow(NET.objective(), optimizer("adam"))
    return rf.integrate(flow, run.window(20), 40, **settings)


def same(one, other):
    """Whether two values are the same to the bit, NaN included."""
    if isinstance(one, torch.Tensor):
        return (
            one.dtype == other.dtype and one.shape == other.shape and one.numpy().tobytes() == other.numpy().tobytes()
        )
    if isinstance(one, pd.DataFrame):
        return one.dtypes.equals(other.dtypes) and all(same(torch.tensor(one[c]), torch.tensor(other[c])) for c in one)
    if isinstance(one, tuple):
        return all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, rf.Window):
        return same(vars(one), vars(other))
    return type(one) is type(other) and one == other


@pytest.fixture(scope="module")
def run():
    run = trained()
    run.window(20)
    run.window(40, 3)
    return run


@pytest.fixture(scope="module")
def flow(run):
    return followed(run)


@pytest.mark.parametrize(
    "make",
    [
        trained,
        lambda: trained("gd", perturbation=1e-5),
        lambda: trained("rmsprop", torch.float32),
        lambda: rf.train(NET.objective(), rf.GradientDescent(1e4), NET.w0, 60),  # diverges
        lambda: followed(trained()),
        lambda: followed(trained(), keep_centres=False),
        lambda: followed(trained(dtype=torch.float32), maximum_sharpness=1e-3),  # is stopped at its first record
    ],
)
def test_what_is_loaded_is_what_was_saved(tmp_path, make):
    made = make()
    if isinstance(made, rf.DiscreteRun) and made.diverged_at is None:
        made.window(20)
        made.window(40, 3)
    rf.save(made, tmp_path / "made.h5")
    for again in (rf.load(tmp_path / "made.h5"), rf.load(str(tmp_path / "made.h5"))):
        for field in fields(made):
            assert field.name == "source" or same(getattr(made, field.name), getattr(again, field.name)), field.name
    rf.save(again, tmp_path / "again.h5")
    arrays, attributes = zip(*(read_arrays(tmp_path / name) for name in ("made.h5", "again.h5")), strict=True)
    assert arrays[0].keys() == arrays[1].keys() and attributes[0].keys() == attributes[1].keys()
    assert {path.name for path in tmp_path.iterdir()} == {"made.h5", "again.h5"}


def test_a_loaded_run_starts_flows_and_knows_its_optimizer(tmp_path, run, flow):
    rf.save(run, tmp_path / "run.h5")
    ours = optimizer("adam")
    for again in (rf.load(tmp_path / "run.h5"), pickle.loads(pickle.dumps(run))):
        assert same(followed(again).centres, flow.centres)
        assert again.optimizer == ours.description
        others = (rf.Adam(2 * ours.learning_rate), rf.Adam(ours.learning_rate, beta2=0.95), rf.Scheduled(ours, float))
        for other in others:
            with pytest.raises(InvalidInput, match=r"start: got 'a window of Adam\("):
                rf.integrate(rf.StableFlow(NET.objective(), other), again.window(20), 20)
        with pytest.raises(InvalidInput, match=r"at: got 30, .* \[20, 40\]; .*rodflow.load"):
            again.window(30)


def test_a_loaded_run_is_replayed_by_its_own_objective_and_optimizer(tmp_path, run):
    rf.save(run, tmp_path / "run.h5")
    again = rf.load(tmp_path / "run.h5", NET.objective(), optimizer("adam"))
    for at in (9, 30, 45):  # before the first record, at one, between two
        assert same(again.window(at).states, run.window(at).states)
    with pytest.raises(InvalidInput, match=r"optimizer: got 'Adam\(learning_rate=0.5"):
        rf.load(tmp_path / "run.h5", NET.objective(), rf.Adam(0.5))
    with pytest.raises(InvalidInput, match=r"objective: .* its first weights"):
        rf.load(tmp_path / "run.h5", rf.Objective(lambda w: w @ w), optimizer("adam"))


def test_of_a_users_function_the_name_is_kept(tmp_path):
    @rf.step_map(learning_rate=0.1)
    def plain(state, gradient, t):
        return state._replace(w=state.w - 0.1 * gradient)

    rf.save(rf.train(NET.objective(), rf.Scheduled(plain, rf.schedules.warmup(5)), NET.w0, 20), tmp_path / "run.h5")
    kept = rf.load(tmp_path / "run.h5").optimizer
    assert kept.startswith("Scheduled(") and "<plain>" in kept and "learning_rate=0.1" in kept and "at 0x" not in kept


def test_another_file_is_refused_by_name(tmp_path, run, flow, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # takes most of the time of sixty files
    path = tmp_path / "file.h5"
    contents = []
    for kept in (run, flow):
        rf.save(kept, path)
        contents.append((path.read_bytes(), *read_arrays(path)))
    rf.save(run, tmp_path / "run.h5")

    def refused(path):
        with pytest.raises(InvalidInput) as caught:
            rf.load(path)
        assert str(path) in str(caught.value)

    refused(tmp_path / "missing.h5")
    refused(tmp_path)
    path.write_text("no such file")
    refused(path)
    write_arrays(path, {"loss": np.ones(3)}, {"threshold": 2.0})
    refused(path)
    for whole, arrays, attributes in contents:
        path.write_bytes(whole[: len(whole) // 2])
        refused(path)
        for name, array in arrays.items():
            # a flow may go without centres, not without their origin; a run without its first weights
            if name not in ("w0", "centres", "origin"):
                write_arrays(path, {key: part for key, part in arrays.items() if key != name}, attributes)
                refused(path)
            if len(array) > 1:
                write_arrays(path, arrays | {name: array[1:]}, attributes)
                refused(path)
        for name in attributes:
            write_arrays(path, arrays, {key: part for key, part in attributes.items() if key != name})
            refused(path)


def test_anything_but_a_run_is_not_saved(tmp_path):
    with pytest.raises(InvalidInput, match=r"run: got .*rodflow\.train"):
        rf.save(NET.w0, tmp_path / "run.h5")
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_leaves_what_was_there(tmp_path, run, monkeypatch):
    path = tmp_path / "run.h5"
    rf.save(run, path)
    before = path.read_bytes()

    def full(*words):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match=r"run\.h5"):
        rf.save(trained("gd"), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_tables_have_the_columns_of_the_workflow(run, flow):
    records = run.table()
    assert list(records) == RECORD_COLUMNS and records["step"].tolist() == run.record_steps.tolist()
    compared = followed(run, reference=run)
    assert list(flow.table()) == list(flow.table(run)) == SERIES_COLUMNS
    known = [column for column in SERIES_COLUMNS if column != "alignment_oscillation"]
    pd.testing.assert_frame_equal(flow.table(run)[known], compared.series[known], rtol=1e-12)
    errors = flow.error(run)
    assert type(errors) is pd.Series and (errors.name, errors.index.name) == ("error", "step")
    assert errors.tolist() == flow.table(run)["error"].tolist()


def test_pictures_name_their_axes_and_show_all_flows(run, flow):
    matplotlib.use("Agg")
    axes = flow.error(run).plot(ax=pyplot.figure().add_subplot())
    assert axes.get_xlabel() == "step"
    assert axes.lines[0].get_ydata().tolist() == flow.error(run).tolist()
    twin = rf.integrate(rf.Twin(NET.objective(), optimizer("adam")), run.window(20), 40)
    figure = rf.plot(run, {"stable": flow, "mine": flow, "twin": twin})
    names = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {"Discrete run", rf.FLOWS.entries["stable"].label, "mine"} <= names
    assert any(name.startswith("Floor") for name in names)
    assert figure.get_suptitle() == "Adam"
    for panel in figure.axes:
        assert panel.get_xlabel() == "optimizer step" and panel.get_ylabel()
    assert rf.plot(run, flow, title="one").get_suptitle() == "one"
    pyplot.close("all")
