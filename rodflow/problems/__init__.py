"""Everything that makes an objective: data sets, architectures, toy landscapes."""

from __future__ import annotations

import importlib
from typing import Any

_LATER = ("Problem", "cifar10", "digits", "network_problem", "resolve_device")


def __getattr__(name: str) -> Any:
    """``rf.problems.digits`` and the like, loaded when first used: they need torch."""
    if name in _LATER:
        return getattr(importlib.import_module("rodflow.problems.networks"), name)
    raise AttributeError(f"module 'rodflow.problems' has no attribute {name!r}")
