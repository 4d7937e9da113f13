"""Step maps against torch.optim, against loops in plain Python, and their thresholds on frozen quadratics."""

import math

import pytest
import torch
from helpers.problems import LEARNING_RATES, network, optimizer

from rodflow.catalogue import OPTIMIZERS
from rodflow.errors import InvalidInput
from rodflow.optimizers.adagrad import Adagrad
from rodflow.optimizers.qhm import QHM
from rodflow.optimizers.step_map import State, StepMap

B1, B2, EPS, STEPS = 0.8, 0.95, 1e-6, 40


@pytest.fixture
def double_by_default():
    """torch's NAdam keeps its product of momenta in the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def sgd(p, lr, **settings):
    return torch.optim.SGD([p], lr, momentum=B1, **settings)


def heavy_ball(p, lr):
    torchs = sgd(p, lr, dampening=B1)
    torchs.state[p]["momentum_buffer"] = torch.zeros_like(p)  # torch would start from the first gradient
    return torchs


# momentum_decay: torch's mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2) is then beta1 itself from the first step
TORCHS = {
    "gd": lambda p, lr: torch.optim.SGD([p], lr),
    "heavy_ball": heavy_ball,
    "nesterov": lambda p, lr: sgd(p, lr * (1 - B1), nesterov=True),
    "rmsprop": lambda p, lr: torch.optim.RMSprop([p], lr, alpha=B2, eps=EPS),
    "adam": lambda p, lr: torch.optim.Adam([p], lr, betas=(B1, B2), eps=EPS),
    "nadam": lambda p, lr: torch.optim.NAdam([p], lr, betas=(B1, B2), eps=EPS, momentum_decay=1e6),
    "adamw": lambda p, lr: torch.optim.AdamW([p], lr, betas=(B1, B2), eps=EPS, weight_decay=0.3),
    "adagrad": lambda p, lr: torch.optim.Adagrad([p], lr, eps=EPS),
}
SETTINGS = {"rmsprop": {"bias_correction": False}, "adamw": {"weight_decay": 0.3}}  # torch's RMSProp has none


@pytest.mark.parametrize("name", TORCHS)
def test_steps_are_torchs(name, double_by_default):
    net = network()
    lr = LEARNING_RATES[name]
    p = net.w0.clone().requires_grad_()
    torchs = TORCHS[name](p, lr)
    ours = OPTIMIZERS[name](lr, B1, B2, EPS, **SETTINGS.get(name, {}))
    state, objective = ours.init(net.w0), net.objective()
    for t in range(STEPS):
        torchs.zero_grad()
        net.loss(p).backward()
        torchs.step()
        state = ours.step(state, objective.gradient(state.w), t)
        torch.testing.assert_close(state.w, p.detach(), rtol=1e-10, atol=1e-12)
    assert (state.w - net.w0).norm() > 0.05


def slope(x, y):
    """The gradient of (x^2 + 4 y^2 + x^2 y^2 + x y)/2, in plain Python."""
    return [x + x * y * y + y / 2, 4 * y + x * x * y + x / 2]


def by_hand(name, lr, correct, steps):
    """The weights after every step, numbers only, written from the formulas."""
    w, m, nu, total_of = [1.0, -0.7], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]
    path = []
    for t in range(steps):
        g = slope(*w)
        total = g[0] ** 2 + g[1] ** 2
        for i in (0, 1):
            m[i] = B1 * m[i] + (1 - B1) * g[i]
            nu[i] = B2 * nu[i] + (1 - B2) * (total if "scalar" in name else g[i] ** 2)
            total_of[i] += g[i] ** 2
        for i in (0, 1):
            adaptive = "rmsprop" in name or "adam" in name
            c1, c1_next, c2 = (1 - B1 ** (t + 1), 1 - B1 ** (t + 2), 1 - B2 ** (t + 1)) if correct else (1, 1, 1)
            if "nadam" in name or name == "nesterov":
                u = B1 * m[i] / (c1_next if adaptive else 1) + (1 - B1) * g[i] / (c1 if adaptive else 1)
            elif "adam" in name or name == "heavy_ball":
                u = m[i] / (c1 if adaptive else 1)
            elif name == "qhm":
                u = 0.7 * m[i] + 0.3 * g[i]
            else:
                u = g[i]
            if name == "adagrad":
                u /= math.sqrt(total_of[i]) + EPS
            if name == "adamw":
                w[i] *= 1 - lr * 0.01
            w[i] -= lr * u / (math.sqrt(nu[i] / c2) + EPS) if adaptive else lr * u
        path.append(list(w))
    return torch.tensor(path, dtype=torch.float64)


@pytest.mark.parametrize("correct", [True, False])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_by_hand(name, correct):
    ours = OPTIMIZERS[name](0.05, B1, B2, EPS, bias_correction=correct)
    state, path = ours.init(torch.tensor([1.0, -0.7], dtype=torch.float64)), []
    for t in range(STEPS):
        state = ours.step(state, torch.tensor(slope(*state.w.tolist()), dtype=torch.float64), t)
        path.append(state.w)
    torch.testing.assert_close(torch.stack(path), by_hand(name, 0.05, correct, STEPS), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_parts_of_the_state(name):
    _, m, nu = OPTIMIZERS[name](0.1).init(torch.ones(5))
    assert len(m) == (0 if name in ("gd", "rmsprop", "scalar_rmsprop", "adagrad") else 5)
    assert len(nu) == (0 if name in ("gd", "heavy_ball", "nesterov", "qhm") else 1 if "scalar" in name else 5)
    assert not m.any() and not nu.any()


def frozen_multipliers(ours, sharpness):
    """Multipliers of (w, m) on a quadratic of that effective sharpness, nu frozen, long after start-up."""
    t, d = 10**6, 3
    lr, b2 = ours.learning_rate, 1.0 if isinstance(ours, Adagrad) else ours.beta2
    nu_size = len(ours.init(torch.ones(d)).nu)
    nu = torch.tensor([0.3, 2.0, 0.01], dtype=torch.float64)[:nu_size]
    has_m = len(ours.init(torch.ones(d)).m) > 0
    p = torch.sqrt(nu) + ours.epsilon if nu_size else torch.ones(1, dtype=torch.float64)
    torch.testing.assert_close(ours.preconditioner(nu, t).expand(d), p.expand(d))
    root = torch.randn(d, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    h = root @ root.T + torch.eye(d)
    h = h * sharpness / (lr * torch.linalg.eigvalsh(h / torch.outer(p.expand(d).sqrt(), p.expand(d).sqrt()))[-1])

    def step(z):
        w = z[:d]
        # at the minimum q(g) vanishes to first order: with nu / b2 before the step nu is what it leaves
        return torch.cat(ours.step(State(w, z[d:], nu / b2), h @ w, t)[:2])

    z = torch.zeros(2 * d if has_m else d, dtype=torch.float64)
    return torch.linalg.eigvals(torch.func.jacrev(step)(z))


THRESHOLDS = {0.9: {"plain": 2, "ball": 38, "ahead": 13.571428571, "share": 5.9375}}
THRESHOLDS[0.5] = {"plain": 2, "ball": 6, "ahead": 3, "share": 3.75}
KIND = dict.fromkeys(OPTIMIZERS, "plain") | dict.fromkeys(["heavy_ball", "adam", "scalar_adam"], "ball")
KIND |= dict.fromkeys(["nesterov", "nadam", "scalar_nadam"], "ahead")
KIND |= {"adamw": "ball", "qhm": "share"}


@pytest.mark.parametrize("beta1", [0.5, 0.9])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_threshold_is_where_a_quadratic_loses_stability(name, beta1):
    ours = optimizer(name, beta1=beta1)
    decay = 1 - 0.01 * 0.01 / 2 if name == "adamw" else 1  # its learning rate times its weight decay
    assert ours.threshold == pytest.approx(decay * THRESHOLDS[beta1][KIND[name]], rel=1e-9)
    at = frozen_multipliers(ours, ours.threshold)
    assert (at + 1).abs().min() < 1e-8
    assert frozen_multipliers(ours, 0.999 * ours.threshold).abs().max() < 1
    above = frozen_multipliers(ours, 1.001 * ours.threshold)
    assert above.abs().max() > 1
    assert above[above.abs().argmax()].real < -1


def test_large_weight_decay_lowers_the_threshold():
    ours = optimizer("adamw", 0.5, weight_decay=0.8)
    assert ours.threshold == pytest.approx(0.8 * 38)
    assert (frozen_multipliers(ours, ours.threshold) + 1).abs().min() < 1e-8


@pytest.mark.parametrize(("share", "other"), [(0.0, "gd"), (1.0, "heavy_ball"), (0.8, "nesterov")])
def test_qhm_joins_three_optimizers(share, other):
    ours, theirs = QHM(0.1, beta1=0.8, momentum_share=share), optimizer(other, 0.1, beta1=0.8)
    assert ours.threshold == pytest.approx(theirs.threshold)
    a, b = ours.init(torch.tensor([1.0, -0.7]).double()), theirs.init(torch.tensor([1.0, -0.7]).double())
    for t in range(STEPS):
        a = ours.step(a, torch.tensor(slope(*a.w.tolist()), dtype=torch.float64), t)
        b = theirs.step(b, torch.tensor(slope(*b.w.tolist()), dtype=torch.float64), t)
    torch.testing.assert_close(a.w, b.w, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_float32_increment_keeps_its_digits(name):
    """The increment is a thousandth of the weights' rounding error: a difference of states would be zero."""
    ours = optimizer(name, 1e-9)
    generator = torch.Generator().manual_seed(0)
    w, m, g = (torch.randn(6, generator=generator, dtype=torch.float64) for _ in range(3))
    empty = ours.init(w)
    double = State(1000 + w, m[: len(empty.m)], (1 + m**2)[: len(empty.nu)])
    single = State(*(part.float() for part in double))
    assert torch.equal(ours.step(single, g.float(), 3).w, single.w)
    for a, b in zip(ours.increment(single, g.float(), 3), ours.increment(double, g, 3), strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-16)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_step_and_increment_agree_at_real_times(name):
    ours = optimizer(name)
    w = torch.tensor([1.0, -0.7], dtype=torch.float64)
    start = ours.step(ours.init(w), w, 0)
    for t in (0.5, torch.tensor(0.5, dtype=torch.float64)):
        after, increment = ours.step(start, w**2, t), ours.increment(start, w**2, t)
        for a, b, c in zip(after, start, increment, strict=True):
            torch.testing.assert_close(a - b, c)


