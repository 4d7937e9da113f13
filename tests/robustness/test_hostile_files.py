"""Damaged and malicious files: each is accepted and holds what it should, or is refused by name; nothing is unpickled.

HOSTILE_EXAMPLES=2000 runs that many of each kind; the default is for every day.
"""

import hashlib
import io
import json
import os
import pickle
import re
import shutil
import tempfile
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from helpers.checkout import ROOT, smoke
from helpers.images import cifar_arrays
from helpers.problems import network, optimizer
from helpers.runs import run_everything
from hypothesis import HealthCheck, event, given, settings, strategies as st

from rodflow import config as configuration
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

SMOKE = smoke()
MUTATED = settings(
    max_examples=int(os.environ.get("HOSTILE_EXAMPLES", 100)),
    derandomize="HOSTILE_EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


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


def is_said(refused: InvalidInput, name: str) -> None:
    """One line of readable length that names the file."""
    event("refused")
    assert name in str(refused)
    assert "\n" not in str(refused) and len(str(refused)) < 3500


def read_unless_refused(read, path: Path):
    """What ``read`` makes of a file; None where it refuses it, and says so."""
    try:
        return read(path)
    except InvalidInput as refused:
        is_said(refused, path.name)
        return None


def damaged(draw, content: bytes) -> bytes:
    """Cut short, lengthened, or with some bytes changed."""
    match draw(st.sampled_from(["cut", "flip", "flip", "zeros", "append", "middle"])):
        case "cut":
            return content[: draw(st.integers(0, len(content) - 1))]
        case "append":
            return content + draw(st.binary(min_size=1, max_size=200))
        case "middle":
            at = draw(st.integers(0, len(content)))
            return content[:at] + content[at + draw(st.integers(1, 500)) :]
        case "zeros":
            at, count = draw(st.integers(0, len(content))), draw(st.integers(1, 4000))
            return content[:at] + bytes(min(count, len(content) - at)) + content[at + count :]
    # headers stand at the start, a zip archive's directory at the end
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        near = draw(st.integers(0, min(600, len(content) - 1)))
        at = draw(st.sampled_from([near, len(content) - 1 - near, draw(st.integers(0, len(content) - 1))]))
        changed[at] ^= draw(st.integers(1, 255))
    return bytes(changed)


def npy(array: np.ndarray, **header) -> bytes:
    """An array in NumPy's format, entries of its header replaced."""
    file = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_2_0(file, described | header)
    return file.getvalue() + (pickle.dumps(array) if array.dtype.hasobject else array.tobytes())


def npz(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def object_array() -> np.ndarray:
    array = np.empty(6, object)
    array[:] = [Trap() for _ in array]
    return array


SHAPES = [(), (0,), (6,), (6, 1), (7,), (6, 3, 32), (6, 3, 32, 33), (6, 1, 8, 8), (0, 3, 32, 32), (6, 3, 32, 32)]
LIES = [(2**31, 3, 32, 32), (2**62,), (-6,), (-1, -6), (10**30, 3, 32, 32), (True, 3, 32, 32), (6, 0, 8, 8)]
DTYPES = ["u1", "i1", "i8", ">i8", "u8", "f4", "f8", ">f8", "f2", "c16", "b1", "U3", "S3", "M8[s]", "m8[s]", "V4"]
FILLS = [0, 1, 9, 10, 255, -1, np.nan, np.inf, -np.inf, 1e300]


def filled(dtype: str, shape: tuple[int, ...], fill: float) -> np.ndarray:
    with np.errstate(all="ignore"):
        if np.dtype(dtype).kind in "fiub":
            return np.full(shape, fill, float).astype(dtype)
    return np.zeros(shape, dtype)


@st.composite
def mutated_members(draw, arrays: dict[str, np.ndarray]) -> bytes:
    """An .npz of ``arrays`` with one to three members missing, renamed, of another kind, or lying in their headers."""
    members, arrays = {name: npy(array) for name, array in arrays.items()}, dict(arrays)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(arrays)))
        array = arrays[name]
        match draw(st.sampled_from(["missing", "extra", "fill", "cast", "shape", "header", "object", "junk", "order"])):
            case "missing":
                members.pop(name, None)
            case "extra":
                members[draw(st.text("abxy_/.", min_size=1, max_size=8))] = npy(object_array())
            case "fill":
                array = filled(array.dtype.str, array.shape, draw(st.sampled_from(FILLS)))
                members[name] = npy(array)
            case "cast":
                members[name] = npy(filled(draw(st.sampled_from(DTYPES)), array.shape, draw(st.sampled_from(FILLS))))
            case "shape":
                members[name] = npy(np.ones(draw(st.sampled_from(SHAPES)), array.dtype))
            case "header":
                members[name] = npy(
                    array, shape=draw(st.sampled_from(SHAPES + LIES)), fortran_order=draw(st.booleans())
                )
            case "object":
                members[name] = npy(object_array())
            case "junk":
                members[name] = draw(st.one_of(st.binary(max_size=200), st.just(pickle.dumps(Trap()))))
            case "order":
                members[name] = npy(array.T, shape=array.shape, fortran_order=True)
    return npz(members, draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])))


