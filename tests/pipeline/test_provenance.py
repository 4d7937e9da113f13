"""The digest of the code that makes a result: what changes it, what does not, and what it refuses."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.checkout import smoke

from rodflow import config as configuration
from rodflow.config import Cell
from rodflow.pipeline import job, provenance
from rodflow.pipeline.job import Job
from rodflow.pipeline.provenance import (
    code_digest,
    modules_used,
)

CELL, CONFIG = Cell("mlp", "adam", 0), configuration.parse(smoke())


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A copy of the package that digests are taken of."""
    copy = shutil.copytree(provenance.PACKAGE, tmp_path / "rodflow", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "PACKAGE", copy)
    forget()
    yield copy
    forget()


def forget() -> None:
    for cached in (
        provenance.code_digest,
        provenance._code,
        provenance._imports,
        provenance._looks_up,
        provenance._tree,
    ):
        cached.cache_clear()


def digests() -> dict[str, str]:
    forget()
    return {
        "training": Job("discrete", CELL).code(CONFIG),
        "stable": Job("flow", CELL, "stable").code(CONFIG),
        "rod": Job("flow", CELL, "rod").code(CONFIG),
        "landscape": Job("landscape", name="valley").code(CONFIG),
        "tables": code_digest("rodflow.pipeline.stages.tables"),
        "figure": code_digest("rodflow.pipeline.stages.figure", "rodflow.catalogue"),
        "page": code_digest("rodflow.pipeline.stages.page", "rodflow.catalogue"),
        "examples": Job("dataset").code(CONFIG),
    }


def changed(package: Path, file: str, edit) -> set[str]:
    """The digests that an edit of a file's text changes."""
    before, path = digests(), package / file
    path.write_text(edit(path.read_text()))
    after = digests()
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize("module", ["rodflow.pipeline.stages.nope", "rodflow.nope", "numpy", "stages.flow", ""])
def test_a_module_that_is_not_there_is_refused(module):
    with pytest.raises(ModuleNotFoundError):
        code_digest(module)


@pytest.mark.parametrize(
    "line", ["import rodflow.nope", "from rodflow.nope import x", "from rodflow.flows import nope"]
)
def test_an_import_of_what_is_not_there_is_refused_or_names_an_attribute(package, line):
    (package / "training/discrete.py").write_text(f"{line}\n")
    if "nope import" in line or "import rodflow" in line:
        with pytest.raises(ModuleNotFoundError, match=r"rodflow\.nope"):
            Job("discrete", CELL).code(CONFIG)
    else:  # a package's own name may be any
        assert "rodflow.flows" in modules_used("rodflow.training.discrete")


def test_a_name_that_a_package_looks_up_is_refused(package):
    (package / "training/discrete.py").write_text("from rodflow.problems import digits\n")
    with pytest.raises(ImportError, match="name their modules"):
        Job("discrete", CELL).code(CONFIG)


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text + "\n# a comment\n",
        lambda text: text.replace('"""Discrete full-batch training', '"""Full-batch training'),
        lambda text: text.replace("\n\n\ndef train(", "\n\n\n\ndef train("),
        lambda text: text.replace('    """Train for', '    """It trains for'),
    ],
    ids=["comment", "module's docstring", "layout", "function's docstring"],
)
def test_comments_docstrings_and_layout_count_for_nothing(package, edit):
    assert changed(package, "training/discrete.py", edit) == set()


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("training/discrete.py", {"training", "stable", "rod", "landscape"}),
        ("optimizers/family.py", {"training", "stable", "rod", "landscape"}),
        ("optimizers/qhm.py", set()),
        ("problems/architectures.py", {"training", "stable", "rod"}),
        ("flows/stable.py", {"stable", "landscape"}),
        ("flows/rod.py", {"rod", "landscape"}),
        ("flows/central.py", set()),
        ("flows/base.py", {"stable", "rod", "landscape"}),
        ("measures/errors.py", {"tables", "figure", "page"}),
        ("measures/thresholds.py", {"tables"}),
        ("report/figures/style.py", {"figure", "page"}),
        ("report/figures/overview.py", {"figure", "page"}),
        ("catalogue.py", {"figure", "page"}),
        ("problems/datasets.py", {"training", "stable", "rod", "examples"}),
        ("pipeline/own.py", set()),
        ("jobs/files.py", set()),
        ("jobs/checkpoint.py", set()),
        ("pipeline/job.py", set()),
        ("config/schema.py", set()),
        ("errors.py", set()),
    ],
)
def test_a_changed_statement_counts_for_what_uses_it(package, file, what):
    assert changed(package, file, lambda text: text + "\nCHANGED = 1\n") == what


