"""The finished parts of a long job, in a folder beside its output: broken off, it makes only the missing ones."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from rodflow.errors import InvalidInput
from rodflow.progress import log
from rodflow.storage import read_json, write_json


class Parts:
    """The folder that keeps a job's parts while the block runs::

        with Parts(folder, key) as parts:
            parts.make(["a.parquet"], lambda: write_table(folder / "a.parquet", ...))

    ``key`` says what the parts belong to (see :func:`rodflow.checkpoint.fingerprint`); those with another one are
    removed, and so is the folder when the block ends well. A part is finished when ``parts.json`` has the sha256 of its
    files: one whose bytes are others is made again.
    """

    def __init__(self, folder: Path, key: str):
        self.folder, self.key = folder, key
        self.digests: dict[str, str] = {}

    def __enter__(self) -> Parts:
        index = self.folder / "parts.json"
        if index.exists():
            try:
                kept = read_json(index, key=str, sha256=dict)
            except InvalidInput as error:
                log.warning("parts ignored: %s", error)
            else:
                if kept["key"] == self.key:
                    self.digests = kept["sha256"]
                    log.info("going on from the parts in %s", self.folder)
                    return self
                log.warning("parts in %s ignored: made by other settings, inputs or code", self.folder)
            shutil.rmtree(self.folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            shutil.rmtree(self.folder)

    def make(self, names: Iterable[str], write: Callable[[], None]) -> None:
        """Call ``write``, which writes the files ``names`` below the folder, unless they are there as it left them."""
        names = list(names)
        if all(name in self.digests and _digest(self.folder / name) == self.digests[name] for name in names):
            return
        write()
        self.digests |= {name: _digest(self.folder / name) for name in names}
        write_json(self.folder / "parts.json", {"key": self.key, "sha256": self.digests})


def _digest(path: Path) -> str:
    """sha256 of a file; empty where there is none."""
    if not path.is_file():
        return ""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
