"""The names of optimizers, flows, architectures and landscapes: what each is, where its code is, how figures show it.

Config, tables, figures and library take all names from here. To add one, add a line here and the file that it names.
This module loads no torch: an entry's code is imported when the entry is first used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

Dashes = str | tuple[float, tuple[float, ...]]
"""A matplotlib line style: ``solid``, or an offset and the lengths of dashes and gaps."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One name: the ``target`` that it stands for, ``module:attribute``, and the ``label`` that readers see."""

    target: str
    label: str

    @property
    def module(self) -> str:
        """The module that holds the code."""
        return self.target.partition(":")[0]

    def load(self) -> Any:
        """What the name stands for."""
        return getattr(importlib.import_module(self.module), self.target.partition(":")[2])


@dataclass(frozen=True, eq=False)
class OptimizerEntry(Entry):
    """An optimizer, and which of the config's hyperparameters it ``takes`` beside its learning rate."""

    takes: tuple[str, ...] = ()

    @property
    def momentum(self) -> bool:
        """Whether its state has a first moment: whether it takes that moment's decay."""
        return "beta1" in self.takes


@dataclass(frozen=True, eq=False)
class FlowEntry(Entry):
    """A flow: its class with ``settings``, its line in figures, and the optimizers that it ``models`` (None: all).

    ``momentum``: it models only optimizers with a first moment, or only those without (None: both). ``solver``: what
    its solver has instead of the class's defaults. ``competes``: a model of other authors, which comparison.csv sets
    beside ours. ``floor``: no model but the run again, which tells how near a model can be. ``second_order``: its error
    in a step is of third order while the run is stable, that of a step taken for a velocity is of second.
    """

    colour: str
    linestyle: Dashes
    linewidth: float = 1.5
    settings: Mapping[str, Any] = field(default_factory=dict)
    solver: Mapping[str, Any] = field(default_factory=dict)
    models: tuple[str, ...] | None = None
    momentum: bool | None = None
    competes: bool = False
    floor: bool = False
    second_order: bool = False

    def load(self) -> Callable[..., Any]:
        settings = dict(self.settings)
        if self.solver:
            settings["solver"] = importlib.import_module("rodflow.flows.base").Solver(**self.solver)
        return partial(super().load(), **settings) if settings else super().load()


E = TypeVar("E", bound=Entry)


class Catalogue(Mapping[str, Any], Generic[E]):
    """``catalogue[name]`` is what the name stands for, loaded when asked for; ``entries[name]`` says what it is."""

    def __init__(self, entries: Mapping[str, E]):
        self.entries = entries

    def __getitem__(self, name: str) -> Any:
        return self.entries[name].load()

    def __contains__(self, name: object) -> bool:
        return name in self.entries  # and not, as Mapping has it, by loading what the name stands for

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


ADAPTIVE = ("beta2", "epsilon", "bias_correction")
"""Hyperparameters of a second moment that is an average."""

OPTIMIZERS = Catalogue(
    {
        "gd": OptimizerEntry("rodflow.optimizers.family:GradientDescent", "Gradient descent"),
        "heavy_ball": OptimizerEntry("rodflow.optimizers.family:HeavyBall", "Heavy ball", ("beta1",)),
        "nesterov": OptimizerEntry("rodflow.optimizers.family:Nesterov", "Nesterov", ("beta1",)),
        "scalar_rmsprop": OptimizerEntry("rodflow.optimizers.family:ScalarRMSProp", "Scalar RMSProp", ADAPTIVE),
        "rmsprop": OptimizerEntry("rodflow.optimizers.family:RMSProp", "RMSProp", ADAPTIVE),
        "scalar_adam": OptimizerEntry("rodflow.optimizers.family:ScalarAdam", "Scalar Adam", ("beta1", *ADAPTIVE)),
        "adam": OptimizerEntry("rodflow.optimizers.family:Adam", "Adam", ("beta1", *ADAPTIVE)),
        "scalar_nadam": OptimizerEntry("rodflow.optimizers.family:ScalarNAdam", "Scalar NAdam", ("beta1", *ADAPTIVE)),
        "nadam": OptimizerEntry("rodflow.optimizers.family:NAdam", "NAdam", ("beta1", *ADAPTIVE)),
        "adamw": OptimizerEntry("rodflow.optimizers.adamw:AdamW", "AdamW", ("beta1", *ADAPTIVE, "weight_decay")),
        "adagrad": OptimizerEntry("rodflow.optimizers.adagrad:Adagrad", "Adagrad", ("epsilon",)),
        "qhm": OptimizerEntry("rodflow.optimizers.qhm:QHM", "Quasi-hyperbolic momentum", ("beta1", "momentum_share")),
    }
)
"""Step maps: gradient descent, the paper's eight optimizers, and three more."""

