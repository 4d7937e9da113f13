"""A process set up for long vectors: its threads, and memory that it keeps to use again."""

from __future__ import annotations

import ctypes
import sys

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""glibc's names of two settings of its allocator, by its malloc.h."""


def set_up(threads: int) -> None:
    """Give torch so many threads, and let freed memory stay with the process.

    By default glibc returns a long vector's memory to the system as soon as it is freed, and each new vector is
    cleared anew page by page: with ten million weights that takes more time than their arithmetic does. With both
    settings off the memory stays until the process ends, which can be a few vectors' more at the peak. No effect
    without glibc.
    """
    torch.set_num_threads(threads)
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)
