"""Arguments as a careless user gives them: refused by the name that was typed, or taken for what they are."""

import math

import numpy as np
import pytest
import torch
from helpers.problems import quadratic
from helpers.vectors import vector

import rodflow as rf
from rodflow.errors import InvalidInput
from rodflow.jobs.checkpoint import Checkpoint
from rodflow.optimizers.step_map import State

OBJECTIVE, W0 = quadratic(torch.diag(vector(1.0, 3.0, 2.0))).objective, vector(1.0, -1.0, 0.5)
DESCENT = rf.GradientDescent(0.1)
DIVERGING = rf.GradientDescent(0.75)  # its largest multiplier is -1.25
NO_COUNTS = [-3, 2.5, 20.0, "20", math.nan, None, True, [20], torch.tensor(2.5), torch.tensor(True), np.bool_(True)]
NO_NUMBERS = [-0.1, math.nan, "0.1", None, True, [0.1], 1j, 10**400, torch.tensor([0.1, 0.2]), np.bool_(True)]


def train(optimizer=DESCENT, steps=40, **settings):
    return rf.train(OBJECTIVE, optimizer, W0, steps, **settings)


def stable(optimizer=DESCENT, **settings):
    return rf.StableFlow(OBJECTIVE, optimizer, **settings)


@pytest.fixture(scope="module")
def run():
    return train()


@pytest.fixture(scope="module")
def diverged():
    return train(DIVERGING)


def integrate(run, flow=None, start=None, steps=20, **settings):
    return rf.integrate(flow or stable(), run.window(10) if start is None else start, steps, **settings)


def still(state, gradient, t):
    return state


COUNTS = {
    "steps": lambda run, x: train(steps=x),
    "record_interval": lambda run, x: train(record_interval=x),
    "eigenvalues": lambda run, x: train(eigenvalues=x),
    "steps of a flow": lambda run, x: integrate(run, steps=x),
    "record_interval of a flow": lambda run, x: integrate(run, record_interval=x),
    "eigenvalues of a flow": lambda run, x: integrate(run, eigenvalues=x),
    "at": lambda run, x: run.window(x),
    "half_width": lambda run, x: run.window(20, x),
    "eigenvalues of a curvature": lambda run, x: rf.Curvature(OBJECTIVE, x).effective_sharpness(W0, torch.ones(1), 0.1),
    "max_expansions": lambda run, x: rf.Curvature(OBJECTIVE, max_expansions=x),
    "interval": lambda run, x: rf.DriftFreeRod(OBJECTIVE, DESCENT, interval=x),
    "power": lambda run, x: rf.DriftFreeRod(OBJECTIVE, DESCENT, power=x),
    "rounding_seed": lambda run, x: rf.Twin(OBJECTIVE, DESCENT, rounding_seed=x),
    "directions": lambda run, x: rf.CentralFlow(OBJECTIVE, DESCENT, directions=x),
    "columns": lambda run, x: rf.RodFlow(OBJECTIVE, DESCENT, columns="x" if x is None else x),
    "max_evaluations": lambda run, x: rf.Solver(max_evaluations=x),
    "transient": lambda run, x: rf.step_map(still, learning_rate=0.1, transient=x),
    "chunk_size": lambda run, x: rf.Objective(still, (W0,), chunk_size="x" if x is None else x),
    "warmup": lambda run, x: rf.schedules.warmup(x),
    "horizon": lambda run, x: rf.schedules.cosine(x),
    "data.examples": lambda run, x: rf.problems.digits(examples=x),
    "seed": lambda run, x: rf.problems.digits(examples=2, seed=x),
}
NUMBERS = {
    "learning_rate": lambda run, x: rf.Adam(x),
    "beta1": lambda run, x: rf.Adam(0.1, beta1=x),
    "beta2": lambda run, x: rf.Adam(0.1, beta2=x),
    "epsilon": lambda run, x: rf.Adam(0.1, epsilon=x),
    "weight_decay": lambda run, x: rf.AdamW(0.1, weight_decay=x),
    "momentum_share": lambda run, x: rf.QHM(0.1, momentum_share=x),
    "learning_rate of a step map": lambda run, x: rf.step_map(still, learning_rate=x),
    "threshold": lambda run, x: rf.step_map(still, learning_rate=0.1, threshold=x),
    "floor": lambda run, x: rf.schedules.cosine(9, x),
    "factor(0)": lambda run, x: rf.Scheduled(DESCENT, lambda t: x).rate(0),
    "perturbation": lambda run, x: train(perturbation=x),
    "sharpness_tolerance": lambda run, x: train(sharpness_tolerance=x),
    "maximum_sharpness": lambda run, x: integrate(run, maximum_sharpness=x),
    "step": lambda run, x: rf.Solver(step=x),
    "rtol": lambda run, x: rf.Solver(rtol=x),
    "step of rod flow": lambda run, x: rf.RodFlow(OBJECTIVE, DESCENT, step=x),
    "step of central flow": lambda run, x: rf.CentralFlow(OBJECTIVE, DESCENT, step=x),
    "atol": lambda run, x: rf.Solver(atol=x),
    "tolerance": lambda run, x: rf.CentralFlow(OBJECTIVE, DESCENT, tolerance=x),
    "relaxation": lambda run, x: rf.CentralFlow(OBJECTIVE, DESCENT, relaxation=x),
    "rounding_scale": lambda run, x: rf.DriftFreeRod(OBJECTIVE, DESCENT, rounding_scale=x),
    "split_tolerance": lambda run, x: rf.DriftFreeRod(OBJECTIVE, DESCENT, split_tolerance=x),
    "seconds": lambda run, x: Checkpoint("x", "x", x),
    "times": lambda run, x: list(rf.trajectory(stable(), run.window(10), [x])),
}


