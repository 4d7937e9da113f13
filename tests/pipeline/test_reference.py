"""The reference: the same run gives the same small folder, no path stands in it, and its numbers can be checked."""

import errno
import json
import re
import shutil
import subprocess
import sys
import tarfile
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.checkout import ROOT, smoke
from helpers.runs import run_everything

from rodflow import config as configuration
from rodflow.config import Cell
from rodflow.errors import InvalidInput
from rodflow.jobs.files import replaced, write_json
from rodflow.pipeline.job import Job
from rodflow.problems import datasets
from rodflow.reference import collect as reference_stage
from rodflow.reference.blocks import filled
from rodflow.reference.check import check
from rodflow.reference.collect import collect
from rodflow.reference.contents import FILES, LARGEST_FOLDER, Origin, readme
from rodflow.reference.replication import replicate_reference
from rodflow.reference.tolerances import TOLERANCES, compared, require_agreement

CIFAR = {"data": {"dataset": "cifar10", "examples": 40}}


def tiny(**changes):
    """A run at the edge of stability within some 40 steps, on the embedded digits."""
    settings = smoke(
        run="tiny",
        architectures=["mlp"],
        optimizers=["gd", "rmsprop"],
        flows=["stable", "rod", "drift_free_rod", "edge"],
        landscapes=[],
        precision_cells=["mlp-gd"],
        steps=70,
        record_interval=5,
        learning_rates={"mlp": {"gd": 0.4, "rmsprop": 0.01}},
    )
    return configuration.parse(settings | changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[configuration.Config, Path, Path]:
    """The config of a run whose images are said to lie somewhere, its results, the reference collected from them."""
    root = tmp_path_factory.mktemp("made")
    data = {"examples": 40, "file": str(root / "images.npz"), "folder": str(root)}
    config, results = tiny(data=data), root / "results" / "tiny"
    run_everything(config, root)
    collect(config, results, root / "reference")
    return config, results, root / "reference"


@pytest.fixture
def copy(made, tmp_path) -> Path:
    """A copy of the reference, to be changed."""
    return Path(shutil.copytree(made[2], tmp_path / "reference"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_every_file_is_there_and_described(made):
    config, results, reference = made
    found = contents(reference)
    drawn = {
        "overview",
        "fidelity",
        "comparison",
        "architectures/mlp",
        "cells/mlp-gd",
        "cells/mlp-rmsprop",
        "precision/mlp-gd",
    }
    assert {name for name in found if name.startswith("figures/")} == {f"figures/{name}.png" for name in drawn}
    assert {name for name in found if "/" not in name} == FILES.keys() - {"figures/"} | {"README.md"}
    assert all(f"`{name}`" in found["README.md"].decode() for name in FILES)
    assert found["errors.csv"] == (results / "tables" / "errors.csv").read_bytes()
    assert configuration.load(reference / "config.yaml") == config.placeless


def test_cells_and_series_are_the_runs(made):
    config, results, reference = made
    cells = pd.read_csv(reference / "cells.csv").set_index("optimizer")
    weights = 64 * 8 + 8 + 8 * 10 + 10
    gd = cells.loc["gd"]
    assert (gd["parameters"], gd["examples"], gd["steps"], gd["learning_rate"]) == (weights, 40, 70, 0.4)
    assert (gd["threshold"], gd["flow_start"], gd["scale"], gd["device"]) == (2.0, 20, "reduced", "cpu")
    assert (cells[["seconds_discrete", "seconds_flows"]] > 0).all(axis=None)
    names = ["architecture", "optimizer", "seed", "flow"]
    series = pd.read_parquet(reference / "flows.parquet").set_index(names)
    kept = series.loc["mlp", "rmsprop", 0, "stable"].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, pd.read_parquet(Job("flow", Cell("mlp", "rmsprop", 0), "stable").file(results)))
    records = pd.read_parquet(reference / "discrete.parquet")
    assert records.groupby(names[:3]).size().tolist() == [config.steps // config.record_interval] * 2
    origin = json.loads((reference / "provenance.json").read_text())
    assert [place["jobs"] for place in origin["made"]] == [2 + 7]
    assert origin["images"] == json.loads((results / "dataset.json").read_text())["images"]


def test_nothing_tells_where_on_a_machine_it_was_made(made):
    for name, content in contents(made[2]).items():
        assert str(made[1].parents[1]).encode() not in content, name
        if not name.endswith((".png", ".parquet")):
            assert not re.search(r"(?:^|[\s\"'`(=:])/\w", content.decode(), re.MULTILINE), name


def test_collected_twice_gives_the_same_bytes(made, tmp_path):
    collect(*made[:2], tmp_path / "again")
    assert contents(tmp_path / "again") == contents(made[2])


def full_disk(path, content):
    write_json(path, content)
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_a_failed_collection_leaves_the_earlier_one(made, copy, monkeypatch):
    config, results, _ = made
    before = contents(copy)
    monkeypatch.setattr(reference_stage, "_draw", lambda *_: None)  # what fails is not the drawing
    with monkeypatch.context() as patched:
        patched.setattr(reference_stage, "LARGEST_FOLDER", 10_000)
        with pytest.raises(InvalidInput, match="at most 10000"):
            collect(config, results, copy)
    with monkeypatch.context() as patched:
        patched.setattr(reference_stage, "write_json", full_disk)
        with pytest.raises(OSError, match="No space"):
            collect(config, results, copy)
    with pytest.raises(InvalidInput, match=r"a row of \('mlp', 'gd', 1, 'drift_free_rod'\)"):
        collect(config.model_copy(update={"seeds": [0, 1]}), results, copy)
    with pytest.raises(InvalidInput, match="made with the settings of the config"):
        collect(config.model_copy(update={"threads": 2}), results, copy)
    assert contents(copy) == before
    assert [path.name for path in copy.parent.iterdir()] == ["reference"]


def test_a_run_that_is_not_finished_is_refused(made, tmp_path):
    config, results, _ = made
    part = Path(shutil.copytree(results, tmp_path / "part"))
    Job("flow", Cell("mlp", "gd", 0), "edge").file(part).unlink()
    with pytest.raises(InvalidInput, match=r"mlp-gd-seed0-edge\.parquet"):
        collect(config, part, tmp_path / "reference")
    assert not (tmp_path / "reference").exists()


def test_a_folder_that_is_no_reference_is_not_replaced(made, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InvalidInput, match="output"):
        collect(*made[:2], tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_killed_while_it_was_replaced_the_earlier_folder_comes_back(tmp_path):
    earlier = tmp_path / ".kept.earlier"
    earlier.mkdir()
    (earlier / "old").touch()
    with pytest.raises(RuntimeError), replaced(tmp_path / "kept") as folder:
        (folder / "new").touch()
        raise RuntimeError
    assert contents(tmp_path) == {"kept/old": b""}
    with replaced(tmp_path / "kept") as folder:
        (folder / "new").touch()
    assert contents(tmp_path) == {"kept/new": b""}


def test_replication_comes_from_the_reference_alone(copy, tmp_path):
    replicate_reference(copy, tmp_path / "REPLICATION.md")
    text = (tmp_path / "REPLICATION.md").read_text()
    assert "the run `tiny`" in text
    assert "9 discrete runs and flows at commit" in text


# The check


@pytest.fixture(scope="module")
def checked(made, tmp_path_factory) -> Path:
    """Where the reference was checked against itself, all well."""
    root = tmp_path_factory.mktemp("checked")
    table = check(made[0], made[2], root)
    require_agreement(table)
    assert len(table) == 2 * len(TOLERANCES)
    assert table["recomputed"].notna().all()
    return root


@pytest.fixture
def recomputed(checked, monkeypatch):
    """The check, with what it has computed before in place of computing again."""

    def put(config, results):
        shutil.copytree(checked / "results" / config.run, results, dirs_exist_ok=True)

    monkeypatch.setattr("rodflow.reference.check._run", put)


def test_the_reference_agrees_with_itself(checked):
    table = pd.read_csv(checked / "results/reference-check/reference_check.csv")
    columns = ["cell", "flow", "quantity", "committed", "recomputed", "tolerance", "agrees"]
    assert table.columns.tolist() == columns
    assert table["agrees"].all()
    assert (table["committed"] == table["recomputed"]).all()


def tamper(file: Path, column: str, by: float, **of) -> None:
    table = pd.read_csv(file)
    rows = (table[list(of)] == list(of.values())).all(axis=1)
    table[column] = table[column].astype(float)
    table.loc[rows, column] *= by
    table.to_csv(file, index=False)


@pytest.mark.parametrize(
    ("file", "column", "by", "flow"),
    [
        ("errors.csv", "error_eos_mean", 1.2, "stable"),
        ("errors.csv", "error_eos_mean", 5, "drift_free_rod"),
        ("thresholds.csv", "onset_step", 2, "run"),
        ("cells.csv", "parameters", 1.01, "run"),
    ],
)
def test_a_changed_number_is_named(made, copy, tmp_path, recomputed, file, column, by, flow):
    tamper(copy / file, column, by, optimizer="rmsprop", **({} if flow == "run" else {"flow": flow}))
    table = check(made[0], copy, tmp_path)
    with pytest.raises(InvalidInput, match=f"the reference, mlp-rmsprop-seed0 {flow} {column}: got") as refused:
        require_agreement(table)
    assert "mlp-gd" not in str(refused.value)


def test_tolerances():
    numbers = {
        "parameters": 100.0,
        "threshold": 2.0,
        "onset_step": 300.0,
        "sharpness_eos_median": 2.0,
        "error_eos_mean": 0.1,
        "ratio_to_stable": 20.0,
    }
    committed = {key: numbers[key[1]] for key in TOLERANCES}
    for (whose, name), (near, far) in {
        ("run", "parameters"): (100, 101),
        ("run", "threshold"): (2, 2.0000001),
        ("run", "onset_step"): (260, 240),
        ("run", "sharpness_eos_median"): (1.91, 1.89),
        ("stable", "error_eos_mean"): (0.109, 0.111),
        ("drift_free_rod", "error_eos_mean"): (0.39, 0.41),
        ("drift_free_rod", "ratio_to_stable"): (1.1, 0.9),
        ("drift_free_rod", "sharpness_eos_median"): (2.09, nan),
    }.items():
        for value, agrees in ((near, True), (far, False)):
            rows = compared("cell", committed, committed | {(whose, name): value}, 20)
            wrong = [(row["flow"], row["quantity"]) for row in rows if not row["agrees"]]
            assert wrong == [] if agrees else [(whose, name)], value
    nothing = dict.fromkeys(TOLERANCES, nan)  # of a run that diverged
    assert all(row["agrees"] for row in compared("cell", nothing, nothing, 20))


def test_other_images_are_refused_before_anything_runs(made, copy, tmp_path):
    origin = json.loads((copy / "provenance.json").read_text())
    (copy / "provenance.json").write_text(json.dumps(origin | {"images": "another"}))
    with pytest.raises(InvalidInput, match=r"data\.file: got .*the first 40 training images of digits: sha256 another"):
        check(made[0], copy, tmp_path)
    assert not (tmp_path / "results/reference-check/discrete").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": 75}, "steps of mlp gd 0 stable: got 75, allowed: 70"),
        ({"seeds": [0, 1]}, "mlp gd 1 stable"),
        ({"sizes": {"mlp": {"widths": [9]}}}, r"sizes\.widths of mlp gd 0 stable: got \[9\], allowed: \[8\]"),
    ],
)
def test_other_settings_are_refused_by_name(made, tmp_path, changes, said):
    with pytest.raises(InvalidInput, match=said):
        check(tiny(**changes), made[2], tmp_path)


def test_without_a_reference_or_the_images_it_says_what_is_missing(made, copy, tmp_path):
    with pytest.raises(InvalidInput, match=r"reference: got .*nowhere', allowed: a folder with config.yaml"):
        check(made[0], tmp_path / "nowhere", tmp_path)
    config = tiny(**CIFAR)
    (copy / "config.yaml").write_text(config.to_yaml())
    words = [sys.executable, "-m", "rodflow", "reference-check", "--config", "reference/config.yaml"]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
    said = ended.stderr
    assert (ended.returncode, said.count("\n")) == (2, 1), said
    for part in ("error: data.file: got None", "x_train", "reference/README.md", "make reference-check DATA=my.npz"):
        assert part in said


def test_the_readme_makes_a_file_of_images(tmp_path):
    """Its program, on an archive of made-up images in the binary format."""
    cells = pd.DataFrame({"parameters": [10]})
    text = readme(tiny(**CIFAR), cells, Origin(images="", made=[], seconds=1.0, last_finished=""))
    program = re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1)
    rows = np.random.default_rng(0).integers(0, 10, (5, 3073), dtype=np.uint8)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in ("data_batch_1", "test_batch"):
        (folder / f"{name}.bin").write_bytes(rows.tobytes())
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    x, y = datasets.cifar10(str(tmp_path / "my.npz"))
    assert y.tolist() == rows[:, 0].tolist()
    np.testing.assert_array_equal(x[2, 1, 0, :3] * 255, rows[2, 1 + 1024 : 1 + 1024 + 3])


# The committed one


def test_the_committed_reference_is_whole_and_small():
    reference = ROOT / "reference"
    config = configuration.load(reference / "config.yaml")
    assert config.data.file is None
    errors = pd.read_csv(reference / "errors.csv")
    jobs = errors[["architecture", "optimizer", "seed", "flow"]].itertuples(index=False, name=None)
    assert set(jobs) == config.followed.keys()
    assert (np.isfinite(errors["error_final"]) | errors["diverged_at"].notna()).all()
    found = contents(reference)
    assert len(pd.read_csv(reference / "cells.csv")) == len(config.cells)
    stems = [f"cells/{a}-{o}" for a in config.architectures for o in config.optimizers]
    stems += [f"architectures/{a}" for a in config.architectures] + ["overview", "fidelity", "comparison"]
    for stem in stems:
        assert found[f"figures/{stem}.png"].startswith(b"\x89PNG"), stem
    assert sum(map(len, found.values())) <= LARGEST_FOLDER
    assert configuration.load(ROOT / "config/reference.yaml").followed == config.followed


def test_tables_of_pages_by_hand(tmp_path):
    """Two cells: a stable flow that was stopped, a twin that is no model, a median over the cell with five records."""
    row = {"architecture": "mlp", "seed": 0, "gradient_equivalents_per_step": 2.0, "diverged_at": None, "floor": 0.01}
    rows = [
        row | {"optimizer": o, "flow": f, "error_eos_mean": e, "n": n, "ratio_to_stable": s, "n_stable": k}
        | {"ratio_to_floor": e / 0.01, "n_floor": n, "diverged_at": 300 if n < 9 else None}
        for o, f, e, n, s, k in [
            ("gd", "stable", 4.0, 9, 1.0, 9),
            ("gd", "rod", 0.5, 9, 8.0, 9),
            ("gd", "twin", 0.01, 9, 400.0, 9),
            ("adam", "stable", 2.0, 3, 1.0, 3),
            ("adam", "rod", 0.02, 9, 90.0, 3),
        ]
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "errors.csv", index=False)
    pd.DataFrame(rows).assign(sharpness_ratio=1.04).to_csv(tmp_path / "fidelity.csv", index=False)
    text = (
        "A\n\n<!-- reference: models -->\n\nold\n\n<!-- end -->\n\n<!-- reference: cells -->\n\nold\n\n<!-- end -->\nB"
    )
    lines = filled(text, tmp_path).splitlines()
    assert lines[0] == "A" and lines[-1] == "B" and "old" not in lines
    assert [line.split(" | ")[1:4] for line in lines if line.startswith("| Rod flow |")] == [
        ["8 (from 8 to 8; 1 of 2 cells, n 9 to 9)", "26 (from 2 to 50; 2 of 2 cells, n 9 to 9)", "2 of 2"]
    ]
    assert "Twin run" not in "".join(lines)
    (adam,) = (line for line in lines if line.startswith("| `mlp` adam"))
    assert adam == "| `mlp` adam | 9 | 2 (n 3) | 0.02 | 0.01 | 90 (3) | – | – |"  # the run has two of the table's flows
    with pytest.raises(InvalidInput, match="models, cells, before_edge"):
        filled("<!-- reference: figures -->\n\n\n\n<!-- end -->", tmp_path)
