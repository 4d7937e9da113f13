"""Rod flow against the printed formula, dense equations, exact solutions, and the valley that one column misses."""

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from helpers.problems import (
    bowl,
    central_difference,
    network,
    optimizer,
    quadratic,
    quartic,
    rod_window,
    window,
)
from helpers.vectors import close, random, run_states, slope, vector
from scipy.integrate import solve_ivp
from torchdiffeq import odeint

from rodflow.errors import InvalidInput
from rodflow.flows import rod
from rodflow.flows.base import Layout, Solver, pack
from rodflow.flows.dynamics import Dynamics
from rodflow.flows.integrate import FlowRun, integrate, trajectory
from rodflow.flows.rod import Point, RodFlow
from rodflow.flows.rod_one_column import OneColumnRodFlow, rank_one_projection
from rodflow.optimizers.step_map import State
from rodflow.pipeline.stages.flow import build_flow
from rodflow.report.figures.momentum import decay_rates
from rodflow.training.discrete import train
from rodflow.training.objective import Objective

ROD_FLOWS = {
    "covariance": lambda *parts, step=0.02: RodFlow(*parts, step=step),
    "one_column": lambda *parts, step=0.125: OneColumnRodFlow(*parts, solver=Solver("rk4", step=step)),
}
every_closure = pytest.mark.parametrize("make", ROD_FLOWS.values(), ids=ROD_FLOWS)


def phase(state):
    return torch.cat([state.w, state.m])


# --- what a rod is


@pytest.mark.parametrize("name", ["gd", "heavy_ball", "nesterov"])
def test_half_differences_obey_their_identity_exactly(name):
    """Without nu the maps of centre and rod that the flow promotes are identities of any real run."""
    net, ours = network(), optimizer(name)
    z = [phase(state) for state in run_states(net.objective(), ours, net.w0, 6)]
    dynamics, none = Dynamics(net.objective(), ours), net.w0.new_zeros(0)
    for t in range(4):
        centre, delta = (z[t] + z[t + 1]) / 2, (z[t + 1] - z[t]) / 2
        after, delta_after = (z[t + 1] + z[t + 2]) / 2, (z[t + 2] - z[t + 1]) / 2
        plus = dynamics.increment(centre + delta, none, t + 1)
        minus = dynamics.increment(centre - delta, none, t)
        close((plus + minus) / 2, after - centre)
        grown = (torch.outer(plus, plus) + torch.outer(minus, minus)) / 4 - 2 * torch.outer(delta, delta)
        close(grown, torch.outer(delta_after, delta_after) - torch.outer(delta, delta))


@pytest.mark.parametrize("kind", [RodFlow, OneColumnRodFlow])
def test_the_start_is_from_half_differences(kind):
    """Of two states: the centre their mean, one column their half difference δ, the covariance δ - d."""
    net, ours = network(), optimizer("adam")
    states = run_states(net.objective(), ours, net.w0, 3)
    flow = kind(net.objective(), ours)
    y = flow.start(window(states, 1))
    for part, a, b in zip(flow.centre(y), states[1], states[2], strict=True):
        close(part, (a + b) / 2)
    delta, z, nu = (states[2].w - states[1].w) / 2, phase(states[1]) + phase(states[2]), states[1].nu + states[2].nu
    drift = Dynamics(net.objective(), ours).increment(z / 2, nu / 2, 1.5)[: len(delta)] / 2
    close(flow.rod(y), delta - drift if kind is RodFlow else delta)
    assert flow.time_offset == 0.5


def test_the_start_tells_the_oscillation_from_the_drift():
    """Iterates mu^t on a quadratic: of δ = (mu - 1) z_t/2 a column (mu - 1)^2/4 z_t is left, all of it at mu = -1."""
    lr, sharpness = 1.0, vector(0.02, 1.99)
    ours, none = optimizer("gd", lr), vector()
    flow = RodFlow(quadratic(torch.diag(sharpness)).objective, ours)
    mu, w = 1 - lr * sharpness, vector(1.0, 0.01)
    y = flow.start(window([State(w * mu**k, none, none) for k in (-1, 0, 1)], 0))
    close(flow.rod(y), -((mu - 1) ** 2) / 4 * w)
    assert flow.rod(y)[0].abs() < 1e-3 * w[0] and flow.rod(y)[1].abs() > 0.98 * w[1]