@pytest.mark.parametrize(
    ("name", "give", "values"),
    [(name, give, NO_COUNTS) for name, give in COUNTS.items()]
    + [(name, give, NO_NUMBERS) for name, give in NUMBERS.items()],
)
def test_what_is_no_such_number_is_refused_by_its_name(run, name, give, values):
    for value in values:
        with pytest.raises(InvalidInput) as caught:
            give(run, value)
        assert caught.value.key == name.partition(" of ")[0]


@pytest.mark.parametrize("one", [np.int64, np.int32, torch.tensor])
def test_numbers_of_numpy_and_torch_are_taken_as_pythons(run, one):
    rate = np.float64(0.1) if one is not torch.tensor else torch.tensor(0.1, dtype=torch.float64)
    again = train(rf.GradientDescent(rate), one(40), record_interval=one(10), eigenvalues=one(1))
    assert again.optimizer == run.optimizer and torch.equal(again.midpoints, run.midpoints)
    window = again.window(one(20), one(8))
    assert window.at == 20 and type(window.at) is int
    flows = [rf.integrate(stable(), w, n).series for w, n in ((window, one(20)), (run.window(20), 20))]
    assert flows[0].equals(flows[1])


def test_more_than_memory_holds_is_refused(run):
    for give in (lambda: train(steps=10**13), lambda: integrate(run, steps=10**13)):
        with pytest.raises(InvalidInput, match=r"steps: got 10000000000000, .* GiB"):
            give()
    with pytest.raises(InvalidInput, match="eigenvalues: got 4, allowed: from 1 to the number of weights, 3"):
        train(eigenvalues=4)


