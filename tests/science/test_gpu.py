"""On a GPU: the same numbers as on the CPU, by CUDA graphs, and the same bits twice. ``make test-gpu``."""

import pytest
import torch
from helpers.vectors import close

import rodflow as rf
from rodflow.problems.architectures import build
from rodflow.training.curvature import Curvature
from rodflow.training.objective import Objective, flat_parameters
from rodflow.training.preflight import check
from rodflow.training.rounding import rounding_errors

pytestmark = pytest.mark.gpu
ARCHITECTURES = ["mlp", "cnn", "vit"]
IN_DTYPE = {torch.float64: 1e-11, torch.float32: 3e-5}


def both(architecture, dtype=torch.float64, **settings):
    """The problem on the CPU and on the GPU."""
    return [rf.problems.digits(architecture, 60, dtype=dtype, device=device, **settings) for device in ("cpu", "cuda")]


def near(found, wanted, rtol):
    close(found.cpu(), wanted, rtol=rtol, atol=rtol * float(wanted.abs().max()))


@pytest.mark.parametrize("dtype", IN_DTYPE)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_are_those_of_the_cpu(architecture, dtype):
    """Recorded as a CUDA graph, at several points, at points that were not recorded, and in chunks."""
    cpu, gpu = both(architecture, dtype)
    chunked = rf.problems.digits(architecture, 60, dtype=dtype, device="cuda", chunk_size=25)
    points = [cpu.w0 * (1 + 0.1 * k) for k in range(3)]
    for w in points:
        wanted = cpu.objective.gradient(w)
        for problem in (gpu, chunked):
            near(problem.objective.gradient(w.cuda()), wanted, IN_DTYPE[dtype])
    several = gpu.objective.gradients([w.cuda() for w in points])
    for found, w in zip(several, points, strict=True):
        near(found, cpu.objective.gradient(w), IN_DTYPE[dtype])
    assert not gpu.objective._at_one.refused and not gpu.objective._at_several.refused


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_higher_derivatives_are_those_of_the_cpu(architecture):
    cpu, gpu = both(architecture)
    w, v = cpu.w0, torch.linspace(-1, 1, len(cpu.w0), dtype=torch.float64)
    check(gpu.objective, gpu.w0)
    near(gpu.objective.linearise(w.cuda()).product(v.cuda()), cpu.objective.linearise(w).product(v), 1e-10)
    rows = torch.stack([v, v.flip(0)])
    near(gpu.objective.linearise(w.cuda()).product(rows.cuda()), cpu.objective.linearise(w).product(rows), 1e-10)
    for found, wanted in zip(
        gpu.objective.third_derivatives(w.cuda(), v[:, None].cuda()),
        cpu.objective.third_derivatives(w, v[:, None]),
        strict=True,
    ):
        near(found, wanted, 1e-9)
    sharpness = [
        float(Curvature(p.objective, sharpness_tolerance=1e-4).effective_sharpness(p.w0, torch.ones_like(p.w0), 1.0)[0])
        for p in (cpu, gpu)
    ]
    assert sharpness[1] == pytest.approx(sharpness[0], rel=1e-6)


def test_single_precision_is_single_precision():
    """A convolution in TF32, torch's default on a GPU, is off by 1e-3."""
    module = build("cnn", (3, 32, 32), 10, 0, filters=[32, 64], dense=64)
    x, y = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 10
    exact = Objective.from_module(module.double(), x.double(), y)
    w = flat_parameters(module)
    found = Objective.from_module(module.float(), x.cuda(), y.cuda()).gradient(w.float().cuda())
    near(found.double(), exact.gradient(w.float().double()), 1e-5)


@pytest.mark.parametrize("steps", [1, 7])
def test_rounding_errors_are_those_of_the_cpu(steps):
    w = torch.linspace(-1, 1, 50_000)
    for t in range(steps):
        assert torch.equal(rounding_errors(w.cuda(), 1e-7, t, 3).cpu(), rounding_errors(w, 1e-7, t, 3))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_run_and_its_flow_are_those_of_the_cpu(architecture):
    """Before the edge, where nothing is chaotic."""
    found = []
    for problem in both(architecture):
        optimizer = rf.Adam(learning_rate=1e-3)
        run = rf.train(problem.objective, optimizer, problem.w0, steps=80)
        flow = rf.integrate(rf.DriftFreeRod(problem.objective, optimizer), start=run.window(at=60), steps=20)
        found.append((run.loss, flow.series.sharpness, flow.centres))
    for ours, wanted in zip(found[1], found[0], strict=True):
        near(torch.as_tensor(ours), torch.as_tensor(wanted), 1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_same_run_has_the_same_bits(architecture):
    losses = []
    for _ in range(2):
        problem = both(architecture, torch.float32)[1]
        run = rf.train(problem.objective, rf.GradientDescent(learning_rate=0.1), problem.w0, steps=100)
        losses.append(run.loss)
    assert torch.equal(*losses)


def test_a_saved_run_of_a_gpu_opens_on_a_cpu(tmp_path):
    problem = both("mlp")[1]
    run = rf.train(problem.objective, rf.Adam(learning_rate=1e-3), problem.w0, steps=40)
    rf.save(run, tmp_path / "run.h5")
    assert torch.equal(rf.load(tmp_path / "run.h5").loss, run.loss)
