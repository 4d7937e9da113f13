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

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "config.yaml", "environment.yml", "workflow", "rodflow", "profiles", "config")
NARROW = ("architectures=['mlp']", "optimizers=['gd']", "flows=['stable','rod']")


def smoke(**changes) -> dict:
    """The settings of config/smoke.yaml, with changes."""
    return yaml.safe_load((ROOT / "config/smoke.yaml").read_text()) | changes


def copy_project(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    return folder


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
