"""The figures: reproducible files, and drawings of what diverged."""

import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.drawings import DRAWN_FLOWS as FLOWS, experiment, texts

import rodflow.catalogue
from rodflow.report.figures import architecture, cell, overview, panels
from rodflow.report.figures.style import FLOW_STYLE, save

OPTIMIZERS = list(rodflow.catalogue.OPTIMIZERS)[:9]


def table():
    rng = np.random.default_rng(3)
    centre = {
        "stable": 0.0,
        "stable_corrected": 0.1,
        "rod": 1.2,
        "rod_one_column": -0.2,
        "twin": 2.0,
        "second_twin": 2.2,
    }

    def ratio(flow):
        return 10 ** (centre.get(flow, 2.2) + 0.4 * rng.normal())

    rows = [
        {"architecture": a, "optimizer": o, "flow": f, "seed": s, "ratio_to_stable": ratio(f), "n_stable": 20}
        for a in ("mlp", "cnn", "vit") for o in OPTIMIZERS for f in FLOWS for s in range(3)
    ]  # fmt: skip
    errors = pd.DataFrame(rows)
    errors.loc[errors.flow == "stable", "ratio_to_stable"] = 1.0
    errors.loc[(errors.optimizer == "rmsprop") & (errors.architecture == "cnn"), "n_stable"] = 4
    errors.loc[(errors.optimizer == "gd") & (errors.architecture == "vit"), "ratio_to_stable"] = np.nan
    errors.loc[(errors.optimizer == "adam") & (errors.seed == 1), "ratio_to_stable"] = np.nan
    return errors


def drawings():
    diverged = experiment(flow_lost={("stable", 0): 620, ("stable", 1): 700})
    empty = experiment(seeds=1, lost=0)
    two_more = table().replace({"flow": {"rod": "drift_free_rod", "rod_one_column": "central"}})
    five_flows = pd.concat([table(), two_more[two_more.flow.isin(["drift_free_rod", "central"])]])
    empty_flows = experiment(seeds=1, lost=0, flow_lost={(f, 0): 0 for f in FLOWS})
    return {
        "cell": lambda: cell.draw(experiment(), "MLP, Adam", "5 examples of digits"),
        "cell_flow_diverged": lambda: cell.draw(diverged, "MLP, Adam"),
        "cell_run_diverged": lambda: cell.draw(experiment(lost=600), "CNN, Gradient descent"),
        "cell_empty": lambda: cell.draw(empty, "ViT, NAdam"),
        "cell_nothing": lambda: cell.draw(empty_flows, "ViT, NAdam"),
        "cell_no_runs": lambda: cell.draw(panels.PlottedCell({}, {}, 2.0), "ViT, NAdam"),
        "architecture": lambda: architecture.draw(
            {o: experiment(threshold=2.0 + i) for i, o in enumerate(OPTIMIZERS)}
            | {"gd": diverged, "nadam": empty_flows},
            "mlp",
        ),
        "overview": lambda: overview.draw(table()),
        "overview_two_rows": lambda: overview.draw(five_flows),
        "overview_nan": lambda: overview.draw(table().assign(ratio_to_stable=np.nan)),
    }


@pytest.mark.parametrize("name", drawings())
def test_files_have_the_same_bytes_each_time_and_nothing_warns(name, tmp_path):
    """Twice of one drawing of panels and of one of a table: the others are what is different in the data."""
    written = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for attempt in ("first", "second") if name in ("cell", "overview") else ("first",):
            paths = [tmp_path / attempt / f"{name}.png", tmp_path / attempt / f"{name}.pdf"]
            save(drawings()[name](), paths)
            written.append([path.read_bytes() for path in paths])
            assert {path.name for path in (tmp_path / attempt).iterdir()} == {f"{name}.png", f"{name}.pdf"}
    assert written[0] == written[-1]
    assert written[0][0].startswith(b"\x89PNG") and written[0][1].startswith(b"%PDF")