CIFAR = cifar_arrays(6) | {"x_test": cifar_arrays(6)["x_test"][:2], "y_test": np.arange(2)}


def cifar_is_right(path: Path) -> None:
    read = read_unless_refused(datasets.read_cifar10_file, path)
    if read is None:
        return
    x, y = read
    assert x.ndim == 4 and x.shape[1:] == (3, 32, 32) and x.dtype == np.float64
    assert y.shape == x.shape[:1] and y.dtype == np.int64
    assert ((x >= 0) & (x <= 1)).all() and ((y >= 0) & (y <= 9)).all()


@MUTATED
@given(mutated_members(CIFAR))
def test_cifar_files(tmp_path, content):
    path = tmp_path / "images.npz"
    path.write_bytes(content)
    cifar_is_right(path)


@MUTATED
@given(st.data())
def test_damaged_cifar_files_are_refused_or_whole(tmp_path, data):
    """An .npz has a checksum of every array: what is read of a damaged one is what was written."""
    path = tmp_path / "images.npz"
    compression = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    path.write_bytes(damaged(data.draw, npz({name: npy(array) for name, array in CIFAR.items()}, compression)))
    read = read_unless_refused(datasets.read_cifar10_file, path)
    if read is not None:
        np.testing.assert_array_equal(read[0] * 255, CIFAR["x_train"])
        np.testing.assert_array_equal(read[1], CIFAR["y_train"])


@pytest.mark.parametrize(
    "content",
    [pickle.dumps(Trap()), npy(object_array()), b"\x80\x04" * 100, npy(CIFAR["x_train"])],
    ids=lambda content: f"{len(content)} bytes",
)
def test_a_pickle_is_no_data_file(tmp_path, content):
    for name in ("images.npz", "images.npy", "images.pkl"):
        path = tmp_path / name
        path.write_bytes(content)
        for read in (lambda path: datasets.cifar10(str(path)), read_examples, load):
            with pytest.raises(InvalidInput, match=name):
                read(path)


def prepared_arrays(classes: int = 3) -> dict[str, np.ndarray]:
    """Images with labels, or a table with numbers."""
    rng = np.random.default_rng(0)
    if not classes:
        return {"x": rng.normal(size=(6, 5)), "y": rng.normal(size=(6, 2)), "classes": np.array(0)}
    return {"x": rng.normal(size=(6, 1, 8, 8)), "y": np.arange(6) % classes, "classes": np.array(classes)}


def prepared_is_right(path: Path) -> None:
    read = read_unless_refused(read_examples, path)
    if read is None:
        return
    x, y, classes = read
    assert x.dtype in (np.float64, np.int64) and x.ndim >= 2 and x.size and np.isfinite(x).all()
    if classes:
        assert y.dtype == np.int64 and y.shape == x.shape[:1] and ((y >= 0) & (y < classes)).all()
    else:
        assert y.dtype == np.float64 and y.ndim == 2 and len(y) == len(x) and y.size and np.isfinite(y).all()


@MUTATED
@given(st.one_of(mutated_members(prepared_arrays()), mutated_members(prepared_arrays(classes=0))))
def test_prepared_data_sets(tmp_path, content):
    path = tmp_path / "dataset.npz"
    path.write_bytes(content)
    prepared_is_right(path)


