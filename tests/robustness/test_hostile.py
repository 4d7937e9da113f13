"""Wrong and damaged files: each is refused by its name, or holds what it says; nothing is unpickled."""

import json
import math
import os
import pickle
import random
import re
import shutil
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from helpers.checkout import ROOT, smoke
from helpers.images import cifar_arrays
from helpers.problems import network, optimizer
from helpers.runs import run_everything

from rodflow import cli, config as configuration
from rodflow.config import Cell
from rodflow.errors import InvalidInput
from rodflow.jobs.files import read_examples, write_examples
from rodflow.pipeline.run_file import save
from rodflow.pipeline.stages.dataset import prepare
from rodflow.pipeline.stages.discrete import run_cell
from rodflow.pipeline.stages.figure import draw_figure
from rodflow.pipeline.stages.flow import run_flow
from rodflow.pipeline.stages.tables import aggregate
from rodflow.problems import datasets
from rodflow.training.discrete import train
from rodflow.training.run_file import load

TRAPS = tempfile.TemporaryDirectory()


class Trap:
    """An object whose unpickling is noticed: it leaves a folder."""

    def __reduce__(self):
        return os.makedirs, (f"{TRAPS.name}/sprung", 0o777, True)


@pytest.fixture(autouse=True)
def unsprung(monkeypatch):
    """No test's file may get its objects unpickled; and none of hundreds of small ones waits for the disk."""
    monkeypatch.setattr("rodflow.jobs.files._write_through", lambda path: None)
    yield
    assert not Path(TRAPS.name, "sprung").exists()


def test_the_trap_works():
    pickle.loads(pickle.dumps(Trap()))
    Path(TRAPS.name, "sprung").rmdir()


def refusal(read, *arguments) -> str:
    """What is said where ``read`` refuses: one printable line of readable length; empty where it does not."""
    try:
        read(*arguments)
    except InvalidInput as refused:
        said = str(refused)
        assert re.match(r".+: got .*, allowed: .+", said) and "\n" not in said and len(said) < 3500
        assert said.encode()
        return said
    return ""


# -- configs

SMOKE = (ROOT / "config/smoke.yaml").read_text()
BASE = yaml.safe_load(SMOKE)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"run: a\nrun: b\n", "the key run is there twice"),
        (b"sizes: {mlp: {widths: [1]}, mlp: {widths: [2]}}\n", "the key mlp is there twice"),
        (b"steps: " + b"9" * 5000, "limit"),
        (b"run: !!python/object/apply:os.system [touch hacked]\n", "could not determine a constructor"),
        (b"run: !!bool x\n", "readable YAML"),
        (b"run:\t[\n\ta", "readable YAML"),
        (b"run: \xff\xfe\n", "readable YAML"),
        (b"[" * 5000, "nested too deeply"),
        (b"--- {run: a}\n--- {run: b}\n", "readable YAML"),
        (b"", "a mapping"),
        (b"- run\n", "a mapping"),
        (SMOKE.encode() + b"stepz: 1\n", "stepz: got 1, allowed: "),
        (SMOKE.encode() + b"hyperparameters: {beta3: 1}\n", "hyperparameters.beta3: got 1, allowed: "),
        (SMOKE.encode() + b"chunk_size: 0x10\n", "chunk_size: got '0x10', allowed: "),
        (SMOKE.encode() + b"chunk_size: 1:30\n", "chunk_size: got '1:30', allowed: "),
    ],
)
def test_a_config_that_cannot_be_read_is_refused_by_name(tmp_path, content, said):
    path = tmp_path / "odd.yaml"
    path.write_bytes(content)
    assert said in refusal(configuration.load, path)


WRONG = [None, True, -1, 0, 3, 2.5, math.nan, math.inf, 10**400, "text", "1e-3", "a\nb", b"\xff", [], [None], {}]
WRONG += [{"key": 1}, {1: 2}]
SETTLED = {"record_interval", "flow_start", "schedule", "learning_rates", "flows", "precision_cells", "animated_cells"}
"""Keys that a refusal may name when another was changed, because the two have to fit."""


