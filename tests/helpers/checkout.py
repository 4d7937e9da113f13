"""The project as a user has it: its folder, copies of it, commands in them, and what two runs of it share."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import yaml

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "config.yaml", "environment.yml", "workflow", "rodflow", "profiles", "config", "examples")
NARROW = ("architectures=['mlp']", "optimizers=['gd']", "flows=['stable','rod']")


def smoke(**changes) -> dict:
    """The settings of config/smoke.yaml with changes, and without what moves, which test_animations.py is about."""
    return yaml.safe_load((ROOT / "config/smoke.yaml").read_text()) | {"animated_cells": []} | changes


def copy_project(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    return folder


def shorten_valley(project: Path) -> Path:
    """In a copy the valley takes 60 steps, not 500, 20 seconds: for tests of what becomes of its files."""
    path = project / "rodflow/problems/landscapes.py"
    before = path.read_text()
    path.write_text(before.replace("steps=500", "steps=60"))
    assert path.read_text() != before
    return project


def snakemake(*words: str, narrow: tuple[str, ...] = NARROW, cores: int = 2) -> list[str]:
    """The command that runs the smoke config, narrowed, in the folder of a copy."""
    whole = ["-m", "snakemake", "--cores", str(cores), "--configfile", "config/smoke.yaml", *words]
    return [sys.executable, *whole, "--config", *narrow]


def environment() -> dict[str, str]:
    # the rules' `python` is the one that runs the tests; modules come from the copy, the working directory
    return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": "."}


def interruptible() -> None:
    """For a new process, before it starts: SIGINT as a user's terminal leaves it.

    A shell may have started the tests in the background, with SIGINT ignored.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.005)


def measures_time(heading: str) -> bool:
    """Whether a table's column holds seconds, in which no two runs agree."""
    return heading.startswith("seconds")


def read_without_times(path: Path) -> pd.DataFrame:
    """A CSV table as it is written, digit by digit, without its columns of seconds."""
    return pd.read_csv(path, dtype=str, usecols=lambda heading: not measures_time(heading))


def outputs(folder: Path) -> dict[str, object]:
    """Tables, series and figures by path, as bytes; those of a table without its columns of measured time."""
    found: dict[str, object] = {}
    for path in [*folder.glob("results/*/**/*"), *folder.glob("figures/*/**/*")]:
        name = str(path.relative_to(folder))
        assert "checkpoint" not in name
        if path.parent.name == "tables" and path.suffix == ".csv":
            found[name] = without_times([line.split(",") for line in path.read_text().splitlines()])
        elif path.suffix == ".md" and path.name != "REPLICATION.md":  # which names the checkout's commit
            found[name] = without_times([line.split("|") for line in path.read_text().splitlines()])
        elif path.suffix in (".h5", ".parquet", ".npz", ".png", ".pdf", ".gif"):
            found[name] = path.read_bytes()
    return found


def without_times(rows: list[list[str]]) -> list[list[str]]:
    """The rows of one table, or several with a heading each, without its columns of seconds."""
    timed: set[int] = set()
    kept: list[list[str]] = []
    for before, row in zip([[], *rows], rows, strict=False):
        if len(row) != len(before):  # a new table
            timed = {i for i, name in enumerate(row) if measures_time(name.strip())}
        kept.append([cell for i, cell in enumerate(row) if i not in timed])
    return kept


def assert_equal(folder: Path, expected: dict[str, object]) -> None:
    found = outputs(folder)
    assert found.keys() == expected.keys()
    assert {name for name in expected if found[name] != expected[name]} == set()
