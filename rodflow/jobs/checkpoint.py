"""Checkpoints: the state of a long loop in a file, from which the next process goes on to the same bits.

A loop saves its state at every record: all that it needs to go on from there. The latest state is written when the last
file is old enough, and when a signal asks the process to end. A signal ends the process at once, wherever it is: what
was done since the last record is done again. So a state has to be made of what the loop leaves alone afterwards.
"""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from rodflow.errors import InvalidInput, real_number
from rodflow.jobs.files import read_archive, remove, write_archive
from rodflow.jobs.progress import log

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What Slurm sends at a time limit, what a terminal sends at Ctrl-C."""

StateDict = dict[str, Any]
"""Numbers, arrays and tensors by name, or such dictionaries in turn; what is None is left out."""


class Interrupted(SystemExit):
    """A signal asked the process to end; its exit status is 128 and the signal's number, as shells have it."""

    def __init__(self, number: int):
        super().__init__(128 + number)


class Checkpoint:
    """The file that keeps a loop's state while the block runs::

        with Checkpoint(path, key) as checkpoint:
            run = train(..., checkpoint=checkpoint)
            ...  # keep what is wanted of the run

    ``key`` says what the state belongs to (see :func:`rodflow.pipeline.provenance.fingerprint`); a file with another
    key is ignored. At most every ``seconds`` a saved state is written, atomically. A block that ends well removes the
    file. SIGTERM and SIGINT in the block write the latest state and raise ``Interrupted``, in the main thread and
    unless they were ignored before. A state that cannot be written (a full disk) is a warning: the loop needs no file.

    Raises: ``InvalidInput`` for seconds that are negative or not a number.
    """

    def __init__(self, path: str | Path, key: str, seconds: float = 60.0):
        seconds = real_number("seconds", seconds, "a number >= 0", lambda x: x >= 0)
        self.path, self.key, self.seconds = Path(path), key, seconds
        self._unwritten: StateDict | None = None
        self._last_write = time.monotonic()
        self._writing, self._asked_to_end = False, 0
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Checkpoint:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, self._interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                remove(self.path)
            elif issubclass(kind, Interrupted) and self._unwritten is not None:
                self._write()
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            self._handlers = {}

    def load(self) -> StateDict | None:
        """The state in the file, in arrays; None if there is no file, or one that is damaged or has another key."""
        if not self.path.exists():
            return None
        try:
            arrays = read_archive(self.path)
        except InvalidInput as error:
            log.warning("checkpoint ignored: %s", error)
            return None
        if str(arrays.pop("key", "")) != self.key:
            log.warning("checkpoint %s ignored: made by other settings, inputs or code", self.path)
            return None
        log.info("going on from checkpoint %s", self.path)
        return _nested(arrays)

    def save(self, state: StateDict) -> None:
        """Keep ``state``, which must not change any more, and write it if the last file is old enough."""
        self._unwritten = state
        if time.monotonic() - self._last_write >= self.seconds:
            self._write()

    def _write(self) -> None:
        assert self._unwritten is not None
        self._writing = True
        try:
            write_archive(self.path, {"key": np.array(self.key), **_flat(self._unwritten)})
            self._unwritten = None
        except OSError as error:
            log.warning("no checkpoint %s: %s", self.path, error)
        finally:
            self._writing = False
        self._last_write = time.monotonic()
        if self._asked_to_end:
            raise Interrupted(self._asked_to_end)

    def _interrupt(self, number: int, frame: object) -> None:
        self._asked_to_end = number
        if not self._writing:
            raise Interrupted(number)


def _flat(state: StateDict, prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays of a state under the names of an archive, ``outer/inner``."""
    arrays: dict[str, np.ndarray] = {}
    for name, value in state.items():
        if isinstance(value, dict):
            arrays |= _flat(value, f"{prefix}{name}/")
        elif value is not None:
            arrays[prefix + name] = value.cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    return arrays


def _nested(arrays: dict[str, np.ndarray]) -> StateDict:
    """The state whose arrays :func:`_flat` named."""
    state: StateDict = {}
    for path, array in arrays.items():
        *outer, name = path.split("/")
        part = state
        for key in outer:
            part = part.setdefault(key, {})
        part[name] = array
    return state
