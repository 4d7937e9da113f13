"""rodflow: continuous-time models of optimizers at the edge of stability.

    >>> import rodflow as rf
    >>> problem = rf.problems.digits(architecture="mlp", examples=50)
    >>> optimizer = rf.Adam(learning_rate=5e-3)
    >>> run = rf.train(problem.objective, optimizer, problem.w0, steps=90)
    >>> flow = rf.integrate(rf.DriftFreeRod(problem.objective, optimizer), start=run.window(at=60), steps=30)
    >>> flow.error(run).index.tolist()
    [70, 80, 90]

``flow.error(run)`` is how far the flow's centre is from the run, by step: ``.plot()`` draws it.

Names are loaded when first used, so that the workflow can read a config without loading torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.2.0"

_HOMES = {
    "rodflow.catalogue": ["ARCHITECTURES", "FLOWS", "LANDSCAPES", "OPTIMIZERS"],
    "rodflow.errors": ["InvalidInput"],
    "rodflow.flows.base": ["Flow", "FlowDiverged", "Solver"],
    "rodflow.flows.central": ["CentralFlow"],
    "rodflow.flows.central_momentum": ["CentralMomentumFlow"],
    "rodflow.flows.drift_free_rod": ["DriftFreeRod"],
    "rodflow.flows.drift_free_rod_ode": ["DriftFreeRodODE"],
    "rodflow.flows.edge": ["EdgeFlow"],
    "rodflow.flows.flow_file": ["load", "save"],
    "rodflow.flows.integrate": ["FlowRun", "integrate", "trajectory"],
    "rodflow.flows.rod": ["RodFlow"],
    "rodflow.flows.stable": ["StableFlow"],
    "rodflow.flows.twin": ["Twin"],
    "rodflow.jobs.checkpoint": ["Checkpoint"],
    "rodflow.optimizers.adagrad": ["Adagrad"],
    "rodflow.optimizers.adamw": ["AdamW"],
    "rodflow.optimizers.family": [
        "Adam",
        "GradientDescent",
        "HeavyBall",
        "NAdam",
        "Nesterov",
        "Optimizer",
        "RMSProp",
        "ScalarAdam",
        "ScalarNAdam",
        "ScalarRMSProp",
    ],
    "rodflow.optimizers.qhm": ["QHM"],
    "rodflow.optimizers.schedules": ["Scheduled"],
    "rodflow.optimizers.torch_optimizers": ["from_torch"],
    "rodflow.optimizers.step_map": ["State", "StepMap", "step_map"],
    "rodflow.report.plot": ["plot"],
    "rodflow.training.curvature": ["Curvature"],
    "rodflow.training.discrete": ["DiscreteRun", "Window", "train"],
    "rodflow.training.objective": ["Objective"],
    "rodflow.training.weights": ["flat_parameters"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = {"problems": "rodflow.problems", "schedules": "rodflow.optimizers.schedules"}
__all__ = sorted([*_HOME_OF, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'rodflow' has no attribute {name!r}")
