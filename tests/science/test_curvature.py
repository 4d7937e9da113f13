"""Effective sharpness against dense eigenvalues."""

import math

import pytest
import torch
from helpers.problems import SIZES, network, optimizer, quadratic

from rodflow.catalogue import OPTIMIZERS
from rodflow.problems.networks import digits
from rodflow.training import curvature as module
from rodflow.training.curvature import Curvature
from rodflow.training.discrete import train
from rodflow.training.objective import Objective

LR = 0.3


def preconditioner(d):
    generator = torch.Generator().manual_seed(4)
    return torch.exp(torch.randn(d, generator=generator, dtype=torch.float64))


def dense(hessian, p, count):
    """The largest eigenvalues of lr P^-1 H, which has those of lr P^-1/2 H P^-1/2."""
    values = torch.linalg.eigvals(LR * hessian / p[:, None]).real
    return torch.sort(values, descending=True).values[:count]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("architecture", ["mlp", "cnn", "vit"])
def test_largest_eigenvalues(architecture, count):
    net = network(architecture)
    p = preconditioner(len(net.w0))
    expected = dense(net.hessian(net.w0), p, count)
    sharp = Curvature(net.objective(), count, sharpness_tolerance=1e-4).effective_sharpness(net.w0, p, LR)
    assert sharp.dtype == torch.float64
    torch.testing.assert_close(sharp, expected, rtol=1e-6, atol=1e-9)
    rough = Curvature(net.objective(), count).effective_sharpness(net.w0, p, LR)
    assert abs(rough[0] / expected[0] - 1) < 1e-3
    single = Curvature(net.objective(), count).effective_sharpness(net.w0, torch.ones(1).double(), LR)
    assert abs(single[0] / dense(net.hessian(net.w0), torch.ones(1).double(), 1)[0] - 1) < 1e-3


def test_chunks_and_float32_give_the_same():
    net = network()
    p = preconditioner(len(net.w0))
    expected = dense(net.hessian(net.w0), p, 1)
    chunked = Curvature(net.objective(3), sharpness_tolerance=1e-4).effective_sharpness(net.w0, p, LR)
    torch.testing.assert_close(chunked, expected, rtol=1e-6, atol=0)
    single = Objective.from_module(net.module, net.x.float(), net.y)
    torch.testing.assert_close(
        Curvature(single).effective_sharpness(net.w0.float(), p.float(), LR), expected, rtol=1e-3, atol=0
    )


