"""The examples: short, they run, rod flow beats the stable flow, and rod flow in plain torch is the package's."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest
import torch
from helpers.checkout import ROOT
from helpers.problems import bowl, optimizer, window
from helpers.vectors import close, run_states, vector

from rodflow.flows import rod
from rodflow.flows.integrate import trajectory
from rodflow.flows.rod import RodFlow

EXAMPLES = ROOT / "examples"


def printed(name, folder, lines):
    """What an example prints that has fewer than so many lines; it leaves nothing in the folder that it runs in."""
    example = EXAMPLES / f"{name}.py"
    assert len(example.read_text().splitlines()) < lines
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, str(example)], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    assert list(folder.iterdir()) == []
    return ended.stdout


def test_your_optimizer(tmp_path):
    said = printed("your_optimizer", tmp_path, lines=40)
    at_the_edge, of = re.search(r"at the edge: (\d+) of (\d+) records", said).groups()
    assert int(at_the_edge) > int(of) / 2
    stable, rod = (float(number) for number in re.findall(r"mean error in the edge window ([\d.]+)", said))
    assert 0 < rod < stable / 5


def test_rod_flow_minimal_stays_with_the_run(tmp_path):
    """In the valley whose edge is at 6.67 gradient flow goes up to 9; gradient descent and rod flow do not."""
    rows = [line.split() for line in printed("rod_flow_minimal", tmp_path, lines=75).splitlines()[2:]]
    _, run, stable, flow = (torch.tensor(column) for column in zip(*(map(float, row) for row in rows), strict=True))
    assert stable[-1] > 8.9 and run.max() < 7.5
    assert (flow - run).abs().max() < 0.2


@pytest.fixture
def minimal():
    spec = importlib.util.spec_from_file_location("rod_flow_minimal", EXAMPLES / "rod_flow_minimal.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("short", "rtol"), [(0.0, 1e-9), (rod.SHORT, 1e-5)])
def test_rod_flow_minimal_is_the_packages(minimal, monkeypatch, short, rtol):
    """The same numbers at every step, past the edge; columns that the package cuts short differ in what that leaves."""
    monkeypatch.setattr(rod, "SHORT", short)
    problem, ours = bowl(5), optimizer("gd", 2.2)
    states = run_states(problem.objective, ours, vector(0.5, 0.4, -0.3, 0.2, 0.1), 3)
    flow = RodFlow(problem.objective, ours)

    def increment(z):
        return -2.2 * problem.gradient(z)

    z, columns = minimal.start(increment, states[1].w, states[2].w)
    for t, y in trajectory(flow, window(states, 1), [1.5 + k for k in range(61)]):
        theirs = flow.point(y)
        close(z, theirs.z, rtol=rtol, atol=rtol)
        close(columns @ columns.T, theirs.columns @ theirs.columns.T, rtol=rtol, atol=rtol)
        if t == 61.5:
            assert theirs.columns[:, 0].norm() > 0.1  # it oscillates
        z, columns = minimal.step(increment, z, columns)
