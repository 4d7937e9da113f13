"""What PyTorch users have, as a module or a loss of theirs: the right number, or a refusal that names what is wrong."""

import copy
import pickle
from types import SimpleNamespace

import pytest
import torch
from helpers.problems import network, optimizer, quadratic
from helpers.vectors import close, random, vector
from torch import nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from rodflow.errors import InvalidInput
from rodflow.flows.drift_free_rod import DriftFreeRod
from rodflow.flows.dynamics import Dynamics
from rodflow.flows.integrate import integrate
from rodflow.flows.rod import RodFlow
from rodflow.flows.rod_one_column import OneColumnRodFlow
from rodflow.flows.stable import StableFlow
from rodflow.optimizers.family import GradientDescent, HeavyBall
from rodflow.optimizers.step_map import step_map
from rodflow.training.discrete import train
from rodflow.training.objective import Objective, flat_parameters
from rodflow.training.preflight import check

pytestmark = pytest.mark.usefixtures("traced_at_once")

F = nn.functional


def seeded(make):
    torch.manual_seed(0)
    return make().double()


def inputs(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def labels(n, classes=3):
    return torch.arange(n) % classes


def gradient_by_torch(call, loss, x, y, module=None):
    """The gradient of the trainable parameters, by backward through the module itself."""
    module = module or call
    module.zero_grad()
    loss(call(x), y).backward()
    return torch.cat([p.grad.reshape(-1) for p in module.parameters() if p.requires_grad])


class Tokens(nn.Module):
    """Whole-number inputs, a buffer that is added to what they stand for, and tied embeddings."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("position", torch.linspace(-1, 1, 48).view(6, 8))

    def forward(self, x):
        return self.head(torch.tanh(self.embedding(x) + self.position).mean(1))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.layer(x).mean(1))


def test_frozen_parameters_stay_and_are_no_part_of_w():
    module = seeded(lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)))
    module[0].requires_grad_(False)
    x, y, w0 = inputs(20, 4), labels(20), flat_parameters(module)
    objective = Objective.from_module(module, x, y, "cross_entropy")
    assert w0.shape == (27,)
    close(objective.gradient(w0), gradient_by_torch(module, F.cross_entropy, x, y))
    run = train(objective, GradientDescent(0.1), w0, 50)
    descent = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], 0.1)
    for _ in range(50):
        descent.zero_grad()
        F.cross_entropy(module(x), y).backward()
        descent.step()
    close(run.loss[50], F.cross_entropy(module(x), y).detach())


def test_a_module_without_anything_to_train_is_refused():
    with pytest.raises(InvalidInput, match="require gradients"):
        Objective.from_module(nn.Linear(2, 2).requires_grad_(False), torch.ones(3, 2), labels(3, 2))


@pytest.mark.parametrize("chunk_size", [None, 7])
def test_tokens_with_a_buffer_and_tied_weights(chunk_size):
    module = seeded(Tokens)
    x, y = torch.arange(120).view(20, 6) % 11, labels(20, 11)
    objective, w = Objective.from_module(module, x, y, "cross_entropy", chunk_size), flat_parameters(module)
    assert w.shape == (88,)
    close(objective.value(w), F.cross_entropy(module(x), y).detach())
    close(objective.gradient(w), gradient_by_torch(module, F.cross_entropy, x, y))


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_attention_of_torch_has_second_derivatives(mode):
    module = getattr(seeded(Encoder), mode)()
    x, y, w = inputs(10, 4, 8), labels(10), flat_parameters(module)
    objective = Objective.from_module(module, x, y, "cross_entropy")
    close(objective.gradient(w), gradient_by_torch(module, F.cross_entropy, x, y), atol=1e-10)
    v, h = torch.ones_like(w) / len(w) ** 0.5, 1e-5
    difference = (objective.gradient(w + h * v) - objective.gradient(w - h * v)) / (2 * h)
    close(objective.linearise(w)[1](v), difference, rtol=1e-5, atol=1e-7)
    assert train(objective, GradientDescent(0.1), w, 20).sharpness.isfinite().all()


def test_evaluating_in_training_mode_changes_nothing_of_the_module():
    module = seeded(lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)))
    before = copy.deepcopy(module.state_dict())
    objective, w = Objective.from_module(module, inputs(24, 4), labels(24), "cross_entropy"), flat_parameters(module)
    value = objective.value(w)
    objective.gradient(w)
    objective.linearise(w)[1](w)
    assert torch.equal(objective.value(w), value)
    for name, part in module.state_dict().items():
        assert torch.equal(part, before[name]), name


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_labels_of_any_whole_numbers(loss, dtype):
    module, x, y = seeded(lambda: nn.Linear(4, 3)), inputs(20, 4), labels(20)
    w = flat_parameters(module)
    right = Objective.from_module(module, x, y, loss).value(w)
    assert torch.equal(Objective.from_module(module, x, y.to(dtype), loss).value(w), right)


def test_regression_and_soft_labels():
    module, x = seeded(lambda: nn.Linear(4, 3)), inputs(20, 4)
    w, y = flat_parameters(module), torch.softmax(inputs(20, 3), 1)
    for loss, theirs in (("mse", lambda o, t: 1.5 * F.mse_loss(o, t)), ("cross_entropy", F.cross_entropy)):
        close(Objective.from_module(module, x, y, loss).value(w), theirs(module(x), y).detach())


def test_binary_cross_entropy():
    module, x = seeded(lambda: nn.Linear(4, 1)), inputs(20, 4)
    w, y = flat_parameters(module), (x[:, :1] > 0).double()
    wanted = F.binary_cross_entropy_with_logits(module(x), y).detach()
    for targets in (y, y.long()):
        close(Objective.from_module(module, x, targets, "binary_cross_entropy").value(w), wanted)


@pytest.mark.parametrize("chunk_size", [None, 6])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_loss_of_the_users(reduction, chunk_size):
    """Huber's, summed or averaged."""
    module, x, y = seeded(lambda: nn.Linear(4, 2)), inputs(20, 4), inputs(20, 2)

    def huber(output, target):
        each = F.huber_loss(output, target, reduction="none").sum(1)
        return each.sum() if reduction == "sum" else each.mean()

    objective, w = Objective.from_module(module, x, y, huber, chunk_size, reduction=reduction), flat_parameters(module)
    close(objective.value(w), F.huber_loss(module(x), y, reduction="none").sum(1).mean().detach())


LINEAR = nn.Linear(3, 3)
ONE = nn.Linear(3, 1)
X = torch.linspace(-1, 1, 24).view(8, 3)
NAN = X.clone().index_fill_(0, torch.tensor([2]), float("nan"))


@pytest.mark.parametrize(
    ("module", "x", "y", "loss", "said"),
    [
        (LINEAR, X, labels(8)[:, None], "mse", r"y: got 'int64 \[8, 1\]'"),
        (LINEAR, X, labels(8)[:, None], "cross_entropy", r"y: got 'int64 \[8, 1\]'"),
        (LINEAR, X, torch.full((8,), 3), "mse", "numbers from 0 to 2"),
        (LINEAR, X, torch.full((8,), -1), "cross_entropy", "numbers from 0 to 2"),
        (LINEAR, X, torch.ones(8), "mse", r"y: got 'float32 \[8\]'"),
        (LINEAR, X, torch.full((8, 3), 2.0), "cross_entropy", "numbers from 0 to 1"),
        (ONE, X, torch.ones(8, 1), "cross_entropy", "binary_cross_entropy"),
        (ONE, X, torch.zeros(8, dtype=torch.int64), "cross_entropy", "binary_cross_entropy"),
        (ONE, X, torch.ones(8), "mse", r"\[8, 1\]"),
        (ONE, X, torch.ones(8), "binary_cross_entropy", r"\[8, 1\]"),
        (LINEAR, X, labels(9), "mse", "9 targets"),
        (LINEAR, X[:0], labels(0), "mse", "at least one example"),
        (LINEAR, NAN, labels(8), "mse", "x: got '3 numbers that are not finite'"),
        (LINEAR, X, NAN, "mse", "y: got '3 numbers that are not finite'"),
        (LINEAR, X.numpy(), labels(8), "mse", "x: got 'ndarray'"),
        (LINEAR, X, labels(8), "hinge", "loss: got 'hinge'"),
        (LINEAR, X, torch.full((8,), -100), "cross_entropy", "a target that is not ignored"),
        (LINEAR, X, labels(8).float(), "cross_entropy", r"y: got 'float32 \[8\]'"),
        (LINEAR, X, torch.eye(3)[labels(8)].long(), "cross_entropy", r"y: got 'int64 \[8, 3\]'"),
        (LINEAR, X, labels(8).bool()[:, None], "mse", r"y: got 'bool \[8, 1\]'"),
        (ONE, X, torch.full((8, 1), 2), "binary_cross_entropy", "numbers from 0 to 1"),
        (LINEAR, X, labels(8).numpy(), "mse", "y: got 'ndarray'"),
        (LINEAR, X.tolist(), labels(8), "mse", r"x\[0\]\[0\]: got 'float'"),
        (LINEAR, X.half(), labels(8), "mse", r"x: got 'float16 \[8, 3\]'"),
        (LINEAR, X.bfloat16(), labels(8), "mse", r"x: got 'bfloat16 \[8, 3\]'"),
        (LINEAR, X, torch.zeros(8, 3).bfloat16(), "mse", r"y: got 'bfloat16 \[8, 3\]'"),
        (LINEAR, X.to(torch.complex64), labels(8), "mse", r"x: got 'complex64 \[8, 3\]'"),
        (LINEAR, X.to_sparse(), labels(8), "mse", "sparse"),
        (LINEAR, X, labels(8).to("meta"), "mse", "y: got 'on meta'"),
        (LINEAR, (X, X[:4]), labels(8), "mse", "inputs of 8 and 4 examples"),
        (LINEAR, {"input": X, "more": X.double().log()}, labels(8), "mse", r"x\['more'\]: got '\d+ numbers"),
        (LINEAR, X, None, "mse", "y: got None"),
        (LINEAR, {"input": X}, "target", "mse", "y: got 'target', allowed: input"),
        (LINEAR, X, "target", "mse", "x is a Tensor"),
        (LINEAR, None, labels(8), "mse", "x: got None"),
        (LINEAR, X, labels(8), F.cross_entropy, "reduction: got 'sum', allowed: mean"),
        (
            LINEAR,
            X,
            labels(8),
            lambda o, t: F.cross_entropy(o, t, reduction="none"),
            r"loss: got 'one that gives \[4\]",
        ),
        (lambda x: x, X, labels(8), "mse", "module: got 'function'"),
        (nn.LazyLinear(3), X, labels(8), "mse", "not initialised"),
        (nn.LSTM(3, 3), X, labels(8), "mse", r"an output of type tuple', allowed: .*output\.logits"),
        (torch.jit.trace(LINEAR, X), X, labels(8), "mse", "scripted"),
    ],
)
def test_data_that_a_loss_cannot_take_are_refused(module, x, y, loss, said):
    with pytest.raises(InvalidInput, match=said):
        Objective.from_module(module, x, y, loss)


def test_w0_with_a_graph_is_detached():
    net = network()
    w0 = nn.utils.parameters_to_vector(net.module.parameters())
    run = train(net.objective(), GradientDescent(0.1), w0, 20)
    assert not (run.midpoints.requires_grad or run.states.w.requires_grad or run.window(10).states.w.requires_grad)


@pytest.mark.parametrize(
    "w0",
    [
        torch.ones(2, 3),
        torch.tensor(1.0),
        torch.ones(3, dtype=torch.int64),
        [1.0, 2.0],
        nn.Linear(2, 2),
        torch.zeros(0),
    ],
)
def test_w0_of_another_kind_is_refused(w0):
    with pytest.raises(InvalidInput, match=r"w0: got .* allowed: a flat tensor"):
        train(Objective(lambda w: (w**2).sum()), GradientDescent(0.1), w0, 20)


def test_w0_of_another_length_is_refused():
    with pytest.raises(InvalidInput, match=r"w: got \[7\]"):
        train(network().objective(), GradientDescent(0.1), torch.zeros(7).double(), 20)


@pytest.mark.parametrize("theirs", [torch.optim.SGD([torch.ones(2, requires_grad=True)], 0.1), GradientDescent, "adam"])
def test_no_step_map_is_refused(theirs):
    with pytest.raises(InvalidInput, match=r"optimizer: .*rodflow\.step_map"):
        train(Objective(lambda w: (w**2).sum()), theirs, vector(1.0, 2.0), 20)


@step_map(learning_rate=0.2)
def in_place(state, gradient, t):
    state.w.sub_(0.2 * gradient)
    return state


@step_map(learning_rate=0.2, momentum=True)
def momentum_in_place(state, gradient, t):
    state.m.mul_(0.9).add_(gradient, alpha=0.1)
    return state._replace(w=state.w - 0.2 * state.m)


@pytest.mark.parametrize(("theirs", "part"), [(in_place, "w"), (momentum_in_place, "m")])
def test_a_step_in_place_is_refused_and_w0_stays(theirs, part):
    w0 = vector(1.0, 2.0)
    with pytest.raises(InvalidInput, match=f"changes {part} in place"):
        train(quadratic(torch.eye(2).double()).objective, theirs, w0, 20)
    assert torch.equal(w0, vector(1.0, 2.0))


@pytest.mark.parametrize("ours", [optimizer("adam"), HeavyBall(0.1)])
def test_runs_flows_and_windows_survive_pickling(ours, tmp_path):
    net = network()
    run = train(net.objective(), ours, net.w0, 60)
    flow = integrate(StableFlow(net.objective(), ours), run.window(30), 30, reference=run)
    for kept in (run, run.window(30), flow):
        torch.save(kept, tmp_path / "kept.pt")
        for again in (pickle.loads(pickle.dumps(kept)), torch.load(tmp_path / "kept.pt", weights_only=False)):
            assert type(again) is type(kept)
    again = pickle.loads(pickle.dumps(run))
    assert torch.equal(again.midpoints, run.midpoints) and torch.equal(
        again.window(30).states.w, run.window(30).states.w
    )
    assert flow.error(again).equals(flow.error(run))


@pytest.mark.parametrize("make", [StableFlow, DriftFreeRod, RodFlow])
@pytest.mark.parametrize(
    ("of_run", "of_flow"),
    [
        (GradientDescent(0.2), optimizer("adam", 0.01)),
        (optimizer("adam", 0.01), GradientDescent(0.2)),
        (GradientDescent(0.2), GradientDescent(0.02)),
        (optimizer("adam", 0.01), optimizer("nadam", 0.01)),
    ],
)
def test_a_flow_from_the_window_of_another_optimizer_is_refused(make, of_run, of_flow):
    net = network()
    window = train(net.objective(), of_run, net.w0, 40).window(20)
    with pytest.raises(InvalidInput, match="start: got 'a window of"):
        integrate(make(net.objective(), of_flow), window, 20)
    integrate(make(net.objective(), of_run), window, 10)


def own(function):
    return step_map(learning_rate=0.6)(function)


@own
def plain(state, gradient, t):
    return state._replace(w=state.w - 0.6 * gradient)


@own
@torch.no_grad()
def without_grad(state, gradient, t):
    return state._replace(w=state.w - 0.6 * gradient)


@own
def with_data(state, gradient, t):
    return state._replace(w=state.w - 0.6 * gradient.data)


def test_a_step_without_a_derivative_is_refused_where_one_is_taken():
    net = network()
    v, none = torch.ones_like(net.w0), net.w0.new_zeros(0)
    close(Dynamics(net.objective(), plain).linearise(net.w0, none, 0.0)[1](v, none), -0.6 * net.hessian(net.w0) @ v)
    for theirs in (without_grad, with_data):
        run = train(net.objective(), theirs, net.w0, 40)
        integrate(StableFlow(net.objective(), theirs), run.window(20), 20)  # which takes none
        with pytest.raises(InvalidInput, match=r"\.step: its derivative disagrees with a finite difference"):
            integrate(OneColumnRodFlow(net.objective(), theirs), run.window(20), 20)


def test_a_random_module_is_refused_by_its_layers_names():
    module = seeded(lambda: nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Dropout(0.5), nn.Linear(16, 3)))
    state = torch.random.get_rng_state()
    with pytest.raises(InvalidInput, match=r"^Sequential, layer 2: it is random; .*eval"):
        Objective.from_module(module, inputs(20, 4), labels(20))
    assert torch.equal(torch.random.get_rng_state(), state)
    Objective.from_module(module.eval(), inputs(20, 4), labels(20))

    class Noisy(nn.Linear):
        def forward(self, x):
            return super().forward(x) + torch.rand_like(x[:, :1])

    with pytest.raises(InvalidInput, match="Noisy: it is random"):
        Objective.from_module(seeded(lambda: Noisy(4, 3)), inputs(20, 4), labels(20))


