"""The digest of the files of a user's own parts: which files count, and for which jobs."""

from pathlib import Path

import pytest
from helpers.checkout import smoke

from rodflow import config as configuration
from rodflow.config import Cell
from rodflow.errors import InvalidInput
from rodflow.pipeline.job import Job
from rodflow.pipeline.provenance import own_files

FILES = {
    "parts.py": """
import math
import rodflow as rf
import torch
from pieces import block


def network(shape, outputs):
    # a layer
    return torch.nn.Linear(*shape, 3), block


class Mine(rf.Adagrad):
    pass
""",
    "pieces.py": "def block():\n    import models.one\n",
    "models/__init__.py": "",
    "models/one.py": "from . import two\n",
    "models/two.py": "three = 3\n",
    "tables.py": "def data():\n    return 1\n",
    "unused.py": "",
    "math.py": "",
}


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "models").mkdir()
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_its_own_file_counts_and_those_beside_it_that_it_imports(folder):
    files, imported = own_files(["parts"], folder)
    assert files.keys() == {"parts", "math", "pieces", "models", "models.one", "models.two"}
    assert {"torch", "rodflow", "rodflow.Adagrad"} <= imported
    assert own_files(["tables"], folder)[0].keys() == {"tables"}
    assert own_files(["json.decoder"], folder)[0].keys() == {"json.decoder"}  # which lies elsewhere, and imports json


@pytest.mark.parametrize(
    ("file", "old", "new", "touched"),
    [
        ("parts.py", "Linear(*shape, 3)", "Linear(*shape, 4)", {"parts"}),
        ("parts.py", "# a layer", "# another", set()),
        ("parts.py", "    pass", '    """A class."""\n\n    pass', set()),
        ("models/two.py", "3", "4", {"models.two"}),
    ],
)
def test_a_change_of_code_counts_and_one_of_comments_does_not(folder, file, old, new, touched):
    before = own_files(["parts"], folder)[0]
    assert old in (folder / file).read_text()
    (folder / file).write_text((folder / file).read_text().replace(old, new))
    after = own_files(["parts"], folder)[0]
    assert {name for name in before if before[name] != after[name]} == touched


def test_a_file_that_python_cannot_read_is_named(folder):
    (folder / "pieces.py").write_text("def block(:\n")
    with pytest.raises(InvalidInput, match=r"pieces\.py.*invalid syntax"):
        own_files(["parts"], folder)


def test_cells_and_examples_have_the_code_of_the_parts_that_they_take(folder):
    own = {
        "folder": str(folder),
        "networks": {"net": {"function": "parts:network"}},
        "datasets": {"table": {"function": "tables:data"}},
        "optimizers": {"mine": {"function": "models.two:Mine"}},
        "losses": {"distance": {"function": "unused:loss"}},
    }
    grid = {"architectures": ["mlp", "net"], "optimizers": ["gd", "mine"], "flows": ["stable"], "precision_cells": []}
    rates = dict.fromkeys(grid["architectures"], dict.fromkeys(grid["optimizers"], 0.1))
    config = configuration.parse(smoke(own=own, **grid, learning_rates=rates, data={"dataset": "table"}))

    def digests() -> dict[str, str]:
        cells = {f"{a}-{o}": Cell(a, o, 0) for a in grid["architectures"] for o in grid["optimizers"]}
        trained = {name: Job("discrete", cell).code(config) for name, cell in cells.items()}
        followed = {f"{name} stable": Job("flow", cell, "stable").code(config) for name, cell in cells.items()}
        return trained | followed | {"data": Job("dataset").code(config)}

    def changed(file: str) -> set[str]:
        before = digests()
        (folder / file).write_text((folder / file).read_text() + "CHANGED = 1\n")
        return {name for name, digest in digests().items() if digest != before[name]}

    nets, mine = {"net-gd", "net-mine", "net-gd stable", "net-mine stable"}, {"mlp-mine", "mlp-mine stable"}
    assert changed("parts.py") == nets
    assert changed("models/two.py") == nets | mine
    assert changed("tables.py") == {"data"}  # its file is an input of all others
    assert changed("unused.py") == set()
    config = config.model_copy(update={"loss": "distance"})
    assert changed("unused.py") == digests().keys() - {"data"}
