"""Drift-free rod flow and the rod map: exact identities, known rates and fixed points, both precisions."""

import math
from functools import partial
from itertools import combinations

import numpy as np
import pytest
import torch
from helpers.alternating import alternating, states
from helpers.problems import LEARNING_RATES, network, optimizer, quadratic, quartic, valley, window
from helpers.vectors import close, random, run_states, vector

from rodflow.errors import InvalidInput
from rodflow.flows.base import Solver
from rodflow.flows.drift_free_rod import DriftFreeRod
from rodflow.flows.drift_free_rod_ode import DriftFreeRodODE, alternating_part
from rodflow.flows.integrate import integrate
from rodflow.optimizers.family import Adam, RMSProp
from rodflow.training.discrete import train
from rodflow.training.objective import Objective

BOTH = {"map": DriftFreeRod, "ode": DriftFreeRodODE}


# --- the split


@pytest.mark.parametrize("order", [2, 4, 8, 16])
def test_filter_takes_out_every_polynomial_below_its_order(order):
    t = torch.arange(-8, 9, dtype=torch.float64)
    slow = sum(random(1, seed=k) * (t / 8) ** k for k in range(order))
    a = alternating_part(window(states((slow + 0.3 * (-1) ** t.abs())[:, None]), 0), order)
    close(a.w, vector(0.3))


def test_filter_is_no_wider_than_the_window():
    points = random(3, 2)
    a = alternating_part(window(states(points), 1), 16)
    close(a.w, (-points[0] + 2 * points[1] - points[2]) / 4)


@pytest.mark.parametrize("order", [0, 3, -2])
def test_other_split_orders_are_refused(order):
    with pytest.raises(InvalidInput, match="split_order"):
        alternating_part(window(states(random(3, 2)), 1), order)


@pytest.mark.parametrize("name", LEARNING_RATES)
def test_the_map_without_separation_is_the_optimizer_itself(name):
    """c + (-1)^t a are the run's own iterates, second moment included, whatever the split at the start."""
    net, ours = network(), optimizer(name)
    run = run_states(net.objective(), ours, net.w0, 14)
    flow = DriftFreeRod(net.objective(), ours, interval=10**6, rounding_scale=0, split_order=4)
    y = flow.advance(flow.start(window(run[1:6], 3)), 3, 13)
    c, a = y.chunk(2)
    close(c + a, torch.cat(list(run[13])), rtol=1e-9, atol=1e-10)  # ten steps: even


# --- linear modes


def mode(x, kind=DriftFreeRod, **settings):
    """A flow on a quadratic with multipliers 1 + x, its slow mode, and -1 - x, its alternating one."""
    hessian = torch.diag(vector(-x, 2 + x))
    return kind(quadratic(hessian).objective, optimizer("gd", 1.0), rounding_scale=0, **settings)


@pytest.mark.parametrize("x", [-0.5, -0.1, 0.05])
def test_separating_step_on_a_mode(x):
    """R(x) = 1 + x - x^3/8 for the right content of c and a, R(-2 - x) for the wrong one."""

    def r(x):
        return 1 + x - x**3 / 8

    flow = mode(x, interval=1)
    y = flow.start(alternating(vector(3, 4), vector(1, 2)))
    c, a = flow.unit(y, 0, 1).chunk(2)
    close(c, vector(3 * r(x), 4 * r(-2 - x)))
    close(a, vector(r(-2 - x), 2 * r(x)))
    assert r(-2) == 0


@pytest.mark.parametrize(
    ("order", "rate"), [(1, lambda x: x), (2, lambda x: x - x**2 / 2), (3, lambda x: x - x**2 / 2 + x**3 / 3)]
)
def test_field_on_a_mode(order, rate):
    x = 0.2
    flow = mode(x, DriftFreeRodODE, order=order)
    y = flow.start(alternating(vector(3, 0), vector(0, 2)))
    close(flow.field(0.0, y), torch.cat([vector(3 * rate(x), 0), vector(0, 2 * rate(x))]))


@pytest.mark.parametrize("make", BOTH.values(), ids=BOTH)
@pytest.mark.parametrize("sharpness", [1.9, 2.0, 2.1])
def test_rod_grows_as_the_iterates_do(make, sharpness):
    """By lr S - 1 a step: the critical mode neither grows nor decays."""
    flow = mode(sharpness - 2, make)
    y = flow.start(alternating(vector(0, 0), vector(0, 1e-3)))
    grown = float(flow.rod(flow.advance(y, 0, 20)).norm() / 1e-3)
    assert grown == pytest.approx((sharpness - 1) ** 20, rel=0.02)


