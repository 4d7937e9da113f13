"""Files that stages read and write: atomic, never unpickled, refused by name when they do not hold what they should."""

from __future__ import annotations

import errno
import glob
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
from numpy.lib.npyio import NpzFile
from pydantic import BaseModel, ValidationError

from rodflow.errors import InvalidInput

if TYPE_CHECKING:
    import h5py

ROOM = 2**12
"""Bytes that an HDF5 file takes beside an array's own, or for an attribute; it takes less."""


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well, and goes when it does not.

    Written through to the disk before it is renamed, so that not even a power cut leaves half a file under the name.
    What a writer of this path left that was killed goes first.

    Raises: ``OSError`` naming ``path`` if it cannot be written; what was there before is as it was.
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
    except OSError as error:  # of a failed write, unlike a failed opening, it does not know the file
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replaced(folder: str | Path) -> Iterator[Path]:
    """A new, empty folder beside ``folder`` that takes its place when the block ends well, and goes when it does not.

    The old folder stays until the new one is complete. Leftovers of a killed writer are removed first; if it was
    killed between its two renames, the old folder is restored.
    """
    folder = Path(folder)
    new, earlier = (folder.with_name(f".{folder.name}.{word}") for word in ("new", "earlier"))
    if earlier.exists() and not folder.exists():
        earlier.rename(folder)
    for leftover in (new, earlier):
        shutil.rmtree(leftover, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        if folder.exists():
            folder.rename(earlier)
        new.rename(folder)
    finally:
        if earlier.exists() and not folder.exists():
            earlier.rename(folder)
        for leftover in (new, earlier):
            shutil.rmtree(leftover, ignore_errors=True)


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


@contextmanager
def refused_as(path: str | Path, what: str, key: str = "file") -> Iterator[None]:
    """Whatever a parser trips over in the block is the file's fault: ``InvalidInput`` says that it is not ``what``."""
    try:
        yield
    except InvalidInput:
        raise
    except Exception as error:  # parsers of foreign files raise nearly anything
        reason = f"missing: {error.args[0]}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise InvalidInput(key, str(path), f"{what} (it cannot be read: {reason})") from error


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: dict[str, Any]) -> None:
    """Write a mapping as JSON, keys sorted."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON file that holds a mapping. Raises: ``InvalidInput`` if it cannot be read or holds something else."""
    with refused_as(path, "a readable JSON file"):
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise InvalidInput("file", str(path), "a JSON file that holds a mapping")
    return content


M = TypeVar("M", bound=BaseModel)


def read_model(path: str | Path, model: type[M]) -> M:
    """Read a JSON file that holds what a pydantic ``model`` describes.

    Raises: ``InvalidInput`` naming the file, the first wrong key, its value and what is allowed.
    """
    content = read_json(path)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "missing":
            allowed = f"a JSON file with {', '.join(model.model_fields)} (missing: {key})"
            raise InvalidInput("file", str(path), allowed) from None
        allowed = first["msg"].removeprefix("Input should be ")
        raise InvalidInput(f"{path}: {key}", first["input"], allowed) from None


def write_arrays(path: str | Path, arrays: dict[str, np.ndarray], attributes: dict[str, Any]) -> None:
    """Named arrays and scalar attributes as HDF5, written array by array.

    The disk's room is taken first: on a full disk the HDF5 library cannot close its file, and takes the process with
    it.
    """
    import h5py  # here: figures do without

    room = sum(array.nbytes + ROOM for array in arrays.values()) + ROOM * (1 + len(attributes))
    empty = io.BytesIO()
    h5py.File(empty, "w").close()
    with atomic(path) as temporary, open(temporary, "w+b", buffering=0) as stream:
        stream.write(empty.getbuffer())
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), 0, room)
        with h5py.File(stream, "r+") as file:
            for name, array in arrays.items():
                file.create_dataset(name, data=array)
            for name, value in attributes.items():
                file.attrs[name] = value


