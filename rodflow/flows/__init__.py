"""Continuous-time models of an optimizer, each written once for any step map."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rodflow.flows.base import Flow, FlowDiverged, Solver
from rodflow.flows.central import CentralFlow
from rodflow.flows.central_momentum import CentralMomentumFlow
from rodflow.flows.drift_free_rod import DriftFreeRodFlow
from rodflow.flows.edge import EdgeFlow
from rodflow.flows.rod import RodFlow
from rodflow.flows.rod_low_rank import LowRankRodFlow
from rodflow.flows.rod_map import RodMap
from rodflow.flows.stable import StableFlow

FLOWS: dict[str, Callable[..., Flow]] = {
    "stable": StableFlow,
    "stable_corrected": partial(StableFlow, order=2),
    "rod": RodFlow,
    "rod_low_rank": LowRankRodFlow,
    "drift_free_rod": RodMap,
    "drift_free_rod_ode": DriftFreeRodFlow,
    "central": CentralFlow,
    "central_momentum": CentralMomentumFlow,
    "edge": EdgeFlow,
}

__all__ = [
    "FLOWS",
    "CentralFlow",
    "CentralMomentumFlow",
    "DriftFreeRodFlow",
    "EdgeFlow",
    "Flow",
    "FlowDiverged",
    "LowRankRodFlow",
    "RodFlow",
    "RodMap",
    "Solver",
    "StableFlow",
]