def test_chunks_of_a_module_whose_examples_depend_on_each_other_are_refused():
    module = seeded(lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)))
    x, y, w = inputs(24, 4), labels(24), flat_parameters(module)
    with pytest.raises(InvalidInput, match=r"chunk_size: got 12, allowed: null: .*\(1\)"):
        Objective.from_module(module, x, y, chunk_size=12)
    Objective.from_module(module, x, y, chunk_size=24)
    module.eval()
    whole, parts = (Objective.from_module(module, x, y, chunk_size=size) for size in (None, 7))
    close(whole.value(w), parts.value(w))


class Norm(nn.Module):
    """Layer norm of elementary operations."""

    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        return centred * torch.rsqrt((centred**2).mean(-1, keepdim=True) + 1e-5)


@pytest.mark.parametrize(("norm", "right"), [(lambda: nn.LayerNorm(12), False), (Norm, True)])
def test_third_derivatives_are_right_or_refused(norm, right):
    """Torch's fused layer norm is wrong at third order; the same of elementary operations is right."""
    module = seeded(lambda: nn.Sequential(nn.Linear(4, 12), norm(), nn.GELU(), nn.Linear(12, 3)))
    objective, w = Objective.from_module(module, inputs(40, 4), labels(40)), flat_parameters(module)
    v = random(len(w)) / len(w) ** 0.5
    if not right:
        with pytest.raises(InvalidInput, match="loss: its third derivatives disagree"):
            objective.third_derivatives(w, v[:, None])
        return
    before = objective.cost.copy()
    third = objective.third_derivatives(w, v[:, None])[1][0, 0]
    spent, h = objective.cost - before, 1e-5
    assert (spent.gradients, spent.hessian_vector_products) == (1, 3)
    ends = [objective.hessian_vector_product(w + sign * h * v, v) for sign in (1, -1)]
    close(third, (ends[0] - ends[1]) / (2 * h), rtol=1e-4, atol=1e-6)


