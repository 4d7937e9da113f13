"""The catalogue: every name stands for what its kind says, and readers can tell it from the others."""

import pytest
import torch
from helpers.problems import SIZES, optimizer
from torch import nn

from rodflow.catalogue import ARCHITECTURES, FLOWS, LANDSCAPES, OPTIMIZERS, WITH_MOMENTUM, WITHOUT_MOMENTUM, label
from rodflow.flows.base import Flow
from rodflow.optimizers.step_map import StepMap
from rodflow.problems.landscapes import Landscape
from rodflow.training.objective import Objective

CATALOGUES = (OPTIMIZERS, FLOWS, ARCHITECTURES, LANDSCAPES)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_loads(name):
    ours = OPTIMIZERS[name](learning_rate=0.1)
    assert isinstance(ours, StepMap)
    assert type(ours).__name__ == OPTIMIZERS.entries[name].target.partition(":")[2]


@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_loads(name):
    modelled = (FLOWS.entries[name].models or ("gd",))[0]
    flow = FLOWS[name](Objective(lambda w: w @ w / 2), optimizer(modelled))
    assert isinstance(flow, Flow)
    assert type(flow).__name__ == FLOWS.entries[name].target.partition(":")[2]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_loads(name):
    module = ARCHITECTURES[name](1, 4, 3, **SIZES[name])
    assert isinstance(module, nn.Module)
    assert module(torch.ones(2, 1, 4, 4)).shape == (2, 3)


@pytest.mark.parametrize("name", LANDSCAPES)
def test_every_landscape_loads(name):
    assert isinstance(LANDSCAPES[name], Landscape)


def test_names_and_labels_are_told_apart():
    names = [name for catalogue in CATALOGUES for name in catalogue]
    labels = [entry.label for catalogue in CATALOGUES for entry in catalogue.entries.values()]
    assert len(names) == len(set(names)) == len(labels) == len(set(labels))
    for catalogue in (OPTIMIZERS, ARCHITECTURES, LANDSCAPES):
        assert all(label(name) == entry.label for name, entry in catalogue.entries.items())
    assert label("mine") == "mine"


def test_what_is_not_there_is_refused():
    for catalogue in CATALOGUES:
        assert "mine" not in catalogue
        with pytest.raises(KeyError, match="mine"):
            catalogue["mine"]


def test_optimizers_with_momentum_carry_it():
    carry = {name for name in OPTIMIZERS if optimizer(name).init(torch.ones(1)).m.numel()}
    assert carry == set(WITH_MOMENTUM) and set(OPTIMIZERS) - carry == set(WITHOUT_MOMENTUM)
