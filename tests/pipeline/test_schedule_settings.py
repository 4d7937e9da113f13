"""A schedule in a config: what is refused, what a cell's optimizer has of it, and what the stages write."""

import math

import pandas as pd
import pytest
import torch
import yaml
from helpers.checkout import smoke
from helpers.runs import run

from rodflow import config as configuration
from rodflow.catalogue import OPTIMIZERS
from rodflow.config import Cell
from rodflow.errors import InvalidInput
from rodflow.pipeline.stages import discrete as discrete_stage
from rodflow.training.run_file import load

CELL = Cell("mlp", "gd", 0)


@pytest.mark.parametrize(
    ("settings", "key", "value"),
    [
        ({"kind": "step"}, "schedule.kind", "step"),
        ({"floor": 0}, "schedule.floor", "0"),
        ({"floor": 1.5}, "schedule.floor", "1.5"),
        ({"warmup": 0}, "schedule.warmup", "0"),
        ({"horizon": 0}, "schedule.horizon", "0"),
        ({"kind": "warmup_cosine", "warmup": 60}, "schedule.warmup", "60"),
        ({"kind": "warmup_cosine", "warmup": 20, "horizon": 20}, "schedule.warmup", "20"),
        ({"decay": 1}, "schedule.decay", "1"),
    ],
)
def test_bad_schedules_in_a_config_are_refused(settings, key, value):
    with pytest.raises(InvalidInput) as refused:
        configuration.parse(smoke(schedule=settings))
    assert key in str(refused.value)
    assert value in str(refused.value)


def test_a_cells_optimizer_has_the_configs_schedule():
    plain = configuration.parse(smoke())
    assert isinstance(discrete_stage.cell_optimizer(plain, CELL), OPTIMIZERS["gd"])
    config = configuration.parse(smoke(schedule={"kind": "cosine", "floor": 0.5}))
    ours = discrete_stage.cell_optimizer(config, CELL)
    assert ours.rate(0) == 0.2
    assert ours.rate(60) == pytest.approx(0.1)  # the horizon is the steps
    assert plain.discrete_settings(CELL) != config.discrete_settings(CELL)


def test_tables_hold_the_sharpness_at_the_current_rate(tmp_path):
    """The same weights by hand: the run's midpoints, a dense Hessian, the rate of the cosine."""
    results = run(
        tmp_path,
        architectures=["mlp"],
        optimizers=["gd"],
        flows=["stable"],
        schedule={"kind": "cosine", "floor": 0.1},
        sharpness={"tolerance": 1e-3},
        sizes={"mlp": {"widths": [3]}},
        dtype="float64",
        precision_cells=[],
    )
    table = pd.read_csv(results / "tables" / "thresholds.csv").iloc[0]
    config = configuration.parse(yaml.safe_load((results / "config.yaml").read_text()))
    problem = discrete_stage.cell_problem(config, CELL, results / "dataset.npz", config.dtype)
    trained = load(results / "discrete" / "mlp-gd-seed0.h5")
    rows = []
    for t, w in zip(trained.record_steps.tolist(), trained.midpoints, strict=True):
        columns = [problem.objective.hessian_vector_product(w, e) for e in torch.eye(len(w), dtype=w.dtype)]
        rate = 0.2 * (0.1 + 0.9 * (1 + math.cos(math.pi * t / 60)) / 2)
        rows.append((t, rate * float(torch.linalg.eigvalsh(torch.stack(columns))[-1])))
    late = max(sharpness for t, sharpness in rows if t >= 20)
    assert table["sharpness_largest_ratio"] == pytest.approx(late / 2, rel=1e-3)
    series = pd.read_parquet(results / "flows" / "mlp-gd-seed0-stable.parquet").set_index("step")
    assert series["discrete_sharpness"].to_dict() == pytest.approx({t: s for t, s in rows if t > 20}, rel=1e-3)
    assert series.loc[60, "sharpness"] == pytest.approx(rows[-1][1], rel=0.05)