@pytest.mark.parametrize("key", configuration.Config.model_fields)
def test_a_wrong_value_is_refused_by_its_key_and_no_other_is_changed(key):
    refused = 0
    for value in WRONG:
        tree = BASE | {key: value}
        if said := refusal(configuration.parse, tree):
            named = re.split(r"[.:]", said)[0]
            assert named in {key, *SETTLED}, said
            refused += 1
        else:
            accepted = getattr(configuration.parse(tree), key)
            assert accepted == value or value == {} or key == "compile"  # which YAML 1.1 reads as true or false
            assert isinstance(accepted, bool) == isinstance(value, bool) or key == "compile"
    assert refused > len(WRONG) / 2


def test_the_command_line_refuses_on_one_line(tmp_path, monkeypatch, capsys):
    """Through the command line as through ``load``: messages that try to get out of their line."""
    output = tmp_path / "out" / "images.npz"
    for i, change in enumerate(({"run": "a\nb"}, {"a\nb": 1}, {"steps": 10**400}, {"data": {"file": "a\nTraceback"}})):
        path = tmp_path / f"{i}.yaml"
        path.write_text(yaml.safe_dump(BASE | change))
        words = ["rodflow", "dataset", "--config", str(path), "--output", str(output)]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr().err
        assert ended.value.code == 2
        assert said.startswith("error: ") and said.count("\n") == 1
    assert not output.parent.exists()


# -- data files and runs

CIFAR = cifar_arrays(6) | {"x_test": cifar_arrays(6)["x_test"][:2], "y_test": np.arange(2)}
PREPARED = {"x": np.random.default_rng(0).normal(size=(6, 1, 8, 8)), "y": np.arange(6) % 3, "classes": np.array(3)}
TABLE = {"x": np.ones((6, 5)), "y": np.ones((6, 2)), "classes": np.array(0)}
OBJECTS = np.array([Trap(), Trap()])


@pytest.fixture(scope="module")
def small_run(tmp_path_factory) -> bytes:
    """A discrete run of seven images, as HDF5."""
    net = network()
    run = train(net.objective(), optimizer("adam"), net.w0, 40, record_interval=10)
    run.window(20)
    path = tmp_path_factory.mktemp("run") / "run.h5"
    save(run, path)
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["pickle", "array", "objects"])
def test_a_pickle_is_no_data_file(tmp_path, kind):
    for name in ("images.npz", "images.npy"):
        path = tmp_path / name
        with open(path, "wb") as file:
            match kind:
                case "pickle":
                    pickle.dump(Trap(), file)
                case "array":
                    np.save(file, CIFAR["x_train"])
                case "objects":
                    np.savez(file, x=OBJECTS, y=OBJECTS, classes=OBJECTS, **dict.fromkeys(CIFAR, OBJECTS))
        for read in (datasets.cifar10, datasets.npz, lambda path: read_examples(path), lambda path: load(path)):
            assert name in refusal(read, str(path))


@pytest.mark.parametrize(
    ("arrays", "changes"),
    [(CIFAR, {"x_train": value}) for value in (np.ones((6, 3, 32, 32)), np.ones((6, 3, 32, 33), np.uint8), OBJECTS)]
    + [(CIFAR, {"y_train": value}) for value in (np.arange(7), np.arange(6) * 1.0, np.arange(6) + 5, np.arange(6) - 1)]
    + [(PREPARED, {"x": value}) for value in (np.ones(6), np.ones((0, 1)), np.full((6, 2), np.nan), OBJECTS)]
    + [(PREPARED, {"y": value}) for value in (np.arange(7) % 3, np.arange(6), np.arange(6) - 1, np.ones(6), OBJECTS)]
    + [(PREPARED, {"classes": value}) for value in (np.array(-1), np.array(1.5), np.array([3]), np.array("3"))]
    + [(TABLE, {"y": value}) for value in (np.ones(6), np.full((6, 2), np.inf), np.ones((6, 2), int), np.ones((6, 0)))]
    + [(arrays, {name: None}) for arrays in (CIFAR, PREPARED) for name in arrays],
)  # fmt: skip
def test_other_arrays_are_refused(tmp_path, arrays, changes):
    path = tmp_path / "images.npz"
    read = datasets.cifar10 if arrays is CIFAR else read_examples
    for kept in ({}, changes):
        np.savez(path, **{name: array for name, array in (arrays | kept).items() if array is not None})
        said = refusal(read, str(path))
        assert "images.npz" in said if kept else not said