# --- the printed formula


def printed(net, lr, z, delta):
    """dz̄/dt and the source of Σ for gradient descent, from dense Hessians."""
    gradient = torch.func.grad(net.loss)
    plus, minus = gradient(z + delta), gradient(z - delta)
    hessians = net.hessian(z + delta) + net.hessian(z - delta)
    dz = -lr / 2 * (plus + minus) - lr**2 / 8 * hessians @ (plus + minus)
    return dz, lr**2 / 4 * (torch.outer(plus, plus) + torch.outer(minus, minus))


def test_one_column_is_the_printed_formula():
    net, lr = network(), 0.3
    z, delta = net.w0, 0.05 * random(len(net.w0))
    flow = OneColumnRodFlow(net.objective(), optimizer("gd", lr))
    flow.layout = Layout.of(z, delta, z.new_zeros(0))
    dz, ddelta, dnu = flow.layout.split(flow.field(0.5, pack(z, delta, z.new_zeros(0))))
    expected, source = printed(net, lr, z, delta)
    close(dz, expected)
    v = delta / delta.norm()
    close(ddelta, (source @ v - v * (v @ source @ v) / 2) / delta.norm() - delta)
    assert dnu.numel() == 0


def one_column_of_the_covariance(net, lr, a):
    """The covariance's velocity at z with all of Σ in the column a, none of it apart as the drift's."""
    flow = RodFlow(net.objective(), optimizer("gd", lr), columns=1)
    return lambda z: flow.velocity(Point(z, a[:, None], z.new_zeros(0)), 0.5, torch.zeros_like(z))


def test_covariance_of_one_column_is_the_printed_formula():
    """E at z̄ - E/2 to first order in E, and the source (E Eᵀ + O Oᵀ)/2."""
    net, lr = network(), 0.3
    z, a = net.w0, 0.1 * random(len(net.w0))
    velocity = one_column_of_the_covariance(net, lr, a)
    mean, odd = velocity(z).ds, velocity(z).images[:, 0]
    correction = central_difference(lambda z: velocity(z).ds, z, -mean / 2)
    dz, source = printed(net, lr, z, a)
    close(mean + correction, dz, rtol=1e-10, atol=1e-10 * float(dz.norm()))
    close((torch.outer(mean, mean) + torch.outer(odd, odd)) / 2, source)


def test_the_correction_without_hessians_is_the_printed_one_to_its_order():
    """Columns and E shrink with the rate; E + G(z̄ - d) - G(z̄) then leaves the printed formula by its third power."""
    net, z = network(), network().w0
    errors = []
    for lr in (0.04, 0.02, 0.01):
        a = lr * random(len(z))
        flow = RodFlow(net.objective(), optimizer("gd", lr), columns=1)
        mean = one_column_of_the_covariance(net, lr, a)(z).ds
        behind = flow.dynamics.increment(z - mean / 2, z[:0], 0.5) - flow.dynamics.increment(z, z[:0], 0.5)
        errors.append(float((mean + behind - printed(net, lr, z, a)[0]).norm()))
    assert slope(errors) == pytest.approx(3, abs=0.2)


def test_velocity_is_corrected_by_the_end_of_the_drifts_column():
    """On a quadratic it is E + J(-E/2), the correction with Hessians."""
    hessian = torch.diag(vector(1.0, 2.0, 0.5))
    flow = RodFlow(quadratic(hessian).objective, optimizer("gd", 0.4))
    z = vector(1.0, -1.0, 2.0)
    v = flow.velocity(Point(z, torch.zeros(3, 2).double(), z.new_zeros(0)), 0.5)
    step = -0.4 * hessian @ z
    close(v.half, step / 2)
    close(v.ds, step + 0.4 * hessian @ step / 2)


