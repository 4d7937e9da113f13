"""Learning-rate schedules against torch's, at real times, and in the flows."""

import math
from itertools import pairwise

import pytest
import torch
from helpers.problems import LEARNING_RATES, network, optimizer

import rodflow as rf
from rodflow.catalogue import FLOWS, OPTIMIZERS, models
from rodflow.config.schema import ScheduleSettings
from rodflow.errors import InvalidInput
from rodflow.flows.drift_free_rod import DriftFreeRod
from rodflow.flows.dynamics import Dynamics
from rodflow.flows.integrate import integrate
from rodflow.flows.stable import StableFlow
from rodflow.optimizers.schedules import KINDS, Scheduled, constant, cosine, schedule, warmup, warmup_cosine
from rodflow.problems.networks import digits
from rodflow.training.discrete import train

STEPS, WARMUP, FLOOR = 40, 12, 0.2


def torchs_cosine(torchs, steps):
    lr = torchs.param_groups[0]["lr"]
    return torch.optim.lr_scheduler.CosineAnnealingLR(torchs, T_max=steps, eta_min=FLOOR * lr)


def torchs_warmup(torchs):
    return torch.optim.lr_scheduler.LinearLR(torchs, start_factor=1 / WARMUP, total_iters=WARMUP - 1)


def torchs_warmup_cosine(torchs):
    # the later one first: making it sets the optimizer's rate, and the warm-up's is to stand at the start
    fall = torchs_cosine(torchs, STEPS - WARMUP)
    for group in torchs.param_groups:
        group["lr"] = group["initial_lr"]
    return torch.optim.lr_scheduler.SequentialLR(torchs, [torchs_warmup(torchs), fall], milestones=[WARMUP])