OTHERS = {
    "objective": [
        lambda run: rf.train(torch.nn.Linear(2, 1), DESCENT, W0, 40),
        lambda run: rf.StableFlow(torch.square, DESCENT),
    ],
    "optimizer": [
        lambda run: train(rf.Adam),
        lambda run: stable(rf.Adam),
        lambda run: stable(torch.optim.SGD([torch.nn.Parameter(W0)], 0.1)),
        lambda run: rf.Scheduled("adam", rf.schedules.warmup(9)),
    ],
    "factor": [lambda run: rf.Scheduled(DESCENT, 0.5)],
    "solver": [lambda run: stable(solver="rk4"), lambda run: rf.OneColumnRodFlow(OBJECTIVE, DESCENT, solver=3)],
    "flow": [
        lambda run: integrate(run, rf.StableFlow),
        lambda run: list(rf.trajectory("stable", run.window(10), [20])),
    ],
    "start": [
        lambda run: integrate(run, start=run),
        lambda run: integrate(run, start=10),
        lambda run: list(rf.trajectory(stable(), run, [20])),
        lambda run: integrate(run, stable(rf.GradientDescent(0.2))),
    ],
    "times": [
        lambda run: list(rf.trajectory(stable(), run.window(10), 20)),
        lambda run: list(rf.trajectory(stable(), run.window(10), [30, 20])),
        lambda run: list(rf.trajectory(stable(), run.window(10), [5])),
    ],
    "dtype": [
        lambda run: integrate(run, dtype="float32"),
        lambda run: integrate(run, dtype=torch.int64),
        lambda run: rf.problems.digits(examples=2, dtype="float32"),
    ],
    "device": [lambda run: integrate(run, device="gpu"), lambda run: rf.problems.digits(examples=2, device="gpu")],
    "checkpoint": [lambda run: train(checkpoint="file"), lambda run: integrate(run, checkpoint="file")],
    "reference": [
        lambda run: integrate(run, reference=run.window(10)),
        lambda run: integrate(run, reference=train(record_interval=20)),
        lambda run: integrate(run, reference=other()),
    ],
    "half_width": [lambda run: run.window(25, 2).state(3), lambda run: run.window(25, 2).state(-3)],
    "run": [
        lambda run: integrate(run).error(run.window(10)),
        lambda run: integrate(run).error(other()),
        lambda run: integrate(run, record_interval=7).error(run),
        lambda run: rf.plot(integrate(run), run),
    ],
    "flows": [lambda run: rf.plot(run, {}), lambda run: rf.plot(run, [integrate(run)])],
    "keep_centres": [lambda run: integrate(run, keep_centres=False).error(run)],
    "momentum": [lambda run: rf.step_map(still, learning_rate=0.1, momentum=0.9)],
    "function": [lambda run: rf.step_map(0.1, learning_rate=0.1)],
    "step": [
        lambda run: train(rf.step_map(lambda state, g, t: state.w - g, learning_rate=0.1)),
        lambda run: train(rf.step_map(lambda state, g, t: None, learning_rate=0.1)),
        lambda run: train(rf.step_map(lambda state, g, t: (state.w - g,), learning_rate=0.1)),
    ],
    "init": [lambda run: train(rf.step_map(still, learning_rate=0.1, init=lambda w: w))],
    "bias_correction": [lambda run: rf.Adam(0.1, bias_correction="no")],
    "module": [lambda run: rf.flat_parameters(torch.nn.ReLU()), lambda run: rf.flat_parameters(None)],
}


def other():
    """A run of two weights."""
    return rf.train(rf.Objective(lambda w: w @ w), DESCENT, vector(1.0, 2.0), 40)


@pytest.mark.parametrize(("key", "give"), [(key, give) for key, cases in OTHERS.items() for give in cases])
def test_what_is_something_else_is_refused_by_its_name(run, key, give):
    with pytest.raises(InvalidInput) as caught:
        give(run)
    assert caught.value.key == key


def test_a_diverged_run_says_so_wherever_it_is_asked_for_more(run, diverged, caplog):
    at = diverged.diverged_at
    assert 10 < at < 40
    for ask in (lambda: diverged.window(30), lambda: diverged.window(at, 1), lambda: diverged.window(at - 2)):
        with pytest.raises(InvalidInput, match=f"at: .* diverged at step {at}"):
            ask()
    with pytest.raises(InvalidInput, match=f"run: .* diverged at step {at}"):
        integrate(run, start=run.window(20)).error(diverged)
    caplog.clear()
    assert integrate(run, reference=diverged).series["error"].isna().any()
    assert f"diverged at step {at}" in caplog.text
    caplog.clear()
    train(DIVERGING)
    assert f"diverged at step {at}" in caplog.text


def test_a_window_gives_no_state_beyond_its_ends(run):
    window = run.window(25, 2)
    assert torch.equal(window.state(-2).w, window.states.w[0])
    assert isinstance(window.state(2), State)
    with pytest.raises(InvalidInput, match="offset"):
        window.state(0.5)
