"""The variants of the precision study: one cell, trained with three sizes of rounding error."""

from __future__ import annotations

from typing import Any

from rodflow.config import Config
from rodflow.errors import InvalidInput

FLOAT32_EPSILON = 2.0**-23
VARIANTS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32", "perturbation": 0.0},
    "float64": {"dtype": "float64", "perturbation": 0.0},
    "float64 perturbed": {"dtype": "float64", "perturbation": FLOAT32_EPSILON},
}
"""What each variant changes in the config, by the name that tables and figures show."""
FLOWS = ("stable", "drift_free_rod")
"""The flows that start from each variant's own window; they run in float64, whatever the run did."""


def variants(config: Config) -> dict[str, Config]:
    """The config of each variant, by its name."""
    return {name: config.model_copy(update=changes | {"flow_dtype": "float64"}) for name, changes in VARIANTS.items()}


def study_settings(config: Config, architecture: str, optimizer: str) -> dict[str, Any]:
    """All that a cell's study depends on, its seed and code aside, by variant and flow."""
    return {
        name: {flow: variant.flow_settings(architecture, optimizer, flow) for flow in FLOWS}
        for name, variant in variants(config).items()
    }


def require_rate(config: Config, architecture: str, optimizer: str) -> None:
    """Raises: ``InvalidInput`` for a cell without a learning rate."""
    rates: dict[Any, Any] = dict(config.learning_rates)
    if architecture not in rates:
        raise InvalidInput("architecture", architecture, f"one with learning rates: {', '.join(rates)}")
    if optimizer not in rates[architecture]:
        raise InvalidInput("optimizer", optimizer, f"one with a learning rate: {', '.join(rates[architecture])}")
