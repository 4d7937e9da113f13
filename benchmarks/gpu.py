"""Milliseconds of what a flow is made of, at paper scale: gradients each way, products, rounding errors, a step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.cost import random_images
from benchmarks.measure import UNIT, interleaved, window_at_start
from rodflow.config import Config
from rodflow.flows.drift_free_rod import DriftFreeRod
from rodflow.jobs.process import set_up
from rodflow.optimizers.family import Adam
from rodflow.problems.networks import Problem, network_problem
from rodflow.training.curvature import Curvature
from rodflow.training.replay import COMPILE
from rodflow.training.rounding import rounding_errors

DTYPES = {
    "float32": {"dtype": torch.float32},
    "float64": {"dtype": torch.float64},
    "mixed": {"dtype": torch.float64, "gradient_dtype": torch.float32},
}
REPEATS = 7


def sharpness(objective, w: Tensor) -> tuple[float, int]:
    """Seconds and Hessian-vector products of a first effective sharpness."""
    before, begun = objective.cost.copy(), time.perf_counter()
    Curvature(objective).effective_sharpness(w, torch.ones_like(w), 1.0)  # its result comes to the CPU
    return time.perf_counter() - begun, (objective.cost - before).hessian_vector_products


def measured(config: Config, architecture: str, dtype: str, examples: int, compiled: bool) -> dict[str, object]:
    """A row of milliseconds. A drift-free step is one of Adam's, as long as the rod is short, below the edge."""
    images, sizes = random_images(examples), getattr(config.sizes, architecture).model_dump()

    def problem(setting: str) -> Problem:
        return network_problem(
            images, architecture, sizes, config.loss, 0, device=config.device, compile=setting, **DTYPES[dtype]
        )

    made = {setting: problem(setting) for setting in COMPILE if compiled or setting != "on"}
    objective, w = made["auto"].objective, made["auto"].w0
    if w.is_cuda:
        torch.cuda.reset_peak_memory_stats()
    optimizer = Adam(1e-3 * config.learning_rates[architecture]["adam"])
    window = window_at_start(made["auto"], optimizer)
    flow = DriftFreeRod(objective, optimizer)
    y, begun = flow.start(window), float(window.at)
    product = objective.linearise(w)[1]
    steps = iter(range(10**6))  # of the errors: each step's are others
    actions: dict[str, Callable[[], object]] = {
        "gradient, eager": lambda: made["off"].objective.gradient(w),
        "gradient, replayed": lambda: objective.gradient(w),
        "both ends": lambda: objective.gradients([w, 1.001 * w]),
        "rounding errors": lambda: rounding_errors(w, 1e-7, next(steps), 1),
        "Hessian-vector product": lambda: product(w),
        "drift-free step": lambda: flow.advance(y, begun, begun + UNIT),
    }
    if compiled:
        actions["gradient, compiled"] = lambda: made["on"].objective.gradient(w)
    for action in actions.values():  # tracing, recording and compiling are done once
        action()
    repeats = dict.fromkeys(actions, REPEATS) | {"drift-free step": 3}
    row = {name: 1e3 * seconds for name, seconds in interleaved(actions, repeats).items()}
    row["drift-free step"] /= UNIT
    seconds, products = sharpness(objective, w)
    row |= {"first sharpness": 1e3 * seconds, "its products": products}
    row["over its products"] = row["first sharpness"] / (products * row["Hessian-vector product"])
    row["memory MiB"] = torch.cuda.max_memory_allocated() / 2**20 if w.is_cuda else float("nan")
    reason = objective._at_one.refused
    return {"parameters": w.numel(), "device": w.device.type} | row | {"not replayed": reason or "–"}


def rows(config: Config, dtypes: list[str], examples: int, compiled: bool, threads: int) -> Iterator[list[dict]]:
    """A row for each architecture and dtype, as soon as it is measured."""
    set_up(threads)
    for architecture in config.architectures:
        for dtype in dtypes:
            row = measured(config, architecture, dtype, examples, compiled)
            print({name: round(v, 3) if isinstance(v, float) else v for name, v in row.items()}, flush=True)
            yield [{"architecture": architecture, "dtype": dtype, "examples": examples} | row]
