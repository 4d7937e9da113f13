"""Optimizers of torch as step maps: against torch's own training, and against the package's optimizers."""

import copy
import pickle

import pytest
import torch
from helpers.problems import network
from torch import nn, optim

import rodflow as rf
from rodflow.flows.dynamics import Dynamics
from rodflow.optimizers.torch_optimizers import TorchOptimizer

NET = network("mlp")
TAKEN = {
    "sgd": (optim.SGD, {"lr": 0.3}),
    "momentum": (optim.SGD, {"lr": 0.03, "momentum": 0.9}),
    "dampening": (optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}),
    "nesterov": (optim.SGD, {"lr": 0.03, "momentum": 0.9, "nesterov": True}),
    "decay": (optim.SGD, {"lr": 0.03, "momentum": 0.5, "weight_decay": 0.1}),
    "adam": (optim.Adam, {"lr": 3e-3}),
    "amsgrad": (optim.Adam, {"lr": 3e-3, "amsgrad": True}),
    "adamw": (optim.AdamW, {"lr": 3e-3}),
    "nadam": (optim.NAdam, {"lr": 1e-3}),
    "radam": (optim.RAdam, {"lr": 3e-3}),
    "rmsprop": (optim.RMSprop, {"lr": 1e-3}),
    "centered": (optim.RMSprop, {"lr": 1e-3, "alpha": 0.9, "centered": True, "momentum": 0.5}),
    "adagrad": (optim.Adagrad, {"lr": 1e-2, "initial_accumulator_value": 0.1, "lr_decay": 1e-3}),
    "adadelta": (optim.Adadelta, {}),
    "adamax": (optim.Adamax, {"lr": 1e-3}),
    "asgd": (optim.ASGD, {"lr": 0.1}),
}
SIGNS = ("Lion", "Rprop")


