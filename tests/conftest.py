"""One thread: the tests' arrays are small, and spinning threads slow each other down on a busy machine.

A fixture of several rooms stands here too.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture
def traced_at_once(monkeypatch):
    """Gradients are replayed from the first one on, as they are in a run of many steps."""
    monkeypatch.setattr("rodflow.training.replay.PATIENCE", 0)
