"""Files that stages read and write: atomic, never unpickled, refused by name when they do not hold what they should.

h5py and pandas are imported where they are used: most callers need neither or one of them.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rodflow.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well, and goes when it does not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
    import h5py

    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
        for name, value in attributes.items():
            file.attrs[name] = value


def read_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What :func:`write_arrays` wrote. Raises: ``InvalidInput`` if the file cannot be read."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return {name: file[name][()] for name in file}, dict(file.attrs)
    except (OSError, KeyError, RuntimeError, TypeError) as error:
        raise InvalidInput("file", str(path), f"a readable HDF5 file ({error})") from error


def write_images(path: str | Path, x: np.ndarray, y: np.ndarray, classes: int) -> None:
    """Images x ``[n, channels, side, side]``, labels y ``[n]`` and the number of classes as .npz."""
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, x=x, y=y, classes=np.int64(classes))


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
    import pandas as pd

    try:
        return pd.read_parquet(path) if Path(path).suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InvalidInput("file", str(path), f"a readable table ({error})") from error
