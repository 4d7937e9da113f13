"""Where the stages and the workflow keep a run's files below its results folder."""

from __future__ import annotations

from pathlib import Path


def discrete_file(results: str | Path, architecture: str, optimizer: str, seed: int) -> Path:
    """The records of a discrete run; the run itself lies beside it as .h5, its summary as .json."""
    return Path(results, "discrete", f"{architecture}-{optimizer}-seed{seed}.parquet")


def flow_file(results: str | Path, architecture: str, optimizer: str, seed: int, flow: str) -> Path:
    """The time series of a flow; its summary lies beside it as .json."""
    return Path(results, "flows", f"{architecture}-{optimizer}-seed{seed}-{flow}.parquet")


def checkpoint_file(output: Path) -> Path:
    """Where the job that makes ``output`` keeps its checkpoint until it is done: beside it."""
    return output.with_name(f"{output.stem}.checkpoint.npz")


def precision_file(results: str | Path, architecture: str, optimizer: str, seed: int) -> Path:
    """The series of a cell's precision study; its summary lies beside it as .json."""
    return Path(results, "precision", f"{architecture}-{optimizer}-seed{seed}.parquet")


def landscape_file(results: str | Path, landscape: str) -> Path:
    """The run and the flows on a toy landscape; its summary lies beside it as .json."""
    return Path(results, "landscapes", f"{landscape}.parquet")


def grid_file(landscape_file: Path) -> Path:
    """The loss over the plane, beside the file of a landscape."""
    return landscape_file.with_name(f"{landscape_file.stem}-grid.parquet")
