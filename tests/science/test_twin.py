"""The twin: the optimizer itself, from the run's window, with rounding errors of its own."""

import pytest
import torch
from helpers.problems import network, optimizer

from rodflow.catalogue import OPTIMIZERS
from rodflow.errors import InvalidInput
from rodflow.flows.integrate import integrate
from rodflow.flows.twin import Twin
from rodflow.training.discrete import Window, train


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_without_errors_it_is_the_run(name):
    net, ours = network(), optimizer(name)
    run = train(net.objective(), ours, net.w0, 40, record_interval=5)
    flow, window = Twin(net.objective(), ours), run.window(10)
    result = integrate(flow, Window(window.at, window.states, 1e-300), 30, 5, reference=run)
    assert result.series["error"].max() < 1e-12
    assert result.series["rod_length"].tolist() == pytest.approx(run.oscillation[run.record_steps[2:]].tolist())
    assert result.cost.gradients == 30


def test_its_errors_have_the_runs_size_and_are_others():
    net, ours = network(), optimizer("gd", 1e-9)  # nothing moves but by rounding
    run = train(net.objective(), ours, net.w0, 30, record_interval=10)
    window = Window(10, run.window(10).states, 1e-4)
    ends = []
    for seed in (1, 2, 1):
        flow = Twin(net.objective(), ours, rounding_seed=seed)
        end = flow.advance(flow.start(window), 10, 12).chunk(3)
        relative = ((end[2] - end[1]) / end[1]).abs()
        assert 2e-5 < relative.max() <= 1.001e-4
        ends.append(end[2])
    assert torch.equal(ends[0], ends[2]) and not torch.equal(ends[0], ends[1])


@pytest.mark.parametrize("seed", [-1, 1000])
def test_other_seeds_are_refused(seed):
    with pytest.raises(InvalidInput, match="rounding_seed"):
        Twin(network().objective(), optimizer("gd"), rounding_seed=seed)


def test_between_two_steps_it_is_nowhere():
    net, ours = network(), optimizer("gd")
    flow = Twin(net.objective(), ours)
    y = flow.start(train(net.objective(), ours, net.w0, 30, record_interval=10).window(10))
    with pytest.raises(InvalidInput, match="whole number"):
        flow.advance(y, 10, 10.5)
