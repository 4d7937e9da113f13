"""The networks and their derivatives up to the third against finite differences."""

import numpy as np
import pytest
import torch
from helpers.problems import SIZES, central_difference, network
from torch import nn
from torch.func import grad, jvp

from rodflow.errors import InvalidInput
from rodflow.problems import datasets
from rodflow.problems.architectures import ACTIVATIONS, Attention, LayerNorm, build
from rodflow.problems.networks import digits, network_problem, resolve_device
from rodflow.training.objective import Objective, flat_parameters

pytestmark = pytest.mark.usefixtures("traced_at_once")

ARCHITECTURES = ["mlp", "cnn", "vit"]


def directions(d, count=2):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(count, d, generator=generator, dtype=torch.float64)


def close(a, b, rtol=1e-7, atol=1e-9):
    torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("criterion", ["mse", "cross_entropy"])
def test_gradient_and_hessian_product_against_finite_differences(architecture, criterion):
    net = network(architecture, criterion)
    objective = net.objective()
    for v in directions(len(net.w0)):
        close(objective.gradient(net.w0) @ v, central_difference(objective.value, net.w0, v))
        close(objective.hessian_vector_product(net.w0, v), central_difference(objective.gradient, net.w0, v))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_third_derivative_against_finite_differences(architecture):
    net = network(architecture, "cross_entropy")
    objective = net.objective()
    u, v = directions(len(net.w0))

    def product(w):
        return jvp(grad(net.loss), (w,), (v,))[1]

    close(product(net.w0), objective.hessian_vector_product(net.w0, v), rtol=1e-10)
    third = jvp(product, (net.w0,), (u,))[1]
    close(third, central_difference(lambda w: objective.hessian_vector_product(w, v), net.w0, u), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_network_has_every_activation_with_its_derivatives(activation):
    x, y = torch.linspace(-2, 2, 48, dtype=torch.float64).sin().reshape(3, 1, 4, 4), torch.arange(3)
    for architecture in ARCHITECTURES:
        module = build(architecture, (1, 4, 4), 3, 0, **SIZES[architecture], activation=activation)
        kinds = {type(layer) for layer in module.modules()} & set(ACTIVATIONS.values())
        assert kinds == {ACTIVATIONS[activation]}
        objective, w = Objective.from_module(module, x, y, compile="off"), flat_parameters(module)
        (v,) = directions(len(w), 1)
        close(objective.gradient(w) @ v, central_difference(objective.value, w, v))
        close(objective.hessian_vector_product(w, v), central_difference(objective.gradient, w, v), atol=1e-8)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_grey_images_need_no_axis_of_channels(architecture):
    x = torch.linspace(-2, 2, 48, dtype=torch.float64).sin().reshape(3, 4, 4)
    with_axis, without = (build(architecture, shape, 3, 0, **SIZES[architecture]) for shape in ((1, 4, 4), (4, 4)))
    assert torch.equal(without(x), with_axis(x[:, None]))


@pytest.mark.parametrize("shape", [(10,), (1, 4, 6), (1, 1, 4, 4)])
def test_networks_for_images_take_no_other_inputs(shape):
    for architecture in ("cnn", "vit"):
        with pytest.raises(InvalidInput, match=f"architectures: got '{architecture}', allowed: mlp, or"):
            build(architecture, shape, 3, 0, **SIZES[architecture])
    assert build("mlp", shape, 3, 0, widths=(2,))(torch.ones(2, *shape, dtype=torch.float64)).shape == (2, 3)


def problem_of(x, y, *words, **settings):
    """A linear model on examples, in double precision, its weights drawn anew."""
    examples = datasets.select(np.asarray(x), np.asarray(y), len(x))
    made = network_problem(examples, "mlp", {"widths": []}, *words, dtype=torch.float64, device="cpu", **settings)
    return made.objective, directions(made.w0.numel(), 1)[0], torch.as_tensor(examples.x)


def test_a_regression_is_least_squares():
    """Its Hessian is that of the normal equations, its minimum numpy's."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=30)
    objective, w, inputs = problem_of(x, y, "mse")
    features = np.hstack([inputs, np.ones((30, 1))])
    best = np.linalg.lstsq(features, y, rcond=None)[0]
    close(objective.gradient(torch.as_tensor(best)), torch.zeros(5, dtype=torch.float64), atol=1e-12)
    close(objective.hessian_vector_product(w, w), torch.as_tensor(features.T @ features / 30) @ w)
    close(objective.value(w), torch.as_tensor(0.5 * np.mean((features @ w.numpy() - y) ** 2)))


def test_two_classes_by_one_output():
    x, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2 + 4  # labels 4 and 5
    objective, w, inputs = problem_of(x, y, "binary_cross_entropy")
    expected = nn.functional.binary_cross_entropy_with_logits(inputs @ w[:3] + w[3], torch.as_tensor(y - 4.0))
    close(objective.value(w), expected)
    with pytest.raises(InvalidInput, match=r"loss: got 'binary_cross_entropy', allowed: .*for 3 classes"):
        problem_of(x, np.arange(20) % 3, "binary_cross_entropy")
    with pytest.raises(InvalidInput, match="loss: got 'cross_entropy', allowed: binary_cross_entropy or mse"):
        problem_of(x, x[:, 0], "cross_entropy")


def test_whole_numbers_are_for_networks_of_ones_own():
    class Bag(nn.Module):
        def __init__(self, shape, outputs, words):
            super().__init__()
            self.embedding = nn.Embedding(words, outputs)

        def forward(self, x):
            return self.embedding(x).mean(1)

    tokens = datasets.select(np.array([[0, 1], [2, 2]]), np.array([0, 1]), 2, normalise=False)
    problem = network_problem(tokens, Bag, {"words": 3}, device="cpu")
    output = problem.w0.reshape(3, 2)[torch.as_tensor(tokens.x)].mean(1)
    close(problem.objective.value(problem.w0), 0.5 * ((output - torch.eye(2)) ** 2).sum() / 2, rtol=1e-6)
    with pytest.raises(InvalidInput, match="architectures: got 'mlp', allowed: a network of your own"):
        network_problem(tokens, "mlp", {"widths": []}, device="cpu")


def test_layer_norm_is_torchs():
    norm, x = LayerNorm(6).double(), directions(6, 4)
    with torch.no_grad():
        norm.gain.copy_(torch.linspace(0.5, 2, 6))
        norm.bias.copy_(torch.linspace(-1, 1, 6))
    close(norm(x), nn.functional.layer_norm(x, (6,), norm.gain, norm.bias, norm.eps), rtol=1e-12, atol=1e-12)


def test_attention_is_torchs():
    ours, x = Attention(8, 2).double(), directions(15 * 8, 1).reshape(3, 5, 8)
    theirs = nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.in_proj_bias.copy_(ours.qkv.bias)
        theirs.out_proj.weight.copy_(ours.out.weight)
        theirs.out_proj.bias.copy_(ours.out.bias)
    close(ours(x), theirs(x, x, x, need_weights=False)[0], rtol=1e-12, atol=1e-12)


def test_layer_norm_third_derivative():
    norm, weights = LayerNorm(5).double(), directions(5, 1)[0]
    x, (u, v) = torch.linspace(-1, 2, 5, dtype=torch.float64) ** 2, directions(5)

    def f(x):
        return (weights * torch.sin(norm(x))).sum()

    def product(x):
        return jvp(grad(f), (x,), (v,))[1]

    close(product(x), central_difference(grad(f), x, v))
    close(jvp(product, (x,), (u,))[1], central_difference(product, x, u))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_seed_fixes_the_weights(architecture):
    before = torch.random.get_rng_state()
    first, again, other = (
        flat_parameters(build(architecture, (1, 4, 4), 3, seed, **SIZES[architecture])) for seed in (1, 1, 2)
    )
    assert first.dtype == torch.float64
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_examples_do_not_see_each_other(architecture):
    net = network(architecture)
    together = net.module(net.x)
    assert together.shape == (7, 3)
    close(torch.cat([net.module(x[None]) for x in net.x]), together, rtol=1e-12, atol=1e-12)


def test_vit_patches_are_squares_of_the_image():
    module = build("vit", (2, 4, 4), 3, 0, patch=2, width=4, depth=0, heads=1, hidden=4)
    x = torch.arange(32, dtype=torch.float64).reshape(1, 2, 4, 4)
    seen = []
    module.embedding.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    module(x)
    expected = nn.functional.unfold(x, 2, stride=2).transpose(1, 2)
    assert torch.equal(seen[0], expected)


@pytest.mark.parametrize(
    ("architecture", "sizes", "key"),
    [
        ("vit", {"heads": 3}, "heads"),
        ("vit", {"patch": 3}, "patch"),
        ("cnn", {"filters": (2, 2, 2)}, "filters"),
        ("rnn", {}, "architecture"),
    ],
)
def test_bad_sizes_are_refused(architecture, sizes, key):
    with pytest.raises(InvalidInput) as caught:
        build(architecture, (1, 4, 4), 3, 0, **(SIZES.get(architecture, {}) | sizes))
    assert caught.value.key == key


@pytest.mark.parametrize(("architecture", "examples", "device"), [("mlp", 100, "cpu"), ("cnn", 2000, "cuda")])
def test_device_auto_is_a_gpu_only_where_the_network_is_large(monkeypatch, caplog, architecture, examples, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    small = {"mlp": {"widths": (8,)}, "cnn": {"filters": (16, 32), "dense": 32}}[architecture]
    problem = digits(architecture, 50, sizes=small, device="cpu")
    per_example = problem.objective.gradient_flops(problem.w0) / 50
    with caplog.at_level("INFO"):
        assert resolve_device("auto", lambda: examples * per_example).type == device
    assert f"device {device}" in caplog.text


def test_operations_are_counted_without_data():
    """On the device "meta", as on another."""
    problem = digits("vit", 20, device="cpu")
    x, y = problem.objective._data
    nowhere = Objective(problem.objective._loss, (x.to("meta"), y.to("meta")))
    assert nowhere.gradient_flops(problem.w0.to("meta")) == problem.objective.gradient_flops(problem.w0) > 0