class Two(nn.Module):
    """Two inputs, of which one is optional, and an output in an object."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Embedding(5, 4), nn.Linear(2, 4)

    def forward(self, tokens, numbers=None):
        shown = self.first(tokens).mean(1)
        return SimpleNamespace(logits=shown if numbers is None else shown + torch.tanh(self.second(numbers)))


def of_logits(output, target):
    return F.cross_entropy(output.logits, target, reduction="sum")


TOKENS, NUMBERS, TARGETS = torch.arange(60).view(20, 3) % 5, inputs(20, 2), labels(20, 4)
ROWS = [{"tokens": t, "numbers": n, "labels": y} for t, n, y in zip(TOKENS, NUMBERS, TARGETS, strict=True)]


class Rows(Dataset):
    def __len__(self):
        return len(ROWS)

    def __getitem__(self, i):
        return ROWS[i]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(ROWS)


WHOLE = TensorDataset(TOKENS, NUMBERS, TARGETS)
NAMED = {"tokens": TOKENS, "numbers": NUMBERS}


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ((TOKENS, NUMBERS), TARGETS),
        ([TOKENS, NUMBERS], TARGETS),
        (NAMED, TARGETS),
        (NAMED | {"labels": TARGETS}, "labels"),
        (WHOLE, None),
        (DataLoader(WHOLE, 7), None),
        (DataLoader(WHOLE, 7, shuffle=True), None),
        (DataLoader(WHOLE, 5, shuffle=True, drop_last=True), None),
        (Rows(), "labels"),
        (DataLoader(Rows(), 7), "labels"),
        (DataLoader(Stream(), 7), "labels"),
    ],
)
def test_inputs_as_users_hold_them(x, y):
    """The same numbers whatever holds the data, in the same order: to the bit."""
    module, before = seeded(Two), torch.random.get_rng_state()
    objective, w = Objective.from_module(module, x, y, of_logits, chunk_size=8), flat_parameters(module)
    check(objective, w)
    assert torch.equal(torch.random.get_rng_state(), before)
    plain = Objective.from_module(module, (TOKENS, NUMBERS), TARGETS, of_logits, chunk_size=8)
    assert torch.equal(objective.gradient(w), plain.gradient(w))
    close(
        objective.gradient(w),
        gradient_by_torch(lambda _: module(TOKENS, NUMBERS), of_logits, None, TARGETS, module) / 20,
    )


@pytest.mark.parametrize(
    ("loader", "said"),
    [
        (DataLoader(WHOLE, 5, sampler=WeightedRandomSampler([1.0] * 20, 20)), "WeightedRandomSampler"),
        (DataLoader(WHOLE, 5, sampler=SubsetRandomSampler(range(7))), "SubsetRandomSampler.*Subset"),
        (DataLoader(WHOLE, 7, drop_last=True), "drop_last=False"),
        (DataLoader([(torch.zeros(2 + i), 0) for i in range(3)], 1), "of one shape: pad"),
    ],
)
def test_loaders_that_hold_no_full_batch_are_refused(loader, said):
    with pytest.raises(InvalidInput, match=rf"x: got .*{said}"):
        Objective.from_module(seeded(Two), loader, None, of_logits)


def test_a_dataset_beside_targets_is_refused():
    with pytest.raises(InvalidInput, match="y: got 'Tensor', allowed: none beside x"):
        Objective.from_module(seeded(Two), WHOLE, TARGETS, of_logits)


def test_a_loss_of_the_modules_own_needs_no_targets():
    class Own(nn.Linear):
        def forward(self, x):
            return {"loss": super().forward(x).square().mean()}

    module, x = seeded(lambda: Own(4, 3)), inputs(20, 4)
    objective = Objective.from_module(module, x, None, lambda output, _: output["loss"], reduction="mean")
    close(objective.value(flat_parameters(module)), module(x)["loss"].detach())


@pytest.mark.parametrize("chunk_size", [None, 7])
def test_ignored_targets_add_nothing(chunk_size):
    """The sum over those that count, over the number of examples; torch's mean divides by those that count."""
    module, x = seeded(lambda: nn.Linear(4, 3)), inputs(20, 4)
    y = torch.where(torch.arange(20) % 3 == 1, -100, labels(20))
    value = Objective.from_module(module, x, y, "cross_entropy", chunk_size).value(flat_parameters(module))
    close(value, F.cross_entropy(module(x), y).detach() * (y >= 0).sum() / 20)


