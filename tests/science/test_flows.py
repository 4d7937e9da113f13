"""Flows against formulas by hand, dense linear algebra, scipy's solver and exact solutions."""

import ast
import inspect
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.problems import (
    bowl,
    central_difference,
    digits_mlp,
    network,
    optimizer,
    quadratic,
    rod_window,
    valley,
    window,
)
from helpers.vectors import close, random, run_states, slope, vector
from scipy.integrate import solve_ivp

import rodflow.flows
from rodflow.catalogue import FLOWS, OPTIMIZERS, models
from rodflow.errors import InvalidInput
from rodflow.flows.base import FlowDiverged, Solver
from rodflow.flows.correction import corrected
from rodflow.flows.drift_free_rod import DriftFreeRod
from rodflow.flows.dynamics import Dynamics
from rodflow.flows.integrate import integrate, trajectory
from rodflow.flows.rod import RodFlow
from rodflow.flows.rod_one_column import OneColumnRodFlow
from rodflow.flows.stable import StableFlow
from rodflow.optimizers.step_map import State, StepMap
from rodflow.problems.networks import digits
from rodflow.training.discrete import train
from rodflow.training.objective import Objective

FINE = Solver("rk4", step=0.125)
WITH_MOMENTUM = [name for name in OPTIMIZERS if optimizer(name).init(torch.ones(1)).m.numel()]


def phase(state):
    return torch.cat([state.w, state.m])