def test_warm_start_saves_products():
    net = network()
    objective, p = net.objective(), preconditioner(len(net.w0))
    moved = net.w0 + 1e-4
    warm, cold = Curvature(objective, 2, sharpness_tolerance=1e-3), Curvature(objective, 2, sharpness_tolerance=1e-3)
    warm.effective_sharpness(net.w0, p, LR)

    def products(curvature):
        before = objective.cost.copy()
        return curvature.effective_sharpness(moved, p, LR), (objective.cost - before).hessian_vector_products

    (warm_values, warm_products), (cold_values, cold_products) = products(warm), products(cold)
    torch.testing.assert_close(warm_values, cold_values, rtol=1e-4, atol=0)
    assert warm_products < cold_products * 2 / 3


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(
    "values",
    [
        [3.0, -5.0, 1.0],
        [1.0, 2.0, 3.0, 4.0, 4.0, 0.5, -9.0, 0.0, 0.0, 1.0, 1.5],
        [4.0, 4.0, 4.0, *[1.0] * 30, *[0.0] * 30],
    ],
)
def test_largest_means_algebraically_largest(values, count):
    """With a negative eigenvalue of the largest modulus, and with multiple ones: a Krylov space has one vector each."""
    landscape = quadratic(torch.diag(torch.tensor(values, dtype=torch.float64)))
    w, one = torch.ones(len(values), dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    found = Curvature(landscape.objective, count, sharpness_tolerance=1e-5).effective_sharpness(w, one, LR)
    expected = LR * torch.tensor(sorted(values, reverse=True)[:count], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


def test_flat_landscape_has_no_sharpness():
    landscape = quadratic(torch.zeros(8, 8, dtype=torch.float64))
    found = Curvature(landscape.objective).effective_sharpness(torch.ones(8).double(), torch.ones(1).double(), LR)
    assert found.abs() < 1e-12


def test_nan_weights_or_preconditioner_give_nan():
    net = network()
    curvature, p = Curvature(net.objective(), 3), preconditioner(len(net.w0))
    bad, bad_p = net.w0.clone(), p.clone()
    bad[3], bad_p[3] = math.nan, -1.0
    assert curvature.effective_sharpness(bad, p, LR).isnan().tolist() == [True] * 3
    assert curvature.effective_sharpness(net.w0, bad_p, LR).isnan().tolist() == [True] * 3
    assert curvature.effective_sharpness(net.w0, p, LR).isfinite().all()


@pytest.mark.parametrize("d", [2, 20])
def test_hessian_without_finite_values_gives_nan(d):
    """|w|^1.5 has a gradient at zero but no second derivative."""
    objective = Objective(lambda w: (w.abs() ** 1.5).sum())
    w = torch.zeros(d, dtype=torch.float64)
    assert objective.gradient(w).isfinite().all()
    curvature = Curvature(objective)
    assert curvature.effective_sharpness(w, torch.ones(1).double(), LR).isnan().all()
    assert curvature.effective_sharpness(w + 1, torch.ones(1).double(), LR) == pytest.approx(0.75 * LR)


# Whole runs: is it the largest eigenvalue at every record?


def dense_along(run, loss, ours):
    """The largest eigenvalue at each record, from the dense Hessian; without a second moment."""
    hessians = [torch.func.hessian(loss)(w) for w in run.midpoints]
    return torch.stack([ours.learning_rate * torch.linalg.eigvalsh(hessian)[-1] for hessian in hessians])


def crossing(count=6):
    """Curvatures 3 of one mode and 1 + s of another, s slowly from -2 to 8; ``count`` flat modes beside them."""

    def loss(w):
        a, b, s = w[0], w[1], w[-1]
        return 1.5 * a**2 + 0.5 * b**2 * (1 + s) + 0.02 * (s - 8) ** 2 + 0.05 * (w[2:-1] ** 2).sum()

    return loss, torch.tensor([1e-3, 1e-3, *[0.1] * count, -2.0], dtype=torch.float64)


@pytest.mark.parametrize("flat", [5, 60])
def test_an_eigenvalue_that_overtakes_the_largest_is_found(flat):
    """The two modes never meet in a Hessian-vector product, so that no Krylov space leads from one to the other."""
    loss, w0 = crossing(flat)
    ours = optimizer("gd", 0.3)
    run = train(Objective(loss), ours, w0, 150)
    expected = dense_along(run, loss, ours)
    assert expected[0] == pytest.approx(0.9) and expected[-1] > 2.2
    torch.testing.assert_close(run.sharpness[:, 0], expected, rtol=1e-6, atol=0)


def test_without_guards_and_random_directions_it_is_missed(monkeypatch):
    """So the test above has something to find."""
    monkeypatch.setattr(module, "GUARDS", 0)
    monkeypatch.setattr(module, "LEAST_EXPANSIONS", 0)
    monkeypatch.setattr(torch, "randn", lambda d, **_: torch.eye(d, dtype=torch.float64)[0])
    loss, w0 = crossing()
    run = train(Objective(loss), optimizer("gd", 0.3), w0, 150)
    assert run.sharpness[-1, 0] == pytest.approx(0.9)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_every_record_of_a_run_on_digits(loss):
    problem = digits("mlp", examples=100, sizes={"widths": (6,)}, dtype=torch.float64, device="cpu", loss=loss)
    ours = optimizer("gd", 0.2)
    run = train(problem.objective, ours, problem.w0, 120)
    objective = problem.objective

    def value(w):
        return objective._mean(lambda *batch: (objective._loss(w, *batch),))[0]

    torch.testing.assert_close(run.sharpness[:, 0], dense_along(run, value, ours), rtol=4e-4, atol=0)


@pytest.mark.parametrize("architecture", SIZES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_record_with_every_optimizer(name, architecture):
    net, ours = network(architecture), optimizer(name)
    run = train(net.objective(), ours, net.w0, 60, record_interval=5)
    for t in run.record_steps.tolist():
        row = run.record_steps.tolist().index(t)
        nu = run.window(t, half_width=1).midpoint().nu if t <= run.last_step - 1 else run.states.nu[row]
        root = ours.preconditioner(nu, t).rsqrt().expand(len(net.w0))
        hessian = root[:, None] * net.hessian(run.midpoints[row]) * root * ours.rate(t)
        values = torch.linalg.eigvalsh((hessian + hessian.T) / 2)
        assert abs(run.sharpness[row, 0] - values[-1]) < 6e-4 * values.abs().max(), t