class Lion(optim.Optimizer):
    """The sign of an average of gradients (Chen et al., 2023), as a third party would write it."""

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.99)):
        super().__init__(params, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            fast, slow = group["betas"]
            for p in group["params"]:
                average = self.state[p].setdefault("average", torch.zeros_like(p))
                p.sub_(group["lr"] * torch.sign(fast * average + (1 - fast) * p.grad))
                average.mul_(slow).add_(p.grad, alpha=1 - slow)


def trained(make, steps=40):
    """The weights after each step of torch's own training of the network's module."""
    module = copy.deepcopy(NET.module).double()
    nn.utils.vector_to_parameters(NET.w0.clone(), module.parameters())
    made = make(module)
    optimizer, scheduler = made if isinstance(made, tuple) else (made, None)
    objective, weights = NET.objective(), []
    for _ in range(steps):
        gradient = objective.gradient(rf.flat_parameters(module))
        nn.utils.vector_to_parameters(gradient, [p.grad for p in with_gradients(module)])
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        weights.append(rf.flat_parameters(module))
    return torch.stack(weights)


def with_gradients(module):
    for p in module.parameters():
        p.grad = torch.zeros_like(p)
    return list(module.parameters())


def followed(step_map, steps=40):
    """The weights after each step of a step map."""
    state, objective, weights = step_map.init(NET.w0), NET.objective(), []
    for t in range(steps):
        state = step_map.step(state, objective.gradient(state.w), t)
        weights.append(state.w)
    return torch.stack(weights)


def close(a, b, atol=1e-12):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


@pytest.mark.parametrize("name", TAKEN)
def test_steps_are_torchs(name):
    kind, settings = TAKEN[name]
    made = rf.from_torch(kind, **settings)
    close(followed(made), trained(lambda module: kind(module.parameters(), **settings)))
    assert made.smooth
    assert made.learning_rate == settings.get("lr", 1.0)


OURS = {
    "gd": (rf.GradientDescent(0.3), TAKEN["sgd"]),
    "heavy_ball": (rf.HeavyBall(0.3), TAKEN["momentum"]),
    "nesterov": (rf.Nesterov(0.3), TAKEN["nesterov"]),
    "rmsprop": (rf.RMSProp(1e-3, bias_correction=False), (optim.RMSprop, {"lr": 1e-3})),
    "adam": (rf.Adam(3e-3, beta2=0.999), TAKEN["adam"]),
    "nadam": (rf.NAdam(1e-3, beta2=0.999), (optim.NAdam, {"lr": 1e-3, "momentum_decay": 1e4})),
    "adamw": (rf.AdamW(3e-3, beta2=0.999), TAKEN["adamw"]),
}


@pytest.mark.parametrize("name", OURS)
def test_steps_thresholds_and_preconditioners_are_those_of_the_package(name):
    """torch keeps NAdam's product of momenta in single precision. The threshold leaves out AdamW's decay."""
    ours, (kind, settings) = OURS[name]
    made = rf.from_torch(kind, **settings)
    close(followed(made), followed(ours), atol=1e-8 if name == "nadam" else 1e-12)
    assert made.threshold == pytest.approx(ours.threshold, rel=1e-4 if name == "adamw" else 1e-6)
    assert made.transient == ours.transient
    nu = torch.rand(len(ours.init(NET.w0).nu), dtype=torch.float64) + 0.1
    sharpening = made.learning_rate / made.preconditioner(nu, 400)
    expected = (ours.learning_rate / ours.preconditioner(nu, 400)).expand_as(sharpening)
    torch.testing.assert_close(sharpening, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["heavy_ball", "rmsprop", "adam"])
def test_derivative_of_a_step_is_that_of_the_package(name):
    ours, (kind, settings) = OURS[name]
    scale = 10.0 if name == "heavy_ball" else 1.0  # torch's average of gradients is not divided by ten
    found = []
    for optimizer, m in ((ours, 1.0), (rf.from_torch(kind, **settings), scale)):
        dynamics, like = Dynamics(NET.objective(), optimizer), optimizer.init(NET.w0)
        generator = torch.Generator().manual_seed(1)
        z, v = (torch.randn(2, len(NET.w0), dtype=torch.float64, generator=generator) for _ in range(2))
        nu = torch.rand(len(like.nu), dtype=torch.float64, generator=generator) + 0.1
        z, v = (torch.cat([part[0], m * part[1]]) if len(like.m) else part[0] for part in (z, v))
        increment, derivative, _ = dynamics.linearise(z, nu, 70.5)
        found.append((increment[: len(NET.w0)], derivative(v, torch.zeros_like(nu))[: len(NET.w0)]))
    close(found[1][0], found[0][0])
    close(found[1][1], found[0][1], atol=1e-10)


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "radam", "centered", "adadelta", "asgd"])
def test_flows_follow_before_the_edge(name):
    kind, settings = TAKEN[name]
    made, objective = rf.from_torch(kind, **settings), NET.objective()
    at = 60 if made.transient else 20
    run = rf.train(objective, made, NET.w0, steps=at + 30, record_interval=10)
    errors = []
    for flow in (rf.StableFlow, rf.DriftFreeRod):
        followed = rf.integrate(flow(objective, made), start=run.window(at=at), steps=20)
        errors.append(float(followed.error(run).iloc[-1]))
    moved = float((run.window(at=at + 20).midpoint().w - run.window(at=at).midpoint().w).norm())
    assert errors[0] < 0.1 * moved
    assert errors[1] < 1e-3 * errors[0]


@pytest.mark.parametrize(("kind", "settings"), [(Lion, {"lr": 1e-3}), (optim.Rprop, {"lr": 1e-3})])
def test_steps_by_signs_are_tracked_and_refused_by_flows(kind, settings):
    made, objective = rf.from_torch(kind, **settings), NET.objective()
    close(followed(made), trained(lambda module: kind(module.parameters(), **settings)))
    assert not made.smooth
    rf.Twin(objective, made)
    for flow in (rf.StableFlow, rf.RodFlow, rf.DriftFreeRod, rf.CentralFlow, rf.CentralMomentumFlow, rf.EdgeFlow):
        with pytest.raises(rf.InvalidInput, match="optimizer"):
            flow(objective, made)


def groups(module):
    first, *others = module.parameters()
    return [{"params": others}, {"params": [first]}]


def test_parameter_groups_keep_their_rates_and_decays():
    def plain(module):
        return optim.AdamW(
            [{"params": g["params"], "lr": lr} for g, lr in zip(groups(module), (1e-3, 2e-3), strict=True)]
        )

    adam = rf.from_torch(plain(NET.module), NET.module)
    close(followed(adam), trained(plain))
    nu = torch.full_like(NET.w0, 0.25)
    rates = adam.learning_rate / adam.preconditioner(nu, 5000)
    size = next(NET.module.parameters()).numel()
    torch.testing.assert_close(rates[:size], 2 * rates[-1].expand(size), rtol=1e-6, atol=0)