def test_users_optimizer_may_define_step_alone():
    class SignDescent(StepMap):
        learning_rate = 0.25

        def init(self, w):
            return State(w, w.new_zeros(0), w.new_zeros(0))

        def step(self, state, gradient, t):
            return state._replace(w=state.w - self.learning_rate * gradient.sign())

    ours = SignDescent()
    state = ours.init(torch.tensor([1.0, -1.0]))
    assert ours.increment(state, torch.tensor([3.0, -0.1]), 0).w.tolist() == [-0.25, 0.25]
    assert ours.preconditioner(state.nu, 0).tolist() == [1.0]
    assert (ours.threshold, ours.transient) == (2.0, 0)


def test_transient_is_that_of_the_first_moment():
    assert optimizer("adam").transient == 50
    assert optimizer("nesterov", beta1=0.5).transient == 10
    assert optimizer("rmsprop").transient == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning_rate", -0.1),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("beta1", 1.0),
        ("beta1", -0.1),
        ("beta1", math.nan),
        ("beta2", 1.0),
        ("beta2", 1.5),
        ("epsilon", -1e-8),
        ("epsilon", math.nan),
    ],
)
def test_invalid_settings_are_refused(key, value):
    for kind in OPTIMIZERS.values():
        with pytest.raises(InvalidInput, match=key) as caught:
            kind(**({"learning_rate": 0.1} | {key: value}))
        assert caught.value.key == key


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("adamw", "weight_decay", -0.1),
        ("adamw", "weight_decay", 10.0),
        ("adamw", "weight_decay", math.nan),
        ("qhm", "momentum_share", 1.1),
        ("qhm", "momentum_share", -0.1),
        ("qhm", "momentum_share", math.nan),
    ],
)
def test_invalid_settings_of_one_optimizer_are_refused(name, key, value):
    with pytest.raises(InvalidInput) as caught:
        OPTIMIZERS[name](0.1, **{key: value})
    assert caught.value.key == key


def test_a_step_map_without_a_step_says_so():
    class Nothing(StepMap):
        learning_rate = 0.1

    with pytest.raises(NotImplementedError, match="neither step nor increment"):
        Nothing().increment(State(torch.ones(2), torch.ones(0), torch.ones(0)), torch.ones(2), 0)
