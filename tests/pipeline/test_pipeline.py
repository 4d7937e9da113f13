"""The stages on the command line: real input through every architecture, divergence, and wrong input."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from helpers.checkout import ROOT, read_without_times, smoke
from helpers.images import cifar_arrays
from helpers.problems import network, optimizer
from helpers.runs import run

from rodflow import config as configuration
from rodflow.config import Cell
from rodflow.pipeline.run_file import save
from rodflow.pipeline.stages import discrete as discrete_stage
from rodflow.pipeline.stages.tables import warned
from rodflow.problems.networks import resolve_device
from rodflow.training.discrete import Window, train
from rodflow.training.run_file import load

SMOKE = smoke(landscapes=[])
NEVER = "mlp-adam-seed0: the run was never at its edge (its effective sharpness reached 0."


def command(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "rodflow", *words], cwd=ROOT, capture_output=True, text=True)


def test_cifar10_through_every_architecture(tmp_path):
    """Images from RODFLOW_CIFAR10_FILE where it is set, otherwise random ones of the same format."""
    file = os.environ.get("RODFLOW_CIFAR10_FILE")
    if file is None:
        file = str(tmp_path / "cifar.npz")
        np.savez(file, **cifar_arrays(200))
    results = run(
        tmp_path,
        architectures=["mlp", "cnn", "vit"],
        flows=["stable", "rod"],
        steps=30,
        data={"dataset": "cifar10", "file": file, "examples": 60, "classes": [0, 1, 2, 3]},
        sizes={"cnn": {"filters": [2, 2], "dense": 4}, "mlp": {"widths": [4]}, "vit": {"patch": 16, "width": 4}},
        learning_rates={a: {"gd": 0.01, "adam": 1e-3} for a in ("mlp", "cnn", "vit")},
    )
    errors = pd.read_csv(results / "tables" / "errors.csv")
    assert len(errors) == 3 * 2 * 2
    assert np.isfinite(errors["error_final"]).all()


def test_a_diverging_run_is_marked_and_told_and_the_others_go_on(tmp_path, caplog):
    rates = {"mlp": {"gd": 1e4, "adam": 2e-3}}
    results = run(tmp_path, architectures=["mlp"], flows=["stable", "rod"], learning_rates=rates)
    errors = pd.read_csv(results / "tables" / "errors.csv")
    thresholds = pd.read_csv(results / "tables" / "thresholds.csv").set_index("optimizer")
    assert errors.loc[errors["optimizer"] == "gd", "diverged_at"].notna().all()
    assert errors.loc[errors["optimizer"] == "gd", "error_final"].isna().all()
    assert np.isfinite(errors.loc[errors["optimizer"] == "adam", "error_final"]).all()
    diverged = thresholds.loc["gd", "diverged_at"]
    assert diverged > 0
    scan = f"`rodflow scan --config {results / 'config.yaml'}` looks for learning rates at which they are"
    said = [f"mlp-gd-seed0: the run diverged at step {diverged:.0f}", NEVER, scan]
    assert [line[: len(NEVER)] if line.startswith(NEVER) else line for line in warned(results)] == said
    assert [line for line in caplog.messages if line in warned(results)] == warned(results)
    summary = (results / "tables" / "summary.md").read_text()
    assert all(f"| {line} |" in summary for line in warned(results)[:-1])


def test_a_stored_run_comes_back(tmp_path):
    results = run(tmp_path, architectures=["mlp"], optimizers=["adam"], flows=["stable"], landscapes=["quartic"])
    assert (results / "landscapes" / "quartic.json").exists()
    stored = load(results / "discrete" / "mlp-adam-seed0.h5")
    config = configuration.load(results / "config.yaml")
    problem = discrete_stage.cell_problem(config, Cell("mlp", "adam", 0), results / "dataset.npz", config.dtype)
    optimizer = discrete_stage.cell_optimizer(config, Cell("mlp", "adam", 0))
    interval = config.record_interval
    again = train(problem.objective, optimizer, problem.w0, config.steps, record_interval=interval)
    assert torch.equal(stored.midpoints, again.midpoints)
    assert torch.equal(stored.window(20).states.nu, again.window(20).states.nu)


def test_rounding_of_a_window_survives_saving(tmp_path):
    net = network()
    run = train(net.objective(), optimizer("gd"), net.w0, 30, record_interval=10, perturbation=1e-5)
    kept = run.window(15)
    run.windows[12] = Window(12, kept.states, 0.25)
    save(run, tmp_path / "run.h5")
    stored = load(tmp_path / "run.h5")
    assert (stored.perturbation, stored.rounding) == (1e-5, 1e-5)
    assert {at: window.rounding for at, window in stored.windows.items()} == {12: 0.25, 15: 1e-5}


def test_same_config_gives_the_same_tables(tmp_path):
    tables = []
    for name in ("one", "two"):
        results = run(tmp_path / name, architectures=["mlp"], flows=["stable", "rod"])
        tables.append(read_without_times(results / "tables" / "errors.csv").to_csv())
    assert tables[0] == tables[1]


def test_cuda_without_a_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device: got 'cuda'"):
        resolve_device("cuda", lambda: 1e12)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optimizers": ["sgdd"]}, "sgdd"),
        ({"data": {"dataset": "cifar10", "file": "nowhere.npz"}}, "nowhere.npz"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_wrong_input_ends_with_one_line_and_leaves_nothing(tmp_path, changes, said):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(SMOKE | changes))
    output = tmp_path / "out" / "images.npz"
    ended = command("dataset", "--config", str(config), "--output", str(output))
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not output.exists()


def test_a_broken_run_file_is_refused(tmp_path):
    broken = tmp_path / "run.h5"
    broken.write_bytes(b"not hdf5")
    with pytest.raises(ValueError, match="readable HDF5"):
        load(broken)


def test_optimizers_beyond_the_paper_by_name(tmp_path):
    names = ["adamw", "adagrad", "qhm"]
    results = run(
        tmp_path,
        architectures=["mlp"],
        optimizers=names,
        flows=["stable", "drift_free_rod"],
        learning_rates={"mlp": {"adamw": 2e-3, "adagrad": 0.02, "qhm": 0.3, "gd": 0.2}},
        hyperparameters={"weight_decay": 0.2},
        hyperparameters_of={"qhm": {"momentum_share": 0.5}},
    )
    errors = pd.read_csv(results / "tables" / "errors.csv")
    assert errors["optimizer"].unique().tolist() == names
    assert np.isfinite(errors["error_final"]).all()
    config = configuration.load(results / "config.yaml")
    made = {name: discrete_stage.cell_optimizer(config, Cell("mlp", name, 0)) for name in names}
    assert (made["adamw"].weight_decay, made["qhm"].momentum_share) == (0.2, 0.5)


def test_a_hyperparameter_of_another_optimizer_is_refused():
    config = configuration.parse(SMOKE | {"hyperparameters_of": {"gd": {"weight_decay": 0.1}}})
    with pytest.raises(ValueError, match=r"hyperparameters_of\.gd\.weight_decay"):
        discrete_stage.cell_optimizer(config, Cell("mlp", "gd", 0))