def damages(content: bytes, count: int):
    """The bytes cut short at ``count`` places, and with some changed in as many; the same each time."""
    generator = random.Random(0)
    for _ in range(count):
        yield content[: generator.randrange(len(content))]
        changed = bytearray(content)
        for _ in range(generator.randint(1, 6)):  # headers stand at the start, an archive's directory at the end
            near, anywhere = generator.randrange(min(600, len(content))), generator.randrange(len(content))
            changed[generator.choice([near, -1 - near, anywhere])] ^= generator.randint(1, 255)
        yield bytes(changed)


@pytest.mark.parametrize(("write", "arrays"), [(np.savez, CIFAR), (np.savez_compressed, CIFAR), (None, PREPARED)])
def test_a_damaged_data_file_is_refused_or_whole(tmp_path, write, arrays):
    """An .npz has a checksum of every array: what is read of a damaged one is what was written."""
    path, refused = tmp_path / "images.npz", 0
    if write is None:
        write_examples(path, arrays["x"], arrays["y"], 3)
    else:
        write(path, **arrays)
    for content in damages(path.read_bytes(), 60):
        path.write_bytes(content)
        read = read_examples if write is None else datasets.cifar10
        if said := refusal(read, str(path)):
            assert "images.npz" in said
            refused += 1
        else:
            x, y, *_ = read(str(path))
            np.testing.assert_array_equal(x if write is None else x * 255, arrays["x" if write is None else "x_train"])
            np.testing.assert_array_equal(y, arrays["y" if write is None else "y_train"])
    assert refused > 70


def test_prepare_refuses_a_damaged_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, **CIFAR)
    config = configuration.parse(smoke() | {"data": {"dataset": "cifar10", "file": str(path), "examples": 6}})
    prepare(config, tmp_path / "whole" / "dataset.npz")
    assert read_examples(tmp_path / "whole" / "dataset.npz")[0].shape == (6, 3, 32, 32)
    path.write_bytes(path.read_bytes()[:-30])
    assert "images.npz" in refusal(prepare, config, tmp_path / "out" / "dataset.npz")
    assert not (tmp_path / "out").exists()


def run_is_right(path: Path) -> bool:
    """Whether a run is refused, by its name; one that is not has to hold what a run holds."""
    if said := refusal(load, path):
        assert path.name in said
        return True
    run = load(path)
    reached = len(run.loss) if run.diverged_at is None else run.diverged_at
    assert torch.isfinite(run.loss[:reached]).all()
    assert run.midpoints.shape == run.states.w.shape == (len(run.record_steps), run.midpoints.shape[1])
    assert len(run.sharpness) == len(run.oscillation_along_sharpest) == len(run.record_steps)
    whole = run.record_steps < reached - 1
    assert torch.isfinite(run.midpoints[whole]).all() and torch.isfinite(run.sharpness[whole]).all()
    assert run.threshold > 0 and all(torch.isfinite(run.window(at).state(1).w).all() for at in run.windows)
    return False