@pytest.mark.parametrize("name", ["gd", "heavy_ball", "rmsprop", "nadam"])
def test_a_column_adds_what_it_bends(name):
    """Each of two columns by itself, whatever the optimizer; nu goes along. Then the step of half a step earlier."""
    net, ours = network(), optimizer(name)
    flow = RodFlow(net.objective(), ours)
    state = ours.step(ours.init(net.w0), net.objective().gradient(net.w0), 0)
    z, n = phase(state), len(phase(state))
    columns, drift = 0.05 * random(n, 2, seed=3), 0.01 * random(n, seed=4)
    of_nu = 0.1 * state.nu

    def increment(z):
        return flow.dynamics.increment(z, state.nu, 1.5)

    v = flow.velocity(Point(z, columns, state.nu), 1.5, torch.cat([drift, of_nu]))
    mean = increment(z) + sum((increment(z + a) + increment(z - a)) / 2 - increment(z) for a in (*columns.T, drift))
    odd = [(increment(z + a) - increment(z - a))[:n] / 2 for a in (*columns.T, drift)]
    close(v.ds, mean + flow.dynamics.increment(z - drift, state.nu - of_nu, 1.0) - increment(z))
    close(v.images, torch.stack(odd, 1))


def dense_projection(plus, minus, delta, scale):
    """d(delta)/dt by least squares: the symmetric x delta^T + delta x^T nearest to dSigma/dt in the given metric."""
    n = len(delta)
    velocity = (torch.outer(plus, plus) + torch.outer(minus, minus)) / 4 - 2 * torch.outer(delta, delta)
    eye, weight = torch.eye(n).double(), torch.outer(scale, scale)
    columns = torch.stack([(weight * (torch.outer(e, delta) + torch.outer(delta, e))).flatten() for e in eye], 1)
    return torch.linalg.lstsq(columns, (weight * velocity).flatten()[:, None]).solution[:, 0]


def test_the_closure_with_one_column_is_an_orthogonal_projection():
    plus, minus, delta = random(3, 6)
    close(rank_one_projection(plus, minus, delta), dense_projection(plus, minus, delta, torch.ones(6).double()))
    assert torch.equal(rank_one_projection(plus, minus, 0 * delta), 0 * delta)


@pytest.mark.parametrize("name", ["heavy_ball", "rmsprop", "scalar_adam", "nadam"])
def test_one_column_in_phase_space(name):
    """The centre by a dense Jacobian, the rod by least squares in the metric, nu by the mean of both ends."""
    landscape, ours, t = bowl(), optimizer(name, 0.3), 20.5
    momentum = len(ours.init(torch.ones(3)).m) > 0
    z = random(6 if momentum else 3)
    delta, nu = 0.2 * random(len(z), seed=1), vector(0.5, 0.2, 0.9)[: len(ours.init(torch.ones(3)).nu)]
    flow = OneColumnRodFlow(landscape.objective, ours)
    flow.layout = Layout.of(z, delta, nu)
    dz, ddelta, dnu = flow.layout.split(flow.field(t, pack(z, delta, nu)))

    def increment(z, nu=nu, t=t):
        after = ours.increment(State(z[:3], z[3:], nu), landscape.gradient(z[:3]), t)
        return torch.cat([after.w, after.m]), after.nu

    (plus, nu_plus), (minus, nu_minus) = increment(z + delta), increment(z - delta)
    jacobian = torch.func.jacrev(lambda z: torch.cat(increment(z)))
    change = (jacobian(z + delta) + jacobian(z - delta)) @ (plus + minus) / 8
    # nu and time half a step earlier, at either end
    half = nu - (nu_plus + nu_minus) / 4
    earlier = [torch.cat(increment(end, half, t - 1 / 2)) for end in (z + delta, z - delta)]
    close(torch.cat([dz, dnu]), (earlier[0] + earlier[1]) / 2 - change)
    p = ours.preconditioner(nu, t).expand(3).sqrt()
    scale = torch.cat([p, 0.3 / p]) if momentum else p
    close(ddelta, dense_projection(plus, minus, delta, scale), rtol=1e-8)


# --- the covariance against dense matrices


