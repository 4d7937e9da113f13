"""Where the stages and the workflow keep a run's files below its results folder."""

from __future__ import annotations

from pathlib import Path

from rodflow.config import Cell


def variant_folder(results: str | Path, variant: str) -> Path:
    """Where the runs and flows of a variant of the precision study lie; without one, ``results`` itself."""
    return Path(results, "precision", variant) if variant else Path(results)


def discrete_file(results: str | Path, cell: Cell, variant: str = "") -> Path:
    """The records of a discrete run; the run itself lies beside it as .h5, its summary as .json."""
    return variant_folder(results, variant) / "discrete" / f"{cell}.parquet"


def steps_file(discrete_file: Path) -> Path:
    """Loss, gradient norm and oscillation of every step, beside the file of a discrete run."""
    return discrete_file.with_name(f"{discrete_file.stem}-steps.parquet")


def flow_file(results: str | Path, cell: Cell, flow: str, variant: str = "") -> Path:
    """The time series of a flow; its summary lies beside it as .json."""
    return variant_folder(results, variant) / "flows" / f"{cell}-{flow}.parquet"


def checkpoint_file(output: Path) -> Path:
    """Where the job that makes ``output`` keeps its checkpoint until it is done: beside it."""
    return output.with_name(f"{output.stem}.checkpoint.npz")


def study_file(results: str | Path, cell: Cell) -> Path:
    """The series of a cell's precision study; its summary lies beside it as .json."""
    return Path(results, "precision", f"{cell}.parquet")


def plane_file(results: str | Path, cell: Cell) -> Path:
    """The run and the flows of a cell in its plane, for an animation; its summary lies beside it as .json."""
    return Path(results, "planes", f"{cell}.parquet")


def landscape_file(results: str | Path, landscape: str) -> Path:
    """The run and the flows on a toy landscape; its summary lies beside it as .json."""
    return Path(results, "landscapes", f"{landscape}.parquet")


def grid_file(landscape_file: Path) -> Path:
    """The loss over the plane, beside the file of a landscape."""
    return landscape_file.with_name(f"{landscape_file.stem}-grid.parquet")


def job_name(results: str | Path, file: Path) -> str:
    """What the job that makes ``file`` is known by, such as ``discrete/mlp-gd-seed0``; its log lies there too."""
    return file.relative_to(results).with_suffix("").as_posix()
