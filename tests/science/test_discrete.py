"""Discrete training against a loop by hand."""

import math

import pytest
import torch
from helpers.problems import bowl, network, optimizer, quadratic, valley
from helpers.vectors import vector

from rodflow.errors import InvalidInput
from rodflow.optimizers.step_map import State
from rodflow.training.discrete import DIVERGENCE_FACTOR, train
from rodflow.training.objective import Objective

NAMES = ["gd", "heavy_ball", "scalar_nadam", "adam"]


def loop(objective, ours, w0, steps):
    """States 0 .. steps."""
    states = [ours.init(w0)]
    for t in range(steps):
        states.append(ours.step(states[-1], objective.gradient(states[-1].w), t))
    return states


@pytest.mark.parametrize("name", NAMES)
def test_records_are_those_of_a_loop(name):
    net, ours, steps, interval = network(), optimizer(name), 20, 4
    run = train(net.objective(), ours, net.w0, steps, record_interval=interval, eigenvalues=2, sharpness_tolerance=1e-4)
    states = loop(net.objective(), ours, net.w0, steps + 2)
    assert run.record_steps.tolist() == [4, 8, 12, 16, 20]
    assert run.threshold == ours.threshold
    assert run.diverged_at is None
    assert len(run.loss) == len(run.gradient_norm) == len(run.oscillation) == steps + 2
    for t in range(steps + 2):
        torch.testing.assert_close(run.loss[t], net.loss(states[t].w))
        torch.testing.assert_close(run.gradient_norm[t], torch.func.grad(net.loss)(states[t].w).norm())
    assert math.isnan(run.oscillation[0])
    for t in range(1, steps + 2):
        centre = (states[t - 1].w + 2 * states[t].w + states[t + 1].w) / 4
        torch.testing.assert_close(run.oscillation[t], (states[t].w - centre).norm())
    for i, t in enumerate(run.record_steps.tolist()):
        centre = [(a + 2 * b + c) / 4 for a, b, c in zip(states[t - 1], states[t], states[t + 1], strict=True)]
        torch.testing.assert_close(run.midpoints[i], centre[0])
        for kept, part in zip(run.states, states[t], strict=True):
            assert torch.equal(kept[i], part)
        p = ours.preconditioner(centre[2], t).expand(len(net.w0))
        values = torch.linalg.eigvals(ours.learning_rate * net.hessian(centre[0]) / p[:, None]).real
        torch.testing.assert_close(run.sharpness[i], values.sort(descending=True).values[:2], rtol=1e-5, atol=1e-8)


def test_a_period_two_oscillation_has_its_amplitude():
    """At S = 2/lr a quadratic flips sign each step: centre zero, oscillation |w0|."""
    run = train(
        quadratic(torch.eye(2).double()).objective,
        optimizer("gd", 2.0),
        torch.tensor([3.0, 4.0]).double(),
        10,
        record_interval=5,
    )
    torch.testing.assert_close(run.oscillation[1:], torch.full((11,), 5.0).double())
    assert run.midpoints.abs().max() == 0


def test_sharpness_of_the_valley_floor():
    """On the floor y = 0 the path and its sharpness are known at every step."""
    lr, slope = 0.5, 0.2
    run = train(valley(1.0, 0.5, slope).objective, optimizer("gd", lr), torch.zeros(2).double(), 30, record_interval=10)
    x = lr * slope * torch.tensor([10.0, 20.0, 30.0]).double()
    torch.testing.assert_close(run.midpoints[:, 0], x)
    torch.testing.assert_close(run.sharpness[:, 0], lr * (1 + 0.5 * x))


@pytest.mark.parametrize("name", NAMES)
def test_window_holds_the_runs_own_states(name):
    net, ours = network(), optimizer(name)
    run = train(net.objective(), ours, net.w0, 30, record_interval=10)
    states = loop(net.objective(), ours, net.w0, 32)
    for at, half_width in ((3, 3), (12, 8), (20, 1), (28, 3), (30, 1)):
        window = run.window(at, half_width)
        assert (window.at, window.half_width) == (at, half_width)
        for offset in range(-half_width, half_width + 1):
            for a, b in zip(window.state(offset), states[at + offset], strict=True):
                assert torch.equal(a, b)
    assert torch.equal(run.window(20, 1).state().w, run.states.w[1])
    assert torch.equal(run.window(20, 1).midpoint().w, run.midpoints[1])


def test_window_is_kept_and_widened_on_demand():
    net, ours = network(), optimizer("gd")
    objective = net.objective()
    run = train(objective, ours, net.w0, 30, record_interval=10)
    narrow = run.window(15, 2)
    before = objective.cost.copy()
    assert run.window(15, 2) is narrow
    assert (objective.cost - before).gradients == 0
    wide = run.window(15, 5)
    assert wide.half_width == 5
    assert torch.equal(wide.state(-2).w, narrow.state(-2).w)


def test_window_changes_dtype():
    net = network()
    run = train(net.objective(), optimizer("adam"), net.w0, 12, record_interval=4)
    window = run.window(6, 2).to(torch.float32, "cpu")
    assert {part.dtype for part in window.states} == {torch.float32}
    assert window.at == 6


@pytest.mark.parametrize("at", [0, 7, 15, 100, -1])
def test_window_outside_the_run_is_refused(at):
    net = network()
    run = train(net.objective(), optimizer("gd"), net.w0, 20, record_interval=10)
    with pytest.raises(InvalidInput) as caught:
        run.window(at)
    assert caught.value.key == "at"


def test_window_without_its_source_is_refused():
    net = network()
    run = train(net.objective(), optimizer("gd"), net.w0, 20, record_interval=10)
    run.source = None
    with pytest.raises(InvalidInput, match="kept"):
        run.window(10)