def by_hand(name, gradient, lr, d):
    """The increment of (z, nu) at time t and the metric's scale, in numpy, by each optimizer's formula."""
    ones, beta1, beta2 = np.ones(d), 0.3, 0.99

    def gd(z, nu, t):
        return -lr * gradient(z)

    def heavy_ball(z, nu, t):
        dm = (1 - beta1) * (gradient(z[:d]) - z[d:])
        return np.r_[-lr * (z[d:] + dm), dm]

    def rmsprop(z, nu, t):
        g = gradient(z)
        dnu = (1 - beta2) * (g**2 - nu)
        return np.r_[-lr * g / (np.sqrt((nu + dnu) / (1 - beta2 ** (t + 1))) + 1e-8), dnu]

    return {
        "gd": (gd, lambda nu, t: ones),
        "heavy_ball": (heavy_ball, lambda nu, t: np.r_[ones, lr * ones]),
        "rmsprop": (rmsprop, lambda nu, t: (np.sqrt(nu / (1 - beta2**t)) + 1e-8) ** 0.5),
    }[name]


class Dense(NamedTuple):
    """The flow's z ``[n]``, Σ ``[n, n]`` and nu, in numpy."""

    z: np.ndarray
    sigma: np.ndarray
    nu: np.ndarray


def dense_flow(increment, scale, z, sigma, nu, t0, t1, apart):
    """The end by scipy. ``apart``: Σ is what there is beside d dᵀ, d = E/2 at every instant."""
    n = len(z)

    def act(z, nu, t, columns):
        """E, with the increment of nu behind it, and the images of columns."""
        here = increment(z, nu, t)
        ends = [(increment(z + a, nu, t), increment(z - a, nu, t)) for a in columns]
        return here + sum((p + m) / 2 - here for p, m in ends), [(p - m)[:n] / 2 for p, m in ends]

    def field(t, y):
        z, sigma, nu = y[:n], y[n : n + n * n].reshape(n, n), y[n + n * n :]
        s = scale(nu, t)
        values, vectors = np.linalg.eigh(s[:, None] * sigma * s)
        columns = list((vectors * np.sqrt(values.clip(min=0)) / s[:, None]).T)
        mean, images = act(z, nu, t, columns)
        half = mean / 2
        back = (z - half[:n], nu - half[n:], t - 1 / 2)
        if apart:
            mean, images = act(z, nu, t, [*columns, half[:n]])
            ds = mean + increment(*back) - increment(z, nu, t)
        else:
            ds = act(*back, columns)[0]
            images.append(mean[:n])
        return np.r_[ds[:n], (sum(np.outer(o, o) for o in images) / 2 - 2 * sigma).ravel(), ds[n:]]

    y = solve_ivp(field, (t0, t1), np.r_[z, sigma.ravel(), nu], "DOP853", rtol=1e-9, atol=1e-12).y[:, -1]
    return Dense(y[:n], y[n : n + n * n].reshape(n, n), y[n + n * n :])


DENSE = {"gd": (30, 0.7), "heavy_ball": (8, 2.2), "rmsprop": (12, 0.7)}
"""Dimension and rate, at 0.8 to 1.1 thresholds."""
SPAN = (20.5, 22.5)


def dense_problem(name, share=1.0):
    """A flow on the bowl with all its columns, its start (z, a, nu), and the same optimizer by hand in numpy."""
    d, lr = DENSE[name][0], share * DENSE[name][1]
    landscape, ours = bowl(d), optimizer(name, lr, **({"beta1": 0.3} if name == "heavy_ball" else {}))
    s = 1 / np.arange(1, d + 1)
    increment, scale = by_hand(name, lambda w: s * np.sin(w) + w.sum() / 10, lr, d)
    state = ours.init(torch.zeros(d).double())
    n = d + len(state.m)
    units = torch.cat([torch.ones(d), torch.full((n - d,), 0.2)])
    z, a = 0.3 * units * random(n, seed=3), 0.1 * units * random(n, seed=4)
    nu = torch.full((len(state.nu),), 0.3, dtype=torch.float64)
    return RodFlow(landscape.objective, ours, columns=n), Point(z, a[:, None], nu), increment, scale


