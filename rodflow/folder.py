"""A folder that takes the place of an earlier one whole, or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(folder: str | Path) -> Iterator[Path]:
    """A new, empty folder beside ``folder`` that takes its place when the block ends well, and goes when it does not.

    What was there before is as it was until then. What a killed writer left goes first; killed between its two
    renamings, the earlier folder comes back.
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