def test_drift_is_no_part_of_the_rod():
    """On a slope the half-difference rod is the drift; this one is nothing."""
    objective, ours = Objective(lambda w: -w.sum()), optimizer("gd", 0.1)
    run = train(objective, ours, vector(0, 0), 40, record_interval=10)
    flow = DriftFreeRod(objective, ours, rounding_scale=0)
    y = flow.advance(flow.start(run.window(10)), 10, 40)
    assert flow.rod(y).norm() < 1e-14
    close(flow.centre(y).w, vector(4, 4))


# --- known fixed point and both precisions


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("make", BOTH.values(), ids=BOTH)
@pytest.mark.parametrize("start", [1e-3, 0.3])
def test_quartic_reaches_the_period_two_orbit(make, start, dtype):
    """lr L'(a) = 2a, so a^2 = S/Q - 2/(lr Q): where gradient descent itself alternates for ever."""
    lr, sharpness, softening = 0.5, 4.2, 3.0
    flow = make(quartic(sharpness, softening).objective, optimizer("gd", lr))
    y = flow.start(alternating(vector(0).to(dtype), vector(start).to(dtype)))
    end = flow.advance(y, 0, 200)
    assert end.dtype == dtype
    assert float(flow.rod(end) ** 2) == pytest.approx(sharpness / softening - 2 / (lr * softening), rel=1e-4)


@pytest.mark.parametrize("make", BOTH.values(), ids=BOTH)
def test_a_short_rod_grows_in_single_precision_too(make):
    """|a| is 1e-9 of |c|: the plain difference of two increments would be rounding noise."""
    hessian = torch.diag(vector(0.01, 2.2))
    c, a = vector(10, 0), vector(0, 1e-8)
    lengths = []
    for dtype in (torch.float32, torch.float64):
        flow = make(quadratic(hessian.to(dtype)).objective, optimizer("gd", 1.0), rounding_scale=0)
        y = torch.cat([c, a]).to(dtype)
        flow.start(alternating(c.to(dtype), a.to(dtype)))
        lengths.append(float(flow.rod(flow.advance(y, 0, 10)).norm()))
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-3)
    assert lengths[1] == pytest.approx(1e-8 * 1.2**10, rel=0.05)


def test_order_three_of_the_field_needs_and_gets_smaller_steps():
    """Half the step changes the rod by less than 2% after 30 steps of growth: 1/2 is enough for order 2, 1/4 for 3."""
    for order, step in ((2, 0.5), (3, 0.25)):
        ends = []
        for h in (step, step / 2):
            flow = DriftFreeRodODE(quartic(4.2, 3.0).objective, optimizer("gd", 0.5), Solver("rk4", step=h), order)
            ends.append(flow.rod(flow.advance(flow.start(alternating(vector(0.1), vector(0.05))), 0, 30)))
        close(*ends, rtol=0.02)


# --- rounding


def test_rounding_errors_are_bounded_and_the_same_each_time():
    flow = DriftFreeRod(quadratic(torch.eye(3).double()).objective, optimizer("gd", 0.1), rounding_scale=2.0)
    points = [torch.ones(3, dtype=torch.float32)] * 17
    y = flow.start(window(states(points), 0).to(torch.float64, "cpu"))
    rounded = flow.round(7.0, y)
    c, a = rounded.chunk(2)
    assert torch.equal(c, y.chunk(2)[0])
    assert 0 < a.abs().max() <= 2 * torch.finfo(torch.float32).eps
    assert torch.equal(flow.round(7.0, y), rounded)
    assert not torch.equal(flow.round(8.0, y), rounded)
    assert torch.equal(flow.round(7.5, y), y)
    drawn = []
    for seed in (0, 1, 2, 999):
        flow.rounding_seed = seed
        drawn.append(flow.round(7.0, y))
    assert not any(torch.equal(x, z) for x, z in combinations(drawn, 2))
    flow.rounding_scale = 0.0
    assert torch.equal(flow.round(7.0, y), y)


def test_rounding_keeps_the_rod_alive_below_the_edge():
    """On a mode of multiplier -1/2 the seed's steady state is a length of the order of the rounding error."""
    hessian, ours = torch.diag(vector(0.0, 1.5)), optimizer("gd", 1.0)
    flow = DriftFreeRod(quadratic(hessian).objective, ours)
    points = [torch.ones(2, dtype=torch.float32)] * 17
    y = flow.start(window(states(points), 0).to(torch.float64, "cpu"))
    end = flow.advance(y, 0, 200)
    assert 1e-3 < flow.rod(end).norm() / torch.finfo(torch.float32).eps < 4


# --- violent cells