def test_divergence_is_told_apart():
    figures = drawings()
    assert "diverged" not in texts(figures["cell"]()).lower()
    by_flow = texts(figures["cell_flow_diverged"]())
    assert "Stable flow\n(diverged at steps 620, 700)" in by_flow and by_flow.count("(diverged") == by_flow.count(
        "Stable flow\n"
    )
    by_run = texts(figures["cell_run_diverged"]())
    assert "Discrete run\n(diverged at step 600)" in by_run and by_run.count("(diverged") == by_run.count(
        "Discrete run\n"
    )
    assert texts(figures["cell_nothing"]()).count("no data: the run diverged") == 4


def test_legend_says_the_record_at_which_a_flow_was_stopped():
    """The record of the summary and of errors.csv, which the flow reached; another flow diverged, and never did."""
    ended = experiment(flow_stopped={("stable", 0): 640, ("stable", 1): 700}, flow_lost={("rod", 1): 810})
    series = ended.series["stable", 0].set_index("step")["sharpness"]
    assert np.isfinite(series[640]) and np.isnan(series[650])
    said = texts(cell.draw(ended, "MLP, Adam"))
    assert "Stable flow\n(stopped at steps 640, 700)" in said and "Rod flow\n(diverged at step 810)" in said
    assert "Stopped or diverged: last point" in said
    last = experiment(seeds=1, flow_stopped={("stable", 0): 1000})  # its last record: no row is NaN
    assert "Stable flow\n(stopped at step 1,000)" in texts(cell.draw(last, "MLP, Adam"))
    mixed = [panels.Lost("diverged", 1200), panels.Lost("stopped", 30), panels.Lost("stopped", 30)]
    assert panels.lost_text(mixed) == "stopped at step 30; diverged at step 1,200"


def test_loss_of_every_step_is_drawn():
    """It rises and falls, and stays within the limits that records and flows have."""
    for made in (experiment(), replace(experiment(), every_step={})):
        figure = cell.draw(made, "MLP, Adam")
        (loss, *_) = figure.axes
        thin = [line for line in loss.get_lines() if line.get_linewidth() == panels.EVERY_STEP["linewidth"]]
        assert len(thin) == len(made.every_step)
        assert all((np.diff(line.get_ydata()) > 0).sum() > 400 for line in thin)
        assert ("every step" in texts(figure).split("Stable flow")[0].split("(b)")[-1]) == bool(thin)


def test_title_and_labels():
    figure = drawings()["cell"]()
    assert figure.get_suptitle() == "MLP, Adam\n5 examples of digits"
    assert {axes.get_xlabel() for axes in figure.axes} == {"optimizer step"}


def test_lines_differ_in_dashes_too():
    assert len({look.colour for look in FLOW_STYLE.values()}) == len(FLOW_STYLE)
    assert len({(look.linestyle, look.linewidth) for look in FLOW_STYLE.values()}) == len(FLOW_STYLE)


def test_overview_numbers():
    values = [0.012345, 1.04, 9.96, 0.996, 123.0, 0.0, 3.21e-5, 1.0]
    shown = ["0.012", "1.0", "10", "1.0", "120", "0", "3.2e-05", "1.0"]
    assert [overview.two_digits(value) for value in values] == shown
    assert overview.two_digits(float("nan")) == "–"


def test_edge_intervals_by_hand():
    """Records every 10 steps; at 0.9 thresholds of 2 and above at steps 20, 30 and 50."""
    records = pd.DataFrame({"step": [10, 20, 30, 40, 50], "sharpness": [1.0, 1.8, 2.5, np.nan, 1.9]})
    assert panels.edge_intervals(records, 2.0) == [(15, 35), (45, 55)]
    assert panels.edge_intervals(records.iloc[1:2], 2.0) == [(19.5, 20.5)]
    assert panels.edge_intervals(records.iloc[:1], 2.0) == panels.edge_intervals(records.iloc[:0], 2.0) == []


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.png or \.pdf"):
        save(drawings()["overview"](), [tmp_path / "a.jpg"])


def test_needs_no_torch():
    modules = ", ".join(f"rodflow.report.figures.{name}" for name in ("cell", "architecture", "overview", "landscape"))
    check = f"import sys, {modules}; sys.exit(bool({{'torch', 'h5py', 'matplotlib.pyplot'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
