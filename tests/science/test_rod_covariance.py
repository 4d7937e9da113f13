"""Rod flow with its covariance: against the printed formula, exact solutions, and the valley that one vector misses."""

import math

import pytest
import torch
from helpers.problems import bowl, network, optimizer, quadratic, quartic, rod_window
from helpers.vectors import close, random, slope, vector

from rodflow.errors import InvalidInput
from rodflow.flows.base import Solver
from rodflow.flows.integrate import integrate, trajectory
from rodflow.flows.rod import RodFlow
from rodflow.flows.rod_covariance import CovarianceRodFlow, Point
from rodflow.training.discrete import train
from rodflow.training.objective import Objective


def test_velocity_is_the_printed_formula_for_one_column():
    """E, and the source (E Eᵀ + O Oᵀ)/2 = (G+ G+ᵀ + G- G-ᵀ)/4, for a rod δ = a and no drift's column."""
    net, lr = network(), 0.3
    flow = CovarianceRodFlow(net.objective(), optimizer("gd", lr), columns=1)
    z, a = net.w0, 0.1 * random(len(net.w0))
    gradient = torch.func.grad(net.loss)
    plus, minus = -lr * gradient(z + a), -lr * gradient(z - a)
    v = flow.velocity(Point(z, a[:, None], z.new_zeros(0)), 0.5, drift=torch.zeros_like(z))
    mean, odd = (plus + minus) / 2, v.images[:, 0]
    close(v.dz, mean, rtol=1e-10)
    source = (torch.outer(mean, mean) + torch.outer(odd, odd)) / 2
    close(source, (torch.outer(plus, plus) + torch.outer(minus, minus)) / 4, rtol=1e-10)
    close(v.images[:, 1], torch.zeros_like(z))


def test_velocity_is_corrected_by_the_end_of_the_drifts_column():
    """On a quadratic it is E + J(-E/2), the correction with Hessians."""
    hessian = torch.diag(vector(1.0, 2.0, 0.5))
    flow = CovarianceRodFlow(quadratic(hessian).objective, optimizer("gd", 0.4))
    z = vector(1.0, -1.0, 2.0)
    v = flow.velocity(Point(z, torch.zeros(3, 2).double(), z.new_zeros(0)), 0.5)
    step = -0.4 * hessian @ z
    close(v.drift, step / 2)
    close(v.dz, step + 0.4 * hessian @ step / 2)


@pytest.mark.parametrize("name", ["gd", "heavy_ball", "rmsprop", "nadam"])
def test_a_column_adds_what_it_bends(name):
    """Each of two columns by itself, whatever the optimizer; nu goes along."""
    net, ours = network(), optimizer(name)
    flow = CovarianceRodFlow(net.objective(), ours)
    state = ours.step(ours.init(net.w0), net.objective().gradient(net.w0), 0)
    z, n = torch.cat([state.w, state.m]), len(state.w) + len(state.m)
    columns, drift = 0.05 * random(n, 2, seed=3), 0.01 * random(n, seed=4)

    def increment(z):
        return flow.dynamics.increment(z, state.nu, 1.5)

    v = flow.velocity(Point(z, columns, state.nu), 1.5, drift)
    mean = increment(z) + sum((increment(z + a) + increment(z - a)) / 2 - increment(z) for a in (*columns.T, drift))
    odd = [(increment(z + a) - increment(z - a))[:n] / 2 for a in (*columns.T, drift)]
    close(v.dz, mean[:n] + (increment(z - drift) - increment(z))[:n])
    close(v.dnu, mean[n:])
    close(v.images, torch.stack(odd, 1))


@pytest.mark.parametrize("sharpness", [1.5, 1.9, 2.1, 2.5])
def test_unstable_exactly_above_two_over_the_rate(sharpness):
    """dΣ/dt = (lr^2 S^2/2 - 2) Σ: the default step's growth is that of the exponential to its order."""
    flow = CovarianceRodFlow(quadratic(torch.diag(vector(sharpness, 0.1))).objective, optimizer("gd", 1.0))
    y = flow.start(rod_window(vector(0, 0), vector(1e-3, 0)))
    grown = float((flow.rod(flow.advance(y, 0.5, 20.5)).norm() / 1e-3).square())
    rate = math.log(grown) / 20
    assert rate == pytest.approx(sharpness**2 / 2 - 2, rel=0.35)
    assert (rate > 0) == (sharpness > 2)


def test_quartic_reaches_the_fixed_point_with_the_default_step():
    lr, sharpness, softening = 0.5, 4.4, 3.0
    flow = CovarianceRodFlow(quartic(sharpness, softening).objective, optimizer("gd", lr))
    end = flow.advance(flow.start(rod_window(vector(0), vector(0.05))), 0.5, 200.5)
    assert float(flow.rod(end) ** 2) == pytest.approx(sharpness / softening - 2 / (lr * softening), rel=1e-6)


def test_order_of_convergence():
    """Two: the columns' exponential, and the drift that is held within a step."""
    flow = CovarianceRodFlow(bowl().objective, optimizer("gd", 2.1), columns=3)
    start = rod_window(vector(0.5, -0.3, 0.4), vector(0.2, 0.1, -0.1))

    def end(step):
        flow.solver = Solver("rk4", step=step)
        return flow.point(flow.advance(flow.start(start), 0.5, 2.5)).z

    exact = end(1 / 256)
    errors = [float((end(step) - exact).norm()) for step in (1 / 8, 1 / 16, 1 / 32)]
    assert slope(errors) > 0.9 and errors[-1] < 2e-3


def valley(w):
    """Berthier's (arXiv 2609.01034): sharpness 2 y along a floor that falls for ever."""
    x, y = w
    return (y + x) * x**2 / 2 - 0.01 * (x + y)


def highest(flow, window, until):
    """The largest y of the flow's centre."""
    path = trajectory(flow, window, [float(t) for t in range(window.at + 5, until, 5)])
    return max(float(flow.centre(y).w[1]) for _, y in path)


def test_the_valley_is_left_by_one_vector_and_held_by_the_covariance():
    """The threshold is y = 2/lr = 6.67. Gradient descent reacts by 7.4; the covariance's converged flow by 7.25."""
    objective, ours = Objective(valley), optimizer("gd", 0.3)
    run = train(objective, ours, torch.tensor([0.01, 6.0], dtype=torch.float64), 470, record_interval=10)
    assert run.diverged_at is None and 7.3 < run.midpoints[:, 1].max() < 7.5
    window = run.window(20)
    fine = highest(CovarianceRodFlow(objective, ours, Solver("rk4", step=0.2)), window, 600)
    assert fine == pytest.approx(7.24, rel=0.01)
    assert highest(CovarianceRodFlow(objective, ours), window, 1200) == pytest.approx(7.24, rel=0.03)
    assert highest(RodFlow(objective, ours), window, 1200) > 9


def test_cost_is_28_gradients_a_step():
    net, ours = network(), optimizer("adam")
    run = train(net.objective(), ours, net.w0, 60, record_interval=10)
    result = integrate(CovarianceRodFlow(net.objective(), ours), run.window(30), 30, reference=run)
    assert result.cost.gradients == 28 * 30  # of the first record, half a step shorter, it takes as many steps
    assert result.cost.hessian_vector_products == 0


def test_columns_below_one_are_refused():
    with pytest.raises(InvalidInput, match="columns"):
        CovarianceRodFlow(bowl().objective, optimizer("gd"), columns=0)
