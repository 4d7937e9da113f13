"""What is measured, and how: steps from one state, interleaved repeats in one process, peaks in a fresh one each."""

from __future__ import annotations

import multiprocessing
import re
import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from rodflow.flows.base import Flow
from rodflow.optimizers.step_map import StepMap
from rodflow.problems.networks import Problem
from rodflow.training.discrete import WINDOW_HALF_WIDTH, Window, train

START, UNIT = 20, 16.0
"""Flows start here, and are timed over this many steps: the interval of the map's separating steps."""


def window_at_start(problem: Problem, optimizer: StepMap) -> Window:
    """The states of a run around step ``START``, below the edge."""
    return train(problem.objective, optimizer, problem.w0, START + WINDOW_HALF_WIDTH, record_interval=START).window(
        START
    )


def actions(problem: Problem, optimizer: StepMap, flows: dict[str, Flow]) -> dict[str, Callable[[], Any]]:
    """A ``discrete`` step, and ``UNIT`` steps of each flow under its name, all from the same state."""
    window = window_at_start(problem, optimizer)
    state = window.state()

    def of_flow(flow: Flow) -> Callable[[], Any]:
        y, begun = flow.start(window), START + flow.time_offset
        return lambda: flow.advance(y, begun, begun + UNIT)

    step = {"discrete": lambda: optimizer.step(state, problem.objective.gradient(state.w), START)}
    return step | {name: of_flow(flow) for name, flow in flows.items()}


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
    before = _peak_kib()
    result = function(*args)
    return result | {"peak_mib": round((_peak_kib() - before) / 1024, 1)}


def _peak_kib() -> int:
    """The largest memory that this process has held, in KiB.

    Linux hands the peak that ``getrusage`` tells on from a process to the program that takes its place, so that a large
    parent would hide its child's: the status file tells the process' own.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text()).group(1))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