@pytest.mark.parametrize("other", ["missing", "text", "group", "link", "shape", np.nan, -np.inf, -1], ids=str)
def test_a_run_with_another_array_is_refused_or_right(tmp_path, small_run, other):
    path, whole, refused = tmp_path / "run.h5", tmp_path / "whole.h5", []
    whole.write_bytes(small_run)
    with h5py.File(whole) as file:
        arrays = {name: file[name][()] for name in file}
    for name, array in arrays.items():
        path.write_bytes(small_run)
        with h5py.File(path, "r+") as file:
            del file[name]
            if other == "group":
                file.create_group(name)
            elif isinstance(other, str) and other != "missing":
                made = {"text": ["a", "b"], "link": h5py.ExternalLink("whole.h5", f"/{name}"), "shape": np.ones((3, 2))}
                file[name] = made[other]
            elif other != "missing":
                with np.errstate(invalid="ignore"):
                    file[name] = np.full(array.shape, other).astype(array.dtype)
        refused.append(run_is_right(path))
    assert all(refused) if isinstance(other, str) else any(refused)


def test_a_damaged_run_is_refused_or_right(tmp_path, small_run):
    path = tmp_path / "run.h5"
    for content in damages(small_run, 40):
        path.write_bytes(content)
        assert run_is_right(path) or len(content) == len(small_run)  # one that is cut short is refused


# -- results

