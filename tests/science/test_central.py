"""Central flow against closed forms, dense derivatives, the complementarity conditions, and the runs it averages."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers.problems import network, optimizer, quadratic, rod_window, valley, window
from helpers.vectors import close, random, run_states, slope, vector
from scipy.integrate import solve_ivp

import rodflow as rf
from rodflow.catalogue import LANDSCAPES
from rodflow.errors import InvalidInput
from rodflow.flows import central as central_flow
from rodflow.flows.base import FlowDiverged
from rodflow.flows.central import CentralFlow
from rodflow.flows.central_momentum import CentralMomentumFlow
from rodflow.flows.complementarity import solve
from rodflow.flows.drift_free_rod_ode import DriftFreeRodODE
from rodflow.flows.edge import EdgeFlow
from rodflow.flows.integrate import integrate, trajectory
from rodflow.optimizers.step_map import State
from rodflow.training.discrete import train
from rodflow.training.objective import Objective

WITHOUT_MOMENTUM = ["gd", "scalar_rmsprop", "rmsprop"]


@pytest.fixture
def fine(monkeypatch):
    """Eigenvectors to many digits, so that formulas can be compared."""
    monkeypatch.setattr(central_flow, "RESIDUAL", 1e-9)


# --- the complementarity problem


def operator(k, rank, seed=0):
    """A symmetric positive semidefinite operator on symmetric matrices, [k, k, k, k]."""
    b = random(rank, k, k, seed=seed).numpy()
    b = b + b.transpose(0, 2, 1)
    return np.einsum("aij,akl->ijkl", b, b)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e5])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_solution_meets_the_conditions(k, scale):
    for seed in range(4):
        beta, alpha = operator(k, 8, seed) / scale, random(k, k, seed=seed + 9).numpy()
        alpha = alpha + alpha.T - np.eye(k)
        x = solve(alpha, beta)
        z = alpha + np.einsum("klij,ij->kl", beta, x)
        assert np.linalg.eigvalsh(x)[0] >= -1e-9 * scale
        assert np.linalg.eigvalsh(z)[0] >= -1e-5
        assert abs(np.sum(x * z)) < 1e-5 * scale


def test_nothing_oscillates_where_the_sharpness_falls():
    assert np.array_equal(solve(np.diag([1.0, 0.1]), operator(2, 3)), np.zeros((2, 2)))


@pytest.mark.parametrize("k", [1, 2])
def test_no_oscillation_helps_without_a_response(k):
    with pytest.raises(FlowDiverged, match="no oscillation"):
        solve(-np.eye(k), np.zeros((k, k, k, k)))


# --- Sigma and the velocities


def at_the_edge(name, sign, excess=1.0, steps=4):
    """A network after some steps, with the learning rate that puts its sharpest direction at ``excess`` thresholds.

    A linear term turns the gradient there round, and with it m, for ``sign`` -1, so that the sharpness rises for one
    of the signs.
    Returns the loss, its Hessian, the optimizer, its state and the time.
    """
    net, t = network(), steps + 0.0
    state = run_states(net.objective(), optimizer(name), net.w0, steps + 1)[steps]
    p = optimizer(name).preconditioner(state.nu, t).expand(len(state.w)).sqrt()
    largest = torch.linalg.eigvalsh(net.hessian(state.w) / torch.outer(p, p))[-1]
    slope = (sign - 1) * torch.func.grad(net.loss)(state.w)
    ours = optimizer(name, float(excess * optimizer(name).threshold / largest))
    state = state._replace(m=sign * state.m)
    return lambda w: net.loss(w) + slope @ w, net.hessian, ours, state, t


def test_sigma_of_gradient_descent_is_the_closed_form(fine):
    """X = max(0, -2 <grad S, grad L>/|grad S|^2), grad S from dense third derivatives, for either sign of grad L."""
    seen = set()
    for sign in (1, -1):
        loss, hessian, ours, state, t = at_the_edge("gd", sign)
        u = torch.linalg.eigh(hessian(state.w))[1][:, -1]
        sharpening = torch.func.grad(lambda w, u=u, hessian=hessian: u @ hessian(w) @ u)(state.w)
        gradient = torch.func.grad(loss)(state.w)
        expected = max(0.0, float(-2 * (sharpening @ gradient) / (sharpening @ sharpening)))
        flow = CentralFlow(Objective(loss), ours, directions=2, relaxation=0)
        flow.start(rod_window(state.w, 0 * state.w))
        dw, columns, _ = flow.velocity(t, state.w, state.nu)
        assert float(columns[:, 0] @ columns[:, 0]) == pytest.approx(expected, rel=1e-6)
        held = float(sharpening @ dw)
        assert held == pytest.approx(0, abs=1e-8) if expected else held < 0
        seen.add(expected > 0)
    assert seen == {True, False}


def test_sigma_and_rod_in_the_valley():
    """r y^2/2 = p at the edge, along y."""
    flow = CentralFlow(valley(4.0, 0.4, 0.012).objective, optimizer("gd", 0.5))
    y = flow.advance(flow.start(rod_window(vector(0, 0), vector(0, 0))), 0.0, 5.0)
    close(flow.covariance(y), torch.diag(vector(0, 2 * 0.012 / 0.4)))
    close(flow.rod(y).abs(), vector(0, math.sqrt(0.06)))
    close(flow.centre(y).w, vector(0, 0))


@pytest.mark.parametrize("name", WITHOUT_MOMENTUM)
def test_velocities_are_the_published_ones(name, fine):
    lengths = []
    for sign in (1, -1):
        loss, hessian_of, ours, state, t = at_the_edge(name, sign, excess=1.2)
        flow = CentralFlow(Objective(loss), ours, directions=3, tolerance=0.7)
        flow.start(window([state] * 3, 0))
        dw, columns, dnu = flow.velocity(t, state.w, state.nu)
        sigma, hessian, gradient = columns @ columns.T, hessian_of(state.w), torch.func.grad(loss)(state.w)
        push = torch.func.grad(lambda w, sigma=sigma, hessian_of=hessian_of: (hessian_of(w) * sigma).sum())(state.w)
        close(dw, -ours.learning_rate / ours.preconditioner(state.nu, t + 1) * (gradient + push / 2), rtol=1e-6)
        of_gradients = torch.diag(hessian @ sigma @ hessian) + gradient**2
        if name == "scalar_rmsprop":
            of_gradients = of_gradients.sum().reshape(1)
        expected = (1 - ours.beta2) / ours.beta2 * (of_gradients - state.nu) if len(state.nu) else state.nu
        close(dnu, expected, rtol=1e-6)
        lengths.append(float(columns.norm()))
    assert max(lengths) > 0


@pytest.mark.parametrize("name", rf.OPTIMIZERS)
def test_several_directions_meet_the_conditions(name, fine):
    """Z by finite differences of the dense preconditioned Hessian along the flow's own velocity."""
    relaxation, tolerance, lengths = 1.0, 0.7, []
    for sign in (1, -1):
        loss, hessian, ours, state, t = at_the_edge(name, sign, excess=1.2)
        kind = CentralFlow if CentralFlow.supports(ours) else CentralMomentumFlow
        flow = kind(Objective(loss), ours, directions=3, tolerance=tolerance, relaxation=relaxation)
        flow.start(window([state] * 3, 0))
        dz, columns, dnu = flow.velocity(t, torch.cat([state.w, state.m]), state.nu)
        dw = dz[: len(state.w)]

        def scaled(s, ours=ours, state=state, dw=dw, dnu=dnu, t=t, hessian=hessian):
            p = ours.preconditioner(state.nu + s * dnu, t + 1 + s).expand(len(dw)).sqrt()
            return ours.learning_rate * hessian(state.w + s * dw) / torch.outer(p, p)

        values, v = torch.linalg.eigh(scaled(0))
        k = min(3, int((values > (1 - tolerance) * ours.threshold).sum()))
        assert k >= 2
        values, v = values[-k:], v[:, -k:]
        s = min(1e-3, 1e-4 / float(dw.norm()))
        velocity = v.T @ (scaled(s) - scaled(-s)) @ v / (2 * s)
        pull = relaxation * torch.diag(ours.threshold - values)
        root = v * ours.preconditioner(state.nu, t + 1).expand(len(dw)).sqrt()[:, None]
        x, z = root.T @ columns @ columns.T @ root, pull - velocity
        size = float(velocity.norm() + pull.norm())
        assert float(torch.linalg.eigvalsh(z)[0]) > -2e-3 * size
        assert abs(float((x * z).sum())) <= 2e-3 * size * float(x.norm())
        lengths.append(float(x.norm()))
    assert max(lengths) > 0


