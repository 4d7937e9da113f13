"""What a user's function uses, found without importing it: what a change of the file touches, and what it does not."""

from pathlib import Path

import pytest
from helpers.checkout import smoke

from rodflow import config as configuration
from rodflow.config import Cell
from rodflow.pipeline.own_code import used
from rodflow.pipeline.provenance import dataset_code, discrete_code, flow_code

PARTS = '''"""Parts."""

import helpers
import torch
from pieces import SIZE, block
from rodflow.optimizers.family import Adam

import rodflow as rf

WIDTH = 3
TABLE = {}


def entered(function):
    TABLE[function.__name__] = function
    return function


@entered
def first(x):
    return x


def network(shape, outputs):
    """A network."""
    return torch.nn.Linear(*shape, WIDTH), block(SIZE)


def data():
    return helpers.read()


class Mine(rf.GradientDescent):
    pass


def other(learning_rate):
    return Adam(learning_rate)


def loss(output, target):
    # of a square
    return TABLE["first"](output - target)


if __name__ == "__main__":
    print(network((1,), 1))
'''
PIECES = "def block(size):\n    return size\n\n\ndef unused():\n    return 1\n\n\nSIZE = 2\n"
HELPERS = "import deeper\n\n\ndef read():\n    return deeper.x, 1\n"
FUNCTIONS = ("network", "data", "Mine", "other", "loss")


@pytest.fixture
def folder(tmp_path) -> Path:
    for name, text in (("parts", PARTS), ("pieces", PIECES), ("helpers", HELPERS), ("deeper", "x = 1\n")):
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "old", "new", "touched"),
    [
        ("parts", "WIDTH = 3", "WIDTH = 4", {"network"}),
        ("parts", "    # of a square\n", "", set()),
        ("parts", '    """A network."""\n', "", set()),
        ("parts", "\n\n\nclass", "\n\n\n\n\nclass", set()),
        ("parts", "print(network", "print(2, network", set()),
        ("parts", "    pass", "    beta1 = 1", {"Mine"}),
        ("parts", "Adam(learning_rate)", "Adam(2 * learning_rate)", {"other"}),
        ("parts", "import SIZE, block", "import SIZE, block, unused", set()),
        ("parts", "    return x\n", "    return 2 * x\n", {"loss"}),  # it is entered into a table that loss uses
        ("parts", "TABLE = {}\n", "TABLE = {}\ntorch.set_default_dtype(torch.float64)\n", set(FUNCTIONS)),
        ("pieces", "return size", "return 2 * size", {"network"}),
        ("pieces", "SIZE = 2", "SIZE = 3", {"network"}),
        ("pieces", "return 1", "return 2", set()),
        ("helpers", "deeper.x, 1", "deeper.x, 2", {"data"}),
        ("deeper", "x = 1", "x = 2", {"data"}),
    ],
)
def test_a_change_counts_for_the_functions_that_use_it(folder, file, old, new, touched):
    before = {name: used(f"parts:{name}", folder) for name in FUNCTIONS}
    path = folder / f"{file}.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert {name for name in FUNCTIONS if used(f"parts:{name}", folder) != before[name]} == touched


def test_what_it_takes_from_this_library_counts_by_module(folder):
    assert "rodflow.optimizers.family" in used("parts:Mine", folder).library  # by rf.GradientDescent
    assert "rodflow.optimizers.family" in used("parts:other", folder).library
    assert not used("parts:network", folder).library


def test_of_a_module_elsewhere_its_own_file_counts_and_packages_are_followed_beside(folder):
    assert set(used("json.decoder:JSONDecoder", folder).code) == {"json.decoder"}
    (folder / "models").mkdir()
    (folder / "models/__init__.py").write_text("SEED = 1\nprint(SEED)\n")
    (folder / "models/one.py").write_text(
        "from . import two\nfrom .two import three\n\n\ndef make():\n    return three\n"
    )
    (folder / "models/two.py").write_text("def three():\n    return 3\n")
    code = used("models.one:make", folder).code
    assert code.keys() == {"models", "models.one", "models.two"} and len(code["models"]) == 2
    assert [len(code[f"models.{name}"]) for name in ("one", "two")] == [2, 1]


def test_cells_and_examples_have_the_code_of_the_parts_that_they_take(folder):
    own = {
        "folder": str(folder),
        "networks": {"net": {"function": "parts:network"}},
        "datasets": {"table": {"function": "parts:data"}},
        "optimizers": {"mine": {"function": "parts:other"}},
        "losses": {"distance": {"function": "parts:loss"}},
    }
    grid = {"architectures": ["mlp", "net"], "optimizers": ["gd", "mine"], "flows": ["stable"], "precision_cells": []}
    rates = dict.fromkeys(grid["architectures"], dict.fromkeys(grid["optimizers"], 0.1))
    config = configuration.parse(smoke(own=own, **grid, learning_rates=rates, data={"dataset": "table"}))

    def digests() -> dict[str, str]:
        cells = {f"{a}-{o}": Cell(a, o, 0) for a in grid["architectures"] for o in grid["optimizers"]}
        trained = {name: discrete_code(config, cell) for name, cell in cells.items()}
        followed = {f"{name} stable": flow_code(config, cell, "stable") for name, cell in cells.items()}
        return trained | followed | {"data": dataset_code(config)}

    def changed(old: str, new: str) -> set[str]:
        before, path = digests(), folder / "parts.py"
        path.write_text(path.read_text().replace(old, new))
        return {name for name, digest in digests().items() if digest != before[name]}

    assert changed("WIDTH = 3", "WIDTH = 5") == {"net-gd", "net-mine", "net-gd stable", "net-mine stable"}
    assert changed("Adam(lear", "Adam(2 * lear") == {"mlp-mine", "net-mine", "mlp-mine stable", "net-mine stable"}
    assert changed("helpers.read()", "helpers.read(), 2") == {"data"}  # its file is an input of all others
    config = config.model_copy(update={"loss": "distance"})
    assert changed("output - target", "target - output") == digests().keys() - {"data"}
    assert changed('"""Parts."""', '"""All parts."""') == set()