def test_an_objective_is_of_the_module_as_it_was():
    module = seeded(lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)))
    x, y, w = inputs(24, 4), labels(24), flat_parameters(module)
    objective = Objective.from_module(module, x, y, "cross_entropy")
    value, gradient = objective.value(w), objective.gradient(w)
    module(x)
    module.eval()[0].requires_grad_(False)
    module[3].bias.data.fill_(7.0)
    assert torch.equal(objective.value(w), value) and torch.equal(objective.gradient(w), gradient)
    with pytest.raises(InvalidInput, match=r"w: got \[33\]"):
        objective.value(flat_parameters(module))


def test_padded_tokens_of_torchs_encoder_count_as_in_training():
    """Its fast path in eval mode, taken where nothing is differentiated, puts zeros where padding is."""
    module = seeded(lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1)).eval()
    x, padded = inputs(10, 4, 8), torch.arange(4).expand(10, 4) >= 2 + torch.arange(10)[:, None] % 3
    data = {"src": x, "src_key_padding_mask": padded}
    objective, w = Objective.from_module(module, data, inputs(10, 4, 8)), flat_parameters(module)
    close(objective.value(w), objective.value_and_gradient(w)[0])


def test_attention_over_the_axis_of_examples_is_not_cut_into_chunks():
    layer = seeded(lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0))  # batch_first=False
    with pytest.raises(InvalidInput, match="chunk_size: got 5, allowed: null"):
        Objective.from_module(layer, inputs(10, 4, 8), inputs(10, 4, 8), chunk_size=5)