TORCHS = {
    "gd": lambda p, lr: torch.optim.SGD([p], lr),
    "adam": lambda p, lr: torch.optim.Adam([p], lr, betas=(0.9, 0.99)),
    "adamw": lambda p, lr: torch.optim.AdamW([p], lr, betas=(0.9, 0.99), weight_decay=0.01),
}
SCHEDULES = {
    "warmup": (warmup(WARMUP), torchs_warmup),
    "cosine": (cosine(STEPS, FLOOR), lambda torchs: torchs_cosine(torchs, STEPS)),
    "warmup_cosine": (warmup_cosine(WARMUP, STEPS, FLOOR), torchs_warmup_cosine),
}


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("name", TORCHS)
def test_scheduled_steps_are_torchs(name, kind):
    net, lr = network(), LEARNING_RATES[name]
    p = net.w0.clone().requires_grad_()
    torchs = TORCHS[name](p, lr)
    factor, make = SCHEDULES[kind]
    theirs, ours = make(torchs), Scheduled(optimizer(name), factor)
    state, objective = ours.init(net.w0), net.objective()
    for t in range(STEPS):
        assert ours.rate(t) == pytest.approx(torchs.param_groups[0]["lr"], rel=1e-12)
        torchs.zero_grad()
        net.loss(p).backward()
        torchs.step()
        theirs.step()
        state = ours.step(state, objective.gradient(state.w), t)
        torch.testing.assert_close(state.w, p.detach(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_scheduled_step_is_the_optimizers_at_that_rate(name):
    lr, t = LEARNING_RATES[name], 5.5
    ours, slower = (
        Scheduled(optimizer(name), cosine(20, 0.5)),
        optimizer(name, LEARNING_RATES[name] * cosine(20, 0.5)(t)),
    )
    w = torch.tensor([1.0, -0.7], dtype=torch.float64)
    state = ours.step(ours.init(w), w, 0)
    for a, b in zip(ours.increment(state, w**2, t), slower.increment(state, w**2, t), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=0)
    assert ours.rate(t) == pytest.approx(slower.learning_rate)
    assert (ours.learning_rate, ours.threshold, ours.transient) == (lr, optimizer(name).threshold, slower.transient)


@pytest.mark.parametrize("kind", KINDS)
def test_schedules_are_continuous_positive_and_end_at_the_floor(kind):
    factor = schedule(kind, WARMUP, STEPS, FLOOR)
    times = [t / 8 for t in range(-8, 8 * 60)]
    values = [factor(t) for t in times]
    assert all(0 < value <= 1 for value in values)
    assert max(abs(a - b) for a, b in pairwise(values)) < 0.025
    assert factor(STEPS) == factor(STEPS + 100) == pytest.approx(FLOOR if "cosine" in kind else 1)
    assert factor(0) == pytest.approx(1 / WARMUP if "warmup" in kind else 1)
    assert factor(WARMUP - 1) == pytest.approx(1, abs=0.2)


def test_kinds_are_those_of_the_config():
    assert set(KINDS) == set(ScheduleSettings.model_fields["kind"].annotation.__args__)
    assert rf.schedules.cosine is cosine
    assert rf.Scheduled is Scheduled


def test_a_schedule_of_ones_changes_no_bit():
    net, ours = network(), optimizer("nadam")
    runs = [train(net.objective(), o, net.w0, 30, record_interval=10) for o in (ours, Scheduled(ours, constant()))]
    assert torch.equal(runs[0].midpoints, runs[1].midpoints)
    assert torch.equal(runs[0].sharpness, runs[1].sharpness)


@pytest.mark.parametrize(
    ("key", "make"),
    [
        ("warmup", lambda: warmup(0)),
        ("horizon", lambda: cosine(0)),
        ("floor", lambda: cosine(10, 0.0)),
        ("floor", lambda: cosine(10, math.nan)),
        ("floor", lambda: cosine(10, 1.1)),
        ("warmup", lambda: warmup_cosine(10, 10)),
        ("kind", lambda: schedule("exponential", 1, 10, 0.1)),
    ],
)
def test_bad_schedules_are_refused(key, make):
    with pytest.raises(InvalidInput) as caught:
        make()
    assert caught.value.key == key


# --- flows and measurements


def test_sharpness_and_metric_use_the_rate_of_the_moment():
    net, factor = network(), warmup(200)
    ours, plain = Scheduled(optimizer("adam"), factor), optimizer("adam")
    run = train(net.objective(), ours, net.w0, 60, record_interval=20, sharpness_tolerance=1e-4)
    for i, t in enumerate((20, 40, 60)):
        before, here, after = (run.window(t, 1).state(k) for k in (-1, 0, 1))
        nu = (before.nu + 2 * here.nu + after.nu) / 4
        root = plain.preconditioner(nu, t).sqrt()
        hessian = net.hessian(run.midpoints[i]) / torch.outer(root, root)
        expected = 0.01 * (t + 1) / 200 * torch.linalg.eigvalsh(hessian)[-1]
        assert float(run.sharpness[i, 0]) == pytest.approx(float(expected), rel=1e-5)
    state = run.window(40).state()
    z = torch.cat([state.w, state.m])
    scale = Dynamics(net.objective(), ours).metric(state.nu, 40.5, z)
    root = plain.preconditioner(state.nu, 40.5).sqrt()
    torch.testing.assert_close(scale, torch.cat([root, 0.01 * 41.5 / 200 / root]))


@pytest.mark.parametrize("name", [name for name in FLOWS if models(name, "adam")])
def test_every_flow_follows_a_warm_up(name):
    net, ours = network(), Scheduled(optimizer("adam"), warmup(100))
    run = train(net.objective(), ours, net.w0, 80, record_interval=10)
    result = integrate(FLOWS[name](net.objective(), ours), run.window(40), 40, 10, reference=run)
    assert result.series["relative_error"].iloc[-1] < 0.06
    assert result.series["sharpness"].to_numpy() == pytest.approx(result.series["discrete_sharpness"], rel=0.05)


@pytest.mark.parametrize(
    ("name", "lr", "factor"),
    [("gd", 0.4, cosine(400, 0.3)), ("rmsprop", 1e-3, warmup_cosine(100, 400, 0.3))],
)
def test_rod_flow_beats_the_stable_flow_on_a_scheduled_run(name, lr, factor):
    problem = digits("mlp", 100, sizes={"widths": (12,)}, dtype=torch.float64, device="cpu")
    ours = Scheduled(optimizer(name, lr), factor)
    run = train(problem.objective, ours, problem.w0, 400, record_interval=20, perturbation=1.2e-7)
    assert (run.sharpness[:, 0] > 0.9 * run.threshold).double().mean() > 0.3
    errors = {}
    for kind in (StableFlow, DriftFreeRod):
        result = integrate(kind(problem.objective, ours), run.window(40), 360, 20, reference=run)
        errors[kind] = result.series["error"]
    both = errors[StableFlow].notna()
    assert errors[DriftFreeRod].notna().all()
    assert errors[DriftFreeRod][both].mean() < errors[StableFlow][both].mean() / 5