SHARPNESS, SHARPENING, SLOPE = 4.0, 0.4, 0.3


def explicit_field(scalar, lr, beta2, epsilon=1e-8):
    """d(x, nu)/dt of RMSProp's central flow on (4 + x/2.5) y^2/2 - 0.3 x at y = 0, written out by hand.

    There H = diag(0, 4 + x/2.5), the critical direction is y, and Sigma = sigma in its corner: what sigma needs to be
    follows from dM/dt = relaxation (2 - M), which is linear in it.
    """
    forgets = (1 - beta2) / beta2

    def field(t, state):
        x, nu = state[0], state[1:]
        kept = 1 - beta2 ** (t + 1)
        root = np.sqrt(nu / kept)
        p_x, p_y = root[0] + epsilon, root[-1] + epsilon
        curvature = SHARPNESS + SHARPENING * x
        m = lr * curvature / p_y
        squares = np.array([SLOPE**2] if scalar else [SLOPE**2, 0.0])
        dnu = forgets * (squares - nu)
        dnu_of_sigma = forgets * np.array([curvature**2] if scalar else [0.0, curvature**2])
        aging = nu[-1] * math.log(beta2) * beta2 ** (t + 1) / kept**2  # of nu/kept, by time alone
        dlogp = (dnu[-1] / kept + aging) / (2 * root[-1] * p_y)
        dlogp_of_sigma = dnu_of_sigma[-1] / kept / (2 * root[-1] * p_y)
        dx, dx_of_sigma = lr / p_x * SLOPE, -lr / p_x * SHARPENING / 2
        dm, dm_of_sigma = (
            lr * SHARPENING * way / p_y - m * stiffer for way, stiffer in ((dx, dlogp), (dx_of_sigma, dlogp_of_sigma))
        )
        sigma = max(0.0, (dm - max(2 - m, -0.1)) / -dm_of_sigma) if m > 0.95 * 2 else 0.0
        return np.r_[dx + sigma * dx_of_sigma, dnu + sigma * dnu_of_sigma]

    return field