CELL = Cell("mlp", "gd", 0)
CONFIG = configuration.parse(
    smoke() | {"architectures": ["mlp"], "optimizers": ["gd"], "flows": ["stable", "rod"], "landscapes": []}
    | {"precision_cells": [], "data": {"examples": 20}, "sizes": {"mlp": {"widths": [3]}}, "steps": 40}
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The results of a tiny run."""
    folder = tmp_path_factory.mktemp("finished")
    run_everything(CONFIG, folder)
    return folder / "results" / CONFIG.run


@pytest.mark.parametrize("name", ["discrete/mlp-gd-seed0", "flows/mlp-gd-seed0-stable", "flows/mlp-gd-seed0-rod"])
@pytest.mark.parametrize("suffix", [".json", ".parquet"])
def test_tables_are_not_made_from_another_file(tmp_path, finished, name, suffix):
    """A file with a part missing, or damaged, is refused by name and leaves no tables; one with more gives the same."""
    results = tmp_path / "results"
    shutil.copytree(finished, results, ignore=shutil.ignore_patterns("*.h5", "*.npz"))
    aggregate(CONFIG, results)
    file, expected = (results / name).with_suffix(suffix), (results / "tables/errors.csv").read_bytes()
    content = file.read_bytes()
    if suffix == ".json":
        whole = json.loads(content)
        keys = whole.keys() - {"provenance"}
        others = [whole | {key: [0]} for key in sorted(keys)]
        others += [{key: whole[key] for key in whole if key != missing} for missing in sorted(keys)] + [[whole]]
        wrong = [json.dumps(other).encode() for other in others] + [b'{"seed": ' + b"9" * 5000 + b"}"]
    else:
        table = pd.read_parquet(file)
        others = [table.assign(**{column: "text"}) for column in table] + [table.drop(columns=c) for c in table]
        others += [table.iloc[:0], table.iloc[::-1], pd.concat([table, table]), table.assign(step=-1)]
        wrong = [other.to_parquet(index=False) for other in others]
        file.write_bytes(table.assign(extra="text").to_parquet(index=False))
        aggregate(CONFIG, results)
        assert (results / "tables/errors.csv").read_bytes() == expected
    shutil.rmtree(results / "tables")
    for other in [*wrong, content[:-30], b""]:
        file.write_bytes(other)
        assert file.stem in refusal(aggregate, CONFIG, results), other
        assert not (results / "tables").exists()


@pytest.mark.parametrize("name", ["discrete/mlp-gd-seed0", "flows/mlp-gd-seed0-rod"])
def test_a_divergence_at_no_step_of_the_run_is_refused(tmp_path, finished, name):
    """In tables and figures; one at any of its steps is taken as it stands."""
    results = tmp_path / "results"
    shutil.copytree(finished, results)
    file = (results / name).with_suffix(".json")
    content = json.loads(file.read_text())
    largest = 41 if "discrete" in name else 40  # one step beyond the 40 of the config makes the last record whole
    for step in [-1, -(10**30), largest + 10, 2**70, 10**400, 1e300, 30.5, np.nan, np.inf]:
        file.write_text(json.dumps(content | {"diverged_at": step}))
        for read in (
            lambda: aggregate(CONFIG, results),
            lambda: draw_figure(CONFIG, results, "cell", tmp_path / "cell", architecture="mlp", optimizer="gd"),
        ):
            with pytest.raises(InvalidInput, match=f"{file.stem}.*diverged_at: got"):
                read()
    for step in (30, largest, None):
        file.write_text(json.dumps(content | {"diverged_at": step}))
        aggregate(CONFIG, results)
        errors = pd.read_csv(results / "tables" / "errors.csv").set_index("flow")
        assert errors.loc["rod", "diverged_at"] == step or (step is None and errors["diverged_at"].isna().all())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sizes": {"mlp": {"widths": [4]}}}, "weights"),
        ({"steps": 60}, "steps"),
        ({"record_interval": 5}, "record_interval"),
        ({"flow_start": 21}, "window at the flows' start"),
    ],
)
def test_a_flow_refuses_the_run_of_another_config(tmp_path, finished, changes, said):
    other = configuration.parse(CONFIG.model_dump(mode="json") | changes)
    run, output = finished / "discrete" / "mlp-gd-seed0.h5", tmp_path / "flow.parquet"
    with pytest.raises(InvalidInput, match=said):
        run_flow(other, CELL, "stable", finished / "dataset.npz", run, output)
    assert not output.exists()


def test_out_of_memory_names_chunk_size(tmp_path, finished, monkeypatch):
    def exhausted(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr("rodflow.training.objective.Objective.value_and_gradient", exhausted)
    config = configuration.parse(CONFIG.model_dump(mode="json") | {"chunk_size": 16})
    output, run = tmp_path / "run.h5", finished / "discrete" / "mlp-gd-seed0.h5"
    with pytest.raises(InvalidInput, match=r"chunk_size: got 16, allowed: fewer than 16 examples.*20\.00 GiB"):
        run_cell(config, CELL, finished / "dataset.npz", output)
    monkeypatch.setattr("rodflow.training.objective.Objective.value", exhausted)
    with pytest.raises(InvalidInput, match="chunk_size: got None, allowed: fewer than 20 examples"):
        run_flow(CONFIG, CELL, "stable", finished / "dataset.npz", run, tmp_path / "flow.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_network_beyond_all_memory_is_refused_by_name(tmp_path, finished):
    config = configuration.parse(CONFIG.model_dump(mode="json") | {"sizes": {"mlp": {"widths": [2**31 - 1] * 2}}})
    with pytest.raises(InvalidInput, match=r"chunk_size.*out of memory"):
        run_cell(config, CELL, finished / "dataset.npz", tmp_path / "run.h5")


def test_torchvisions_batches_are_not_unpickled_unless_their_digests_are_right(tmp_path, monkeypatch):
    """Neither planted batches nor a planted archive; the real one cannot be fetched here."""
    declared = torch.library.Library("torchvision", "FRAGMENT")
    try:
        import torchvision.datasets  # noqa: F401
    except RuntimeError:  # a build for another torch: the data set needs none of its operators, the import two
        for name in ("nms", "qnms"):
            declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

    def unreachable(*_):
        raise OSError("no network in this test")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"):
        (folder / name).write_bytes(pickle.dumps(Trap()))
    assert "no network" in refusal(datasets.cifar10, None, str(tmp_path))
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"no archive")
    assert "no network" in refusal(datasets.cifar10, None, str(tmp_path))
