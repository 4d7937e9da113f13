"""Progress of a long loop: a bar on a terminal, otherwise a line in the log now and then."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

log = logging.getLogger("rodflow")
T = TypeVar("T")


def start_log() -> None:
    """Show this process' progress on standard error, a line at a time."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    log.setLevel(logging.INFO)


def track(items: Iterable[T], total: int, label: str, every_seconds: float = 20.0) -> Iterator[T]:
    """Yield ``items``, showing how many of ``total`` are done and the time left, on standard error or in the log."""
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=label, leave=False)
        return
    begun = reported = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - reported >= every_seconds and done:
            reported = now
            left = (now - begun) / done * (total - done)
            log.info("%s: %d of %d, %.0f s left", label, done, total, left)
        yield item
    log.info("%s: done in %.1f s", label, time.monotonic() - begun)
