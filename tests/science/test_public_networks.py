"""Networks as PyTorch users have them, tiny: derivatives and sharpness against dense ones, flows before the edge."""

import pytest
import torch
from helpers.vectors import close, random
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from rodflow.flows.base import Solver
from rodflow.flows.drift_free_rod import DriftFreeRod
from rodflow.flows.integrate import integrate
from rodflow.flows.stable import StableFlow
from rodflow.optimizers.family import GradientDescent
from rodflow.training.curvature import Curvature
from rodflow.training.discrete import train
from rodflow.training.objective import Objective, flat_parameters
from rodflow.training.preflight import check

pytestmark = pytest.mark.usefixtures("traced_at_once")

F = nn.functional


class ResNet(nn.Module):
    """Two residual blocks with batch norm, whose statistics are those of an earlier pass."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3))
        self.convolutions = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(2))
        self.head = nn.Linear(3, 3)
        self.double()(random(16, 1, 6, 6, seed=3))
        self.eval()

    def forward(self, x):
        x = torch.relu(self.stem(x))
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = torch.relu(x + norm(convolution(x)))
        return self.head(x.mean((2, 3)))


class ViT(nn.Module):
    """Torch's own encoder on patches, with a class token and learned positions."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(1, 4, 3, stride=3)
        self.token, self.position = nn.Parameter(torch.zeros(1, 1, 4)), nn.Parameter(0.1 * torch.randn(1, 5, 4))
        layer = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1) + self.position
        return self.head(self.encoder(tokens)[:, 0])


class GPT(nn.Module):
    """Causal attention on whole-number tokens; the embedding is the head as well."""

    def __init__(self):
        super().__init__()
        self.embedding, self.position = nn.Embedding(7, 4), nn.Embedding(5, 4)
        self.norm1, self.norm2 = nn.LayerNorm(4), nn.LayerNorm(4)
        self.qkv, self.out = nn.Linear(4, 12), nn.Linear(4, 4)
        self.perceptron = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        x = self.embedding(tokens) + self.position(torch.arange(tokens.shape[1]))
        q, k, v = (p.unflatten(2, (2, 2)).transpose(1, 2) for p in self.qkv(self.norm1(x)).chunk(3, 2))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return self.head(x + self.perceptron(self.norm2(x))).transpose(1, 2)  # [n, classes, positions]


class LSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.recurrent, self.head = nn.LSTM(2, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.recurrent(x)[0][:, -1])


def regression():
    return nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 6), nn.Softplus(), nn.Linear(6, 2))


class UNet(nn.Module):
    """Down, up, and a bridge; an image to an image."""

    def __init__(self):
        super().__init__()
        self.first, self.down = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.up, self.last = nn.ConvTranspose2d(4, 2, 2, stride=2), nn.Conv2d(4, 1, 3, padding=1)
        self.norm = nn.GroupNorm(2, 4)

    def forward(self, x):
        wide = F.gelu(self.first(x))
        return self.last(torch.cat([wide, self.up(F.gelu(self.norm(self.down(wide))))], 1))


IMAGES, LABELS = random(12, 1, 6, 6), torch.arange(12) % 3
TOKENS = (torch.arange(12)[:, None] ** 2 + torch.arange(6)) % 7
SERIES = random(12, 5, 2)
TABLE = random(12, 3)


def cross_entropy(output, target):
    return F.cross_entropy(output, target, reduction="sum") / len(output)


def half_squares(output, target):
    return ((output - target) ** 2).sum() / 2 / len(output)


NETWORKS = {
    "resnet": (ResNet, IMAGES, LABELS, "cross_entropy"),
    "vit": (ViT, IMAGES, LABELS, "cross_entropy"),
    "gpt": (GPT, TOKENS[:, :-1], TOKENS[:, 1:], "cross_entropy"),
    "lstm": (LSTM, SERIES, LABELS, "cross_entropy"),
    "regression": (regression, TABLE, torch.sin(TABLE[:, :2]), "mse"),
    "unet": (UNet, IMAGES, IMAGES.roll(1, 3), "mse"),
}
BY_TORCH = {"cross_entropy": cross_entropy, "mse": half_squares}


@pytest.mark.parametrize("name", NETWORKS)
def test_derivatives_sharpness_and_flows(name):
    make, x, y, criterion = NETWORKS[name]
    torch.manual_seed(0)
    module = make().double()
    objective, w0 = Objective.from_module(module, x, y, criterion), flat_parameters(module)
    check(objective, w0)
    w = w0 + 0.02 * random(len(w0), seed=5)
    named = [(n, p.shape, p.numel()) for n, p in module.named_parameters()]

    def loss(w):
        pieces = torch.split(w, [size for _, _, size in named])
        given = {n: piece.view(shape) for (n, shape, _), piece in zip(named, pieces, strict=True)}
        return BY_TORCH[criterion](functional_call(module, given, (x,)), y)

    with sdpa_kernel(SDPBackend.MATH):
        slope = torch.autograd.functional.jacobian(loss, w)
        dense = torch.autograd.functional.hessian(loss, w)
    close(objective.value(w), loss(w).detach())
    close(objective.gradient(w), slope, atol=1e-10)
    v = random(len(w), seed=2)
    close(objective.linearise(w).product(v), dense @ v, rtol=1e-8, atol=1e-10)
    largest = float(torch.linalg.eigvalsh(dense)[-1])
    found = Curvature(objective).effective_sharpness(w, torch.ones(1).double(), 1.0)
    assert float(found) == pytest.approx(largest, rel=1e-3)

    lr = 0.07 / largest
    run = train(objective, GradientDescent(lr), w, 40)
    assert 0.03 < float(run.sharpness.max()) < 1.5  # before the edge, which is at 2
    window, errors = run.window(10), {}
    moved = float((run.midpoints[-1] - window.midpoint().w).norm())
    across_kinks = {"solver": Solver("rk4", step=0.25)} if name == "resnet" else {}  # no adaptive step ends at ReLU's
    for kind, settings in ((StableFlow, across_kinks), (DriftFreeRod, {})):
        flow = integrate(kind(objective, GradientDescent(lr), **settings), window, 30, reference=run)
        errors[kind] = float(flow.error(run).iloc[-1]) / moved
    assert 1e-4 < errors[StableFlow] < 0.03
    assert errors[DriftFreeRod] < min(1e-4, errors[StableFlow] / 100)
