"""An optimizer from one function: what it is like by default, in every flow, and what is refused."""

import math

import pytest
import torch
from helpers.problems import digits_mlp, network, optimizer

import rodflow as rf
from rodflow.catalogue import FLOWS, models
from rodflow.errors import InvalidInput
from rodflow.flows.integrate import integrate
from rodflow.optimizers.step_map import State
from rodflow.training.discrete import train


@rf.step_map(learning_rate=0.1)
def descent(state, gradient, t):
    return state._replace(w=state.w - 0.1 * gradient)


def test_defaults_are_those_of_a_plain_descent():
    state = descent.init(torch.ones(3))
    assert [len(part) for part in state] == [3, 0, 0]
    assert descent.preconditioner(state.nu, 2).tolist() == [1.0]
    assert (descent.rate(5), descent.threshold, descent.transient) == (0.1, 2.0, 0)
    after, increment = descent.step(state, torch.ones(3), 0), descent.increment(state, torch.ones(3), 0)
    assert after.w.tolist() == pytest.approx([0.9] * 3)
    assert increment.w.tolist() == pytest.approx([-0.1] * 3)


def test_moments_start_at_zero_and_a_first_state_may_be_given():
    def make(**settings):
        return rf.step_map(lambda state, gradient, t: state, learning_rate=0.1, **settings).init(torch.ones(3))

    state = make(momentum=True, second_moment="component")
    assert [part.tolist() for part in state] == [[1.0] * 3, [0.0] * 3, [0.0] * 3]
    assert make(second_moment="scalar").nu.tolist() == [0.0]
    given = make(init=lambda w: State(w, w.new_zeros(0), torch.full_like(w, 0.5)))
    assert given.nu.tolist() == [0.5] * 3


def test_adam_written_as_a_function_is_adam():
    """Moments, preconditioner and threshold given by hand: run, effective sharpness and flow are the library's."""
    lr, b1, b2, eps = 0.01, 0.9, 0.99, 1e-8

    def diagonal(nu, t):
        return torch.sqrt(nu / (1 - b2**t)) + eps

    def step(state, gradient, t):
        m = b1 * state.m + (1 - b1) * gradient
        nu = b2 * state.nu + (1 - b2) * gradient**2
        return State(state.w - lr * m / (1 - b1 ** (t + 1)) / diagonal(nu, t + 1), m, nu)

    theirs = optimizer("adam", lr)
    ours = rf.step_map(
        step,
        learning_rate=lr,
        momentum=True,
        second_moment="component",
        preconditioner=diagonal,
        threshold=theirs.threshold,
        transient=theirs.transient,
    )
    net = network()
    a, b = (train(net.objective(), o, net.w0, 60, record_interval=20) for o in (ours, theirs))
    torch.testing.assert_close(a.midpoints, b.midpoints, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(a.sharpness, b.sharpness, rtol=1e-6, atol=0)
    series = [
        integrate(rf.RodFlow(net.objective(), o), run.window(30), 30, 20).series for o, run in ((ours, a), (theirs, b))
    ]
    assert series[0]["rod_length"].to_numpy() == pytest.approx(series[1]["rod_length"].to_numpy(), rel=1e-6)


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("name", [name for name in FLOWS if models(name, "gd")])
def test_every_flow_follows_it(name, scheduled):
    problem = digits_mlp()
    ours = rf.Scheduled(descent, rf.schedules.cosine(60)) if scheduled else descent
    run = train(problem.objective, ours, problem.w0, 40, record_interval=10)
    result = integrate(FLOWS[name](problem.objective, ours), run.window(10), 30, 10, reference=run)
    assert result.series["relative_error"].iloc[-1] < 0.05


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("learning_rate", {"learning_rate": 0.0}),
        ("learning_rate", {"learning_rate": math.nan}),
        ("threshold", {"threshold": -2.0}),
        ("second_moment", {"second_moment": "full"}),
        ("transient", {"transient": -1}),
    ],
)
def test_bad_settings_are_refused(key, settings):
    with pytest.raises(InvalidInput) as caught:
        rf.step_map(lambda state, gradient, t: state, **({"learning_rate": 0.1} | settings))
    assert caught.value.key == key


def test_a_step_that_changes_shapes_is_refused():
    ours = rf.step_map(lambda state, gradient, t: state._replace(m=gradient), learning_rate=0.1)
    with pytest.raises(InvalidInput, match="shapes that went in"):
        ours.step(ours.init(torch.ones(3)), torch.ones(3), 0)