def read_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What :func:`write_arrays` wrote. Raises: ``InvalidInput`` if the file cannot be read or holds anything else."""
    import h5py

    with refused_as(path, "a readable HDF5 file"), h5py.File(path, "r") as file:
        return {name: _read_dataset(path, file, name) for name in file}, dict(file.attrs)


def _read_dataset(path: str | Path, file: h5py.File, name: str) -> np.ndarray:
    """A plain array: no link to elsewhere, no Python objects."""
    import h5py

    plain = isinstance(file.get(name, getlink=True), h5py.HardLink) and isinstance(file[name], h5py.Dataset)
    dataset = file[name] if plain else None
    if dataset is None or dataset.is_virtual or dataset.external or dataset.dtype.kind not in "fiub":
        raise InvalidInput("file", str(path), f"an HDF5 file of plain arrays of numbers ({name} is none)")
    return dataset[()]


def read_npz(path: str | Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays ``names`` of an .npz file, or all, their checksums checked. Nothing is unpickled.

    Raises: ``ValueError`` saying what is wrong, or what the readers of the archive and its arrays raise.
    """
    with open(path, "rb") as file:
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, NpzFile) or archive.zip is None:
            raise ValueError("it is no archive of arrays")
        names = archive.files if names is None else list(names)
        missing = [name for name in names if name not in archive]
        if missing:
            raise ValueError(f"missing: {', '.join(missing)}")
        if damaged := archive.zip.testzip():
            raise ValueError(f"{damaged} is damaged")
        arrays = {name: archive[name] for name in names}
    others = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if others:
        raise ValueError(f"{', '.join(others)} is no array")
    return arrays


CONTENTS = "contents"
"""The array of an archive that lists the others."""


def write_archive(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Named arrays as .npz, each with a checksum, and a list of their names: a damaged table of contents is shorter."""
    named: dict[str, Any] = {**arrays, CONTENTS: np.array(list(arrays))}
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **named)


def read_archive(path: str | Path) -> dict[str, np.ndarray]:
    """What :func:`write_archive` wrote. Raises: ``InvalidInput`` if the file cannot be read or a checksum is wrong."""
    with refused_as(path, "an undamaged .npz archive of arrays"):
        arrays = read_npz(path)
        if list(arrays.pop(CONTENTS)) != list(arrays):
            raise InvalidInput("file", str(path), "an archive of all the arrays that it lists")
        return arrays


def write_examples(path: str | Path, x: np.ndarray, y: np.ndarray, classes: int) -> None:
    """Inputs x ``[n, ...]``, targets y and the number of classes, 0 where y are no labels, as .npz."""
    write_archive(path, {"x": x, "y": y, "classes": np.asarray(classes, np.int64)})


def read_examples(path: str | Path) -> tuple[np.ndarray, np.ndarray, int]:
    """x, y and the number of classes of a prepared data set: what :func:`write_examples` wrote.

    Raises: ``InvalidInput`` if the file cannot be read, or holds another kind of numbers, another shape, numbers that
    are not finite, or labels that are none of the classes.
    """
    what = "a data set prepared by the dataset stage"

    def require(holds: Any, said: str) -> None:
        if not holds:
            raise InvalidInput("file", str(path), f"{what} ({said})")

    with refused_as(path, what):
        parts = read_npz(path, ("x", "y", "classes"))
        x, y, classes = parts["x"], parts["y"], parts["classes"]
        require(classes.shape == () and classes.dtype == np.int64 and classes >= 0, "classes is a number of them")
        require(x.dtype in (np.float64, np.int64), f"x is float64 or int64, not {x.dtype}")
        require(x.ndim >= 2 and min(x.shape) > 0, f"x is [n, ...], not {list(x.shape)}")
        require(np.isfinite(x).all(), "x holds numbers that are not finite")
        if classes:
            require(y.dtype == np.int64 and y.shape == x.shape[:1], f"y is int64 [{len(x)}], not {list(y.shape)}")
            require(0 <= y.min() and y.max() < classes, f"labels from {y.min()} to {y.max()} of {classes} classes")
        else:
            numbers = y.dtype == np.float64 and y.ndim == 2 and len(y) == len(x) and y.shape[1] > 0
            require(numbers and np.isfinite(y).all(), f"y is finite float64 [{len(x)}, k], not {list(y.shape)}")
    return x, y, int(classes)


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """A table as CSV, or as Parquet where the path says so."""
    with atomic(path) as temporary:
        if Path(path).suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary, index=False)


def read_table(
    path: str | Path, numbers: Iterable[str] = (), texts: Iterable[str] = (), empty: bool = False
) -> pd.DataFrame:
    """Read a CSV or Parquet table that has these columns of numbers and of texts, and rows unless it may be ``empty``.

    Raises: ``InvalidInput`` if it cannot be read, or does not have them.
    """
    with refused_as(path, "a readable table"):
        if Path(path).suffix == ".parquet":
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path)
        if not len(table) and not empty:
            raise InvalidInput("file", str(path), "a table with at least one row")
        kinds = dict.fromkeys(numbers, pd.api.types.is_numeric_dtype)
        kinds |= dict.fromkeys(texts, pd.api.types.is_string_dtype)
        for name, is_kind in kinds.items():
            if name not in table:
                raise InvalidInput("file", str(path), f"a table with a column {name} (missing)")
            if len(table) and not is_kind(table[name]):
                kind = "numbers" if name in numbers else "text"
                raise InvalidInput("file", str(path), f"a table with {kind} in {name}, not {table[name].dtype}")
    return table
