"""fidelity.csv by hand, its figure, and the onset on a real cell: when run and flows begin to oscillate."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.drawings import experiment, sticks_out, texts
from helpers.problems import optimizer
from helpers.summaries import run_summary

from rodflow.catalogue import FLOWS
from rodflow.flows.integrate import integrate
from rodflow.measures.constants import ONSET
from rodflow.measures.fidelity import FIDELITY_COLUMNS, far_before_edge, fidelity, fidelity_row
from rodflow.problems.networks import digits
from rodflow.report.figures import fidelity as figure
from rodflow.report.figures.style import save
from rodflow.report.summary import fidelity_in_brief
from rodflow.training.discrete import train

RUN = run_summary()
ERRORS = {"architecture": "mlp", "optimizer": "gd", "flow": "rod", "seed": 0, "error_eos_mean": 0.5}


def records():
    """A run that is at the edge from step 60 on and oscillates from step 70 on."""
    steps = np.arange(10, 101, 10)
    sharpness = np.where(steps < 60, 1.0, 2.0)
    oscillation = np.where(steps >= 70, 0.2, 1e-6)
    return pd.DataFrame({"step": steps, "sharpness": sharpness, "oscillation_along_sharpest": oscillation})


def series():
    """A flow of that run with known ratios: it oscillates 10 steps later, half as far."""
    run = records()
    run = run[run["step"] > 20].reset_index(drop=True)
    edge = run["step"] >= 60
    return pd.DataFrame(
        {
            "step": run["step"],
            "error": 0.1,
            "relative_error": np.where(run["step"] == 30, 9.0, np.where(edge, 5.0, 0.01 * run["step"])),
            "discrete_sharpness": run["sharpness"],
            "sharpness": 1.1 * run["sharpness"],
            "predicted_loss": 0.9,
            "predicted_squared_gradient": 0.4,
            "discrete_squared_gradient": 0.5,
            "discrete_loss": 0.6,
            "rod_length": 0.1,
            "oscillation": 0.2,
            "rod_along_sharpest": np.where(run["step"] >= 80, 0.1, 0.0),
            "alignment_sharpest": 0.7,
            "alignment_oscillation": 0.8,
        }
    )


def test_a_row_by_hand():
    row = fidelity_row(series(), ERRORS, records(), RUN)
    assert set(row) <= set(FIDELITY_COLUMNS)
    assert row["relative_error_before_edge"] == pytest.approx(0.5)  # at step 50; the first record does not count
    assert row["sharpness_ratio"] == pytest.approx(1.1)
    assert row["predicted_loss_ratio"] == pytest.approx(1.5)
    assert row["predicted_squared_gradient_ratio"] == pytest.approx(0.8)
    assert row["rod_length_ratio"] == pytest.approx(0.5)
    assert (row["alignment_sharpest"], row["alignment_oscillation"]) == pytest.approx((0.7, 0.8))
    assert (row["discrete_onset_step"], row["onset_step"]) == (70, 80)


def test_a_flow_without_a_rod_has_no_onset():
    frame = series()
    frame[["rod_length", "rod_along_sharpest", "alignment_sharpest", "alignment_oscillation"]] = np.nan
    table = fidelity([fidelity_row(frame, ERRORS, records(), RUN)])
    assert table["onset_step"].isna().all() and table["discrete_onset_step"].tolist() == [70]
    assert "| rod | 1 | 0.5 | 0 | 1.500 | – | – |" in fidelity_in_brief(table)


def test_a_flow_of_second_order_has_to_be_nearer_before_the_edge():
    """Over the stable flow of its own cell; a flow of first order may be as far."""
    rows = []
    for seed, share in ((0, 0.1), (1, 0.5)):
        for flow in ("stable", "rod", "central"):
            frame = series()
            frame["relative_error"] *= share if flow == "rod" else 1.0
            rows.append(fidelity_row(frame, ERRORS | {"flow": flow, "seed": seed}, records(), RUN))
    table = fidelity(rows)
    assert table["ratio_to_stable_before_edge"].tolist() == pytest.approx([1, 10, 1, 1, 2, 1])
    said = far_before_edge(table)
    assert len(said) == 1 and said[0].startswith("mlp-gd-seed1: before the edge rod is 2 times nearer")
    without = fidelity(rows[1:2])
    assert without["ratio_to_stable_before_edge"].isna().all() and far_before_edge(without) == []


def test_it_counts_onsets_within_a_tenth():
    frame = series()
    frame["rod_along_sharpest"] = np.where(frame["step"] >= 70, 0.1, 0.0)
    rows = [fidelity_row(f, ERRORS, records(), RUN) for f in (frame, series())]
    assert fidelity_in_brief(fidelity(rows)).strip().endswith("| 0.500 | 1 |")


def test_a_run_that_diverged_at_once_is_a_row_without_numbers():
    frame = series().astype({"step": int})
    frame.loc[:, frame.columns != "step"] = np.nan
    lost = records()
    lost[["sharpness", "oscillation_along_sharpest"]] = np.nan
    table = fidelity([fidelity_row(frame, ERRORS | {"error_eos_mean": np.nan}, lost, RUN)])
    numbers = [name for name in FIDELITY_COLUMNS if name not in ERRORS]
    assert table[numbers].isna().all(axis=None)


def test_the_figure_draws(tmp_path):
    flows = sorted({flow for flow, _ in experiment().series})
    ratios = dict(zip(flows, (1, 1.2, 1, 3, np.nan, 1), strict=True))
    rows = [
        {"architecture": a, "optimizer": o, "flow": f, "seed": 0, "n": 7, "error_eos_mean": r / 9, "sharpness_ratio": r}
        for a in ("mlp", "vit") for o in ("gd", "adam") for f, r in ratios.items()
    ]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = figure.draw(pd.DataFrame(rows).reindex(columns=FIDELITY_COLUMNS))
        assert [axes.get_title("left") for axes in drawn.axes[:2]] == ["MLP", "ViT"]
        save(drawn, [tmp_path / "a.png", tmp_path / "a.pdf"])
    assert (tmp_path / "a.png").stat().st_size > 0


@pytest.mark.parametrize("kept", [[], ["mlp"]])
def test_the_figure_of_cells_that_are_not_at_the_edge(kept, tmp_path):
    """Each panel without a number says so, and nothing warns."""
    rows = [
        {"architecture": a, "optimizer": o, "flow": f, "seed": 0, "error_eos_mean": 0.1, "sharpness_ratio": 1.0}
        for a in ("mlp", "vit") for o in ("gd", "adam")
        for f in ("stable_corrected", "rod_one_column", "rod", "central")
    ]  # fmt: skip
    table = pd.DataFrame(rows).reindex(columns=FIDELITY_COLUMNS)
    table.loc[~table["architecture"].isin(kept), ["error_eos_mean", "sharpness_ratio"]] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = figure.draw(table)
        assert texts(drawn).count("not at the edge") == 2 * (2 - len(kept))
        assert sticks_out(drawn) == sticks_out(figure.draw(table[table["architecture"] == "mlp"])) == []
        save(drawn, [tmp_path / "a.png", tmp_path / "a.pdf"])


@pytest.mark.parametrize(("dtype", "perturbation"), [(torch.float32, 0.0), (torch.float64, 1.2e-7)])
def test_onset_on_a_real_cell(dtype, perturbation):
    """A perceptron on digits, in either precision: the drift-free rod sets in with the run, one column later.

    Rod flow sets in early, fed by the drift. In float64 the run has float32's errors: its own are below what the map
    leaves in its rod between two separating steps, and the last bits of the machine decide when it sets in.
    """
    settings = {"examples": 50, "sizes": {"widths": (8, 8)}, "device": "cpu"}
    problem, double = (digits("mlp", dtype=d, **settings) for d in (dtype, torch.float64))
    ours, steps = optimizer("gd", 0.2), 160
    run = train(problem.objective, ours, problem.w0, steps, record_interval=5, perturbation=perturbation)
    late = run.record_steps >= 20
    level = ONSET * float(run.oscillation_along_sharpest[late].max())
    discrete = int(run.record_steps[late & (run.oscillation_along_sharpest >= level)][0])
    onset = {}
    for name in ("drift_free_rod", "rod", "rod_one_column"):
        flow = FLOWS[name](double.objective, ours)
        table = integrate(flow, run.window(20), steps - 20, 5, reference=run, dtype=torch.float64).series
        reached = table.loc[table["rod_along_sharpest"] >= level, "step"]
        onset[name] = reached.iloc[0] if len(reached) else np.inf
    assert onset["drift_free_rod"] == pytest.approx(discrete, rel=0.1)
    assert 20 < onset["rod"] <= discrete
    assert onset["rod_one_column"] > discrete
