"""One mapping of settings from several laid over each other: config files, then what the command line says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rodflow.config.own import Own
from rodflow.config.schema import PLACES, Data, Sizes


def layered(layers: Iterable[Any]) -> Any:
    """The settings of all ``layers``, a later one over the earlier ones, key by key at every depth.

    Learning rates were chosen for a problem: images, loss and the network's size. A layer that changes the problem of
    an architecture drops that architecture's learning rates of the layers below; it has to give its own.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        if not isinstance(layer, Mapping):
            return layer  # to be refused by whoever parses it
        below, merged = merged, _merged(merged, layer)
        rates = below.get("learning_rates")
        if isinstance(rates, Mapping):
            kept = {a: own if _problem(below, a) == _problem(merged, a) else {} for a, own in rates.items()}
            merged = _merged({**below, "learning_rates": kept}, layer)
    return merged


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], Mapping) and isinstance(above[key], Mapping):
            both[key] = _merged(below[key], above[key])
    return both


def _problem(settings: Mapping[str, Any], architecture: Any) -> tuple[Any, ...]:
    """What the learning rates of an architecture were chosen for, defaults filled in; values as they are, unchecked."""
    data = _merged(Data().model_dump(), _section(settings, "data"))
    sizes = _merged(Sizes().model_dump(), _section(settings, "sizes"))
    own = _merged(Own().model_dump(), _section(settings, "own"))
    examples = {key: value for key, value in data.items() if key not in PLACES}
    loss = settings.get("loss", "mse")
    chosen = {"networks": architecture, "datasets": data["dataset"], "losses": loss}
    parts = [_section(own, kind).get(name) if isinstance(name, str) else None for kind, name in chosen.items()]
    return examples, loss, sizes.get(architecture), parts


def _section(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = settings.get(name)
    return section if isinstance(section, Mapping) else {}
