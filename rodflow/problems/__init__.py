"""Everything that makes an objective: data sets, architectures, toy landscapes."""

from __future__ import annotations

import importlib
from typing import Any

_OF_IMAGES = ("Problem", "cifar10", "digits", "image_problem", "resolve_device")


def __getattr__(name: str) -> Any:
    """``rf.problems.digits`` and the like, loaded when first used: they need torch."""
    if name in _OF_IMAGES:
        return getattr(importlib.import_module("rodflow.problems.images"), name)
    raise AttributeError(f"module 'rodflow.problems' has no attribute {name!r}")