@pytest.mark.parametrize("name", DENSE)
def test_covariance_converges_to_the_dense_equation_with_the_drift_apart(name):
    """At first order in the step, since d is held within it; two extrapolations leave 5e-4 of the start's size."""
    flow, start, increment, scale = dense_problem(name)
    z, n = start.z, len(start.z)
    columns = torch.cat([start.columns, start.columns.new_zeros(n, n - 1)], 1)
    sigma = torch.outer(columns[:, 0], columns[:, 0]).numpy()
    exact = dense_flow(increment, scale, z.numpy(), sigma, start.nu.numpy(), *SPAN, apart=True)
    ends = []
    for step in (1 / 4, 1 / 8, 1 / 16):
        flow.step = step
        flow.layout = Layout.of(z, columns, start.nu)
        end = flow.point(flow.advance(pack(z, columns, start.nu), *SPAN))
        ends.append((end.z.numpy(), (end.columns @ end.columns.T).numpy(), end.nu.numpy()))
    for found, expected, size in zip(zip(*ends, strict=True), exact, (z, sigma, start.nu), strict=True):
        if len(size):
            size = float(np.linalg.norm(size))
            assert slope([np.linalg.norm(x - expected) for x in found]) == pytest.approx(1, abs=0.15)
            coarse, fine = 2 * found[1] - found[0], 2 * found[2] - found[1]
            assert np.linalg.norm((4 * fine - coarse) / 3 - expected) < 5e-4 * size


def apart_and_whole(increment, scale, z, a, nu):
    """The dense flow with the drift apart, its Σ with d dᵀ put back, and the paper's, from the same Σ."""
    n = len(z)

    def drift(z, nu, t):
        d = increment(z, nu, t)[:n] / 2
        return np.outer(d, d)

    apart = dense_flow(increment, scale, z, np.outer(a, a), nu, *SPAN, apart=True)
    whole = dense_flow(increment, scale, z, np.outer(a, a) + drift(z, nu, SPAN[0]), nu, *SPAN, apart=False)
    return apart._replace(sigma=apart.sigma + drift(apart.z, apart.nu, SPAN[1])), whole


