"""A user's own parts in a config: they serve as built-in ones do, and are refused by name where they cannot."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from helpers.checkout import smoke
from helpers.runs import run_everything

from rodflow import config as configuration
from rodflow.config import Cell
from rodflow.config.layers import layered
from rodflow.errors import InvalidInput
from rodflow.pipeline.own import require_parts
from rodflow.pipeline.stages.dataset import prepare
from rodflow.pipeline.stages.discrete import cell_optimizer, cell_problem, run_cell
from rodflow.pipeline.stages.tables import aggregate

TWINS = """
import math
import torch
from sklearn.datasets import load_digits
from torch import nn
import rodflow as rf


def numbers(classes=10):
    x, y = load_digits(return_X_y=True)
    return torch.as_tensor(x).reshape(-1, 1, 8, 8)[y < classes] / 16, torch.as_tensor(y)[y < classes]


def perceptron(shape, outputs, width=8):
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), width), nn.GELU(), nn.Linear(width, outputs))


def half_square(output, target, factor):
    return factor * ((output - nn.functional.one_hot(target, 10)) ** 2).sum()


def mean_square(output, target, factor):
    return half_square(output, target, factor) / len(output)


class Stable(rf.StableFlow):
    pass
"""
GRID = {"architectures": ["mlp"], "optimizers": ["gd"], "flows": ["stable"], "landscapes": [], "precision_cells": []}
GRID |= {"steps": 40}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the own parts lie that do what built-in ones do."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_twins.py").write_text(TWINS)
    yield folder
    sys.path[:] = [path for path in sys.path if path != str(folder)]


def own(folder: Path, **more) -> dict:
    return {
        "folder": str(folder),
        "networks": {"perceptron": {"function": "own_twins:perceptron", "settings": {"width": 8}}},
        "datasets": {"numbers": {"function": "own_twins:numbers"}},
        "optimizers": {"descent": {"function": "rodflow.optimizers.family:GradientDescent", "momentum": False}},
        "losses": {"half_square": {"function": "own_twins:half_square", "settings": {"factor": 0.5}}},
        "flows": {"steady": {"function": "own_twins:Stable"}},
    } | more


def twin(folder: Path, **changes) -> configuration.Config:
    """The smoke run's first cell, each of its parts a user's own."""
    settings = GRID | {"architectures": ["perceptron"], "optimizers": ["descent"], "flows": ["steady"]}
    settings |= {"run": "own", "own": own(folder), "data": {"dataset": "numbers", "examples": 40}}
    settings |= {"loss": "half_square", "learning_rates": {"perceptron": {"descent": 0.2}}}
    return configuration.parse(smoke(**settings | changes))


@pytest.fixture(scope="module")
def runs(folder, tmp_path_factory) -> tuple[Path, Path]:
    """The results of a run of built-in parts, and of one of a user's own that do the same."""
    root = tmp_path_factory.mktemp("runs")
    run_everything(configuration.parse(smoke(**GRID)), root)
    run_everything(twin(folder), root)
    return root / "results/smoke", root / "results/own"


def test_own_parts_give_the_numbers_of_built_in_ones_that_do_the_same(runs):
    built_in, mine = runs
    for one, other in (
        ("discrete/mlp-gd-seed0", "discrete/perceptron-descent-seed0"),
        ("flows/mlp-gd-seed0-stable", "flows/perceptron-descent-seed0-steady"),
    ):
        expected, found = (
            pd.read_parquet(folder / f"{name}.parquet") for folder, name in ((built_in, one), (mine, other))
        )
        seconds = [name for name in expected if name.startswith("seconds")]
        pd.testing.assert_frame_equal(found.drop(columns=seconds), expected.drop(columns=seconds), rtol=1e-4)
    errors = pd.read_csv(mine / "tables/errors.csv")
    assert errors["flow"].tolist() == ["steady"] and np.isfinite(errors["error_final"]).all()


def test_its_copy_of_the_config_and_its_small_files_serve_where_the_modules_are_not(runs, folder, tmp_path):
    mine = runs[1]
    assert configuration.load(mine / "config.yaml") == twin(folder)
    there = tmp_path / "results/own"
    shutil.copytree(mine, there, ignore=shutil.ignore_patterns("tables", "*.h5", "*.npz"))
    aggregate(twin(folder, own=own(folder) | {"folder": str(tmp_path / "nowhere")}), there)
    for name in ("errors", "thresholds"):
        assert (there / f"tables/{name}.csv").read_bytes() == (mine / f"tables/{name}.csv").read_bytes()


