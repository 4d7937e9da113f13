"""The catalogue: every name stands for what its kind says, and readers can tell it from the others."""

import pytest
import torch
from helpers.problems import SIZES, optimizer
from torch import nn

from rodflow.catalogue import ARCHITECTURES, FLOWS, LANDSCAPES, OPTIMIZERS, competes, is_floor, label, models
from rodflow.config.schema import Hyperparameters
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
    modelled = next(optimizer for optimizer in OPTIMIZERS if models(name, optimizer))
    flow = FLOWS[name](Objective(lambda w: w @ w / 2), optimizer(modelled))
    assert isinstance(flow, Flow)
    assert type(flow).__name__ == FLOWS.entries[name].target.partition(":")[2]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_loads(name):
    module = ARCHITECTURES[name]((1, 4, 4), 3, **SIZES[name])
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


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_an_optimizer_takes_changes_its_steps_and_nothing_else_does(name):
    """Its state has a first moment where it takes that moment's decay."""
    entry = OPTIMIZERS.entries[name]
    assert entry.momentum == bool(optimizer(name).init(torch.ones(1)).m.numel())
    w0, gradients = torch.ones(2, dtype=torch.float64), torch.tensor([[1.0, -2.0], [3.0, 0.5]], dtype=torch.float64)

    def after_two_steps(**settings):
        ours = OPTIMIZERS[name](learning_rate=0.1, **settings)
        state = ours.init(w0)
        for t, gradient in enumerate(gradients):
            state = ours.step(state, gradient, t)
        return state.w

    others = {"beta1": 0.5, "beta2": 0.5, "epsilon": 0.1, "bias_correction": False}
    others |= {"weight_decay": 0.3, "momentum_share": 0.2}
    assert others.keys() == Hyperparameters.model_fields.keys()
    for key, value in others.items():
        if key in entry.takes:
            assert not torch.equal(after_two_steps(**{key: value}), after_two_steps()), key
        elif key in ("beta1", "beta2", "epsilon", "bias_correction"):  # which the whole family has as fields
            assert torch.equal(after_two_steps(**{key: value}), after_two_steps()), key


def test_an_optimizer_that_the_catalogue_does_not_have():
    assert models("rod", "mine", momentum=True) and models("my_flow", "mine", momentum=True)
    assert models("central", "mine", momentum=False) and not models("central", "mine", momentum=True)
    assert models("central_momentum", "mine", momentum=True) and not models("central_momentum", "mine", momentum=False)
    assert not models("edge", "mine", momentum=False)
    assert not is_floor("my_flow") and not competes("my_flow")
