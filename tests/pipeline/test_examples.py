"""The example of an own optimizer: short, and its rod flow beats its stable flow."""

import os
import re
import subprocess
import sys

from helpers.checkout import ROOT

EXAMPLE = ROOT / "examples/your_optimizer.py"


def test_your_optimizer(tmp_path):
    assert len(EXAMPLE.read_text().splitlines()) < 40
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, str(EXAMPLE)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    at_the_edge, of = re.search(r"at the edge: (\d+) of (\d+) records", ended.stdout).groups()
    assert int(at_the_edge) > int(of) / 2
    stable, rod = (float(number) for number in re.findall(r"mean error in the edge window ([\d.]+)", ended.stdout))
    assert 0 < rod < stable / 5
    assert list(tmp_path.iterdir()) == []