def test_flows_that_model_optimizers_without_momentum_model_such_own_ones(folder):
    flows = ["stable", "steady", "central", "central_momentum", "edge"]
    assert twin(folder, flows=flows).flows_of("descent") == ["stable", "steady", "central"]
    parts = own(folder, optimizers={"descent": {"function": "own_twins:numbers"}})
    assert twin(folder, flows=flows, own=parts).flows_of("descent") == ["stable", "steady", "central_momentum"]


def test_a_mean_over_the_examples_is_taken_as_one(folder, tmp_path):
    prepare(twin(folder), tmp_path / "dataset.npz")
    losses = {"mean_square": {"function": "own_twins:mean_square", "settings": {"factor": 0.5}, "reduction": "mean"}}
    mean = twin(folder, own=own(folder, losses=losses), loss="mean_square")
    values = []
    for config in (twin(folder), mean):
        problem = cell_problem(config, config.cells[0], tmp_path / "dataset.npz", "float64")
        values.append(problem.objective.value(problem.w0))
    torch.testing.assert_close(*values)


def test_settings_of_a_cell_hold_the_parts_that_it_takes_and_no_place(folder, tmp_path):
    one = twin(folder)
    (cell,) = one.cells
    settings = one.discrete_settings(cell)
    assert settings["sizes"] == {"width": 8} and str(folder) not in str(settings)
    assert one.placeless.discrete_settings(cell) == settings

    def changed(kind: str, name: str) -> bool:
        parts = own(folder)
        parts[kind][name] |= {"settings": {"changed": 1}}
        return twin(folder, own=parts).discrete_settings(cell) != settings

    assert changed("networks", "perceptron") and changed("optimizers", "descent") and changed("losses", "half_square")
    assert changed("datasets", "numbers") and not changed("flows", "steady")


def test_learning_rates_are_not_inherited_by_another_network_or_table(folder):
    below = {
        "own": own(folder),
        "data": {"dataset": "numbers"},
        "learning_rates": {"perceptron": {"gd": 1}, "mlp": {"gd": 1}},
    }
    wider = {"own": {"networks": {"perceptron": {"settings": {"width": 9}}}}}
    assert layered([below, wider])["learning_rates"] == {"perceptron": {}, "mlp": {"gd": 1}}
    assert layered([below, wider])["own"]["networks"]["perceptron"]["function"] == "own_twins:perceptron"
    fewer = {"own": {"datasets": {"numbers": {"settings": {"classes": 2}}}}}
    assert layered([below, fewer])["learning_rates"] == {"perceptron": {}, "mlp": {}}
    unused = {"own": {"losses": {"half_square": {"settings": {"factor": 1}}}}}
    assert layered([below, unused])["learning_rates"] == below["learning_rates"]


def test_the_modules_lie_beside_the_config_unless_it_says_where(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = twin(folder).model_dump(mode="json")
    for said, found in ((None, "inner"), ("elsewhere", "elsewhere")):
        settings["own"]["folder"] = said
        (tmp_path / "inner").mkdir(exist_ok=True)
        (tmp_path / "inner/config.yaml").write_text(yaml.safe_dump(settings))
        config = configuration.load("inner/config.yaml")
        assert config.own.folder == configuration.load(tmp_path / "inner/config.yaml").own.folder == found
        (tmp_path / "copy.yaml").write_text(config.to_yaml())  # as a run leaves it with its results
        assert configuration.load("copy.yaml") == config


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architectures": ["perceptrn"]}, "architectures.0: got 'perceptrn', allowed: one of mlp, .*perceptron"),
        ({"loss": "square"}, "loss: got 'square', allowed: one of mse, .*half_square"),
        ({"data": {"dataset": "descent"}}, "data.dataset: got 'descent'"),
        ({"precision_cells": ["perceptron-sgd"]}, "precision_cells.0: got 'perceptron-sgd', allowed: architecture-opt"),
        ({"hyperparameters_of": {"descent": {"beta1": 0.5}}}, "own.optimizers.descent.settings"),
        ({"own": {"networks": {"mlp": {"function": "a:b"}}}}, "own.networks: got 'mlp', allowed: another name than"),
        ({"own": {"networks": {"a-b": {"function": "a:b"}}}}, "own.networks: got 'a-b', allowed: letters, digits"),
        ({"own": {"networks": {"a": {"function": "a/b.py:c"}}}}, "own.networks.a.function: got 'a/b.py:c'"),
        ({"own": {"networks": {"a": {"function": "a"}}}}, "own.networks.a.function: got 'a'"),
        ({"own": {"networks": {"a": {}}}}, "own.networks.a.function: got None"),
        ({"own": {"networks": {"a": {"function": "a:b", "sizes": 1}}}}, "own.networks.a.sizes.*function, settings"),
        ({"own": {"networks": {"a": {"function": "a:b", "settings": {"x": float("nan")}}}}}, "settings.x: got nan"),
        ({"own": {"networks": {"a": {"function": "a:b", "settings": {"x": [[[[[1]]]]]}}}}}, "settings.x.*deep"),
        ({"own": {"nets": {}}}, "own.nets: .*unknown key"),
    ],
)  # fmt: skip
def test_a_config_refuses_by_name(folder, changes, said):
    parts = own(folder)
    for kind, section in changes.get("own", {}).items():
        parts[kind] = parts.get(kind, {}) | section
    with pytest.raises(InvalidInput, match=said):
        twin(folder, **changes | {"own": parts})