GROUPED = {"decay": (optim.SGD, {"momentum": 0.8}), "clocks": (optim.ASGD, {"lambd": 0.5}), "nadam": (optim.NAdam, {})}


@pytest.mark.parametrize("name", GROUPED)
def test_groups_differ_in_decay_and_clocks(name):
    kind, settings = GROUPED[name]

    def make(module):
        own = ({"lr": 0.02, "weight_decay": 0.2}, {"lr": 0.05})
        return kind([g | o for g, o in zip(groups(module), own, strict=True)], **settings)

    made = rf.from_torch(make(NET.module), NET.module)
    close(followed(made), trained(make))
    with pytest.raises(rf.InvalidInput, match="w:"):
        made.step(made.init(torch.zeros(3)), torch.zeros(3), 0)


def test_groups_that_differ_in_more_are_refused():
    own = ({"momentum": 0.8}, {"momentum": 0.5})
    optimizer = optim.SGD([g | o for g, o in zip(groups(NET.module), own, strict=True)], lr=0.1)
    with pytest.raises(rf.InvalidInput, match="momentum of a parameter group"):
        rf.from_torch(optimizer, NET.module)


def test_schedulers_of_torch():
    def cosine(optimizer):
        return optim.lr_scheduler.CosineAnnealingLR(optimizer, 30, eta_min=1e-4)

    def make(module):
        optimizer = optim.Adam(module.parameters(), lr=3e-3)
        return optimizer, cosine(optimizer)

    made = rf.from_torch(optim.Adam, lr=3e-3, scheduler=cosine)
    close(followed(made, 30), trained(make, 30))
    assert made.rate(10.5) == pytest.approx((made.rate(10) + made.rate(11)) / 2)


def momenta_too(optimizer):
    return optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=50)


OTHER = nn.Linear(2, 1)
REFUSED = {
    "no optimizer": (lambda: rf.from_torch(nn.Linear, lr=0.1), "optimizer"),
    "closure": (lambda: rf.from_torch(optim.LBFGS), "closure"),
    "sparse": (lambda: rf.from_torch(optim.SparseAdam), "dense"),
    "no rate": (lambda: rf.from_torch(optim.SGD, lr=0.0), "lr"),
    "setting": (lambda: rf.from_torch(optim.Adam, lr=0.1, beta=0.9), "beta"),
    "maximises": (lambda: rf.from_torch(optim.SGD, lr=0.1, maximize=True), "maximize"),
    "no module": (lambda: rf.from_torch(optim.SGD(OTHER.parameters(), lr=0.1)), "module"),
    "settings": (lambda: rf.from_torch(optim.SGD(OTHER.parameters(), lr=0.1), OTHER, lr=0.1), "settings"),
    "module": (lambda: rf.from_torch(optim.SGD, OTHER, lr=0.1), "module"),
    "few": (lambda: rf.from_torch(optim.SGD([OTHER.bias], lr=0.1), OTHER), "weight"),
    "others": (lambda: rf.from_torch(optim.SGD([*OTHER.parameters(), nn.Parameter(torch.ones(1))]), OTHER), "others"),
    "momenta": (lambda: rf.from_torch(optim.SGD, lr=0.1, momentum=0.9, scheduler=momenta_too), "more than the rate"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    make, said = REFUSED[name]
    with pytest.raises(rf.InvalidInput, match=said):
        make()


def test_an_optimizer_of_torch_itself_is_refused_with_the_way_to_take_it():
    with pytest.raises(rf.InvalidInput, match=r"rodflow\.from_torch"):
        rf.train(NET.objective(), optim.SGD(NET.module.parameters(), lr=0.1), NET.w0, steps=20)


def test_the_optimizer_and_its_module_stay_as_they_are():
    module = copy.deepcopy(NET.module)
    before, optimizer = rf.flat_parameters(module), optim.Adam(module.parameters(), lr=0.1)
    followed(rf.from_torch(optimizer, module), 3)
    assert torch.equal(rf.flat_parameters(module), before)
    assert not optimizer.state


def test_a_step_map_of_torch_survives_pickle_and_tells_itself():
    made = rf.from_torch(optim.NAdam, lr=1e-3)
    again = pickle.loads(pickle.dumps(made))
    assert isinstance(again, TorchOptimizer)
    followed(made, 3)  # fills tables, which are no settings
    assert again.description == made.description
    assert "NAdam" in made.description
