"""Files that stages read and write: atomic, never unpickled, refused by name when they do not hold what they should."""

from __future__ import annotations

import glob
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from rodflow.errors import InvalidInput


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well, and goes when it does not.

    Written through to the disk before it is renamed, so that not even a power cut leaves half a file under the name.
    What a writer of this path left that was killed goes first.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        _write_through(temporary)
        os.replace(temporary, path)
        _write_through(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove(path: str | Path) -> None:
    """Remove a file, if it is there, and what killed writers of it left."""
    Path(path).unlink(missing_ok=True)
    _remove_leftovers(Path(path))


def _remove_leftovers(path: Path) -> None:
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp{path.suffix}"):
        temporary.unlink(missing_ok=True)


def _write_through(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text)


def write_json(path: str | Path, content: dict[str, Any]) -> None:
    """Write a mapping as JSON, keys sorted."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON file. Raises: ``InvalidInput`` if it cannot be read."""
    try:
        return json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise InvalidInput("file", str(path), f"a readable JSON file ({error})") from error


def write_arrays(path: str | Path, arrays: dict[str, np.ndarray], attributes: dict[str, Any]) -> None:
    """Named arrays and scalar attributes as HDF5."""
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
        for name, value in attributes.items():
            file.attrs[name] = value


def read_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What :func:`write_arrays` wrote. Raises: ``InvalidInput`` if the file cannot be read."""
    try:
        with h5py.File(path, "r") as file:
            return {name: file[name][()] for name in file}, dict(file.attrs)
    except (OSError, KeyError, RuntimeError, TypeError) as error:
        raise InvalidInput("file", str(path), f"a readable HDF5 file ({error})") from error


def write_archive(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Named arrays as .npz, each with a checksum."""
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def read_archive(path: str | Path) -> dict[str, np.ndarray]:
    """What :func:`write_archive` wrote. Raises: ``InvalidInput`` if the file cannot be read or a checksum is wrong."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"wrong checksum of {damaged}")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # a damaged archive can pose as another kind of file: what that raises has no end
        raise InvalidInput("file", str(path), f"an undamaged .npz archive of arrays ({error})") from error


def write_images(path: str | Path, x: np.ndarray, y: np.ndarray, classes: int) -> None:
    """Images x ``[n, channels, side, side]``, labels y ``[n]`` and the number of classes as .npz."""
    write_archive(path, {"x": x, "y": y, "classes": np.asarray(classes, np.int64)})


def read_images(path: str | Path) -> tuple[np.ndarray, np.ndarray, int]:
    """x, y and the number of classes of a prepared data set. Raises: ``InvalidInput`` if the file cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return archive["x"], archive["y"], int(archive["classes"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidInput("file", str(path), f"a data set prepared by the dataset stage ({error})") from error


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """A table as CSV, or as Parquet where the path says so."""
    with atomic(path) as temporary:
        if Path(path).suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary, index=False)


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a CSV or Parquet table. Raises: ``InvalidInput`` if it cannot be read."""
    try:
        return pd.read_parquet(path) if Path(path).suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InvalidInput("file", str(path), f"a readable table ({error})") from error