@MUTATED
@given(st.data())
def test_damaged_prepared_data_sets_are_refused_or_whole(tmp_path, data):
    path, arrays = tmp_path / "dataset.npz", prepared_arrays()
    write_examples(path, **arrays | {"classes": 3})
    path.write_bytes(damaged(data.draw, path.read_bytes()))
    read = read_unless_refused(read_examples, path)
    if read is not None:
        np.testing.assert_array_equal(read[0], arrays["x"])
        np.testing.assert_array_equal(read[1], arrays["y"])
        assert read[2] == 3


def oversized() -> dict[str, bytes]:
    """Files that declare far more than they hold."""
    declared = npy(CIFAR["x_train"], shape=(80_000, 3, 32, 32))
    bomb = {name: npy(array) for name, array in CIFAR.items()}
    hdf5 = io.BytesIO()
    with h5py.File(hdf5, "w") as file:  # chunks that were never written read as zeros
        file.create_dataset("loss", (2**33,), "f8", chunks=(2**16,))
    return {
        "declared.npz": npz(bomb | {"x_train": declared}),
        "declared_compressed.npz": npz(bomb | {"x_train": declared}, zipfile.ZIP_DEFLATED),
        "bomb.npz": npz(bomb | {"x_train": npy(np.zeros((2000, 3, 32, 32), np.uint8))}, zipfile.ZIP_DEFLATED),
        "unwritten.h5": hdf5.getvalue(),
    }


@pytest.fixture(scope="module")
def oversized_files():
    return oversized()


@pytest.mark.parametrize("name", ["declared.npz", "declared_compressed.npz", "bomb.npz", "unwritten.h5"])
def test_no_memory_is_taken_for_what_is_only_declared(tmp_path, oversized_files, name, monkeypatch):
    if name == "bomb.npz":  # which does hold what it declares
        monkeypatch.setattr(datasets, "LARGEST_PART", 2**22)
    path = tmp_path / name
    path.write_bytes(oversized_files[name])
    read = load if name.endswith("h5") else lambda path: datasets.cifar10(str(path))
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match=name):
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2e6  # 246 MB, 6 MB and 69 GB are declared


@pytest.fixture(scope="module")
def small_run(tmp_path_factory) -> bytes:
    """A discrete run of seven images, as HDF5."""
    net = network()
    run = train(net.objective(), optimizer("adam"), net.w0, 40, record_interval=10)
    run.window(20)
    path = tmp_path_factory.mktemp("run") / "run.h5"
    save(run, path)
    return path.read_bytes()


def run_is_right(path: Path) -> None:
    run = read_unless_refused(load, path)
    if run is None:
        return
    reached = len(run.loss) if run.diverged_at is None else run.diverged_at
    assert torch.isfinite(run.loss[:reached]).all()
    assert run.midpoints.shape == run.states.w.shape == (len(run.record_steps), run.midpoints.shape[1])
    assert len(run.sharpness) == len(run.oscillation_along_sharpest) == len(run.record_steps)
    whole = run.record_steps < reached - 1
    assert torch.isfinite(run.midpoints[whole]).all() and torch.isfinite(run.sharpness[whole]).all()
    assert run.threshold > 0
    for at in run.windows:
        assert torch.isfinite(run.window(at).state(1).w).all()


ATTRIBUTES = [np.nan, -1, 0, 3, 10**6, 1e300, "text", [1, 2], [], [20, 20], [[20]], h5py.Empty("f")]
LINKS = [h5py.SoftLink("/loss"), h5py.SoftLink("/nowhere"), h5py.ExternalLink("other.h5", "/loss")]
ARRAYS = ["missing", "fill", "one", "cast", "shape", "text", "group", "link", "lazy"]


def replace_array(draw, file: h5py.File, name: str) -> None:
    """Another thing in the place of an array of a run."""
    array, kind = file[name][()], draw(st.sampled_from(ARRAYS))
    del file[name]
    match kind:
        case "fill":
            file[name] = filled(array.dtype.str, array.shape, draw(st.sampled_from(FILLS)))
        case "one":
            if array.size:
                array.flat[draw(st.integers(0, array.size - 1))] = draw(st.sampled_from([0, -1, 9]))
            file[name] = array
        case "cast":
            file[name] = filled(draw(st.sampled_from(["i8", ">f8", "f4", "f2", "u1", "c16", "S3"])), array.shape, 1)
        case "shape":
            file[name] = np.ones(draw(st.sampled_from([(), (0,), (3,), (4, 1), (42,), (4, 5)])), array.dtype)
        case "text":
            file[name] = ["a", "b"]
        case "group":
            file.create_group(name)
        case "link":
            file[name] = draw(st.sampled_from(LINKS))
        case "lazy":
            file.create_dataset(name, (2**40,), "f8", chunks=(2**10,))