def test_the_drift_apart_is_the_papers_equation_where_the_drift_is_steady():
    """A slope, where every step is the same, and two quartics above their edge beside it."""
    lr, down = 0.5, np.array([0.1, -0.2, 0.0, 0.0])
    sharpness, softening = np.array([0.0, 0.0, 4.4, 4.2]), np.array([0.0, 0.0, 3.0, 2.0])
    apart, whole = apart_and_whole(
        lambda z, nu, t: -lr * (down + sharpness * z - softening * z**3),
        lambda nu, t: np.ones(4),
        np.zeros(4),
        np.array([0.0, 0.0, 0.1, 0.05]),
        np.zeros(0),
    )
    np.testing.assert_allclose(apart.z, [-0.1, 0.2, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(apart.z, whole.z, atol=1e-12)
    np.testing.assert_allclose(apart.sigma, whole.sigma, rtol=1e-9, atol=1e-12)
    assert np.trace(whole.sigma) > 1.2 * (0.1**2 + 0.05**2 + lr**2 * 0.05 / 4)


@pytest.mark.parametrize("name", DENSE)
def test_the_drift_apart_is_near_the_papers_equation_where_the_drift_dies_away(name):
    """Its Σ lags by d(d dᵀ)/dt. Of the centre's way that is under 1e-3, and less as the rate, so that drift, falls."""
    off = {}
    for share in (1, 1 / 4):
        _, start, increment, scale = dense_problem(name, share)
        z = start.z.numpy()
        apart, whole = apart_and_whole(increment, scale, z, start.columns[:, 0].numpy(), start.nu.numpy())
        off[share] = np.array(
            [
                np.linalg.norm(apart.z - whole.z) / np.linalg.norm(whole.z - z),
                np.linalg.norm(apart.sigma - whole.sigma) / np.linalg.norm(whole.sigma),
            ]
        )
    assert (off[1] < [1e-3, 0.8]).all()
    assert (off[1 / 4] < off[1] * [1 / 4, 2 / 3]).all()


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9, 0.95, 1.0, 1.05])
def test_covariance_damps_what_does_not_alternate(share):
    """|g|^2/2 - 2 = (|mu|^2 - 1) - |1 + mu|^2/2 for g = mu - 1, whichever multiplier mu: the run has |mu|^2 - 1.

    Measured: Sigma of heavy ball on a quadratic, along the left eigenvector of mu, which its step multiplies by mu.
    """
    beta, lr, time = 0.9, 1.0, 2.0
    ours = optimizer("heavy_ball", lr, beta1=beta)
    s = (1 - beta) * share * ours.threshold
    step = torch.tensor([[1 - s, -lr * beta], [s / lr, beta]], dtype=torch.complex128)  # of (w, m)
    mus, left = torch.linalg.eig(step.T)
    mu, u = mus[mus.real.argmin()], left[:, mus.real.argmin()]
    rate = float((mu - 1).abs() ** 2 / 2 - 2)
    assert rate == pytest.approx(float(mu.abs() ** 2 - 1 - (1 + mu).abs() ** 2 / 2), abs=1e-12)
    curves = {name: float(found[0]) for name, found in decay_rates(np.array([share]), beta).items()}
    assert curves["rod"] == pytest.approx(-rate / 2, abs=1e-12)
    assert curves["run"] == pytest.approx(-math.log(float(mu.abs())), abs=1e-12)
    flow = RodFlow(quadratic(torch.diag(vector(share * ours.threshold / lr))).objective, ours, step=0.01)
    columns, none = torch.tensor([[0.01, 0.0], [0.02, 0.01]], dtype=torch.float64), vector()
    flow.layout = Layout.of(vector(0, 0), columns, none)
    end = flow.point(flow.advance(pack(vector(0, 0), columns, none), 0.0, time)).columns
    before, after = (float((u @ a.to(u)).abs().square().sum()) for a in (columns, end))
    assert math.log(after / before) / time == pytest.approx(rate, abs=5e-3)


# --- known answers


@every_closure
@pytest.mark.parametrize("sharpness", [1.6, 1.95, 2.05, 2.4])
def test_rod_on_a_quadratic_grows_at_the_known_rate(make, sharpness):
    """Sigma grows at rate lr^2 S^2/2 - 2: above zero exactly for S > 2/lr."""
    lr, time = 0.1, 3.0
    flow = make(quadratic(torch.diag(vector(sharpness / lr, 3, 1))).objective, optimizer("gd", lr))
    y = flow.start(rod_window(torch.zeros(3).double(), vector(0.01, 0, 0)))
    end = flow.advance(y, 0.5, 0.5 + time)
    growth = float((flow.rod(end).norm() / 0.01) ** 2)
    assert math.log(growth) / time == pytest.approx(sharpness**2 / 2 - 2, abs=2e-3)
    assert (growth > 1) == (sharpness > 2)
    close(flow.centre(end).w, torch.zeros(3).double())


@pytest.mark.parametrize("sharpness", [1.5, 1.9, 2.1, 2.5])
def test_unstable_exactly_above_two_over_the_rate_with_the_default_step(sharpness):
    """The growth of one step is that of the exponential to its order."""
    flow = RodFlow(quadratic(torch.diag(vector(sharpness, 0.1))).objective, optimizer("gd", 1.0))
    y = flow.start(rod_window(vector(0, 0), vector(1e-3, 0)))
    grown = float((flow.rod(flow.advance(y, 0.5, 20.5)).norm() / 1e-3).square())
    rate = math.log(grown) / 20
    assert rate == pytest.approx(sharpness**2 / 2 - 2, rel=0.35)
    assert (rate > 0) == (sharpness > 2)


