"""How seconds and memory are measured: interleaved repeats in one process, peaks in a fresh one each."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch


def interleaved(actions: dict[str, Callable[[], Any]], repeats: dict[str, int]) -> dict[str, float]:
    """The median seconds of each action. They take turns, so that a busy spell of the machine meets all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(max(repeats.values())):
        for name, action in actions.items():
            if turn < repeats[name]:
                begun = time.perf_counter()
                action()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                seconds[name].append(time.perf_counter() - begun)
    return {name: median(values) for name, values in seconds.items()}


def in_a_process(function: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
    """``function(*args)``, a dict, in a fresh process, with what the process' memory grew by at its peak, in MiB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_with_peak, (function, args))


def _with_peak(function: Callable[..., dict[str, Any]], args: tuple) -> dict[str, Any]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = function(*args)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return result | {"peak_mib": round(grown / 1024, 1)}