@pytest.mark.parametrize(("kind", "name"), [("settings", "order"), ("solver", "step")])
def test_a_catalogues_settings_count_for_their_own_flow(package, monkeypatch, kind, name):
    flow = {"settings": "stable_corrected", "solver": "edge_unit_step"}[kind]
    before = Job("flow", CELL, flow).code(CONFIG), Job("flow", CELL, "stable").code(CONFIG)
    forget()
    monkeypatch.setitem(getattr(job.FLOWS.entries[flow], kind), name, 3)
    after = Job("flow", CELL, flow).code(CONFIG), Job("flow", CELL, "stable").code(CONFIG)
    assert before[0] != after[0] and before[1] == after[1]


def test_the_module_of_a_cells_own_optimizer_counts_for_the_cell(package):
    cells = [CELL, Cell("mlp", "qhm", 0)]
    before = [(Job("discrete", cell).code(CONFIG), Job("flow", cell, "rod").code(CONFIG)) for cell in cells]
    path = package / "optimizers/qhm.py"
    path.write_text(path.read_text() + "\nCHANGED = 1\n")
    forget()
    after = [(Job("discrete", cell).code(CONFIG), Job("flow", cell, "rod").code(CONFIG)) for cell in cells]
    assert after[0] == before[0]
    assert after[1][0] != before[1][0] and after[1][1] != before[1][1]


def test_a_label_counts_for_no_run(package, monkeypatch):
    def relabelled(text):
        return text.replace('"Adam"', '"Another"').replace('"Rod flow"', '"Another flow"')

    shown = (job.OPTIMIZERS, "adam"), (job.FLOWS, "rod"), (job.LANDSCAPES, "valley")
    before = digests()
    for catalogue, name in shown:
        monkeypatch.setitem(catalogue.entries, name, replace(catalogue.entries[name], label="Another"))
    assert digests() == before
    assert changed(package, "catalogue.py", relabelled) == {"figure", "page"}


def test_files_beside_the_pages_code_count_for_it(package):
    assert changed(package, "report/page/style.css", lambda text: text + "p { color: red }\n") == {"page"}


def test_what_is_ignored_is_ignored_with_all_that_it_holds(package):
    used = modules_used("rodflow.pipeline.stages.flow")
    assert {"rodflow.training.discrete", "rodflow.flows.integrate", "rodflow.optimizers.step_map"} <= set(used)
    for name in provenance.IGNORED:
        assert not [module for module in used if module == name or module.startswith(f"{name}.")], name
    (package / "training/discrete.py").write_text("import rodflow.config.schema\nimport rodflow.errors\n")
    forget()
    assert modules_used("rodflow.training.discrete") == ["rodflow.training.discrete"]


def test_what_a_users_part_takes_of_the_package_counts_for_its_cells(package, tmp_path):
    (tmp_path / "parts.py").write_text("import rodflow as rf\n\n\nclass Mine(rf.Adagrad):\n    pass\n")
    own = {"folder": str(tmp_path), "optimizers": {"mine": {"function": "parts:Mine"}}}
    rates = {"mlp": {"mine": 0.1, "adam": 0.1}}
    grid = {"architectures": ["mlp"], "optimizers": ["mine", "adam"], "precision_cells": []}
    config = configuration.parse(smoke(own=own, **grid, learning_rates=rates))
    cells = [Cell("mlp", "mine", 0), CELL]
    before = [Job("discrete", cell).code(config) for cell in cells]
    path = package / "optimizers/adagrad.py"
    path.write_text(path.read_text() + "\nCHANGED = 1\n")
    forget()
    after = [Job("discrete", cell).code(config) for cell in cells]
    assert after[0] != before[0] and after[1] == before[1]
