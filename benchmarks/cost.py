"""Seconds and gradient equivalents of a unit of time, of every model beside the discrete step, at paper scale."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.measure import UNIT, actions, in_a_process, interleaved
from rodflow.catalogue import FLOWS, OPTIMIZERS
from rodflow.config import Config
from rodflow.flows.base import FlowDiverged
from rodflow.jobs.process import set_up
from rodflow.problems.datasets import Examples
from rodflow.problems.networks import Problem, network_problem

MODELS = ("stable", "rod", "drift_free_rod", "central")
TIMED = ["gd", "rmsprop", "adam"]
REPEATS = {"discrete": 9, "stable": 3, "rod": 1, "drift_free_rod": 5, "central": 1}


def random_images(examples: int, channels: int = 3, side: int = 32, classes: int = 4) -> Examples:
    """Images of the right shape; what they show makes no difference to the cost."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(examples, channels, side, side, generator=generator)
    return Examples(x.numpy(), (torch.arange(examples) % classes).numpy(), classes)


def cell_costs(problem: Problem, optimizer: str, rate: float, models: tuple[str, ...]) -> list[dict]:
    """A row for the discrete step and for each model of one cell, from the same state, below the edge.

    A flow that its solver loses there, as single precision can, has NaN.
    """
    step_map, objective = OPTIMIZERS[optimizer](rate), problem.objective
    product = objective.product_in_gradients(problem.w0)
    timed = actions(problem, step_map, {name: FLOWS[name](objective, step_map) for name in models})
    steps = {"discrete": 1.0} | dict.fromkeys(models, UNIT)
    equivalents = {}

    def counted(name: str) -> None:
        before = objective.cost.copy()
        try:
            timed[name]()
            equivalents[name] = (objective.cost - before).in_gradients(product) / steps[name]
        except FlowDiverged:
            equivalents[name] = math.nan

    seconds = interleaved({name: partial(counted, name) for name in timed}, {name: REPEATS[name] for name in timed})
    rows = []
    for name in timed:
        per_step = math.nan if math.isnan(equivalents[name]) else seconds[name] / steps[name]
        over = per_step / seconds["discrete"]
        rows.append(
            {
                "model": name,
                "gradient_equivalents": equivalents[name],
                "seconds": per_step,
                "seconds_over_discrete": over,
                "overhead": over / equivalents[name] - 1,
            }
        )
    return rows


def architecture_costs(config: Config, architecture: str, optimizer: str, dtype: str, examples: int) -> dict:
    """``rows``: those of one architecture and optimizer at the config's sizes."""
    set_up(config.threads)
    sizes = getattr(config.sizes, architecture).model_dump()
    problem = network_problem(
        random_images(examples), architecture, sizes, config.loss, 0, getattr(torch, dtype), config.device
    )
    models = tuple(m for m in MODELS if m != "central" or FLOWS["central"].supports(OPTIMIZERS[optimizer](1.0)))
    rate = 1e-3 * config.learning_rates[architecture][optimizer]
    rows = cell_costs(problem, optimizer, rate, models)
    return {"rows": rows, "parameters": problem.w0.numel()}


def costs(config: Config, optimizers: list[str], dtypes: list[str], examples: int) -> Iterator[list[dict]]:
    """The rows of each architecture, optimizer and dtype, measured in a process of its own."""
    for architecture in config.architectures:
        for optimizer in optimizers:
            for dtype in dtypes:
                found = in_a_process(architecture_costs, config, architecture, optimizer, dtype, examples)
                cell = {
                    "architecture": architecture,
                    "optimizer": optimizer,
                    "dtype": dtype,
                    "examples": examples,
                    "parameters": found["parameters"],
                    "peak_mib": found["peak_mib"],
                }
                yield [cell | row for row in found["rows"]]