@pytest.mark.parametrize(("scalar", "lr", "rod"), [(False, 0.02, 0.03), (True, 0.2, 0.05)])
def test_central_flow_of_rmsprop_is_an_explicit_integration(scalar, lr, rod):
    """To 1e-4 of the way in unit steps, from three states by hand, of which nu is taken after each step."""
    beta2, at, steps = 0.95, 12, 60
    ours = (rf.ScalarRMSProp if scalar else rf.RMSProp)(lr, beta2=beta2)
    states, after = [], []
    nu = np.array([0.04] if scalar else [0.04, 0.009])
    for k in (-1, 0, 1):
        x, y = 0.001 * k, (-1) ** k * rod
        states.append(State(vector(x, y), vector(), torch.from_numpy(nu)))
        squares = np.array([SHARPENING * y**2 / 2 - SLOPE, (SHARPNESS + SHARPENING * x) * y]) ** 2
        nu = beta2 * nu + (1 - beta2) * (squares.sum(keepdims=True) if scalar else squares)
        after.append(nu)
    begun = np.r_[0.0, (after[0] + 2 * after[1] + after[2]) / 4]
    field = explicit_field(scalar, lr, beta2)
    end = solve_ivp(field, (at, at + steps), begun, "LSODA", rtol=1e-9, atol=1e-13, max_step=0.02).y[:, -1]
    flow = CentralFlow(valley(SHARPNESS, SHARPENING, SLOPE).objective, ours)
    y = flow.advance(flow.start(window(states, at)), at, at + steps)
    assert flow.centre(y).w.numpy() == pytest.approx([end[0], 0], abs=1e-4 * end[0])
    assert flow.centre(y).nu.numpy() == pytest.approx(end[1:], rel=1e-4)
    assert float(flow.rod(y).norm()) > 0


def test_a_record_has_nu_before_its_step():
    """As of the run: where nothing oscillates, nu_t of the run at each record, to the flow's order."""
    net, ours = network(), optimizer("rmsprop", 2e-4)
    run = train(net.objective(), ours, net.w0, 60, record_interval=1)
    flow = CentralFlow(net.objective(), ours)
    path, previous = trajectory(flow, run.window(20), range(20, 41)), None
    for t, y in path:
        if previous is not None:
            state, _ = flow.measured(t, previous, y)
            nu, later = (run.states.nu[run.record_steps.tolist().index(int(t) + k)] for k in (0, 1))
            assert float((state.nu - nu).norm()) < 0.2 * float((later - nu).norm())
        previous = y


