"""Before the edge a flow of second order is far nearer to the run than the stable flow, for each optimizer and loss."""

from functools import partial

import pytest
import torch
from helpers.problems import bowl, optimizer, window
from helpers.vectors import run_states, slope, vector

import rodflow as rf
from rodflow.catalogue import FLOWS, OPTIMIZERS, models
from rodflow.flows.base import Solver
from rodflow.flows.rod import RodFlow
from rodflow.flows.rod_one_column import OneColumnRodFlow
from rodflow.flows.stable import StableFlow
from rodflow.measures.constants import BEFORE_EDGE, NEARER

SECOND_ORDER = [name for name, entry in FLOWS.entries.items() if entry.second_order]
RATES = {
    "gd": 0.04,
    "heavy_ball": 1.0,
    "nesterov": 0.6,
    "scalar_rmsprop": 5e-3,
    "rmsprop": 6e-5,
    "scalar_adam": 0.02,
    "adam": 1e-3,
    "scalar_nadam": 0.03,
    "nadam": 2.5e-4,
    "adamw": 1e-3,
    "adagrad": 3e-3,
    "qhm": 0.2,
}
"""Rates at which a run moves, and stays below its edge."""


def relative_errors(ours, loss, flows):
    """The largest error over displacement of each of the ``flows``, over 40 steps of a run below its edge."""
    problem = rf.problems.digits("mlp", 40, sizes={"widths": (8,)}, loss=loss, dtype=torch.float64, device="cpu")
    at = 20 + 2 * ours.transient  # ringing has died
    run = rf.train(problem.objective, ours, problem.w0, at + 40, record_interval=10)
    assert float(run.sharpness[at // 10 :, 0].max()) < BEFORE_EDGE * ours.threshold
    worst = {}
    for flow in flows:
        made = FLOWS[flow](problem.objective, ours)
        series = rf.integrate(made, run.window(at), 40, 10, reference=run).series
        worst[flow] = float(series["relative_error"].iloc[1:].max())
    return worst


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_flows_of_second_order_are_nearer_than_the_stable_flow(name, loss):
    flows = [flow for flow in SECOND_ORDER if models(flow, name)]
    worst = relative_errors(optimizer(name, RATES[name]), loss, ["stable", *flows])
    stable = worst.pop("stable")
    assert set(worst) >= {"rod", "rod_one_column", "stable_corrected", "drift_free_rod", "drift_free_rod_ode"}
    assert {flow: stable / error for flow, error in worst.items() if stable / error < NEARER} == {}


TORCH = [
    (torch.optim.NAdam, {"lr": 2.5e-4}),
    (torch.optim.RAdam, {"lr": 1e-3}),
    (torch.optim.RMSprop, {"lr": 6e-5, "momentum": 0.9}),
    (torch.optim.Adadelta, {"lr": 0.1}),
]
"""Optimizers of torch with clocks other than the number of steps, or with two moments of a kind."""


@pytest.mark.parametrize(("kind", "settings"), TORCH, ids=[kind.__name__ for kind, _ in TORCH])
def test_optimizers_of_torch_are_corrected_in_their_clocks_too(kind, settings):
    worst = relative_errors(rf.from_torch(kind, **settings), "mse", ["stable", "rod"])
    assert worst["stable"] / worst["rod"] > NEARER


FINE = Solver("rk4", step=0.25)
ORDERS = {
    "stable": (partial(StableFlow, solver=FINE), 1),
    "stable_corrected": (partial(StableFlow, solver=FINE, order=2), 2),
    "rod": (RodFlow, 2),
    "rod_one_column": (partial(OneColumnRodFlow, solver=FINE), 2),
}


@pytest.mark.parametrize("flow", ORDERS)
@pytest.mark.parametrize("name", ["rmsprop", "scalar_rmsprop", "adam", "scalar_nadam"])
def test_error_before_the_edge_falls_as_the_square_of_the_rate(name, flow):
    """On three weights, over the same way: rate and 1 - beta2 fall together, so that nu and its bias correction change
    as fast along the way. The stable flow's error falls as the rate.
    """
    make, order = ORDERS[flow]
    errors = []
    for h in (0.04, 0.02, 0.01):
        ours = optimizer(name, 0.5 * h, beta2=1 - h, beta1=0.5)
        start, end = round(2 / h), round(5 / h)
        states = run_states(bowl().objective, ours, vector(1.2, -0.8, 1.0), end + 2)
        made = make(bowl().objective, ours)
        y = made.start(window(states[start - 1 : start + 2], start))
        y = made.advance(y, start + made.time_offset, end)
        before, here, after = (state.w for state in states[end - 1 : end + 2])
        errors.append(float((made.centre(y).w - (before + 2 * here + after) / 4).norm()))
    assert slope(errors) == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize("taken_out", ["nu", "time"])
def test_without_a_part_of_the_correction_rod_flow_is_no_nearer(taken_out, monkeypatch):
    """A mutation: the earlier step of (3) with the second moment, or the time, of now."""
    ours = optimizer("rmsprop", RATES["rmsprop"])
    whole = relative_errors(ours, "mse", ["stable", "rod"])
    velocity = RodFlow.velocity

    def without(self, at, t, half=None):
        along = self.dynamics.increment_along

        def now(z, nu, gradient, time):
            return along(z, at.nu if taken_out == "nu" else nu, gradient, t if taken_out == "time" else time)

        with monkeypatch.context() as patch:
            patch.setattr(self.dynamics, "increment_along", now)
            return velocity(self, at, t, half)

    monkeypatch.setattr(RodFlow, "velocity", without)
    less = relative_errors(ours, "mse", ["stable", "rod"])
    assert whole["stable"] / whole["rod"] > NEARER > less["stable"] / less["rod"]