@MUTATED
@given(st.data())
def test_runs_with_other_contents(tmp_path, small_run, data):
    path = tmp_path / "run.h5"
    path.write_bytes(small_run)
    with h5py.File(path, "r+") as file:
        for name in data.draw(st.lists(st.sampled_from(sorted(file)), max_size=2, unique=True)):
            replace_array(data.draw, file, name)
        for name in data.draw(st.lists(st.sampled_from(sorted(file.attrs)), max_size=1)):
            file.attrs[name] = data.draw(st.sampled_from(ATTRIBUTES))
    run_is_right(path)


@MUTATED
@given(st.data())
def test_damaged_runs(tmp_path, small_run, data):
    path = tmp_path / "run.h5"
    path.write_bytes(damaged(data.draw, small_run))
    run_is_right(path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_run_is_refused(tmp_path, small_run, share):
    path = tmp_path / "run.h5"
    path.write_bytes(small_run[: int(share * len(small_run))])
    with pytest.raises(InvalidInput, match=r"run\.h5"):
        load(path)


CELL = Cell("mlp", "gd", 0)
CONFIG = configuration.parse(
    SMOKE | {"architectures": ["mlp"], "optimizers": ["gd"], "flows": ["stable", "rod"], "landscapes": []}
    | {"precision_cells": [], "data": {"examples": 20}, "sizes": {"mlp": {"widths": [3]}}, "steps": 40}
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The results of a tiny run."""
    folder = tmp_path_factory.mktemp("finished")
    run_everything(CONFIG, folder)
    return folder / "results" / CONFIG.run


@MUTATED
@given(st.data())
def test_tables_from_other_intermediate_files(tmp_path, finished, data):
    """Either tables of every flow, or a refusal that names the file and leaves none."""
    results = tmp_path / "results"
    shutil.rmtree(results, ignore_errors=True)
    shutil.copytree(finished, results, ignore=shutil.ignore_patterns("tables", "*.h5", "*.npz"))
    names = ("discrete/mlp-gd-seed0", "flows/mlp-gd-seed0-stable", "flows/mlp-gd-seed0-rod")
    file = results / (data.draw(st.sampled_from(names)) + data.draw(st.sampled_from([".json", ".parquet"])))
    kind = data.draw(st.sampled_from(["damaged", "content", "content", "content"]))
    if kind == "damaged":
        file.write_bytes(damaged(data.draw, file.read_bytes()))
    elif file.suffix == ".json":
        content = json.loads(file.read_text())
        key = data.draw(st.sampled_from(sorted(set(content) - {"provenance"})))
        values = ["text", None, True, -1, 0, 30, 1.5, np.nan, np.inf, [], {}, 10**400, 2**70]
        if data.draw(st.booleans()):
            del content[key]
        else:
            content[key] = data.draw(st.sampled_from(values))
        file.write_text(json.dumps(content if data.draw(st.integers(0, 9)) else [content]))
    else:
        table = pd.read_parquet(file)
        name = data.draw(st.sampled_from(sorted(table)))
        match data.draw(st.sampled_from(["missing", "fill", "text", "empty", "reversed", "twice", "rows", "extra"])):
            case "missing":
                table = table.drop(columns=name)
            case "fill":
                table[name] = data.draw(st.sampled_from(FILLS))
            case "text":
                table[name] = "text"
            case "empty":
                table = table.iloc[:0]
            case "reversed":
                table = table.iloc[::-1]
            case "twice":
                table = pd.concat([table, table])
            case "rows":
                table = table.iloc[:-1]
            case "extra":
                table["extra"] = "text"
        table.to_parquet(file, index=False)
    try:
        aggregate(CONFIG, results)
    except InvalidInput as refused:
        is_said(refused, file.stem)
        assert not (results / "tables").exists()
    else:
        errors = pd.read_csv(results / "tables" / "errors.csv")
        assert errors["flow"].tolist() == ["stable", "rod"]
        assert errors["optimizer"].tolist() == ["gd", "gd"] and errors["seed"].tolist() == [0, 0]


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


def test_a_summary_of_thousands_of_digits_is_refused(tmp_path, finished):
    results = tmp_path / "results"
    shutil.copytree(finished, results)
    (results / "discrete" / "mlp-gd-seed0.json").write_text('{"seed": ' + "9" * 5000 + "}")
    with pytest.raises(InvalidInput, match="mlp-gd-seed0"):
        aggregate(CONFIG, results)


def test_prepare_refuses_a_damaged_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, **CIFAR)
    content = path.read_bytes()
    config = configuration.parse(SMOKE | {"data": {"dataset": "cifar10", "file": str(path), "examples": 6}})
    prepare(config, tmp_path / "whole" / "dataset.npz")
    assert read_examples(tmp_path / "whole" / "dataset.npz")[0].shape == (6, 3, 32, 32)
    path.write_bytes(content[:-30])
    with pytest.raises(InvalidInput):
        prepare(config, tmp_path / "out" / "dataset.npz")
    assert not (tmp_path / "out").exists()


def test_zlib_streams_that_end_early_are_refused(tmp_path):
    """The directory promises what the compressed stream does not give."""
    path = tmp_path / "images.npz"
    content = npz({name: npy(array) for name, array in CIFAR.items()}, zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        first = archive.infolist()[0]
    start = first.header_offset + 30 + len(first.filename)
    short = zlib.compressobj(wbits=-15)
    stream = (short.compress(npy(CIFAR["x_train"])[:5000]) + short.flush()).ljust(first.compress_size, b"\0")
    path.write_bytes(content[:start] + stream + content[start + first.compress_size :])
    with pytest.raises(InvalidInput, match=r"images\.npz"):
        datasets.cifar10(str(path))


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


@pytest.fixture
def torchvision_cifar(monkeypatch):
    """torchvision's CIFAR10, which cannot download anything."""
    declared = torch.library.Library("torchvision", "FRAGMENT")
    try:
        from torchvision.datasets import CIFAR10
    except RuntimeError:  # a build for another torch: the data set needs none of its operators, the import two
        for name in ("nms", "qnms"):
            declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        from torchvision.datasets import CIFAR10

    def unreachable(*_):
        raise OSError("no network in this test")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    return CIFAR10


def batches(folder: Path, entry: object) -> dict[str, str]:
    """Pickled batches as CIFAR-10's archive has them, and their digests."""
    folder.mkdir()
    digests = {}
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"):
        content = pickle.dumps({"label_names": list("abcdefghij")} if name == "batches.meta" else entry)
        (folder / name).write_bytes(content)
        digests[name] = hashlib.md5(content).hexdigest()
    return digests


def test_torchvisions_batches_are_unpickled_only_if_their_digests_are_right(tmp_path, torchvision_cifar, monkeypatch):
    planted, genuine = tmp_path / "planted", tmp_path / "genuine"
    for folder in (planted, genuine):
        folder.mkdir()
    batches(planted / "cifar-10-batches-py", Trap())
    with pytest.raises(InvalidInput, match=r"data\.file.*no network"):
        datasets.cifar10(folder=str(planted))
    (planted / "cifar-10-python.tar.gz").write_bytes(b"no archive")
    with pytest.raises(InvalidInput, match=r"data\.file"):
        datasets.cifar10(folder=str(planted))

    images = CIFAR["x_train"].reshape(6, -1)
    digests = batches(genuine / "cifar-10-batches-py", {"data": images, "labels": CIFAR["y_train"].tolist()})
    for part in ("train_list", "test_list"):
        monkeypatch.setattr(torchvision_cifar, part, [[n, digests[n]] for n, _ in getattr(torchvision_cifar, part)])
    monkeypatch.setattr(torchvision_cifar, "meta", torchvision_cifar.meta | {"md5": digests["batches.meta"]})
    x, y = datasets.cifar10(folder=str(genuine))
    np.testing.assert_array_equal(x[:6] * 255, CIFAR["x_train"])
    assert y.tolist() == CIFAR["y_train"].tolist() * 5


def test_no_code_of_the_package_unpickles():
    unpickling = r"(import|from) (pickle|joblib|dill|shelve)|allow_pickle=True|torch\.load\(|read_pickle|unsafe_load"
    for path in (ROOT / "rodflow").rglob("*.py"):
        assert not re.search(unpickling, path.read_text()), path
