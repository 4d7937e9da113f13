"""Ctrl-C in a notebook: what was recorded is kept; and nowhere else, where it would be taken for the whole."""

import sys

import pytest
import torch
from helpers.problems import network, optimizer, series_of

import rodflow as rf
from rodflow.jobs.checkpoint import Checkpoint

NET, STEPS, EVERY = network(), 60, 5


class Stops(rf.Objective):
    """An objective at whose ``last`` gradient or value Ctrl-C comes."""

    def __init__(self, last):
        plain = NET.objective()
        super().__init__(plain._loss, plain._data)
        self.last, self.asked = last, 0

    def count(self):
        self.asked += 1
        if self.asked == self.last:
            raise KeyboardInterrupt

    def value_and_gradient(self, w):
        self.count()
        return super().value_and_gradient(w)

    def linearise(self, w):
        self.count()
        return super().linearise(w)


def train(objective, steps=STEPS, **settings):
    settings = {"interruptible": True} | settings
    return rf.train(objective, optimizer("adam"), NET.w0, steps, record_interval=EVERY, **settings)


@pytest.mark.parametrize("last", [12, 18, 37, 43, 55])
def test_an_interrupted_run_is_one_of_fewer_steps(last, caplog):
    """Of the calls to the objective one in six is for the sharpness of a record: both kinds are interrupted."""
    run = train(Stops(last))
    steps = len(run.loss) - 2
    assert run.interrupted and f"{steps} of {STEPS} steps are kept" in caplog.text
    whole = train(NET.objective(), steps)
    assert not whole.interrupted
    found, wanted = series_of(run), series_of(whole)
    assert len(wanted) == 10 and list(found) == list(wanted)
    for name, series in wanted.items():
        assert found[name].numpy().tobytes() == series.numpy().tobytes()
    assert steps > last * 5 // 6 - 4
    at = run.last_step - 2
    assert torch.equal(run.window(at, 2).states.w, whole.window(at, 2).states.w)


@pytest.mark.parametrize("last", [20, 41])
def test_an_interrupted_flow_is_one_of_fewer_records(last, caplog):
    run = train(NET.objective())
    window = run.window(10)

    def follow(objective, steps, **settings):
        return rf.integrate(rf.Twin(objective, optimizer("adam")), window, steps, EVERY, **settings)

    part = follow(Stops(last), 50, interruptible=True)
    reached = int(part.series["step"].iloc[-1])
    assert part.interrupted and f"kept up to step {reached} of 60" in caplog.text
    whole = follow(NET.objective(), reached - 10)
    assert not whole.interrupted and 10 < reached < 60
    assert part.series.equals(whole.series) and torch.equal(part.centres, whole.centres)
    assert part.error(run).equals(whole.error(run))


def test_only_a_session_keeps_it_by_default(monkeypatch, tmp_path):
    """A script ends; so does a run with a checkpoint, whatever it is told, and one that has no record yet."""
    monkeypatch.delattr(sys, "ps1", raising=False)
    with pytest.raises(KeyboardInterrupt):
        train(Stops(37), interruptible=None)
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert train(Stops(37), interruptible=None).interrupted
    with pytest.raises(KeyboardInterrupt):
        train(Stops(37), interruptible=False)
    with pytest.raises(KeyboardInterrupt):
        train(Stops(4), interruptible=True)
    checkpoint = Checkpoint(tmp_path / "checkpoint", "key")
    with pytest.raises(KeyboardInterrupt):
        train(Stops(37), interruptible=True, checkpoint=checkpoint)
    window = train(NET.objective()).window(10)
    with pytest.raises(KeyboardInterrupt):
        flow = rf.Twin(Stops(20), optimizer("adam"))
        rf.integrate(flow, window, 50, EVERY, interruptible=True, checkpoint=checkpoint)
