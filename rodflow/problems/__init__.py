"""Everything that makes an objective: data sets, architectures, toy landscapes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rodflow.problems.networks import (
        Problem as Problem,
        cifar10 as cifar10,
        digits as digits,
        network_problem as network_problem,
        resolve_device as resolve_device,
    )

__all__ = ["Problem", "cifar10", "digits", "network_problem", "resolve_device"]


def __getattr__(name: str) -> Any:
    """``rf.problems.digits`` and the like, loaded when first used: they need torch."""
    if name in __all__:
        return getattr(importlib.import_module("rodflow.problems.networks"), name)
    raise AttributeError(f"module 'rodflow.problems' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
