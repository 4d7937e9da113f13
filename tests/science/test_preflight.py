"""The check of an objective at its first weights: what passes, what is refused and whose fault it is, what it costs."""

import copy
import pickle
import threading

import pytest
import torch
from helpers.problems import network, optimizer
from helpers.vectors import close, random, vector
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from rodflow.errors import InvalidInput
from rodflow.flows.drift_free_rod import DriftFreeRod
from rodflow.flows.integrate import integrate
from rodflow.flows.stable import StableFlow
from rodflow.optimizers.family import GradientDescent
from rodflow.training import preflight
from rodflow.training.cost import Cost
from rodflow.training.discrete import train
from rodflow.training.objective import Objective, flat_parameters
from rodflow.training.preflight import check

pytestmark = pytest.mark.usefixtures("traced_at_once")

F = nn.functional
X, Y = random(30, 5), torch.arange(30) % 3


class Call(nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def around(layer):
    """A perceptron with a layer of 8 numbers inside, called 1.1."""
    return nn.Sequential(nn.Linear(5, 8), nn.Sequential(nn.Tanh(), layer), nn.Linear(8, 3))


class Constant(torch.autograd.Function):
    """tanh whose gradient is a constant to torch: no second derivative."""

    @staticmethod
    def forward(ctx, x):
        ctx.slope = 1 - torch.tanh(x).detach() ** 2
        return torch.tanh(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.slope


class Once(torch.autograd.Function):
    """tanh that torch is told to differentiate once."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.tanh(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient * (1 - torch.tanh(ctx.saved_tensors[0]) ** 2)


class Wrong(torch.autograd.Function):
    """A square whose gradient is that of half of it."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0]


class Again(nn.Module):
    """Computes its layer again in the backward pass, when the module's parameters are its own once more."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 8)

    def forward(self, x):
        return checkpoint(self.inner, x, use_reentrant=False)


class Attention(nn.MultiheadAttention):
    """Of each example alone to itself."""

    def forward(self, x):
        return super().forward(x, x, x)[0]


def refused(module, dtype=torch.float64):
    torch.manual_seed(0)
    module = module().to(dtype)
    with pytest.raises(InvalidInput) as caught:
        objective = Objective.from_module(module, X.to(dtype), Y, "cross_entropy")
        check(objective, flat_parameters(module))
    return str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (lambda: Call(Constant.apply), "second derivative is wrong"),
        (lambda: Call(Once.apply), "second derivative is wrong"),
        (lambda: Call(Wrong.apply), "is wrong"),
        (lambda: Call(lambda x: x * x.data), "is wrong"),
        (lambda: Call(lambda x: 0.1 * x + torch.sin(3 * x.detach())), "is wrong"),
        (lambda: parametrizations.spectral_norm(nn.Linear(8, 8)), "is wrong"),
        (lambda: Call(lambda x: F.dropout(x, 0.5, True)), "random"),
        (lambda: Call(lambda x: x + 0.01 * torch.randn_like(x)), "random"),
        (lambda: nn.RReLU(), "random"),
        (lambda: Attention(8, 2, dropout=0.5), "random"),
        (Again, "torch.utils.checkpoint"),
    ],
)
def test_a_fault_is_refused_by_the_layers_name(layer, kind, dtype):
    said = refused(lambda: around(layer()), dtype)
    assert kind in said and said.startswith("Sequential")
    assert ", layer 1.1" in said or kind == "torch.utils.checkpoint"


def test_spectral_norm_in_eval_mode_is_right():
    torch.manual_seed(0)
    module = around(parametrizations.spectral_norm(nn.Linear(8, 8))).double().eval()
    check(Objective.from_module(module, X, Y), flat_parameters(module))


def test_torchs_weight_norm_is_refused_where_its_second_derivative_is_wrong():
    """The oracle: a difference of gradients. A torch that mends it is taken."""
    torch.manual_seed(0)
    module = around(parametrizations.weight_norm(nn.Linear(8, 8))).double()
    objective, w = Objective.from_module(module, X, Y), flat_parameters(module)
    v, h = random(len(w)), 1e-6
    difference = (objective.gradient(w + h * v) - objective.gradient(w - h * v)) / (2 * h)
    right = torch.allclose(objective.linearise(w).product(v), difference, rtol=1e-4, atol=1e-6)
    if right:
        check(objective, w)
    else:
        with pytest.raises(InvalidInput, match=r"parametrizations\.weight.*write weight_norm out"):
            check(objective, w)


def convolutional():
    """Kinks at the start: biases of zero, borders of zero, and max pooling of equal numbers."""
    module = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)),
    )
    for p in module.parameters():
        if p.ndim == 1:
            nn.init.zeros_(p)
    return module


class Recurrent(nn.LSTM):
    def forward(self, x):
        return super().forward(x.unflatten(1, (5, 1)))[0][:, -1]


ORDINARY = {
    "relu": lambda: nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 64), nn.LeakyReLU(), nn.Linear(64, 3)),
    "layer norm": lambda: around(nn.LayerNorm(8)),
    "group norm": lambda: around(nn.GroupNorm(2, 8)),
    "rms norm": lambda: around(nn.RMSNorm(8)),
    "batch norm, training": lambda: around(nn.BatchNorm1d(8)),
    "lstm": lambda: Recurrent(1, 3, batch_first=True),
    "single precision inside": lambda: around(Call(lambda x: torch.tanh(x.float()).to(x.dtype))),
    "single precision and kinks inside": lambda: around(Call(lambda x: torch.relu(x.float() - 0.1).to(x.dtype))),
    "single precision alone": lambda: around(Call(lambda x: x @ torch.eye(8))),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_networks_pass(name, dtype):
    torch.manual_seed(0)
    module = ORDINARY[name]().to(dtype)
    if name == "single precision alone" and dtype == torch.float64:
        return  # a module that double precision cannot enter
    objective, w = Objective.from_module(module, X.to(dtype), Y, "cross_entropy"), flat_parameters(module)
    before = copy.deepcopy(module.state_dict())
    check(objective, w)
    assert objective.checked and objective.cost == Cost()
    assert all(torch.equal(part, before[name]) for name, part in module.state_dict().items()) and module.training


def test_max_pooling_with_ties_passes():
    torch.manual_seed(0)
    images = torch.rand(100, 1, 8, 8)
    images[:, :, :3] = 0
    module = convolutional()
    check(Objective.from_module(module, images, torch.arange(100) % 3, "cross_entropy"), flat_parameters(module))


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_it_costs_at_most_twelve_gradients_of_few_examples(chunk_size, monkeypatch):
    """Counted on the copies that are evaluated: a product is two gradients, a value a third of one."""
    made = []
    monkeypatch.setattr(Objective, "on", lambda self, data, on=Objective.on: made.append(on(self, data)) or made[-1])
    net = network()
    check(net.objective(chunk_size), net.w0)
    spent = sum((o.cost.in_gradients(2) + o.cost.values / 3) * o._examples / 7 for o in made)
    assert 5 < spent <= 12


@pytest.mark.parametrize("name", ["gd", "adam"])
def test_off_and_on_give_the_same_numbers(name):
    runs, flows = [], []
    for on in (True, False):
        net = network()
        objective, ours = net.objective(), optimizer(name)
        runs.append(train(objective, ours, net.w0.float(), 40, check=on))
        assert objective.checked == on
        other = net.objective()
        flows.append(integrate(DriftFreeRod(other, ours), runs[-1].window(20), 20, check=on))
        assert other.checked == on
    for name in ("loss", "midpoints", "sharpness"):
        assert torch.equal(getattr(runs[0], name), getattr(runs[1], name))
    assert torch.equal(flows[0].centres, flows[1].centres) and flows[0].cost == flows[1].cost


def test_an_objective_is_checked_once(monkeypatch):
    net, seen = network(), []
    objective = net.objective()
    monkeypatch.setattr(preflight, "check", lambda *given: seen.append(check(*given)))
    run = train(objective, GradientDescent(0.1), net.w0, 40)
    integrate(StableFlow(objective, GradientDescent(0.1)), run.window(20), 20)
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda w: (w * torch.rand_like(w)).sum(), "loss: it is random"),
        (lambda w: (w * w.detach()).sum(), "loss: its .* is wrong"),
        (lambda w: w.detach().square().sum(), "loss: its gradient is wrong"),
    ],
)
def test_functions_are_checked_too(loss, said):
    with pytest.raises(InvalidInput, match=said):
        train(Objective(loss), GradientDescent(0.1), vector(1.0, 2.0), 20)
    objective = Objective(loss)
    if "gradient" not in said:
        train(objective, GradientDescent(0.01), vector(1.0, 2.0), 20, check=False)


def test_chunks_of_a_loss_that_is_no_sum_are_refused():
    """Torch's mean over the targets that count, in chunks with other numbers of these."""
    torch.manual_seed(0)
    module = nn.Linear(5, 3).double()
    y = torch.where(torch.arange(30) < 12, -100, Y)
    y[:4] = Y[:4]  # not among the few examples that are tried first
    objective = Objective.from_module(module, X, y, F.cross_entropy, 10, reduction="mean")
    with pytest.raises(InvalidInput, match=r"chunk_size: got 10, allowed: null: .*ignored"):
        check(objective, flat_parameters(module))
    whole = Objective.from_module(module, X, y, F.cross_entropy, reduction="mean")
    check(whole, flat_parameters(module))
    close(whole.value(flat_parameters(module)), F.cross_entropy(module(X), y).detach())


def test_third_derivatives_are_checked_in_single_precision():
    module = around(nn.LayerNorm(8))
    objective, w = Objective.from_module(module, X.float(), Y), flat_parameters(module)
    with pytest.raises(InvalidInput, match="loss: its third derivatives disagree"):
        objective.third_derivatives(w, torch.eye(len(w))[:, :1])


def in_threads(works):
    """What each of these gives, all at once in threads of their own."""
    found = [None] * len(works)

    def work(i):
        found[i] = works[i]()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("compile", ["auto", "off"])
def test_flows_in_threads_give_what_they_give_one_after_another(compile):
    """Attention: the choice of torch's kernels is one of the process, and a module's parameters are the module's."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    module = nn.Sequential(layer, nn.Flatten(), nn.Linear(24, 3)).double()
    x, y, w, ours = random(10, 3, 8), Y[:10], flat_parameters(module), GradientDescent(0.05)

    def works(objective):
        run = train(objective, ours, w, 40)
        window = run.window(20)
        return [lambda order=order: integrate(StableFlow(objective, ours, order=order), window, 20) for order in (1, 2)]

    together, apart = (Objective.from_module(module, x, y, compile=compile) for _ in range(2))
    found, wanted = in_threads(works(together)), [in_threads([work])[0] for work in works(apart)]
    for ours, theirs in zip(found, wanted, strict=True):
        assert torch.equal(ours.centres, theirs.centres) and ours.cost == theirs.cost
        assert ours.series["sharpness"].equals(theirs.series["sharpness"])


def test_objectives_are_pickled_and_copied():
    net = network()
    objective = net.objective()
    gradient = objective.gradient(net.w0)
    for again in (pickle.loads(pickle.dumps(objective)), copy.deepcopy(objective)):
        assert torch.equal(again.gradient(net.w0), gradient) and again.cost == Cost(0, 1, 0)