FLOWS = Catalogue(
    {
        "stable": FlowEntry("rodflow.flows.stable:StableFlow", "Stable flow", "#E69F00", (0, (5, 2))),
        "stable_corrected": FlowEntry(
            "rodflow.flows.stable:StableFlow",
            "Stable flow, corrected",
            "#CC79A7",
            (0, (5, 1.5, 1, 1.5)),
            settings={"order": 2},
            second_order=True,
        ),
        "rod": FlowEntry("rodflow.flows.rod:RodFlow", "Rod flow", "#0072B2", "solid", second_order=True),
        "rod_one_column": FlowEntry(
            "rodflow.flows.rod_one_column:OneColumnRodFlow",
            "Rod flow, one column",
            "#56B4E9",
            (0, (2.5, 1.2)),
            second_order=True,
        ),
        "drift_free_rod": FlowEntry(
            "rodflow.flows.drift_free_rod:DriftFreeRod",
            "Rod flow, drift-free",
            "#009E73",
            (0, (1, 1.2)),
            1.8,
            second_order=True,
        ),
        "drift_free_rod_ode": FlowEntry(
            "rodflow.flows.drift_free_rod_ode:DriftFreeRodODE",
            "Rod flow, drift-free (ODE)",
            "#404040",
            (0, (1, 3)),
            1.2,
            second_order=True,
        ),
        "twin": FlowEntry("rodflow.flows.twin:Twin", "Twin run", "#999933", (0, (1, 2)), 1.2, floor=True),
        "second_twin": FlowEntry(
            "rodflow.flows.twin:Twin",
            "Twin run, second",
            "#AA4499",
            (0, (1, 2.5)),
            1.2,
            settings={"rounding_seed": 2},
            floor=True,
        ),
        "central": FlowEntry(
            "rodflow.flows.central:CentralFlow",
            "Central flow",
            "#D55E00",
            (0, (8, 1.5, 1.5, 1.5)),
            momentum=False,
            competes=True,
        ),
        "central_momentum": FlowEntry(
            "rodflow.flows.central_momentum:CentralMomentumFlow",
            "Central flow, phase space",
            "#882255",
            (0, (8, 1.5, 1.5, 1.5, 1.5, 1.5)),
            momentum=True,
            competes=True,
        ),
        "edge": FlowEntry(
            "rodflow.flows.edge:EdgeFlow",
            "Edge flow",
            "#000000",
            (0, (3, 1.2, 1, 1.2, 1, 1.2)),
            1.2,
            models=("gd",),
            competes=True,
            second_order=True,
        ),
        "edge_unit_step": FlowEntry(
            "rodflow.flows.edge:EdgeFlow",
            "Edge flow, unit step",
            "#999999",
            (0, (3, 1.2, 1, 1.2, 1, 1.2)),
            1.0,
            settings={"order": 1},
            solver={"method": "euler", "step": 1.0},
            models=("gd",),
            competes=True,
        ),
    }
)
"""Continuous-time models. Lines differ in dashes as well as in colour: Okabe-Ito colours and a wine red."""

ARCHITECTURES = Catalogue(
    {
        "mlp": Entry("rodflow.problems.architectures:mlp", "MLP"),
        "cnn": Entry("rodflow.problems.architectures:cnn", "CNN"),
        "vit": Entry("rodflow.problems.architectures:ViT", "ViT"),
    }
)
"""Networks; the settings of each are a section of ``rodflow.config.schema.Sizes``."""

LANDSCAPES = Catalogue(
    {
        "quartic": Entry("rodflow.problems.landscapes:QUARTIC", "Quartic"),
        "valley": Entry("rodflow.problems.landscapes:VALLEY", "Sharpening valley"),
        "square_root": Entry("rodflow.problems.landscapes:SQUARE_ROOT", "Square-root trough"),
    }
)
"""Toy losses in the plane."""


def models(flow: str, optimizer: str, momentum: bool | None = None) -> bool:
    """Whether a flow models an optimizer: what ``Flow.supports`` says, for readers without torch.

    ``momentum``: whether an optimizer that is not in the catalogue has a first moment. A flow that is not models all.
    """
    if flow not in FLOWS:
        return True
    entry = FLOWS.entries[flow]
    if optimizer in OPTIMIZERS:
        momentum = OPTIMIZERS.entries[optimizer].momentum
    return (entry.models is None or optimizer in entry.models) and entry.momentum in (None, momentum)


def competes(flow: str) -> bool:
    """Whether a flow is a model of other authors; an unknown one is not."""
    return flow in FLOWS and FLOWS.entries[flow].competes


def is_floor(flow: str) -> bool:
    """Whether a flow is a twin, the run again; an unknown one is none."""
    return flow in FLOWS and FLOWS.entries[flow].floor


def label(name: str) -> str:
    """The reader's name of an optimizer, an architecture or a landscape; an unknown one keeps its own."""
    for catalogue in (OPTIMIZERS, ARCHITECTURES, LANDSCAPES):
        if name in catalogue:
            return catalogue.entries[name].label
    return name
