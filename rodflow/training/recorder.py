"""What the loops of training and of flows share: series that fill row by row, progress, a checkpoint, Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rodflow.errors import InvalidInput
from rodflow.jobs.progress import track

if TYPE_CHECKING:
    from rodflow.jobs.checkpoint import Checkpoint, StateDict


class Recorder:
    """Groups of series, by name, whose rows a loop fills, and what is kept of them when the loop ends early::

        recorder = Recorder({"by_step": {"loss": loss}}, "train", checkpoint)
        saved = recorder.restore()
        with recorder.keeping(least=1):
            for t in recorder.rows(len(loss)):
                ...  # fill row t
                recorder.done = t + 1
                recorder.save({"by_step": t + 1}, {"w": w})

    ``done`` rows of the loop have every number. The loop was ``interrupted`` where Ctrl-C ended it and they are kept:
    ``interruptible`` says whether they may be, None that they are in a notebook and at Python's prompt, where a person
    works with Python live. A script has to end, and so has a loop with a ``checkpoint``: what it made would be taken
    for the whole.

    Raises: ``InvalidInput`` for a checkpoint that is none.
    """

    def __init__(
        self,
        series: Mapping[str, Mapping[str, Tensor]],
        label: str,
        checkpoint: Checkpoint | None = None,
        interruptible: bool | None = None,
    ):
        if not (checkpoint is None or hasattr(checkpoint, "load")):
            raise InvalidInput("checkpoint", checkpoint, "a rodflow.jobs.checkpoint.Checkpoint, within its block")
        self.series, self.label, self.checkpoint = series, label, checkpoint
        self.may_keep = checkpoint is None and (hasattr(sys, "ps1") if interruptible is None else interruptible)
        self.done, self.interrupted = 0, False

    def restore(self) -> StateDict | None:
        """Fill in the rows that the checkpoint holds. What it holds is returned; None if there is nothing."""
        saved = None if self.checkpoint is None else self.checkpoint.load()
        if saved is not None:
            self.done = int(saved["done"])
            for group, series in self.series.items():
                for name, kept in saved[group].items():
                    series[name][: len(kept)] = torch.from_numpy(kept)
        return saved

    def rows(self, count: int) -> Iterator[int]:
        """The numbers of those of ``count`` rows that are not done, with the loop's progress."""
        return track(range(self.done, count), count - self.done, self.label)

    def save(self, filled: Mapping[str, int], state: StateDict) -> None:
        """Give the checkpoint, if there is one, the rows that are ``filled`` of each group, and the loop's state."""
        if self.checkpoint is not None:
            rows = {
                group: {name: part[: filled[group]] for name, part in series.items()}
                for group, series in self.series.items()
            }
            self.checkpoint.save({"done": self.done, **rows, **state})

    @contextmanager
    def keeping(self, least: int) -> Iterator[None]:
        """The loop's block, which Ctrl-C ends without an error where at least so many rows are done and may be kept."""
        try:
            yield
        except KeyboardInterrupt:
            if not self.may_keep or self.done < least:
                raise
            self.interrupted = True
