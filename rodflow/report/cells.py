"""What figures and page have of a cell, and what they say of it: its name, data, rate, seed, size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rodflow.catalogue import label
from rodflow.config import Config
from rodflow.measures.summaries import FlowSummary, RunSummary
from rodflow.report.figures.panels import PlottedCell


class CellData(NamedTuple):
    """Cells that differ in seed: what figures show of them, and the summaries of the first one's run and flows."""

    shown: PlottedCell
    summary: RunSummary
    flows: dict[str, FlowSummary]


def cell_title(architecture: str, optimizer: str) -> str:
    """Such as "MLP, Adam"."""
    return f"{label(architecture)}, {label(optimizer)}"


def about_cell(config: Config, architecture: str, optimizer: str, seeds: Iterable[int], weights: int) -> str:
    """Such as "150 examples of digits, learning rate 0.0045, seed 0, 1,498 weights"."""
    rate = f"learning rate {config.learning_rates[architecture][optimizer]:g}"
    if config.schedule.kind != "constant":
        rate += f" ({config.schedule.kind})"
    return f"{about_data(config)}, {rate}, {named_seeds(seeds)}, {weights:,} weights"


def about_architecture(config: Config, architecture: str, weights: int) -> str:
    """Such as "150 examples of digits, seed 0, 1,482 weights"."""
    return f"{about_data(config)}, {named_seeds(config.seeds_for(architecture))}, {weights:,} weights"


def about_data(config: Config) -> str:
    """Such as "150 examples of digits"."""
    return f"{config.data.examples} examples of {config.data.dataset}"


def named_seeds(seeds: Iterable[int]) -> str:
    """Such as "seed 0", or "seeds 0, 1"."""
    seeds = list(seeds)
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
