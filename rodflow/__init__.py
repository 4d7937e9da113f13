"""rodflow: continuous-time models of optimizers at the edge of stability.

    >>> import rodflow as rf
    >>> problem = rf.problems.digits(architecture="mlp", examples=50)
    >>> optimizer = rf.Adam(learning_rate=5e-3)
    >>> run = rf.train(problem.objective, optimizer, problem.w0, steps=90)
    >>> flow = rf.integrate(rf.DriftFreeRod(problem.objective, optimizer), start=run.window(at=60), steps=30)
    >>> flow.error(run).index.tolist()
    [70, 80, 90]

``flow.error(run)`` is how far the flow's centre is from the run, by step, as a series of pandas: ``.plot()`` draws it.

Names are loaded when first used, so that the workflow can read a config without loading torch. Type checkers and
editors take them from the imports below.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rodflow import problems as problems
    from rodflow.catalogue import FLOWS as FLOWS, OPTIMIZERS as OPTIMIZERS
    from rodflow.errors import InvalidInput as InvalidInput
    from rodflow.flows.base import (
        Flow as Flow,
        FlowDiverged as FlowDiverged,
        Layout as Layout,
        Solver as Solver,
        pack as pack,
    )
    from rodflow.flows.central import CentralFlow as CentralFlow
    from rodflow.flows.central_momentum import CentralMomentumFlow as CentralMomentumFlow
    from rodflow.flows.correction import corrected as corrected
    from rodflow.flows.drift_free_rod import DriftFreeRod as DriftFreeRod
    from rodflow.flows.drift_free_rod_ode import DriftFreeRodODE as DriftFreeRodODE
    from rodflow.flows.edge import EdgeFlow as EdgeFlow
    from rodflow.flows.flow_file import load as load, save as save
    from rodflow.flows.integrate import FlowRun as FlowRun, integrate as integrate, trajectory as trajectory
    from rodflow.flows.rod import RodFlow as RodFlow
    from rodflow.flows.rod_one_column import OneColumnRodFlow as OneColumnRodFlow
    from rodflow.flows.stable import StableFlow as StableFlow
    from rodflow.flows.twin import Twin as Twin
    from rodflow.optimizers import schedules as schedules
    from rodflow.optimizers.adagrad import Adagrad as Adagrad
    from rodflow.optimizers.adamw import AdamW as AdamW
    from rodflow.optimizers.family import (
        Adam as Adam,
        GradientDescent as GradientDescent,
        HeavyBall as HeavyBall,
        NAdam as NAdam,
        Nesterov as Nesterov,
        RMSProp as RMSProp,
        ScalarAdam as ScalarAdam,
        ScalarNAdam as ScalarNAdam,
        ScalarRMSProp as ScalarRMSProp,
    )
    from rodflow.optimizers.qhm import QHM as QHM
    from rodflow.optimizers.schedules import Scheduled as Scheduled
    from rodflow.optimizers.step_map import State as State, StepMap as StepMap, step_map as step_map
    from rodflow.optimizers.torch_optimizers import from_torch as from_torch
    from rodflow.report.plot import plot as plot
    from rodflow.training.cost import Cost as Cost
    from rodflow.training.curvature import Curvature as Curvature
    from rodflow.training.discrete import DiscreteRun as DiscreteRun, Window as Window, train as train
    from rodflow.training.objective import Objective as Objective
    from rodflow.training.weights import flat_parameters as flat_parameters

__version__ = "0.2.0"

_HOMES = {
    "rodflow.catalogue": ["FLOWS", "OPTIMIZERS"],
    "rodflow.errors": ["InvalidInput"],
    "rodflow.flows.base": ["Flow", "FlowDiverged", "Layout", "Solver", "pack"],
    "rodflow.flows.central": ["CentralFlow"],
    "rodflow.flows.central_momentum": ["CentralMomentumFlow"],
    "rodflow.flows.correction": ["corrected"],
    "rodflow.flows.drift_free_rod": ["DriftFreeRod"],
    "rodflow.flows.drift_free_rod_ode": ["DriftFreeRodODE"],
    "rodflow.flows.edge": ["EdgeFlow"],
    "rodflow.flows.flow_file": ["load", "save"],
    "rodflow.flows.integrate": ["FlowRun", "integrate", "trajectory"],
    "rodflow.flows.rod": ["RodFlow"],
    "rodflow.flows.rod_one_column": ["OneColumnRodFlow"],
    "rodflow.flows.stable": ["StableFlow"],
    "rodflow.flows.twin": ["Twin"],
    "rodflow.optimizers.adagrad": ["Adagrad"],
    "rodflow.optimizers.adamw": ["AdamW"],
    "rodflow.optimizers.family": [
        "Adam",
        "GradientDescent",
        "HeavyBall",
        "NAdam",
        "Nesterov",
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
    "rodflow.training.cost": ["Cost"],
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


def __dir__() -> list[str]:
    return __all__
