"""rodflow: continuous-time models of optimizers at the edge of stability.

    import rodflow as rf

    problem = rf.problems.digits(architecture="mlp")
    optimizer = rf.Adam(learning_rate=5e-3)
    run = rf.train(problem.objective, optimizer, problem.w0, steps=600)
    flow = rf.integrate(rf.RodMap(problem.objective, optimizer), start=run.window(at=60), steps=500)
    flow.error(run).plot()

Names are loaded when first used, so that the workflow can read a config without loading torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "rodflow.objective": ["Objective", "flat_parameters"],
    "rodflow.optimizers": [
        "State",
        "StepMap",
        "Optimizer",
        "GradientDescent",
        "HeavyBall",
        "Nesterov",
        "ScalarRMSProp",
        "RMSProp",
        "ScalarAdam",
        "Adam",
        "ScalarNAdam",
        "NAdam",
        "AdamW",
        "Adagrad",
        "QHM",
        "OPTIMIZERS",
    ],
    "rodflow.own_optimizer": ["step_map"],
    "rodflow.schedules": ["Scheduled"],
    "rodflow.discrete": ["train", "DiscreteRun", "Window"],
    "rodflow.curvature": ["Curvature"],
    "rodflow.flows": [
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
    ],
    "rodflow.flows.integrate": ["integrate", "trajectory", "FlowRun"],
    "rodflow.checkpoint": ["Checkpoint"],
    "rodflow.errors": ["InvalidInput"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = ("problems", "schedules")
__all__ = sorted([*_HOME_OF, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"rodflow.{name}")
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'rodflow' has no attribute {name!r}")
