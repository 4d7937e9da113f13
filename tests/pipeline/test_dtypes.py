"""float32 against float64 before the edge, runs and flows of the same run: as close as docs/fidelity.md says."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.checkout import smoke

from rodflow import config as configuration
from rodflow.config import Cell
from rodflow.pipeline.stages.dataset import prepare
from rodflow.pipeline.stages.discrete import run_cell
from rodflow.pipeline.stages.flow import run_flow
from rodflow.training.run_file import load

WEIGHTS, SHARPNESS, LOSS = 1e-5, 2e-6, 1e-6
"""Of a discrete run: midpoints as a share of the way from the first one, effective sharpness, loss."""
FLOWS = {"stable": (2e-3, 2e-3), "rod": (2e-3, 2e-3), "drift_free_rod": (1e-5, 5e-5)}
"""Of a flow: its relative error, by a difference; its effective sharpness, by a share."""
RATES = {"gd": 0.05, "adam": 5e-4}
MODELLED = [("gd", "stable"), ("gd", "rod"), ("gd", "drift_free_rod"), ("adam", "stable"), ("adam", "drift_free_rod")]


def config(run: str, flow: str) -> configuration.Config:
    learning_rates = {"mlp": RATES}
    grid = {"architectures": ["mlp"], "flows": list(FLOWS), "precision_cells": [], "landscapes": [], "steps": 80}
    return configuration.parse(smoke(**grid, learning_rates=learning_rates, dtype=run, flow_dtype=flow))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The data set, and each optimizer's run in both dtypes."""
    folder = tmp_path_factory.mktemp("dtypes")
    prepare(config("float32", "float64"), folder / "dataset.npz")
    for name in RATES:
        for dtype in ("float32", "float64"):
            cell, file = Cell("mlp", name, 0), folder / f"{name}-{dtype}.h5"
            run_cell(config(dtype, "float64"), cell, folder / "dataset.npz", file)
    return folder


def apart(one, other) -> float:
    return float(np.max(np.abs(np.asarray(one) / np.asarray(other) - 1)))


@pytest.mark.parametrize("name", RATES)
def test_discrete_runs(folder, name):
    single, double = (load(folder / f"{name}-{dtype}.h5") for dtype in ("float32", "float64"))
    assert single.loss.dtype != double.loss.dtype
    assert (double.sharpness < 0.8 * double.threshold).all()  # before the edge, all along
    distance = (single.midpoints.double() - double.midpoints).norm(dim=1)[1:]
    displacement = (double.midpoints - double.midpoints[0]).norm(dim=1)[1:]
    assert 0 < (distance / displacement).max() < WEIGHTS
    assert apart(single.sharpness, double.sharpness) < SHARPNESS
    assert 0 < apart(single.loss.double(), double.loss) < LOSS


@pytest.mark.parametrize("fewer", ["float32", "mixed"])
@pytest.mark.parametrize(("name", "flow"), MODELLED)
def test_flows(folder, tmp_path, name, flow, fewer):
    """Of the run in float32, as in the default config; in mixed precision gradients alone have fewer digits."""
    series = {}
    for dtype in (fewer, "float64"):
        file = tmp_path / f"{dtype}.parquet"
        cell, run = Cell("mlp", name, 0), folder / f"{name}-float32.h5"
        run_flow(config("float32", dtype), cell, flow, folder / "dataset.npz", run, file)
        series[dtype] = pd.read_parquet(file)
    single, double = series[fewer], series["float64"]
    error, sharpness = FLOWS[flow]
    assert 0 < (single["relative_error"] - double["relative_error"]).abs().max() < error
    assert apart(single["sharpness"], double["sharpness"]) < sharpness
