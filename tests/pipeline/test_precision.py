"""The precision study: three variants of a tiny cell, what is measured of them, and how they are drawn."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.checkout import smoke
from helpers.runs import study
from helpers.summaries import study_summary
from matplotlib.text import Text

from rodflow import config as configuration
from rodflow.config import Cell
from rodflow.config.run import STUDIED_FLOWS, VARIANTS
from rodflow.errors import InvalidInput
from rodflow.jobs.files import read_json, read_table
from rodflow.measures.columns import STUDY_COLUMNS
from rodflow.measures.precision import PRECISION_COLUMNS, discrete_records, rows, table, variant_label
from rodflow.pipeline.stages.dataset import prepare
from rodflow.pipeline.stages.discrete import cell_optimizer, cell_problem, run_cell
from rodflow.pipeline.stages.precision import tabulate_study
from rodflow.pipeline.stages.precision_table import aggregate_studies
from rodflow.report.figures import precision as figure
from rodflow.report.figures.style import save
from rodflow.training.discrete import train

CELL, LABELS = Cell("mlp", "gd", 0), [variant_label(name) for name in VARIANTS]
# a rate far below the edge, where nothing but rounding feeds the oscillation
SMOKE = smoke(learning_rates={"mlp": {"gd": 0.03}}, architectures=["mlp"], optimizers=["gd"])


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    folder, config = tmp_path_factory.mktemp("results"), configuration.parse(SMOKE)
    prepare(config, folder / "dataset.npz")
    study(config, folder, CELL)
    return folder


def test_a_study_holds_each_variants_run_and_flows(results):
    series = read_table(results / "precision/mlp-gd-seed0.parquet")
    assert list(series.columns) == STUDY_COLUMNS
    counts = series.groupby(["variant", "flow"]).size()
    for variant in LABELS:
        assert counts[variant, "discrete"] == 6
        assert all(counts[variant, flow] == 4 for flow in STUDIED_FLOWS)
    run = series["flow"] == "discrete"
    assert series.loc[run, ["sharpness", "oscillation"]].notna().all(axis=None)
    assert series.loc[~run, ["sharpness", "error"]].notna().all(axis=None)
    assert (series["rod_length"].notna() == (series["flow"] == "drift_free_rod")).all()
    summary = read_json(results / "precision/mlp-gd-seed0.json")
    assert (summary["flow_start"], summary["threshold"]) == (20, 2.0)
    assert summary["provenance"]["config"].keys() == VARIANTS.keys()


def test_the_perturbed_variant_is_the_run_with_float32s_epsilon(results):
    config = configuration.parse(SMOKE).variant("float64_perturbed")
    problem = cell_problem(config, CELL, results / "dataset.npz", "float64")
    optimizer = cell_optimizer(config, CELL)
    epsilon = torch.finfo(torch.float32).eps
    run = train(
        problem.objective,
        optimizer,
        problem.w0,
        config.steps,
        record_interval=config.record_interval,
        perturbation=epsilon,
    )
    series = read_table(results / "precision/mlp-gd-seed0.parquet")
    stored = discrete_records(series, "float64 perturbed")["oscillation"]
    assert stored.tolist() == run.oscillation[run.record_steps].tolist()
    rods = series[(series["flow"] == "drift_free_rod") & (series["step"] == 60)].set_index("variant")["rod_length"]
    assert rods["float64"] < 1e-3 * rods["float64 perturbed"]  # 2.2e-16 against 1.2e-7


def test_the_table_of_a_study(results):
    config = configuration.parse(SMOKE)
    aggregate_studies(config, results)
    found = pd.read_csv(results / "tables/precision.csv")
    assert list(found.columns) == PRECISION_COLUMNS
    assert list(found["variant"]) == LABELS
    assert np.isfinite(found["overshoot"]).all()
    assert read_json(results / "tables/precision.json")["config"]["cells"] == [["mlp", "gd", 0]]


@pytest.mark.parametrize(
    ("architecture", "optimizer", "key"), [("rnn", "gd", "architecture"), ("mlp", "sgdd", "optimizer")]
)
def test_a_cell_without_a_rate_is_refused(tmp_path, architecture, optimizer, key):
    config, cell = configuration.parse(SMOKE), Cell(architecture, optimizer, 0)
    for make in (
        lambda: run_cell(config.variant("float64"), cell, tmp_path / "none.npz", tmp_path / "out.h5"),
        lambda: tabulate_study(config, cell, tmp_path),
    ):
        with pytest.raises(InvalidInput) as caught:
            make()
        assert caught.value.key == key
    assert not list(tmp_path.iterdir())


def test_settings_do_not_depend_on_the_grids_precision():
    one, other = (
        configuration.parse(SMOKE | {"dtype": d, "perturbation": p}) for d, p in (("float32", 0), ("float64", 1))
    )
    assert one.study_settings(CELL) == other.study_settings(CELL)
    settings = one.study_settings(CELL)
    assert [settings[v]["stable"]["dtype"] for v in VARIANTS] == ["float32", "float64", "float64"]
    assert {s["flow_dtype"] for by_flow in settings.values() for s in by_flow.values()} == {"float64"}


SUMMARY = study_summary()


def made_up(lost: int | None = None) -> pd.DataFrame:
    """Runs that pass the edge at step 50 and the threshold after it; oscillation sets in at 70, 90 and 80.

    The run diverges at step ``lost``. Before the flows' start and the edge the oscillation is large as well.
    """
    steps = np.arange(10, 101, 10)
    parts = []
    for variant, onset, top in zip(LABELS, (70, 90, 80), (1.1, 1.6, 1.2), strict=True):
        run = {"step": steps, "sharpness": np.where(steps < onset, 2 * top * steps / onset, 2.0)}
        run["sharpness"] = np.where(steps == onset, 2 * top, run["sharpness"])
        run["sharpness"] = np.where(steps < 50, 1.0, np.maximum(run["sharpness"], 1.8))
        run["oscillation"] = np.where(steps >= onset, 0.011 + (steps == 100) * 0.989, np.where(steps < 40, 0.5, 1e-3))
        parts.append(pd.DataFrame(run).assign(variant=variant, flow="discrete"))
        for flow, error in zip(STUDIED_FLOWS, (0.5, 0.01), strict=True):
            own = pd.DataFrame({"step": steps[2:], "sharpness": 2.0, "error": error}).assign(variant=variant, flow=flow)
            parts.append(own.assign(rod_length=0.1 if "rod" in flow else np.nan))
    series = pd.concat(parts, ignore_index=True).reindex(columns=STUDY_COLUMNS)
    if lost is not None:
        series.loc[series["step"] >= lost, ["sharpness", "oscillation", "rod_length", "error"]] = np.nan
    return series


def test_onset_overshoot_and_errors_by_hand():
    found = table(rows(made_up(), SUMMARY))
    assert found["onset_step"].tolist() == [70, 90, 80]
    np.testing.assert_allclose(found["overshoot"], [1.1, 1.6, 1.2])
    np.testing.assert_allclose(found["error_eos_mean_stable"], 0.5)
    np.testing.assert_allclose(found["error_eos_mean_drift_free_rod"], 0.01)
    np.testing.assert_allclose(found["ratio"], 50)


def test_a_run_that_ends_before_its_onset_has_none():
    series = made_up()
    quiet = (series["variant"] == "float64") & (series["step"] >= 40)
    series.loc[quiet & (series["flow"] == "discrete"), "oscillation"] = 1e-4
    found = table(rows(series, SUMMARY))
    assert found["onset_step"].isna().tolist() == [False, True, False]
    assert "no onset by step 100" in texts(figure.draw(series, SUMMARY))


def test_a_run_that_diverged_at_once_is_measured_as_nan():
    found = table(rows(made_up(lost=10), SUMMARY))
    assert found["onset_step"].isna().all()
    assert found[["overshoot", "error_eos_mean_stable", "ratio"]].isna().all(axis=None)


def texts(drawn) -> list[str]:
    return [text.get_text() for text in drawn.findobj(Text)]


@pytest.mark.parametrize("lost", [None, 80, 30, 10])
def test_the_figure_draws_and_says_what_it_shows(lost, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = figure.draw(made_up(lost), SUMMARY)
        said = texts(drawn)
        save(drawn, [tmp_path / "a.png", tmp_path / "a.pdf"])
    assert (tmp_path / "a.png").stat().st_size > 0 and (tmp_path / "a.pdf").stat().st_size > 0
    assert set(LABELS) <= set(said) and "optimizer step" in said
    if lost is None:
        assert {"onset at step 70", "onset at step 90", "overshoot 1.60"} <= set(said)


def test_panels_of_a_row_share_their_axis():
    series = made_up()
    series.loc[(series["variant"] == "float64") & (series["flow"] == "stable"), "error"] = 40.0
    grid = np.array(figure.draw(series, SUMMARY).axes).reshape(3, 3)
    for row in grid:
        assert len({axes.get_ylim() for axes in row}) == 1
    assert grid[2, 0].get_ylim()[1] > 40


def test_the_figure_needs_no_torch():
    check = "import sys, rodflow.report.figures.precision; sys.exit(bool({'torch', 'h5py'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