@every_closure
@pytest.mark.parametrize("delta", [1e-3, 0.35])
def test_rod_on_a_quartic_reaches_its_fixed_point(make, delta):
    """Sigma* = S/Q - 2/(lr Q), from a short rod and from one too long."""
    lr, sharpness, softening = 0.5, 4.4, 3.0
    # where a flow comes to rest does not depend on the step
    flow = make(quartic(sharpness, softening).objective, optimizer("gd", lr), step=0.5)
    y = flow.start(rod_window(vector(0), vector(delta)))
    end = flow.advance(y, 0.5, 120.5)
    assert float(flow.rod(end) ** 2) == pytest.approx(sharpness / softening - 2 / (lr * softening), rel=1e-3)


def test_rod_on_a_quartic_reaches_its_fixed_point_with_the_default_step():
    lr, sharpness, softening = 0.5, 4.4, 3.0
    flow = RodFlow(quartic(sharpness, softening).objective, optimizer("gd", lr))
    end = flow.advance(flow.start(rod_window(vector(0), vector(0.05))), 0.5, 200.5)
    assert float(flow.rod(end) ** 2) == pytest.approx(sharpness / softening - 2 / (lr * softening), rel=1e-6)


@every_closure
def test_rod_on_a_quartic_dies_below_the_edge(make):
    """With lr S = 1.8 the rate is below that of the quadratic, 1.8^2/2 - 2."""
    flow = make(quartic(3.6, 3.0).objective, optimizer("gd", 0.5), step=0.1)
    end = flow.advance(flow.start(rod_window(vector(0), vector(0.1))), 0.5, 20.5)
    assert 0 < flow.rod(end).norm() < 0.1 * math.exp(20 * (1.8**2 / 4 - 1))


def valley(w):
    """Berthier's (arXiv 2609.01034): sharpness 2 y along a floor that falls for ever."""
    x, y = w
    return (y + x) * x**2 / 2 - 0.01 * (x + y)


def highest(flow, window, until):
    """The largest y of the flow's centre."""
    path = trajectory(flow, window, [float(t) for t in range(window.at + 5, until, 5)])
    return max(float(flow.centre(y).w[1]) for _, y in path)


def test_the_valley_is_left_by_one_column_and_held_by_the_covariance():
    """The threshold is y = 2/lr = 6.67. Gradient descent reacts by 7.4; the covariance's converged flow by 7.25."""
    objective, ours = Objective(valley), optimizer("gd", 0.3)
    run = train(objective, ours, torch.tensor([0.01, 6.0], dtype=torch.float64), 470, record_interval=10)
    assert run.diverged_at is None and 7.3 < run.midpoints[:, 1].max() < 7.5
    window = run.window(20)
    fine = highest(RodFlow(objective, ours, step=0.25), window, 480)
    assert fine == pytest.approx(7.24, rel=0.01)
    assert highest(RodFlow(objective, ours), window, 700) == pytest.approx(7.24, rel=0.03)
    assert 8.0 < highest(OneColumnRodFlow(objective, ours), window, 700) < 8.2  # still climbing


# --- solver, columns, cost, refusals


@pytest.mark.parametrize(("method", "order"), [("heun3", 3), ("rk4", 4)])
def test_order_of_the_solver_on_one_column(method, order):
    landscape, ours = bowl(), optimizer("gd", 2.1)
    start = rod_window(vector(0.5, -0.3, 0.4), vector(0.2, 0.1, -0.1))

    def end(solver):
        flow = OneColumnRodFlow(landscape.objective, ours, solver=solver)
        return flow.advance(flow.start(start), 0.5, 2.5)

    flow = OneColumnRodFlow(landscape.objective, ours)
    y0 = flow.start(start)
    exact = odeint(flow.field, y0, vector(0.5, 2.5), method="dopri8", rtol=1e-10, atol=1e-11)[1]
    errors = [float((end(Solver(method, step=step)) - exact).norm()) for step in (0.05, 0.025)]
    assert slope(errors) == pytest.approx(order, abs=0.25)


def test_columns_above_the_dimension_are_harmless():
    rods = []
    for columns in (1, 4):
        flow = RodFlow(quartic(4.2, 3.0).objective, optimizer("gd", 0.5), columns=columns)
        end = flow.advance(flow.start(rod_window(vector(0), vector(0.1))), 0.5, 3.5)
        rods.append(flow.rod(end).abs())
    close(*rods)