@pytest.mark.parametrize("hooked", ["hook", "complex"])
def test_parameters_that_are_not_what_they_seem_are_refused(hooked):
    module = nn.Linear(3, 3)
    if hooked == "hook":
        module.weight.register_hook(lambda gradient: 0 * gradient)  # a user's way to freeze rows
    else:
        module = module.to(torch.complex64)
    with pytest.raises(InvalidInput, match=f"module, weight: .*{hooked}"):
        Objective.from_module(module, X, labels(8))


def test_data_with_a_graph_are_detached():
    module, x = seeded(lambda: nn.Linear(4, 3)), inputs(20, 4).requires_grad_()
    run = train(Objective.from_module(module, 2 * x, labels(20)), GradientDescent(0.1), flat_parameters(module), 20)
    assert not run.loss.requires_grad and x.grad is None


def test_single_precision_targets_leave_double_precision():
    module, x = seeded(lambda: nn.Linear(4, 3)), inputs(20, 4)
    objective = Objective.from_module(module, x, inputs(20, 3).float())
    assert objective.epsilon(flat_parameters(module)) == torch.finfo(torch.float64).eps


def test_a_flow_on_other_data_than_its_windows_is_refused():
    net = network()
    ours = GradientDescent(0.1)
    window = train(net.objective(), ours, net.w0, 40).window(20)
    for again in (window, pickle.loads(pickle.dumps(window))):
        with pytest.raises(InvalidInput, match="start: got 'a window at a loss of"):
            integrate(StableFlow(Objective.from_module(net.module, 2 * net.x, net.y), ours), again, 20)
    with pytest.raises(InvalidInput, match=r"w: got "):
        integrate(StableFlow(network("cnn").objective(), ours), window, 20)