def test_relaxation_brings_the_sharpness_back():
    """Off the threshold by less than the tolerance, a held eigenvalue comes back like exp(-relaxation t)."""
    flow = CentralFlow(valley(4.1, 0.4, 0.5).objective, optimizer("gd", 0.5), step=0.02, relaxation=0.5)
    y = flow.start(rod_window(vector(0, 0), vector(0, 0)))
    for t in range(3):
        x = float(flow.centre(y).w[0])
        assert 0.5 * (4.1 + 0.4 * x) - 2 == pytest.approx(0.05 * math.exp(-0.5 * t), rel=1e-3)
        y = flow.advance(y, t, t + 1)


def test_order_of_the_stepping():
    """Second order along the edge, where the floor bends."""
    ends = []
    for step in (0.5, 0.25, 0.125, 0.0625):
        flow = CentralFlow(bent_floor(0.3), optimizer("gd", 0.5), step=step, directions=1)
        y = flow.advance(flow.start(rod_window(vector(-1, 1, 0), vector(0, 0, 0))), 0.0, 4.0)
        ends.append(flow.centre(y).w)
    errors = [float((a - b).norm()) for a, b in pairwise(ends)]
    assert slope(errors) == pytest.approx(2, abs=0.3)


# --- at the edge of stability


def test_valley_is_held_at_the_edge():
    landscape = LANDSCAPES["valley"]
    objective, ours = landscape.objective, optimizer("gd", landscape.learning_rate)
    run = train(objective, ours, torch.tensor(landscape.w0, dtype=torch.float64), 200, record_interval=20)
    series = integrate(CentralFlow(objective, ours), run.window(20), 180, 20, reference=run).series
    assert series["sharpness"].iloc[0] < 1.99
    assert series["sharpness"].iloc[1:].to_numpy() == pytest.approx(2.0, rel=1e-3)
    assert series["rod_length"].iloc[-1] == pytest.approx(math.sqrt(0.06), rel=1e-3)


@pytest.mark.parametrize(
    ("name", "learning_rate", "dtype"),
    [("gd", 0.2, torch.float32), ("gd", 0.2, torch.float64), ("rmsprop", 2e-3, torch.float64)],
)
def test_network_is_held_at_the_edge(name, learning_rate, dtype):
    """Within 1% at every record from the entry on, both precisions. (In unit steps it is 10% low: the run learns so
    fast that the sharpness rises from 0.6 to 1.2 thresholds in 20 steps.)
    """
    problem = rf.problems.digits("mlp", 50, sizes={"widths": (8,)}, dtype=dtype, device="cpu")
    ours = optimizer(name, learning_rate)
    run = train(problem.objective, ours, problem.w0, 120, record_interval=20)
    flow = CentralFlow(problem.objective, ours, step=0.5)
    result = integrate(flow, run.window(20), 100, 20, reference=run, sharpness_tolerance=1e-3)
    late = result.series[result.series["step"] >= 60]
    assert late["sharpness"].to_numpy() == pytest.approx(2.0, rel=0.01)
    assert late["rod_length"].min() > 0
    assert late["relative_error"].iloc[-1] < 0.1
    assert result.centres.dtype == dtype
    assert flow.crowded == 0


def bent_floor(eps, sharpness=4.0, sharpening=0.5):
    """g + eps h: a sharp direction y whose sharpness is s + r (x + z), and a slow descent of x and z along the edge."""
    return Objective(
        lambda w: (
            (sharpness + sharpening * (w[0] + w[1])) * w[2] ** 2 / 2 + eps * ((w[0] - 1) ** 2 + (w[1] - 0.5) ** 2 / 2)
        )
    )


def on_the_edge(eps, sharpening):
    """(-1, 1, y) with y^2 what holds the sharpness there, and the slow gradient that is left."""
    slow, s = eps * vector(-4, 0.5), sharpening * vector(1, 1)
    held = slow - (s @ slow) / (s @ s) * s
    return vector(-1, 1, math.sqrt(float(-2 * (s @ slow) / (s @ s)))), held


@pytest.mark.long
def test_the_three_models_agree_as_the_time_scales_separate():
    """Largest distances of the centres over a path of order one: halving eps halves that of the central flow from the
    other two, and quarters that between edge flow and drift-free rod flow.
    """
    ours, central, edge = optimizer("gd", 0.5), [], []
    for eps in (0.04, 0.02):
        objective, steps = bent_floor(eps), round(4 / eps)
        run = train(objective, ours, on_the_edge(eps, 0.5)[0], steps, record_interval=10)
        start, times = run.window(10), torch.linspace(20, steps, 9).round().tolist()
        paths = [
            torch.stack([flow.centre(y).w for _, y in trajectory(flow, start, times)])
            for flow in (CentralFlow(objective, ours), EdgeFlow(objective, ours), DriftFreeRodODE(objective, ours))
        ]
        central.append(max(float((paths[0] - path).norm(dim=1).max()) for path in paths[1:]))
        edge.append(float((paths[1] - paths[2]).norm(dim=1).max()))
        assert float((paths[2][-1] - paths[2][0]).norm()) > 1
    assert central[-1] < 0.02
    assert slope(central) == pytest.approx(1, abs=0.3)
    assert slope(edge) == pytest.approx(2, abs=0.4)