@pytest.mark.parametrize("learning_rate", [2.5, 4.0, 1e200])
def test_divergence_stops_the_run(learning_rate):
    """On L = w^2/2, from a loss of 2, it grows by (1 - lr)^2 a step, which tells the step at which it is lost."""
    landscape = quadratic(torch.eye(1).double())
    steps, interval = 100, 4
    ours, w0 = optimizer("gd", learning_rate), 2 * torch.ones(1).double()
    run = train(landscape.objective, ours, w0, steps, record_interval=interval)
    lost = math.floor(math.log(DIVERGENCE_FACTOR) / (2 * math.log(learning_rate - 1))) + 1
    assert run.diverged_at == lost
    assert run.loss[:lost].isfinite().all()
    for series in (run.loss, run.gradient_norm, run.oscillation):
        assert len(series) == steps + 2
        assert series[lost:].isnan().all()
    late = run.record_steps >= lost
    assert run.midpoints[late].isnan().all() and run.sharpness[late].isnan().all() and run.states.w[late].isnan().all()
    assert run.midpoints[~late].isfinite().all() and run.sharpness[~late].isfinite().all()
    assert landscape.objective.cost.gradients < lost + 2 * interval + len(run.record_steps)
    with pytest.raises(InvalidInput):
        run.window(lost, 1)


@pytest.mark.parametrize("offset", [0.0, -0.05])
def test_a_catapult_from_a_small_or_negative_loss_is_no_divergence(offset):
    """From 4e-12 of its minimum, sharper than 2/lr allows, the run leaps to a flatter one, as torch's own does."""
    lr, start = 0.24, vector(3.0, 1 / 3 + 1e-6)

    def loss(w):
        return (w[0] * w[1] - 1) ** 2 / 2 + offset

    run = train(Objective(loss), optimizer("gd", lr), start, 200)
    w, losses = start.clone().requires_grad_(), []
    descent = torch.optim.SGD([w], lr)
    for _ in range(202):
        descent.zero_grad()
        losses.append(loss(w))
        losses[-1].backward()
        descent.step()
    assert run.diverged_at is None and run.loss.max() > offset + 0.1
    torch.testing.assert_close(run.loss, torch.stack(losses).detach(), rtol=1e-6, atol=1e-9)


def test_nan_at_the_start_is_divergence_at_step_zero():
    run = train(bowl().objective, optimizer("gd"), torch.full((3,), math.nan).double(), 20, record_interval=5)
    assert run.diverged_at == 0
    assert run.loss.isnan().all()


def test_chunks_train_alike():
    net, ours = network(), optimizer("nadam")
    whole, parts = (train(net.objective(size), ours, net.w0, 30, record_interval=10) for size in (None, 3))
    torch.testing.assert_close(parts.loss, whole.loss, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(parts.midpoints, whole.midpoints, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(parts.sharpness, whole.sharpness, rtol=1e-6, atol=0)


def test_float32_run_stays_float32():
    run = train(bowl().objective, optimizer("adam"), torch.ones(3), 20, record_interval=5)
    for series in (run.loss, run.gradient_norm, run.oscillation, run.midpoints, *run.states):
        assert series.dtype == torch.float32
    assert run.loss.isfinite().all()


@pytest.mark.parametrize(
    ("steps", "interval", "key"),
    [(0, 1, "steps"), (-5, 1, "steps"), (10, 0, "record_interval"), (10, 11, "record_interval")],
)
def test_bad_lengths_are_refused(steps, interval, key):
    with pytest.raises(InvalidInput) as caught:
        train(bowl().objective, optimizer("gd"), torch.ones(3).double(), steps, record_interval=interval)
    assert caught.value.key == key


@pytest.mark.parametrize("name", NAMES)
def test_a_perturbed_run_takes_steps_with_errors_and_is_replayed(name):
    net, ours, size = network(), optimizer(name), 1e-3
    run, again = (train(net.objective(), ours, net.w0, 30, record_interval=1, perturbation=size) for _ in range(2))
    assert torch.equal(run.states.w, again.states.w)
    for t in (1, 12, 29):
        before, after = (State(*(part[i] for part in run.states)) for i in (t - 1, t))
        exact = ours.step(before, net.objective().gradient(before.w), t)
        errors = (after.w - exact.w) / exact.w
        assert size / 10 < errors.abs().max() <= size * (1 + 1e-9)
        assert torch.equal(after.m, exact.m) and torch.equal(after.nu, exact.nu)
    sparse = train(net.objective(), ours, net.w0, 30, record_interval=10, perturbation=size)
    window = sparse.window(17, 5)
    assert torch.equal(window.states.w, run.states.w[11:22])
    assert window.rounding == window.to(torch.float32, "cpu").rounding == size


def test_no_perturbation_changes_nothing():
    net, ours = network(), optimizer("adam")
    run = train(net.objective(), ours, net.w0, 20, record_interval=1, perturbation=0.0)
    states = loop(net.objective(), ours, net.w0, 20)
    assert torch.equal(run.states.w, torch.stack([state.w for state in states[1:]]))
    assert run.window(10).rounding == torch.finfo(torch.float64).eps


def test_rounding_below_the_epsilon_is_the_epsilon():
    run = train(bowl().objective, optimizer("gd"), torch.ones(3), 20, record_interval=5, perturbation=1e-12)
    assert run.window(10).rounding == torch.finfo(torch.float32).eps


@pytest.mark.parametrize("size", [-1e-7, math.nan, math.inf])
def test_bad_perturbations_are_refused(size):
    with pytest.raises(InvalidInput) as caught:
        train(bowl().objective, optimizer("gd"), torch.ones(3), 10, record_interval=5, perturbation=size)
    assert caught.value.key == "perturbation"
