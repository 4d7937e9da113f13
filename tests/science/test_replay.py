"""Replayed gradients against those of the code as it is, on every path: one point, several, in chunks, on a tape."""

import logging

import pytest
import torch
from helpers.problems import network, quartic
from helpers.vectors import close, vector
from torch import nn

from rodflow.errors import InvalidInput
from rodflow.training import objective as objectives, replay
from rodflow.training.objective import Objective, flat_parameters
from rodflow.training.replay import Recorded, Replayed, traced

IN_DTYPE = {torch.float64: 1e-12, torch.float32: 3e-5}


def points(w, count=4):
    """So many points around w."""
    return [w * (1 + 0.01 * k) for k in range(count)]


def both(name, dtype, chunk_size=None, loss="mse"):
    """A network's objective replayed and as its code says, and its weights."""
    net = network(name)
    x, y = (part for part in net.objective()._data)
    made = [
        Objective.from_module(net.module, x.to(dtype), y, loss, chunk_size, compile=setting)
        for setting in ("auto", "off")
    ]
    return *made, net.w0.to(dtype)


pytestmark = pytest.mark.usefixtures("traced_at_once")


@pytest.mark.parametrize(
    ("name", "loss", "chunk_size", "dtype"),
    [  # every pair of two settings once or more
        ("mlp", "mse", None, torch.float64),
        ("mlp", "cross_entropy", 3, torch.float32),
        ("cnn", "mse", 3, torch.float64),
        ("cnn", "cross_entropy", None, torch.float32),
        ("vit", "mse", None, torch.float32),
        ("vit", "cross_entropy", 3, torch.float64),
    ],
)
def test_replayed_gradients_are_those_of_the_code(name, loss, chunk_size, dtype):
    """At one point to the bit, at several up to rounding; each costs one gradient."""
    ours, plain, w = both(name, dtype, chunk_size, loss)
    for at in points(w, 2):
        for found, wanted in zip(ours.value_and_gradient(at), plain.value_and_gradient(at), strict=True):
            assert torch.equal(found, wanted)
    before = ours.cost.gradients
    for found, wanted in zip(ours.gradients(points(w)), plain.gradients(points(w)), strict=True):
        close(found, wanted, rtol=IN_DTYPE[dtype], atol=IN_DTYPE[dtype] * float(wanted.abs().max()))
    assert ours.cost.gradients - before == 4
    assert not ours._at_one.refused and not ours._at_several.refused


def test_on_a_cpu_the_function_is_traced_when_it_has_been_called_often_enough(monkeypatch):
    monkeypatch.setattr(replay, "PATIENCE", 2)
    called = []

    def plain(w):
        called.append(w)
        return (w.square(),)

    replayed = Replayed(plain)
    found = [float(replayed(vector(float(k)))[0]) for k in range(5)]
    assert found == [0, 1, 4, 9, 16] and replayed.replays
    assert len(called) == 2 + 2  # the third call traces it and compares


def test_a_landscape_has_gradients_at_several_points():
    landscape = quartic((1.0, 2.0), (0.1, 0.3))
    at = points(vector(0.3, -0.7))
    for found, w in zip(landscape.objective.gradients(at), at, strict=True):
        close(found, landscape.gradient(w))


@pytest.mark.parametrize(("bound", "value"), [("BATCHED_WEIGHTS", 10), ("BATCHED_FLOPS", 10.0)])
def test_large_networks_are_evaluated_point_by_point(monkeypatch, bound, value):
    ours, plain, w = both("mlp", torch.float64)
    assert ours._batches_points(w)
    monkeypatch.setattr(objectives, bound, value)
    assert not ours._batches_points(w)
    for found, wanted in zip(ours.gradients(points(w)), plain.gradients(points(w)), strict=True):
        assert torch.equal(found, wanted)


def reads_into_python(w):
    return w.square().sum() * (2 if float(w[0].detach()) > 0 else 3)


def freezes_a_number(w):
    return w.square().sum() * float(w.detach().numpy()[0])


def knows_no_rows(w):
    """A loss that torch cannot evaluate at several points at once."""
    return w.square().sum() + 0 * torch.rand_like(w).sum()


