"""The objective against finite differences, torch.autograd and torch.func."""

import math

import pytest
import torch
from helpers.problems import bowl, central_difference, digits_mlp, network, quartic, square_root, valley

from rodflow.errors import InvalidInput
from rodflow.training.objective import Cost, Objective, flat_parameters

pytestmark = pytest.mark.usefixtures("traced_at_once")

CRITERIA = ["mse", "cross_entropy"]


def close(a, b, rtol=1e-12, atol=1e-12):
    torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_value_is_that_of_torch_functional(criterion):
    net = network(criterion=criterion)
    objective = net.objective()
    close(objective.value(net.w0), net.loss(net.w0))
    value, gradient = objective.value_and_gradient(net.w0)
    close(value, net.loss(net.w0))
    w = net.w0.clone().requires_grad_()
    close(gradient, torch.autograd.grad(net.loss(w), w)[0])


@pytest.mark.parametrize("criterion", CRITERIA)
def test_gradient_against_finite_differences(criterion):
    net = network(criterion=criterion)
    objective = net.objective()
    gradient = objective.gradient(net.w0)
    slopes = torch.stack([central_difference(objective.value, net.w0, e) for e in torch.eye(len(net.w0)).double()])
    close(gradient, slopes, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_hessian_products_against_dense_hessian(criterion, chunk_size):
    net = network(criterion=criterion)
    objective = net.objective(chunk_size)
    dense = net.hessian(net.w0)
    gradient, product, _ = objective.linearise(net.w0)
    close(gradient, torch.func.grad(net.loss)(net.w0))
    for seed in range(3):
        v = torch.randn(len(net.w0), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        close(product(v), dense @ v)
        close(objective.hessian_vector_product(net.w0, v), dense @ v)


@pytest.mark.parametrize("landscape", [quartic(2.0, 0.7), valley(curvature=0.3), square_root(), bowl(2)])
def test_toy_landscape_needs_no_data(landscape):
    w = torch.tensor([0.3, -0.4], dtype=torch.float64)
    v = torch.tensor([1.0, 2.0], dtype=torch.float64)
    close(landscape.objective.gradient(w), landscape.gradient(w))
    close(landscape.objective.hessian_vector_product(w, v), landscape.hessian(w) @ v)
    close(landscape.objective.linearise(w)[1](v), landscape.hessian(w) @ v)


def test_linear_landscape_has_zero_hessian():
    slope = torch.tensor([1.0, -2.0], dtype=torch.float64)
    objective, w = Objective(lambda w: w @ slope), torch.ones(2, dtype=torch.float64)
    gradient, product, _ = objective.linearise(w)
    close(gradient, slope)
    close(product(slope), torch.zeros_like(slope))
    close(objective.hessian_vector_product(w, slope), torch.zeros_like(slope))


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("chunk_size", [1, 3, 7, 100])
def test_chunks_change_nothing(criterion, chunk_size):
    net = network(criterion=criterion)
    whole, parts = net.objective(), net.objective(chunk_size)
    v = torch.linspace(-1, 1, len(net.w0), dtype=torch.float64)
    close(parts.value(net.w0), whole.value(net.w0))
    close(parts.value_and_gradient(net.w0), whole.value_and_gradient(net.w0))
    close(parts.hessian_vector_product(net.w0, v), whole.hessian_vector_product(net.w0, v))
    close(parts.linearise(net.w0)[0], whole.linearise(net.w0)[0])
    close(parts.linearise(net.w0)[1](v), whole.linearise(net.w0)[1](v))


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_full_batch_evaluations_are_counted(chunk_size):
    net = network()
    objective = net.objective(chunk_size)
    assert objective.cost == Cost(0, 0, 0)
    objective.value(net.w0)
    assert objective.cost == Cost(1, 0, 0)
    objective.gradient(net.w0)
    objective.value_and_gradient(net.w0)
    assert objective.cost == Cost(1, 2, 0)
    before = objective.cost.copy()
    _, product, _ = objective.linearise(net.w0)
    assert objective.cost - before == Cost(0, 1, 0)
    product(net.w0)
    product(net.w0)
    again = 2 * (chunk_size is not None)  # in chunks each product builds the gradient's graph anew
    assert objective.cost - before == Cost(0, 1 + again, 2)
    objective.hessian_vector_product(net.w0, net.w0)
    assert objective.cost == Cost(1, 4 + again, 3)
    assert before == Cost(1, 2, 0)
    assert Cost(1, 4, 3).in_gradients(2.5) == 4 + 3 * 2.5


@pytest.mark.parametrize("criterion", CRITERIA)
def test_float32_follows_float64(criterion):
    net = network(criterion=criterion)
    double = net.objective()
    single = Objective.from_module(net.module, net.x.float(), net.y, criterion)
    w, v = net.w0, torch.linspace(-1, 1, len(net.w0), dtype=torch.float64)
    for f in (Objective.value, Objective.gradient):
        assert f(single, w.float()).dtype == torch.float32
        close(f(single, w.float()).double(), f(double, w), rtol=1e-4, atol=1e-5)
    product = single.hessian_vector_product(w.float(), v.float())
    assert product.dtype == torch.float32
    close(product.double(), double.hessian_vector_product(w, v), rtol=1e-4, atol=1e-4)


def test_weights_are_not_touched():
    net = network()
    objective, w = net.objective(), net.w0.clone()
    with torch.no_grad():  # flows run without autograd
        objective.gradient(w)
        objective.linearise(w)[1](w)
    assert torch.equal(w, net.w0)
    assert not w.requires_grad


def test_flat_parameters_follow_named_parameters():
    net = network("cnn")
    flat, start = flat_parameters(net.module), 0
    for _, p in net.module.named_parameters():
        assert torch.equal(flat[start : start + p.numel()], p.detach().flatten())
        start += p.numel()
    assert start == len(flat)


def test_digits_loss_starts_near_the_loss_of_a_zero_output():
    problem = digits_mlp()
    assert problem.w0.shape == (64 * 3 + 3 + 3 * 10 + 10,)
    assert problem.w0.dtype == torch.float64
    close(problem.objective.value(torch.zeros_like(problem.w0)), torch.tensor(0.5, dtype=torch.float64))


def test_unknown_loss_is_refused():
    net = network()
    with pytest.raises(InvalidInput, match=r"loss.*hinge.*mse") as caught:
        Objective.from_module(net.module, net.x, net.y, "hinge")
    assert caught.value.key == "loss"


@pytest.mark.parametrize("chunk_size", [0, -3])
def test_bad_chunk_size_is_refused(chunk_size):
    with pytest.raises(InvalidInput) as caught:
        network().objective(chunk_size)
    assert (caught.value.key, caught.value.value) == ("chunk_size", chunk_size)


@pytest.mark.parametrize("chunk_size", [None, 3])
@pytest.mark.parametrize("architecture", ["mlp", "cnn", "vit"])
def test_third_derivatives_are_those_of_the_dense_hessian(architecture, chunk_size):
    net = network(architecture)
    objective = net.objective(chunk_size)
    u = torch.randn(len(net.w0), 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    products, third = objective.third_derivatives(net.w0, u)
    torch.testing.assert_close(products, net.hessian(net.w0) @ u)
    torch.testing.assert_close(third, torch.func.jacrev(lambda w: u.T @ net.hessian(w) @ u)(net.w0))
    assert objective.cost == Cost(0, 1, 2 + 2 * 3)


@pytest.mark.parametrize("loss", [lambda w: w.sum(), lambda w: w @ w / 2, lambda w: (w**3).sum() / 6])
def test_third_derivatives_of_losses_that_run_out_of_derivatives(loss):
    w, u = torch.tensor([1.0, 2.0]), torch.eye(2)
    products, third = Objective(loss).third_derivatives(w, u)
    torch.testing.assert_close(products, torch.func.hessian(loss)(w))
    torch.testing.assert_close(third, torch.func.jacrev(torch.func.hessian(loss))(w))


class Small:
    """A device that has memory for so many examples: a network's loss that runs out of it beyond."""

    def __init__(self, net, room):
        self.net, self.room, self.sums = net, room, net.objective(2)._loss

    def __call__(self, w, x, y):
        if len(x) > self.room:
            raise torch.OutOfMemoryError("out of memory")
        return self.sums(w, x, y)


@pytest.mark.parametrize("compile", ["auto", "off"])
@pytest.mark.parametrize("ask", ["value", "gradient", "gradients", "hessian_vector_product", "linearise"])
def test_without_memory_examples_are_visited_in_smaller_chunks(ask, compile, caplog):
    """Seven examples, room for three: 4, then 2 at once, said once each, and the right numbers."""
    net = network()
    w, v = net.w0, torch.ones_like(net.w0)
    small, whole = Objective(Small(net, 3), (net.x, net.y), compile=compile), net.objective()
    asked = {
        "value": lambda o: o.value(w),
        "gradient": lambda o: o.gradient(w),
        "gradients": lambda o: torch.stack(o.gradients([w, 2 * w])),
        "hessian_vector_product": lambda o: o.hessian_vector_product(w, v),
        "linearise": lambda o: o.linearise(w)[1](v),
    }[ask]
    for _ in range(2):
        close(asked(small), asked(whole))
    said = [record.message for record in caplog.records if record.name == "rodflow"]
    assert said == [
        f"the device has no memory for {n} examples at once: going on with {m}" for n, m in ((7, 4), (4, 2))
    ]


def test_a_product_without_memory_is_taken_in_chunks(monkeypatch):
    """The gradient's graph fits, its derivative does not."""
    net = network()
    v = torch.ones_like(net.w0)
    objective, plain = net.objective(), Objective._differentiate
    product = objective.linearise(net.w0)[1]

    def differentiate(gradient, leaf, v, **settings):
        if not objective._in_chunks:
            raise torch.OutOfMemoryError("out of memory")
        return plain(gradient, leaf, v, **settings)

    monkeypatch.setattr(objective, "_differentiate", differentiate)
    close(product(v), net.hessian(net.w0) @ v)
    assert objective._chunk_size == 4


def test_no_memory_for_one_example_is_an_error():
    net = network()
    with pytest.raises(torch.OutOfMemoryError):
        Objective(Small(net, 0), (net.x, net.y)).gradient(net.w0)


@pytest.mark.parametrize("chunk_size", [None, 3])
def test_derivatives_share_a_graph(chunk_size):
    """Products of rows, and third derivatives after them, are those of each alone; a chunk's are counted anew."""
    net = network("mlp")
    objective, apart = net.objective(chunk_size), net.objective()
    v = torch.randn(4, len(net.w0), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    linearised = objective.linearise(net.w0)
    close(linearised.product(v), torch.stack([apart.hessian_vector_product(net.w0, row) for row in v]))
    assert objective.cost == (Cost(0, 1, 4) if chunk_size is None else Cost(0, 5, 4))
    for found, wanted in zip(
        linearised.third_derivatives(v[:2].T), apart.third_derivatives(net.w0, v[:2].T), strict=True
    ):
        close(found, wanted)
    assert objective.cost.gradients == (1 if chunk_size is None else 6)


class Cube(torch.autograd.Function):
    """x³ whose first derivative torch cannot batch."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * Slope.apply(x)


class Slope(torch.autograd.Function):
    """3x², with a derivative that reads a number out of its argument."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return 3 * x**2

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 6 * x * gradient * (1.0 if math.isfinite(float(gradient.sum())) else 0.0)


def test_products_that_cannot_be_batched_are_evaluated_one_by_one():
    w, v = torch.arange(1.0, 4.0).double(), torch.eye(3).double()
    objective = Objective(lambda w: Cube.apply(w).sum())
    close(objective.linearise(w).product(v), torch.diag(6 * w))
    assert objective.cost == Cost(0, 1, 3)
