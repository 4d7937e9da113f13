"""Edge flow: the formulas by hand, exact linear rates, the orbit of period two, both precisions."""

import math

import pytest
import torch
from helpers.alternating import alternating, states
from helpers.problems import network, optimizer, quadratic, quartic, valley, window
from helpers.vectors import close, random, vector

from rodflow.catalogue import FLOWS
from rodflow.errors import InvalidInput
from rodflow.flows.base import Layout, pack
from rodflow.flows.edge import EdgeFlow
from rodflow.flows.integrate import integrate
from rodflow.training.discrete import train
from rodflow.training.objective import Objective


def edge(hessian, **settings):
    return EdgeFlow(quadratic(hessian).objective, optimizer("gd", 1.0), rounding_scale=0, **settings)


def test_increments_are_those_of_the_docstring():
    net, lr, length = network(), 0.3, 0.05
    c, u = net.w0, random(len(net.w0))
    u = u / u.norm()
    flow = EdgeFlow(net.objective(), optimizer("gd", lr))
    parts = c, u, vector(math.log(length)), c.new_zeros(0)
    flow.layout = Layout.of(*parts)
    dc, du, growth, _ = flow.layout.split(flow.phi(0.0, pack(*parts)))
    gradient = torch.func.grad(net.loss)
    plus, minus = gradient(c + length * u), gradient(c - length * u)
    h = (plus - minus) / (2 * length)
    close(dc, -lr / 2 * (plus + minus))
    close(du, lr * (h - (u @ h) * u))
    close(growth, vector(max(math.log(max(lr * float(u @ h) - 1, 1e-9)), -2)))


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("sharpness", [1.5, 1.9, 2.0, 2.2, 3.0])
def test_a_linear_mode_grows_exactly_as_the_iterates_do(sharpness, order):
    flow = edge(torch.diag(vector(0.5, sharpness)), order=order)
    y = flow.start(alternating(vector(0, 0), vector(0, 1e-3)))
    grown = float(flow.rod(flow.advance(y, 0, 7)).norm() / 1e-3)
    assert grown == pytest.approx((sharpness - 1) ** 7, rel=1e-6)


def test_decay_far_below_the_edge_is_bounded():
    flow = edge(torch.diag(vector(0.0, 1.0)))
    y = flow.start(alternating(vector(0, 0), vector(0, 1.0)))
    assert float(flow.rod(flow.advance(y, 0, 3)).norm()) == pytest.approx(math.exp(-6))


def test_direction_turns_to_the_sharpest():
    """At first order tan(angle) falls like exp(-gap t), the exact solution of the Rayleigh-quotient dynamics."""
    flow = edge(torch.diag(vector(1.7, 2.0, 0.3)), order=1)
    y = flow.start(alternating(vector(0, 0, 0), vector(1e-3, 1e-3, 0)))
    rod = flow.rod(flow.advance(y, 0, 10))
    assert float(rod[0] / rod[1]) == pytest.approx(math.exp(-0.3 * 10), rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("start", [1e-3, 0.3])
def test_quartic_reaches_the_period_two_orbit(start, dtype):
    lr, sharpness, softening = 0.5, 4.2, 3.0
    flow = EdgeFlow(quartic(sharpness, softening).objective, optimizer("gd", lr))
    end = flow.advance(flow.start(alternating(vector(0).to(dtype), vector(start).to(dtype))), 0, 200)
    assert end.dtype == dtype
    assert float(flow.rod(end) ** 2) == pytest.approx(sharpness / softening - 2 / (lr * softening), rel=1e-4)


def test_a_short_rod_grows_in_single_precision_too():
    flow = edge(torch.diag(vector(0.01, 2.2)).float())
    y = flow.start(alternating(vector(10, 0).float(), vector(0, 1e-8).float()))
    y = pack(vector(10, 0).float(), vector(0, 1).float(), vector(math.log(1e-8)).float(), y.new_zeros(0))
    assert float(flow.rod(flow.advance(y, 0, 10)).norm()) == pytest.approx(1e-8 * 1.2**10, rel=1e-3)


def test_a_rod_of_no_length_keeps_its_direction():
    flow = EdgeFlow(Objective(lambda w: -w.sum()), optimizer("gd", 0.1), rounding_scale=0)
    y = flow.start(window(states([vector(1, 2)] * 3), 0))
    end = flow.advance(y, 0, 400)
    assert torch.isfinite(end).all()
    assert 0 < flow.rod(end).norm() < 1e-150
    close(flow.centre(end).w, vector(41, 42))


def test_rounding_keeps_the_rod_alive_below_the_edge():
    """The critical direction is (1, -1), along which the weights (1, 1) have rounding errors."""
    hessian = 0.75 * torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    flow = EdgeFlow(quadratic(hessian).objective, optimizer("gd", 1.0))
    points = [torch.ones(2, dtype=torch.float32)] * 17
    end = flow.advance(flow.start(window(states(points), 0).to(torch.float64, "cpu")), 0, 200)
    assert 1e-3 < flow.rod(end).norm() / torch.finfo(torch.float32).eps < 4
    close(flow.layout.split(end)[1].norm(), vector(1)[0])


def test_valley_reaches_the_edge_with_the_run():
    """Until both burst, from 1e-11, and are lost in the same record."""
    objective, ours = valley(1.0, 0.5, 0.1).objective, optimizer("gd", 0.5)
    run = train(objective, ours, vector(4.0, 1e-6), 200, record_interval=5)
    series = integrate(EdgeFlow(objective, ours), run.window(20), 180, 5, reference=run).series.set_index("step")
    onset = {name: series.index[series[name] >= 1e-3][0] for name in ("oscillation", "rod_length")}
    assert abs(onset["rod_length"] - onset["oscillation"]) <= 0.1 * onset["oscillation"]


def test_cost_is_four_gradients_an_evaluation():
    net, ours = network(), optimizer("gd")
    run = train(net.objective(), ours, net.w0, 40, record_interval=10)
    result = integrate(EdgeFlow(net.objective(), ours), run.window(20), 20, 20, reference=run)
    assert (result.cost.gradients, result.cost.hessian_vector_products) == (20 * 2 * 4 * 4, 0)


def test_a_unit_step_is_the_increments_for_two_gradients():
    net, ours = network(), optimizer("gd")
    run = train(net.objective(), ours, net.w0, 40, record_interval=10)
    flow = FLOWS["edge_unit_step"](net.objective(), ours)
    y = flow.start(run.window(20))
    before = flow.dynamics.objective.cost.copy()
    end = flow.advance(y, 20, 21)
    assert flow.dynamics.objective.cost.gradients - before.gradients == 2
    close(end, flow.round(21, y + flow.phi(20.0, y)))


@pytest.mark.parametrize(
    ("key", "name", "settings"),
    [
        ("optimizer", "heavy_ball", {}),
        ("optimizer", "rmsprop", {}),
        ("order", "gd", {"order": 4}),
        ("rounding_scale", "gd", {"rounding_scale": -1.0}),
    ],
)
def test_what_it_does_not_model_is_refused(key, name, settings):
    with pytest.raises(InvalidInput) as caught:
        EdgeFlow(quartic(4.2, 3.0).objective, optimizer(name), **settings)
    assert caught.value.key == key
