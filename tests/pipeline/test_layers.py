"""Config files and --config laid over each other: one meaning for Snakemake and python -m rodflow."""

import subprocess
import sys

import pytest
from helpers.checkout import ROOT, copy_project, environment, smoke, snakemake

from rodflow import config as configuration
from rodflow.config.layers import layered
from rodflow.errors import InvalidInput
from rodflow.jobs.forkserver import OFF, VARIABLE

RATES = {"mlp": {"gd": 0.1, "adam": 1e-3}, "vit": {"gd": 0.2, "adam": 2e-3}}
OTHER_PROBLEMS = [
    {"data": {"examples": 41}},
    {"data": {"dataset": "cifar10"}},
    {"data": {"classes": [0, 1]}},
    {"loss": "cross_entropy"},
]


def test_a_later_layer_wins_key_by_key():
    below = {"steps": 1, "data": {"examples": 5, "classes": [1, 2]}, "solvers": {"rod": {"step": 0.5}}}
    above = {"data": {"examples": 6}, "solvers": {"rod": {"columns": 3}}, "seeds": [1]}
    assert layered([below, above]) == {
        "steps": 1,
        "data": {"examples": 6, "classes": [1, 2]},
        "solvers": {"rod": {"step": 0.5, "columns": 3}},
        "seeds": [1],
    }
    assert below["data"] == {"examples": 5, "classes": [1, 2]}


@pytest.mark.parametrize("change", OTHER_PROBLEMS, ids=str)
def test_learning_rates_are_not_inherited_by_another_problem(change):
    assert layered([{"learning_rates": RATES}, change])["learning_rates"] == {"mlp": {}, "vit": {}}
    own = {"learning_rates": {"mlp": {"gd": 3.0}}}
    assert layered([{"learning_rates": RATES}, change | own])["learning_rates"] == {"mlp": {"gd": 3.0}, "vit": {}}
    with pytest.raises(InvalidInput, match=r"learning_rates.mlp.gd: got None, allowed: .* gives its own"):
        configuration.parse(layered([smoke(), change]))


def test_another_size_drops_the_rates_of_its_architecture_alone():
    change = {"sizes": {"mlp": {"widths": [9]}}}
    assert layered([{"learning_rates": RATES}, change])["learning_rates"] == RATES | {"mlp": {}}


@pytest.mark.parametrize(
    "change",
    [{"data": {"file": "my.npz"}}, {"loss": "mse"}, {"steps": 9}, {"data": {"normalise": True}}, {"data": 3}, {}],
    ids=str,
)
def test_the_same_problem_keeps_them(change):
    assert layered([{"learning_rates": RATES}, change])["learning_rates"] == RATES


def test_learning_rates_that_are_no_mapping_are_left_to_the_parser():
    for wrong in (3, None, [1]):
        with pytest.raises(InvalidInput, match="learning_rates: got"):
            configuration.parse(layered([smoke(), {"loss": "cross_entropy", "learning_rates": wrong}]))


def test_what_is_no_mapping_is_left_to_the_parser():
    for wrong in (None, [1], "text"):
        with pytest.raises(InvalidInput, match="a mapping"):
            configuration.parse(layered([smoke(), wrong]))


SHIPPED = sorted(f"config/{p.name}" for p in (ROOT / "config").glob("*.yaml"))


@pytest.mark.snakemake
@pytest.mark.parametrize("name", ["config.yaml", *(pytest.param(name, marks=pytest.mark.long) for name in SHIPPED)])
def test_snakemake_and_the_command_line_mean_the_same_by_a_file(tmp_path, name):
    """``python -m rodflow`` loads the file; Snakemake writes what it made of it as the run starts."""
    project, config = copy_project(tmp_path / "project"), configuration.load(ROOT / name)
    words = ["--cores", "1", f"results/{config.run}/dataset.npz"]
    words += [] if name == "config.yaml" else ["--configfile", name]
    if config.data.dataset == "cifar10":  # in a file of no images: the job fails, after the start
        (project / "empty.npz").touch()
        words += ["--config", "data={'file': 'empty.npz'}"]
        config = config.model_copy(update={"data": config.data.model_copy(update={"file": "empty.npz"})})
    command = [sys.executable, "-m", "snakemake", *words]
    alone = environment() | {VARIABLE: OFF}  # one job, which would end before a server is there
    subprocess.run(command, cwd=project, env=alone, capture_output=True, text=True)
    assert configuration.load(project / "results" / config.run / "config.yaml") == config


@pytest.mark.snakemake
def test_the_command_line_inherits_no_learning_rates(tmp_path):
    project = copy_project(tmp_path / "project")
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--dry-run", "--config", "data={'examples': 100}"]
    ended = subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True)
    assert ended.returncode != 0
    assert "learning_rates.mlp.gd: got None" in ended.stdout + ended.stderr


@pytest.mark.snakemake
def test_cells_without_an_edge_are_told_at_the_end(tmp_path):
    project = copy_project(tmp_path / "project")
    narrow = ("architectures=['mlp']", "optimizers=['gd']", "flows=['stable']", "learning_rates={'mlp':{'gd':10000.0}}")
    ended = subprocess.run(
        snakemake("--quiet", "--until", "tables", narrow=narrow),
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Warning: mlp-gd-seed0: the run diverged at step " in ended.stderr