@pytest.mark.parametrize("loss", [reads_into_python, freezes_a_number, knows_no_rows])
def test_what_cannot_be_replayed_is_evaluated_as_it_is(loss, caplog):
    """The numbers are those of the code; the log says why, once for one point and once for several."""
    ours, plain = Objective(loss), Objective(loss, compile="off")
    with caplog.at_level(logging.INFO):
        for at in ([vector(1.0, 2.0), vector(-1.0, 2.0)], [vector(0.5, 1.0), vector(-2.0, 3.0)]):
            for found, w in zip(ours.gradients(at), at, strict=True):
                assert torch.equal(found, plain.gradient(w))
                assert torch.equal(ours.gradient(w), plain.gradient(w))
    said = [record.message for record in caplog.records if "operation by operation" in record.message]
    assert 1 <= len(said) <= 2
    assert ours._at_several.refused


def test_a_loss_that_reads_the_module_is_traced_for_each_shape():
    """More examples than those that it was traced for: traced again."""
    module = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 2)).double()
    w = flat_parameters(module)
    for count in (4, 9):
        x, y = torch.randn(count, 3, dtype=torch.float64), torch.zeros(count, dtype=torch.int64)
        ours, plain = (Objective.from_module(module, x, y, chunk_size=4, compile=c) for c in ("auto", "off"))
        assert torch.equal(ours.gradient(w), plain.gradient(w))


class Loop:
    """A tape without a GPU: it does the work again, in Python, and writes to the same memory."""

    def __init__(self):
        self.played = 0

    def record(self, work):
        self.work, self.results = work, work()
        return self.results

    def play(self):
        self.played += 1
        for kept, new in zip(self.results, self.work(), strict=True):
            kept.copy_(new)


def test_a_tape_plays_with_new_arguments_and_keeps_earlier_results():
    """The logic around a CUDA graph: copies in, copies out; data that stays the same is copied once."""
    ours, plain, w = both("mlp", torch.float64)
    data = ours._data
    tape = Loop()
    recorded = Recorded(traced(ours._differentiate_loss, (w, *data)), (w, *data), tape)
    copied = recorded.inputs[1]
    at = points(w)
    found = [recorded(point, *data) for point in at]
    assert tape.played == len(at)
    for (value, gradient), point in zip(found, at, strict=True):
        wanted = plain._differentiate_loss(point, *data)
        assert torch.equal(value, wanted[0]) and torch.equal(gradient, wanted[1])
    assert recorded.inputs[1] is copied and torch.equal(copied, data[0])
    other = (data[0] * 2, data[1])
    assert torch.equal(recorded(w, *other)[1], plain._differentiate_loss(w, *other)[1])
    assert torch.equal(recorded(w, *data)[1], plain._differentiate_loss(w, *data)[1])
    w.mul_(1.1)  # a point that is changed in place is read again
    assert torch.equal(recorded(w, *data)[1], plain._differentiate_loss(w, *data)[1])


def test_a_compiler_that_fails_is_done_without(monkeypatch, caplog):
    def broken(function):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(replay.torch, "compile", broken)
    compiled = Replayed(lambda w: (w.square(),), "on")
    with caplog.at_level(logging.INFO):
        assert torch.equal(compiled(vector(3.0))[0], vector(9.0))
    assert "no compiler" in caplog.text and not compiled.replays


@pytest.mark.slow  # half a minute, and a C++ compiler
def test_compiled_gradients_are_those_of_the_code():
    ours, plain, w = both("mlp", torch.float64)
    compiled = Objective(ours._loss, ours._data, compile="on")
    close(compiled.gradient(w), plain.gradient(w), rtol=1e-10, atol=1e-12)
    close(compiled.gradients(points(w))[1], plain.gradient(points(w)[1]), rtol=1e-10, atol=1e-12)
    assert compiled._at_one.replays and compiled._at_several.replays


def test_unknown_setting_is_refused():
    with pytest.raises(InvalidInput) as caught:
        Objective(lambda w: w.sum(), compile="yes")
    assert caught.value.key == "compile"
