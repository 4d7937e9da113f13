"""RKC2 against exact solutions: order, stability interval, cost on a stiff problem, failures."""

import math

import pytest
import torch
from torchdiffeq import odeint

from rodflow.flows.base import ADAPTIVE_METHODS, FlowDiverged, Solver
from rodflow.flows.rkc2 import RKC2, coefficients

STAGES = [2, 3, 5, 10, 30]


def growth(stages, z):
    """One step of size one on y' = z y, from 1."""
    first, rows = coefficients(stages)
    before, last = 1.0, 1 + first * z
    for mu, nu, of_last, of_first, _ in rows:
        before, last = last, (1 - mu - nu) + mu * last + nu * before + of_last * z * last + of_first * z
    return last


@pytest.mark.parametrize("stages", STAGES)
def test_a_step_is_the_exponential_to_second_order(stages):
    ratios = [(growth(stages, z) - math.exp(z)) / z**3 for z in (-1e-2, -5e-3)]
    assert ratios[0] == pytest.approx(ratios[1], rel=0.02)
    assert 0.01 < abs(ratios[0]) < 0.2


@pytest.mark.parametrize("stages", STAGES)
def test_stable_and_damped_on_the_whole_interval(stages):
    end = (stages**2 - 1) / 1.54
    values = [abs(growth(stages, -x * end)) for x in torch.linspace(0.001, 1, 2000).tolist()]
    assert max(values) < 1
    assert max(values[len(values) // 2 :]) < 0.97
    assert abs(growth(stages, -1.2 * end)) > 1


@pytest.mark.parametrize("stages", [2, 3, 7])
def test_stage_times_are_those_of_the_stages(stages):
    """A step of size one on y' = 2t from 0 ends at 1, if each stage asks for the field at its own time."""
    before, last = 0.0, 0.0  # the first stage sees the field at 0 only
    for mu, nu, of_last, _, at in coefficients(stages)[1]:
        before, last = last, mu * last + nu * before + of_last * 2 * at
    assert last == pytest.approx(1.0, abs=1e-12)


def test_error_follows_the_tolerance_and_the_cost_is_far_below_that_of_bosh3():
    """y' = -A y with A symmetric, eigenvalues from 0.1 to 400: the stiff ones die, the slow ones set the step."""
    generator = torch.Generator().manual_seed(0)
    q = torch.linalg.qr(torch.randn(40, 40, dtype=torch.float64, generator=generator))[0]
    rates = torch.logspace(-1, math.log10(400), 40, dtype=torch.float64)
    y = torch.ones(40, dtype=torch.float64)
    exact = q @ (torch.exp(-10 * rates) * (q.T @ y))
    times = torch.tensor([0.0, 10.0], dtype=torch.float64)
    errors, costs = {}, {}

    for method, rtol in [("rkc2", 1e-3), ("rkc2", 1e-5), ("bosh3", 1e-3)]:
        calls = [0]

        def field(t, y, calls=calls):
            calls[0] += 1
            return -(q @ (rates * (q.T @ y)))

        if method == "rkc2":
            end = RKC2(field, 0.0, y, rtol, rtol).advance(10.0)
        else:
            end = odeint(field, y, times, method=method, rtol=rtol, atol=rtol)[1]
        errors[method, rtol] = float((end - exact).abs().max())
        costs[method, rtol] = calls[0]
    assert errors["rkc2", 1e-3] < 1e-2
    assert errors["rkc2", 1e-5] < 3e-4
    assert costs["rkc2", 1e-3] < costs["bosh3", 1e-3] / 8


def test_second_order():
    """Steps of fixed size on y' = -y^2, 1/(1 + t): halving them divides the error by four."""
    y = torch.ones(3, dtype=torch.float64)
    errors = []
    for step in (0.1, 0.05):
        end = RKC2(lambda t, y: -(y**2), 0.0, y, rtol=1e6, atol=1e6, max_step=step).advance(2.0)
        errors.append(float(end[0] - 1 / 3))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.15)


def test_ends_at_every_requested_time():
    times = torch.tensor([0.0, 0.3, 1.0, 7.5], dtype=torch.float64)
    y = torch.tensor([1.0, 2.0], dtype=torch.float64)
    solver = RKC2(lambda t, y: -0.3 * y, 0.0, y, rtol=1e-6, atol=1e-9)
    end = torch.stack([solver.advance(float(t)) for t in times])
    assert solver.t == 7.5
    exact = y * torch.exp(-0.3 * times)[:, None]
    torch.testing.assert_close(end, exact, rtol=1e-4, atol=0)


def test_a_field_that_leaves_its_domain_is_met_with_shorter_steps():
    """y' = -1/(2 sqrt(y)), NaN below zero: y = (1 - 3t/4)^(2/3) up to t = 4/3."""
    solver = Solver("rkc2", step=20.0, rtol=1e-6)
    y = torch.ones(2, dtype=torch.float64)
    end = solver.advance(lambda t, y: -1 / (2 * torch.sqrt(y)), y, 0.0, 1.2)
    torch.testing.assert_close(end, torch.full_like(y, (1 - 0.9) ** (2 / 3)), rtol=1e-3, atol=0)


def test_gives_up_with_flow_diverged():
    y = torch.ones(2, dtype=torch.float64)
    with pytest.raises(FlowDiverged, match=r"the step vanishes at t = 1|too stiff: 2000 evaluations"):
        Solver("rkc2", step=1.0).advance(lambda t, y: y**2, y, 0.0, 2.0)  # blows up at t = 1
    for method in ADAPTIVE_METHODS:
        calls = []
        solver = Solver(method, step=0.01, max_evaluations=60)
        with pytest.raises(FlowDiverged, match=r"too stiff: 60 evaluations did not lead from t = 0 to 2\.5"):
            solver.advance(lambda t, y, calls=calls: calls.append(t) or -y, y, 0.0, 2.5)
        assert len(calls) == 60


def test_single_precision_keeps_its_dtype():
    y = torch.ones(3)
    end = Solver("rkc2", step=5.0).advance(lambda t, y: -0.1 * y, y, 0.0, 5.0)
    assert end.dtype == torch.float32
    torch.testing.assert_close(end, y * math.exp(-0.5), rtol=1e-3, atol=0)