# --- the increment and its derivative


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_increment_and_its_jacobian(name):
    net, ours = network(), optimizer(name)
    dynamics = Dynamics(net.objective(), ours)
    state, t = run_states(net.objective(), ours, net.w0, 4)[3], 3.5
    z, v = phase(state), random(len(phase(state)))
    increment, product, _ = dynamics.linearise(z, state.nu, t)
    expected = ours.increment(state, torch.func.grad(net.loss)(state.w), t)
    close(increment, torch.cat(expected))
    close(dynamics.increment(z, state.nu, t), increment)
    whole, direction = torch.cat([z, state.nu]), torch.cat([v, 0.1 * state.nu])
    difference = central_difference(
        lambda y: dynamics.increment(*y.tensor_split([len(z)]), t), whole, direction, step=1e-4
    )
    close(product(v, 0.1 * state.nu), difference, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", ["rmsprop", "scalar_rmsprop", "adam", "nadam"])
def test_weight_without_gradient_has_a_jacobian(name):
    """A dead weight keeps nu = 0, where the square root has no derivative; its increment is zero all the same."""
    objective, ours = Objective(lambda w: w[0] ** 2 / 2), optimizer(name)
    state = run_states(objective, ours, vector(1, 5), 3)[2]
    dynamics = Dynamics(objective, ours)
    increment, product, _ = dynamics.linearise(phase(state), state.nu, 2)
    v, fixed = torch.ones_like(phase(state)), torch.zeros_like(state.nu)
    assert increment[1] == 0
    assert product(v, fixed).isfinite().all()
    assert product(v, fixed)[1] == pytest.approx(0 if ours.momentum == "none" else product(2 * v, fixed)[1] / 2)


def test_metric_of_gradient_descent_is_ones():
    dynamics = Dynamics(bowl().objective, optimizer("gd"))
    assert torch.equal(dynamics.metric(torch.zeros(0).double(), 3.0, vector(1, 2, 3)), torch.ones(3).double())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_metric_makes_units_equal(name):
    """P^1/2 for w and lr P^-1/2 for m, with P by hand."""
    ours, d = optimizer(name, 0.25), 3
    nu, t = vector(0.5, 2, 3)[: len(ours.init(torch.ones(d)).nu)], 7.5
    corrected = nu if name == "adagrad" else nu / (1 - 0.99**t)
    p = torch.sqrt(corrected) + 1e-8 if len(nu) else torch.ones(d).double()
    p = p.expand(d)
    expected = torch.cat([p.sqrt(), 0.25 / p.sqrt()]) if name in WITH_MOMENTUM else p.sqrt()
    close(Dynamics(bowl().objective, ours).metric(nu, t, torch.ones_like(expected)), expected)


# --- backward error correction


def time_one(field, s, t0):
    """s one unit of time later along ds/dt = field(t, s), by scipy."""
    solution = solve_ivp(
        lambda t, s: field(t, torch.from_numpy(s)).numpy(), (t0, t0 + 1), s.numpy(), "DOP853", rtol=1e-13, atol=1e-15
    )
    return torch.from_numpy(solution.y[:, -1])


def linear_map(t, s):
    """Affine in s and t together."""
    return torch.stack([-s[0] + 0.5 * s[1] + 0.3 * t, 0.2 * s[0] - 0.7 * s[1] - 0.1 * t])


def nonlinear_map(t, s):
    return torch.stack([-torch.sin(s[0]) + 0.3 * s[1] ** 2 + t * s[0], math.cos(t) - s[0] * s[1]])


@pytest.mark.parametrize(
    ("phi", "order", "expected"),
    [
        (linear_map, 1, 2),
        (linear_map, 2, 3),
        (linear_map, 3, 4),
        (nonlinear_map, 1, 2),
        (nonlinear_map, 2, 3),
        (nonlinear_map, 3, 3),
    ],
)
def test_order_of_the_correction(phi, order, expected):
    """The flow of s' = s + h phi(h t, s) for one unit of time errs by h^(order + 1); time moves along with s.

    Order 3 leaves a tensor term on nonlinear maps, of third order like order 2's error but known: see below.
    """
    s, errors = vector(0.8, -0.5), []
    for h in (0.1, 0.05, 0.025):
        field = corrected(lambda t, s, h=h: h * phi(h * t, s), order)
        start = 0.4 / h
        errors.append(float((time_one(field, s, start) - s - h * phi(0.4, s)).norm()))
    assert slope(errors) == pytest.approx(expected, abs=0.15)


def test_what_order_three_leaves_is_a_small_tensor_term():
    """By series the exact field has a twelfth of phi''(phi, phi), order 3 an eighth: 1/24 is left, times h^3."""
    s, t0 = vector(0.8, -0.5), 0.4

    def left(h):
        field = corrected(lambda t, s: h * nonlinear_map(h * t, s), 3)
        return (time_one(field, s, t0 / h) - s - h * nonlinear_map(t0, s)) / h**3

    def along(e):
        return nonlinear_map(t0 + float(e), s + e * nonlinear_map(t0, s))

    second = (along(1e-3) - 2 * along(0) + along(-1e-3)) / 1e-6
    close(2 * left(0.01) - left(0.02), second / 24, rtol=0.02, atol=1e-4)


@pytest.mark.parametrize(
    ("order", "rate"), [(1, lambda x: x), (2, lambda x: x - x**2 / 2), (3, lambda x: x - x**2 / 2 + x**3 / 3)]
)
def test_correction_on_a_mode_is_a_series_of_the_logarithm(order, rate):
    for x in (-1.9, -0.3, 0.5):
        close(corrected(lambda t, s, x=x: x * s, order)(0.0, vector(2.0)), vector(2 * rate(x)))


@pytest.mark.parametrize("order", [0, 4, 1.5])
def test_other_orders_are_refused(order):
    with pytest.raises(InvalidInput, match="order"):
        corrected(linear_map, order)


# --- stable flow


@pytest.mark.parametrize("order", [1, 2, 3])
def test_stable_flow_on_a_quadratic_is_a_matrix_exponential(order):
    root, lr, time = random(3, 3), 0.2, 5.0
    hessian = root @ root.T / 3 + torch.eye(3)
    x = -lr * hessian
    rate = [x, x - x @ x / 2, x - x @ x / 2 + x @ x @ x / 3][order - 1]
    w0 = vector(1, -2, 0.5)
    flow = StableFlow(quadratic(hessian).objective, optimizer("gd", lr), solver=FINE, order=order)
    y = flow.start(rod_window(w0, torch.zeros(3).double()))
    close(flow.advance(y, 0.0, time), torch.linalg.matrix_exp(time * rate) @ w0, rtol=1e-5, atol=1e-8)


def test_stable_flow_of_higher_order_is_closer_to_the_run():
    """Heavy ball well before the edge, from the same states, against the run's own iterates."""
    net, ours = network(), optimizer("heavy_ball", 0.02, beta1=0.5)
    run = train(net.objective(), ours, net.w0, 60, record_interval=20)
    errors = []
    for order in (1, 2, 3):
        flow = StableFlow(net.objective(), ours, solver=Solver("rk4", step=0.25), order=order)
        _, y = next(trajectory(flow, run.window(20), [60]))
        errors.append(float((flow.centre(y).w - run.midpoints[2]).norm()))
    assert errors[1] < errors[0] / 10
    assert errors[2] < errors[1]


def test_stable_flow_starts_from_the_windows_midpoint():
    net, ours = network(), optimizer("adam")
    states = run_states(net.objective(), ours, net.w0, 3)
    flow = StableFlow(net.objective(), ours)
    centre = flow.centre(flow.start(window(states, 1)))
    for part, (a, b, c) in zip(centre, zip(*states, strict=True), strict=True):
        close(part, (a + 2 * b + c) / 4)
    assert flow.rod(flow.start(window(states, 1))) is None


# --- solvers


@pytest.mark.parametrize("method", ["dopri5", "bosh3"])
def test_adaptive_solver_keeps_its_tolerance(method):
    landscape, solver = quadratic(torch.diag(vector(1, 3))), Solver(method, rtol=1e-7)
    flow = StableFlow(landscape.objective, optimizer("gd", 0.1), solver=solver)
    end = flow.advance(flow.start(rod_window(vector(1, 1), vector(0, 0))), 0.0, 7.0)
    close(end, torch.exp(-7 * vector(0.1, 0.3)), rtol=1e-5)


@pytest.mark.parametrize(
    ("key", "value"),
    [("method", "implicit"), ("step", 0.0), ("step", -1.0), ("rtol", 0.0), ("atol", math.nan), ("max_evaluations", 0)],
)
def test_bad_solver_settings_are_refused(key, value):
    with pytest.raises(InvalidInput) as caught:
        Solver(**{key: value})
    assert caught.value.key == key


# --- every flow, every optimizer


def flow_class(make):
    return make.func if isinstance(make, partial) else make


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_config_knows_which_flow_models_which_optimizer(name):
    for label, make in FLOWS.items():
        assert flow_class(make).supports(optimizer(name)) == models(label, name), label


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_flow_runs_with_every_optimizer(name, dtype):
    problem, ours = digits_mlp(dtype=dtype), optimizer(name)
    run = train(problem.objective, ours, problem.w0, 30, record_interval=5)
    for label, make in FLOWS.items():
        if not flow_class(make).supports(ours):
            with pytest.raises(InvalidInput, match="optimizer"):
                make(problem.objective, ours)
            continue
        flow = make(problem.objective, ours)
        result = integrate(flow, run.window(20), 10, 5, reference=run)
        assert result.diverged_at is None, label
        assert result.series["step"].tolist() == [25, 30]
        rod = flow.rod(flow.start(run.window(20)))
        rods = rod is not None and rod.any()  # central flow has one of no length, in no direction, below the edge
        of_rods = ["rod_length", "rod_along_sharpest", "alignment_sharpest", "alignment_oscillation"]
        columns = result.series.columns if rods else result.series.columns.drop(of_rods)
        assert np.isfinite(result.series[columns].to_numpy()).all(), label
        assert result.centres.dtype == dtype
        moved = result.series["displacement"].iloc[-1]
        assert result.series["error"].iloc[-1] < 0.5 * moved, label


@pytest.mark.parametrize(("name", "lr"), [("adamw", 5e-3), ("adagrad", 0.02), ("qhm", 0.8)])
def test_rod_flow_beats_the_stable_flow_beyond_the_papers_optimizers(name, lr):
    """Over the records at the edge that both flows reach, on digits."""
    problem = digits("mlp", 100, sizes={"widths": (12,)}, dtype=torch.float64, device="cpu")
    ours = optimizer(name, lr)
    start = 40 + ours.transient
    run = train(problem.objective, ours, problem.w0, 300, record_interval=20, perturbation=1.2e-7)
    window = run.window(start)
    stable, rod = (
        integrate(kind(problem.objective, ours), window, 300 - start, 20, reference=run, maximum_sharpness=2).series
        for kind in (StableFlow, DriftFreeRod)
    )
    edge = (stable["discrete_sharpness"] >= 0.9 * run.threshold) & stable["error"].notna()
    assert edge.sum() >= 3
    assert rod.loc[edge, "error"].mean() < stable.loc[edge, "error"].mean() / 5


def test_a_users_own_optimizer_runs_through_every_flow():
    class Halving(StepMap):
        """Gradient descent at a rate that halves every hundred steps, written as a step only."""

        learning_rate = 0.1

        def init(self, w):
            return State(w, w.new_zeros(0), w.new_zeros(0))

        def preconditioner(self, nu, t):
            return nu.new_ones(1) * 2 ** (t / 100)

        def step(self, state, gradient, t):
            return state._replace(w=state.w - self.learning_rate * 0.5 ** (t / 100) * gradient)

    problem = digits_mlp()
    run = train(problem.objective, Halving(), problem.w0, 30, record_interval=5)
    for label, make in FLOWS.items():
        if not flow_class(make).supports(Halving()):
            continue
        result = integrate(make(problem.objective, Halving()), run.window(20), 10, 5, reference=run)
        assert result.series["relative_error"].iloc[-1] < 0.05, label


def test_flows_know_no_optimizer():
    """No identifier or string in the flows' source, docstrings aside, names an optimizer.

    The import contracts in pyproject.toml see modules only, not a comparison with an optimizer's name.
    """
    forbidden = ("adam", "nesterov", "rmsprop", "heavy", "gradientdescent", "momentum ==", "polyak")
    files = sorted(Path(inspect.getfile(rodflow.flows)).parent.rglob("*.py"))
    assert len(files) > len({flow_class(make) for make in FLOWS.values()})
    for file in files:
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                node.value.value = ""  # a docstring
        code = ast.unparse(tree).lower()
        assert [word for word in forbidden if word in code] == [], file.name


# --- integrate


def test_series_compares_with_the_run():
    problem, ours = digits_mlp(), optimizer("gd")
    run = train(problem.objective, ours, problem.w0, 40, record_interval=5)
    start = run.window(20)
    flow = RodFlow(problem.objective, ours, step=0.125)  # steps that do not depend on where the records lie
    result = integrate(flow, start, 20, 10, reference=run)
    assert result.series["step"].tolist() == [30, 40]
    for i, t in enumerate((30, 40)):
        row, record = result.series.iloc[i], t // 5 - 1
        _, y = next(trajectory(flow, start, [t]))
        centre, rod = flow.centre(y).w, flow.rod(y)
        close(result.centres[i], centre, rtol=1e-6)
        assert row["error"] == pytest.approx(float((result.centres[i] - run.midpoints[record]).norm()))
        assert row["displacement"] == pytest.approx(float((run.midpoints[record] - run.midpoints[3]).norm()))
        assert row["relative_error"] == pytest.approx(row["error"] / row["displacement"])
        assert row["loss"] == pytest.approx(float(problem.objective.value(centre)))
        ends = [float(problem.objective.value(centre + s * rod)) for s in (1, -1)]
        assert row["predicted_loss"] == pytest.approx(sum(ends) / 2)
        assert row["discrete_loss"] == pytest.approx(float(run.loss[t] + run.loss[t + 1]) / 2)
        assert row["discrete_sharpness"] == float(run.sharpness[record, 0])
        assert row["oscillation"] == float(run.oscillation[t])
        assert row["rod_length"] == pytest.approx(float(rod.norm()))
    assert result.error(run).to_dict() == pytest.approx(dict(zip((30, 40), result.series["error"], strict=True)))
    without = integrate(flow, start, 20, 10)
    assert without.series[["error", "oscillation"]].isna().all(axis=None)
    close(without.centres, result.centres)


def test_cost_is_that_of_the_flow_alone():
    """heun3 evaluates one column three times a step: two gradients and two products each, measuring left out."""
    problem, ours = digits_mlp(), optimizer("gd")
    run = train(problem.objective, ours, problem.w0, 30, record_interval=5)
    flow = OneColumnRodFlow(problem.objective, ours, solver=Solver("heun3", step=0.5))
    result = integrate(flow, run.window(20), 10, 5)
    # 4.5 and then 5 steps of time, at two solver steps each
    assert result.cost.values == 0
    assert result.series["gradients"].tolist() == [9 * 6, 19 * 6]
    assert (result.cost.gradients, result.cost.hessian_vector_products) == (19 * 6, 19 * 6)


def cliff():
    """L = -sum w up to w = 3, beyond which there is no loss: every descent walks there at the learning rate."""
    return Objective(lambda w: -(w + 0 * torch.sqrt(3 - w)).sum())


@pytest.mark.parametrize("name", [name for name in FLOWS if models(name, "gd")])
def test_diverging_flow_is_marked(name):
    objective, ours = cliff(), optimizer("gd", 1.0)
    start = rod_window(vector(-5.5, -7), vector(0.5, 0.5))  # there between steps 8 and 9
    result = integrate(FLOWS[name](objective, ours), start, 20, 5)
    assert result.diverged_at == 10
    assert result.series["step"].tolist() == [5, 10, 15, 20]
    assert result.series["loss"].isna().tolist() == [False, True, True, True]
    assert result.centres.shape == (4, 2)
    assert result.centres.isnan().any(1).tolist() == [False, True, True, True]
    flow, seen = FLOWS[name](objective, ours), []
    with pytest.raises(FlowDiverged):
        for t, _ in trajectory(flow, start, [2.0, 5.0, 10.0, 15.0]):
            seen.append(t)
    assert seen == [2.0, 5.0]


@pytest.mark.parametrize(("maximum", "last"), [(50.0, 200), (25.0, 100)])
def test_series_ends_at_the_maximum_sharpness(maximum, last):
    """The valley sharpens until the stable flow is too stiff to be worth integrating."""
    objective, ours = valley(1.0, 50.0, 1.0).objective, optimizer("gd", 0.1)
    # the run stays on the floor, where the sharpness does not matter
    run = train(objective, ours, vector(0, 0), 300, record_interval=20)
    result = integrate(StableFlow(objective, ours), run.window(20), 280, 20, reference=run, maximum_sharpness=maximum)
    # lr (1 + 50 x) at x = 0.1 t is half the step number and 0.1, and the threshold is 2
    assert result.diverged_at == last
    steps = result.series["step"].to_numpy()
    assert np.isnan(result.series.loc[steps > last, "error"]).all()
    assert np.isfinite(result.series.loc[steps < last, "error"]).all()
    errors = result.error(run)
    assert errors.index.tolist() == steps.tolist()
    assert errors[errors.index < last].max() < 1e-6
    assert errors[errors.index > last].isna().all()


def test_integrate_refuses_too_few_steps():
    problem, ours = digits_mlp(), optimizer("gd")
    run = train(problem.objective, ours, problem.w0, 30, record_interval=5)
    with pytest.raises(InvalidInput, match="steps"):
        integrate(StableFlow(problem.objective, ours), run.window(20), 3, 5)


def test_error_needs_kept_centres():
    problem, ours = digits_mlp(), optimizer("gd")
    run = train(problem.objective, ours, problem.w0, 30, record_interval=5)
    result = integrate(StableFlow(problem.objective, ours), run.window(20), 10, 5, keep_centres=False)
    with pytest.raises(InvalidInput, match="keep_centres"):
        result.error(run)


def test_integrate_in_another_precision():
    """A float32 run, its flow in float64: the flow needs an objective in float64."""
    problem, single, ours = digits_mlp(), digits_mlp(dtype=torch.float32), optimizer("gd")
    run = train(single.objective, ours, single.w0, 30, record_interval=5)
    result = integrate(StableFlow(problem.objective, ours), run.window(20), 10, 5, reference=run, dtype=torch.float64)
    assert result.centres.dtype == torch.float64
    assert result.series["relative_error"].iloc[-1] < 0.1


def test_a_reference_without_the_records_is_refused():
    problem, gd = digits_mlp(), OPTIMIZERS["gd"](learning_rate=0.1)
    run = train(problem.objective, gd, problem.w0, 40, record_interval=20)
    with pytest.raises(InvalidInput, match="reference"):
        integrate(StableFlow(problem.objective, gd), run.window(10), 20, 10, reference=run)
