"""A full disk and a read-only folder: one clear line, a status other than 0, nothing damaged, nothing left lying about.

A limit on the size of a file stands for the full disk: writes beyond it fail in the same way, midway.
"""

import os
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from helpers.checkout import ROOT, smoke
from matplotlib.figure import Figure

from rodflow import config as configuration
from rodflow.jobs.files import write_arrays, write_examples, write_json, write_table, write_text
from rodflow.pipeline.stages.dataset import prepare
from rodflow.report.figures import style

SMOKE = smoke()


@contextmanager
def largest_file(size: int):
    """No file can be written beyond ``size`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


TABLE = pd.DataFrame({"step": np.arange(5000), "loss": np.random.default_rng(0).normal(size=5000)})
WRITERS = {
    "text.md": lambda path, n: write_text(path, "x" * n),
    "summary.json": lambda path, n: write_json(path, {"key": "x" * n}),
    "run.h5": lambda path, n: write_arrays(path, {"loss": np.zeros(n)}, {"threshold": 2.0}),
    "images.npz": lambda path, n: write_examples(path, np.zeros((n // 64 + 1, 1, 8, 8)), np.zeros(n // 64 + 1, int), 1),
    "table.csv": lambda path, n: write_table(path, TABLE.iloc[:n]),
    "table.parquet": lambda path, n: write_table(path, TABLE.iloc[:n]),
    "figure.png": lambda path, n: style.save(drawn(n), [path]),
    "figure.pdf": lambda path, n: style.save(drawn(n), [path]),
}


def drawn(n: int) -> Figure:
    figure = Figure(figsize=(4, 4))
    figure.subplots().plot(TABLE["loss"].iloc[:n])
    return figure


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("limit", [0, 3000])
def test_a_failed_write_leaves_what_was_there(tmp_path, name, limit):
    path = tmp_path / name
    WRITERS[name](path, 20)
    before = path.read_bytes()
    with largest_file(limit), pytest.raises(OSError, match=name):
        WRITERS[name](path, 5000)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def command(*words: object, before=None, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*prefix, sys.executable, "-m", "rodflow", *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        preexec_fn=before,
    )


def said_on_one_line(ended: subprocess.CompletedProcess, said: str) -> None:
    """The last line is the error; before it are only lines of the log."""
    *log, error = ended.stderr.splitlines()
    assert ended.returncode == 1
    assert error.startswith("error: ") and said in error
    assert all(line[2] == line[5] == ":" for line in log)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> tuple[Path, Path]:
    """A config and its prepared images."""
    folder = tmp_path_factory.mktemp("prepared")
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(SMOKE | {"steps": 40}))
    prepare(configuration.load(config), folder / "dataset.npz")
    return config, folder / "dataset.npz"


def test_a_stage_on_a_full_disk(tmp_path, prepared):
    config, images = prepared
    cell = ("--config", config, "--architecture", "mlp", "--optimizer", "gd", "--dataset", images)
    output = tmp_path / "results" / "mlp-gd-seed0.h5"
    ended = command(
        "discrete",
        *cell,
        "--output",
        output,
        before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    said_on_one_line(ended, "mlp-gd-seed0.h5")
    assert list(output.parent.iterdir()) == []


def test_a_stage_on_a_read_only_folder(tmp_path, prepared):
    config, images = prepared
    folder = tmp_path / "results"
    folder.mkdir()
    shutil.copy(images, folder / "dataset.npz")
    before = (folder / "dataset.npz").read_bytes()
    folder.chmod(0o555)
    # root may write anywhere unless it gives that up
    prefix = ("setpriv", "--bounding-set", "-dac_override") if os.geteuid() == 0 else ()
    if prefix and shutil.which(prefix[0]) is None:
        pytest.skip("run as root, without setpriv")
    try:
        ended = command("dataset", "--config", config, "--output", folder / "dataset.npz", prefix=prefix)
    finally:
        folder.chmod(0o755)
    said_on_one_line(ended, "Permission denied")
    assert f"{folder / 'dataset.npz'}" in ended.stderr
    assert (folder / "dataset.npz").read_bytes() == before
    assert [path.name for path in folder.iterdir()] == ["dataset.npz"]