@pytest.mark.parametrize(("name", "strength"), [("nesterov", 0.02), ("heavy_ball", 5e-4)])
@pytest.mark.long
def test_phase_space_flow_follows_momentum_as_the_time_scales_separate(name, strength):
    """The run itself, at a rate of self-stabilisation at which its modulation does not grow: docs/central.md."""
    lr, errors = 0.5, []
    ours = optimizer(name, lr)
    sharpness = ours.threshold / lr
    for eps in (0.02, 0.01):
        sharpening = sharpness * strength
        objective = bent_floor(eps, sharpness, sharpening)
        w, held = on_the_edge(eps, sharpening)
        # the eigenvector of the multiplier -1: m' = -m
        m = -(1 - ours.beta1) * sharpness * w[2] / (1 + ours.beta1)
        states = [State(w, torch.cat([held, m.reshape(1)]), w.new_zeros(0))]
        steps = round(4 / eps)
        for t in range(steps + 1):
            states.append(ours.step(states[-1], objective.gradient(states[-1].w), t))
        flow, times = CentralMomentumFlow(objective, ours), torch.linspace(40, steps, 9).round().tolist()
        worst = 0.0
        for t, y in trajectory(flow, window(states[10:27], 18), times):
            before, here, after = (states[int(t) + k].w for k in (-1, 0, 1))
            worst = max(worst, float((flow.centre(y).w - (before + 2 * here + after) / 4).norm()))
        errors.append(worst)
    assert slope(errors) == pytest.approx(1, abs=0.5)


# --- limits, cost and settings


def test_a_quadratic_past_the_threshold_is_marked():
    flow = CentralFlow(quadratic(torch.diag(vector(2.5, 1.0))).objective, optimizer("gd", 1.0))
    assert integrate(flow, rod_window(vector(0, 1), vector(0, 0)), 8, 4).diverged_at == 4


def test_more_critical_directions_than_tracked_are_counted():
    """Two of three are at the threshold, with one tracked."""
    objective = Objective(lambda w: (4 + 0.4 * w[2]) * (w[0] ** 2 + w[1] ** 2) / 2 - 0.012 * w[2] + 0 * w[3:].sum())
    counts = []
    for directions in (1, 3):
        flow = CentralFlow(objective, optimizer("gd", 0.5), directions=directions)
        flow.advance(flow.start(rod_window(torch.zeros(8).double(), torch.zeros(8).double())), 0.0, 1.0)
        counts.append(flow.crowded)
    assert counts == [2, 0]


def test_cost_counts_third_derivatives(fine):
    """One gradient's graph gives a dense eigensolve of two dimensions, two products, and one direction's 1 + 2."""
    objective = valley(4.0, 0.4, 0.012).objective
    flow = CentralFlow(objective, optimizer("gd", 0.5), directions=1)
    y = flow.start(rod_window(vector(0, 0), vector(0, 0)))
    before = objective.cost.copy()
    flow.advance(y, 0.0, 1.0)
    spent = objective.cost - before
    assert (spent.gradients, spent.hessian_vector_products) == (2, 2 * (2 + 3))


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("directions", {"directions": 0}),
        ("tolerance", {"tolerance": 0.0}),
        ("tolerance", {"tolerance": 1.0}),
        ("relaxation", {"relaxation": -1.0}),
        ("relaxation", {"relaxation": math.nan}),
    ],
)
def test_bad_settings_are_refused(key, settings):
    with pytest.raises(InvalidInput) as caught:
        CentralFlow(valley().objective, optimizer("gd"), **settings)
    assert caught.value.key == key


@pytest.mark.parametrize(("kind", "name"), [(CentralFlow, "adam"), (CentralMomentumFlow, "rmsprop")])
def test_other_optimizers_are_refused(kind, name):
    with pytest.raises(InvalidInput, match="optimizer"):
        kind(valley().objective, optimizer(name))
