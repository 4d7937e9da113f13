"""How the cost of drift-free rod flow grows with parameters, examples and steps, and what memory it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.cost import random_images
from benchmarks.measure import UNIT, actions, in_a_process, interleaved, window_at_start
from rodflow.flows.drift_free_rod import DriftFreeRod
from rodflow.flows.integrate import integrate
from rodflow.jobs.process import set_up
from rodflow.optimizers.family import Adam
from rodflow.problems.networks import network_problem

WIDTHS = (10, 70, 280, 520, 963, 1_700, 3_125)
"""Of both hidden layers of an MLP on 8x8 images, which then has from 1e3 to 1e7 weights."""
EXAMPLES = (100, 1_000, 5_000, 10_000, 20_000, 50_000)
CHUNK = 5_000
STEPS = (50, 200, 800)
RATE = 1e-6


def unit(width: int, examples: int, chunk_size: int | None, threads: int) -> dict:
    """Seconds of a unit of flow time and of a discrete step."""
    set_up(threads)
    images = random_images(examples, 1, 8)
    problem = network_problem(images, "mlp", {"widths": (width, width)}, device="auto", chunk_size=chunk_size)
    optimizer = Adam(RATE)
    timed = actions(problem, optimizer, {"flow": DriftFreeRod(problem.objective, optimizer)})
    for action in timed.values():
        action()
    seconds = interleaved(timed, {"discrete": 9, "flow": 3})
    return {
        "parameters": problem.w0.numel(),
        "examples": examples,
        "chunk_size": chunk_size,
        "seconds": seconds["flow"] / UNIT,
        "seconds_over_discrete": seconds["flow"] / UNIT / seconds["discrete"],
    }


def span(steps: int, threads: int) -> dict:
    """Seconds of a whole integration of so many steps, recorded every 50."""
    set_up(threads)
    problem = network_problem(random_images(1_000, 1, 8), "mlp", {"widths": (280, 280)}, device="auto")
    optimizer = Adam(RATE)
    window = window_at_start(problem, optimizer)
    begun = time.perf_counter()
    integrate(DriftFreeRod(problem.objective, optimizer), window, steps, 50, keep_centres=False)
    return {"steps": steps, "seconds": (time.perf_counter() - begun) / steps}


def scaling(threads: int) -> Iterator[list[dict]]:
    """A row a measurement; ``varied`` says along which axis it lies."""
    for width in WIDTHS:
        yield [{"varied": "parameters"} | in_a_process(unit, width, 1_000, None, threads)]
    for examples in EXAMPLES:
        chunk = CHUNK if examples > CHUNK else None
        yield [{"varied": "examples"} | in_a_process(unit, 280, examples, chunk, threads)]
    for steps in STEPS:
        yield [{"varied": "steps"} | in_a_process(span, steps, threads)]