@pytest.mark.parametrize("make", BOTH.values(), ids=BOTH)
def test_an_overflowing_rod_is_marked(make):
    flow = make(quadratic(torch.diag(vector(20.0, 1.0))).objective, optimizer("gd", 1.0))
    result = integrate(flow, alternating(vector(0, 0.1), vector(0.01, 0)), 400, 20)
    assert result.diverged_at is not None
    assert result.series.loc[result.series["step"] >= result.diverged_at, "loss"].isna().all()


def test_the_guard_takes_over_where_the_rod_leaps():
    """Far above the edge a step multiplies the rod by 10, which is harmless only while it is short."""
    for length, guarded in ((1e-6, 0), (0.01, 1)):
        flow = DriftFreeRod(quadratic(torch.diag(vector(11.0, 0.0))).objective, optimizer("gd", 1.0), interval=4)
        y = flow.start(alternating(vector(0.0, 1.0), vector(length, 0.0)))
        flow.advance(y, 0, 1)
        assert flow.guarded == guarded


# --- cost and settings


@pytest.mark.parametrize(("interval", "gradients"), [(1, 6), (2, 4), (4, 3)])
def test_gradients_per_step(interval, gradients):
    net, ours = network(), optimizer("adam")
    run = train(net.objective(), ours, net.w0, 60, record_interval=10)
    result = integrate(DriftFreeRod(net.objective(), ours, interval=interval), run.window(20), 40, 20, reference=run)
    assert result.cost.gradients == 40 * gradients
    assert result.cost.hessian_vector_products == 0


@pytest.mark.parametrize(
    ("key", "make"),
    [
        ("order", partial(DriftFreeRod, order=4)),
        ("rounding_scale", partial(DriftFreeRod, rounding_scale=-1.0)),
        ("rounding_scale", partial(DriftFreeRodODE, rounding_scale=math.nan)),
        ("interval", partial(DriftFreeRod, interval=0)),
        ("rounding_seed", partial(DriftFreeRod, rounding_seed=-1)),
        ("rounding_seed", partial(DriftFreeRodODE, rounding_seed=1000)),
    ],
)
def test_bad_settings_are_refused(key, make):
    with pytest.raises(InvalidInput) as caught:
        make(quartic(4.2, 3.0).objective, optimizer("gd", 0.5))
    assert caught.value.key == key


@pytest.mark.parametrize("name", LEARNING_RATES)
def test_before_the_edge_it_follows_the_run(name):
    """Relative error below 1e-3 without momentum, below 1e-2 with it: the acceptance of this flow."""
    net, ours = network(), optimizer(name, LEARNING_RATES[name] / (3 if "rmsprop" in name else 1))
    run = train(net.objective(), ours, net.w0, 160, record_interval=20)
    start = 20 + ours.transient
    for make in BOTH.values():
        result = integrate(make(net.objective(), ours), run.window(start), 160 - start, 20, reference=run)
        stable = result.series["discrete_sharpness"] < 0.8 * run.threshold
        assert stable.any()
        limit = 1e-3 if ours.momentum == "none" else 1e-2
        assert np.nanmax(result.series.loc[stable, "relative_error"].iloc[1:]) < limit


def test_valley_reaches_the_edge_with_the_run():
    """The floor's sharpness grows with the drift; past the edge run and flow oscillate alike, at the same step."""
    objective, ours = valley(1.0, 0.5, 0.1).objective, optimizer("gd", 0.5)
    run = train(objective, ours, vector(4.0, 1e-6), 200, record_interval=5)
    flow = DriftFreeRod(objective, ours)
    result = integrate(flow, run.window(20), 180, 5, reference=run)
    series = result.series.set_index("step")
    level = 0.1 * series["oscillation"].max()
    onset = {name: series.index[series[name] >= level][0] for name in ("oscillation", "rod_length")}
    assert abs(onset["rod_length"] - onset["oscillation"]) <= 0.1 * onset["oscillation"]


@pytest.mark.parametrize("kind", [RMSProp, Adam])
def test_a_second_moment_below_zero_counts_as_zero(kind):
    """As rounding may leave the centre's within a separating step, in single precision."""
    net = network()
    optimizer, objective = kind(1e-3), net.objective(None)
    flow = DriftFreeRod(objective, optimizer)
    y = flow.start(train(objective, optimizer, net.w0, 40, record_interval=10).window(20))
    moment = slice(len(y) // 2 - len(net.w0), len(y) // 2)  # the centre's comes last in it
    y[moment][:3], y[len(y) // 2 :][-len(net.w0) :] = 0, 0
    at_zero = flow.phi(20.0, y)
    y[moment][:3] = -1e-18
    below = flow.phi(20.0, y)
    assert torch.isfinite(below).all()
    torch.testing.assert_close(below, at_zero, rtol=0, atol=0)