def test_rod_is_the_longest_column():
    """Of two directions above the edge, the faster outgrows the one that is longer at first."""
    flow = RodFlow(quadratic(torch.diag(vector(2.1, 2.6))).objective, optimizer("gd", 1.0))
    y = flow.start(rod_window(vector(0, 0), vector(1e-2, 1e-4)))
    assert flow.rod(y)[0].abs() > 10 * flow.rod(y)[1].abs()
    y = flow.advance(y, 0.5, 20.5)
    assert flow.rod(y)[1].abs() > 10 * flow.rod(y)[0].abs()


@every_closure
def test_overflowing_rod_is_marked(make):
    """Ten times above the edge a quadratic's rod grows until it overflows."""
    flow = make(quadratic(torch.diag(vector(20.0, 1.0))).objective, optimizer("gd", 1.0), step=0.25)
    result = integrate(flow, rod_window(vector(0, 0.1), vector(0.01, 0)), 80, 4)
    assert result.diverged_at is not None
    assert result.series.loc[result.series["step"] >= result.diverged_at, "loss"].isna().all()
    assert result.series.loc[result.series["step"] < result.diverged_at, "loss"].notna().all()


def test_short_columns_cost_one_gradient_and_change_nothing(monkeypatch):
    """Of every column both ends, 36 gradients a step; of short ones the square left out, 20 to 36."""
    net, ours = network(), optimizer("adam")
    run = train(net.objective(), ours, net.w0, 60, record_interval=10)

    def follow() -> FlowRun:
        return integrate(RodFlow(net.objective(), ours), run.window(30), 30, reference=run)

    short = follow()
    monkeypatch.setattr(rod, "SHORT", -1.0)
    whole = follow()
    assert whole.cost.gradients == 36 * 30  # of the first record, half a step shorter, it takes as many steps
    assert 20 * 30 <= short.cost.gradients < 36 * 30
    assert short.cost.hessian_vector_products == whole.cost.hessian_vector_products == 0
    close(short.centres, whole.centres, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "key", "value"),
    [
        ({"columns": 0}, "columns", 0),
        ({"columns": -1}, "columns", -1),
        ({"step": 0}, "step", 0.0),
        ({"step": 1.5}, "step", 1.5),
    ],
)
def test_bad_settings_are_refused(settings, key, value):
    with pytest.raises(InvalidInput) as caught:
        RodFlow(bowl().objective, optimizer("gd"), **settings)
    assert (caught.value.key, caught.value.value) == (key, value)


def test_settings_of_a_config():
    def built(name, **settings):
        return build_flow(name, bowl().objective, optimizer("gd"), settings)

    for flow, columns, step in ((built("rod"), 3, 1.0), (built("rod", columns=4, step=0.5), 4, 0.5)):
        assert type(flow) is RodFlow and (flow.columns, flow.step) == (columns, step)
    flow = built("rod_one_column")
    assert type(flow) is OneColumnRodFlow and flow.solver == Solver("rkc2", step=20.0, atol=1e-8)
    assert built("rod_one_column", rtol=1e-6).solver == Solver("rkc2", step=20.0, rtol=1e-6, atol=1e-8)
    assert built("central", step=0.25).step == 0.25


@pytest.mark.parametrize(
    ("flow", "setting", "takes"),
    [
        ("rod", {"method": "rk4"}, "dtype, columns, step"),
        ("rod_one_column", {"columns": 2}, "dtype, atol, max_evaluations, method, rtol, step"),
        ("central", {"rtol": 1e-3}, "dtype, directions, relaxation, step, tolerance"),
        ("twin", {"step": 0.5}, "dtype, rounding_seed"),
        ("second_twin", {"step": 0.5}, "dtype, rounding_seed"),
    ],
)
def test_a_setting_that_a_flow_does_not_use_is_refused(flow, setting, takes):
    ((key, value),) = setting.items()
    with pytest.raises(InvalidInput) as caught:
        build_flow(flow, bowl().objective, optimizer("gd"), setting)
    assert str(caught.value) == f"solvers.{flow}.{key}: got {value!r}, allowed: nothing: {flow} takes {takes}"