@pytest.mark.parametrize(
    ("kind", "name", "part", "said"),
    [
        ("networks", "perceptron", {"function": "nowhere:net"}, r"own\.networks\.perceptron\.function.*no nowhere"),
        ("networks", "perceptron", {"function": "own_twins:net"}, "a function of own_twins: numbers, perceptron"),
        ("networks", "perceptron", {"function": "own_twins:numbers"}, r"numbers\(shape, outputs\).*too many"),
        ("networks", "perceptron", {"function": "own_twins:perceptron", "settings": {"depth": 1}}, "'depth'"),
        ("losses", "half_square", {"function": "own_twins:half_square"}, "missing a required argument: 'factor'"),
        ("optimizers", "descent", {"function": "own_twins:numbers"}, r"numbers\(learning_rate\)"),
        ("datasets", "numbers", {"function": "own_broken:numbers"}, "a file that Python can read.*own_broken|line 1"),
    ],
)  # fmt: skip
def test_a_part_is_refused_by_what_the_workflow_asks_first(folder, kind, name, part, said):
    (folder / "own_broken.py").write_text("def numbers(:\n")
    config = twin(folder, own=own(folder, **{kind: {name: part}}))
    with pytest.raises(InvalidInput, match=said):
        require_parts(config)
    assert "own_broken" not in sys.modules


FAULTS = """
import torch
raise_here = lambda *_: 1 / 0


def text(**_):
    return "text"


def raises(*_, **__):
    return raise_here()


def wide(shape, outputs):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))


def misfit(shape, outputs):
    return torch.nn.Linear(7, outputs)


def holes():
    return [[1.0, float("nan")]], [1.0]


def shapes():
    return [[1.0], [2.0]], [1.0]


def words():
    return ["a", "b"], [1, 2]


number = 3
"""


@pytest.mark.parametrize(
    ("kind", "function", "said"),
    [
        ("networks", "wide", r"got 'own_faults:wide'.*\[n, 1, 8, 8\] to \[n, 10\], not to \[2, 3\]"),
        ("networks", "misfit", r"got 'own_faults:misfit'.*RuntimeError"),
        ("networks", "raises", r"got 'own_faults:raises'.*ZeroDivisionError in own_faults.py, line 3"),
        ("networks", "number", "no callable number"),
        ("networks", "text", "allowed: a function that can be called"),
        ("optimizers", "text", "returns rodflow's StepMap, not str"),
        ("losses", "raises", "ZeroDivisionError in own_faults.py, line 3"),
        ("datasets", "text", r"returns \(x, y\), not str"),
        ("datasets", "holes", "x holds numbers that are not finite"),
        ("datasets", "shapes", r"x is \[2, 1\], y \[1\]"),
        ("datasets", "words", "x is <U1"),
    ],
)  # fmt: skip
def test_what_a_part_does_is_refused_by_name(folder, kind, function, said, tmp_path):
    (folder / "own_faults.py").write_text(FAULTS)
    (name,) = own(folder)[kind]
    prepare(twin(folder), tmp_path / "dataset.npz")
    loss = "half_square" if kind == "losses" else "mse"
    config = twin(folder, own=own(folder, **{kind: {name: {"function": f"own_faults:{function}"}}}), loss=loss)
    with pytest.raises(InvalidInput, match=said) as refused:
        if kind == "datasets":
            prepare(config, tmp_path / "other.npz")
        elif kind == "optimizers":
            cell_optimizer(config, config.cells[0])
        else:
            run_cell(config, config.cells[0], tmp_path / "dataset.npz", tmp_path / "run.h5")
    assert f"own.{kind}.{name}" in str(refused.value)
    assert {path.stem for path in tmp_path.iterdir()} == {"dataset"}


def test_a_module_whose_name_python_has_given_away_is_refused(folder):
    (folder / "json.py").write_text("def network(shape, outputs):\n    return 1\n")
    parts = own(folder, optimizers={"descent": {"function": "json:network", "settings": {"shape": 1, "outputs": 2}}})
    try:
        with pytest.raises(InvalidInput, match="json"):
            cell_optimizer(twin(folder, own=parts), Cell("perceptron", "descent", 0))
    finally:
        (folder / "json.py").unlink()
