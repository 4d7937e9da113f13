"""What differs between two made-up runs, by hand; and runs whose tables lose no cells."""

import pandas as pd
import pytest
import yaml
from helpers.checkout import smoke
from typer.testing import CliRunner

from rodflow import config as configuration
from rodflow.cli import app
from rodflow.errors import InvalidInput
from rodflow.measures.differences import different_numbers, different_settings, paired_errors
from rodflow.pipeline.finished import require_no_fewer_cells
from rodflow.report.figures.differences import draw

ERRORS = {("gd", "stable"): 0.4, ("gd", "rod"): 0.01, ("adam", "stable"): 0.2, ("adam", "rod"): float("nan")}


def folder(path, errors=ERRORS, **settings):
    """A finished run, as far as it is compared."""
    (path / "tables").mkdir(parents=True)
    (path / "config.yaml").write_text(yaml.safe_dump(smoke(run=path.name) | settings))
    keys = [{"architecture": "mlp", "optimizer": optimizer, "seed": 0, "flow": flow} for optimizer, flow in errors]
    table = pd.DataFrame(keys).assign(error_eos_mean=errors.values(), seconds=float(ord(path.name[0])), missing=None)
    table.to_csv(path / "tables" / "errors.csv", index=False)
    table.drop(columns="error_eos_mean").assign(loss_ratio=1.0).to_csv(path / "tables" / "fidelity.csv", index=False)
    cells = table.drop_duplicates("optimizer").drop(columns=["flow", "error_eos_mean", "seconds"])
    cells.assign(threshold=2.0, eos_share=0.5).to_csv(path / "tables" / "thresholds.csv", index=False)
    return path


def test_settings_by_path():
    a = {"run": "a", "steps": 10, "data": {"examples": 5, "classes": None}, "seeds_of": {}}
    b = {"run": "b", "steps": 10, "data": {"examples": 6, "classes": None}, "seeds_of": {"mlp": [1]}, "more": True}
    found = different_settings(a, b)
    assert found.to_numpy().tolist() == [
        ["data.examples", "5", "6"],
        ["seeds_of", "{}", ""],
        ["seeds_of.mlp", "", "[1]"],
        ["more", "", "True"],
    ]
    assert different_settings(a, {**a, "run": "c"}).empty


def test_numbers_that_differ_and_numbers_that_one_has():
    a = pd.DataFrame({"architecture": "mlp", "optimizer": ["gd", "adam", "qhm"], "seed": 0, "x": [1.0, 2.0, None]})
    b = a.assign(x=[4.0, 2.0, None], seconds=1.0).iloc[[2, 1, 0]]
    (row,) = different_numbers("t", a, b).itertuples()
    assert (row.table, row.optimizer, row.number, row.a, row.b, row.ratio) == ("t", "gd", "x", 1.0, 4.0, 4.0)
    lost = different_numbers("t", a, b.iloc[1:2])
    assert lost["optimizer"].tolist() == ["gd"] and lost["b"].isna().all() and lost["ratio"].isna().all()


def test_two_runs(tmp_path):
    a = folder(tmp_path / "a")
    other = {**ERRORS, ("gd", "rod"): 0.03, ("gd", "stable"): 0.4, ("qhm", "stable"): 0.1}
    del other["adam", "stable"], other["adam", "rod"]
    b = folder(tmp_path / "b", other, steps=70)
    output = tmp_path / "out"
    result = CliRunner().invoke(app, ["compare", str(a), str(b), "--output", str(output)])
    assert result.exit_code == 0 and result.output == (output / "differences.md").read_text()
    for said in (
        "| steps | 60 | 70 |",
        "Cells of a alone: mlp-adam-seed0.",
        "Cells of b alone: mlp-qhm-seed0.",
        "| stable | 1 | 1 | 1 (from 1 to 1) |",
        "| rod | 1 | 0 | 3 (from 3 to 3) |",
    ):
        assert said in result.output
    numbers = pd.read_csv(output / "numbers.csv")
    both = numbers.dropna(subset=["a", "b"])
    assert both[["table", "optimizer", "flow", "number", "ratio"]].to_numpy().tolist() == [
        ["errors", "gd", "rod", "error_eos_mean", pytest.approx(3)]
    ]
    assert set(numbers["optimizer"]) == {"gd", "adam", "qhm"}
    assert {file.name for file in output.iterdir()} >= {"errors.png", "errors.pdf", "settings.csv"}


def test_a_run_and_itself(tmp_path):
    a = folder(tmp_path / "a")
    result = CliRunner().invoke(app, ["compare", str(a), str(a), "--output", str(tmp_path / "out")])
    assert "No setting differs." in result.output and "Numbers that differ: none." in result.output
    assert len(pd.read_csv(tmp_path / "out" / "numbers.csv")) == 0


@pytest.mark.parametrize("lacking", ["config.yaml", "tables/errors.csv", "tables/thresholds.csv", "."])
def test_a_folder_without_a_finished_run_is_refused_by_name(tmp_path, lacking):
    a, b = folder(tmp_path / "a"), folder(tmp_path / "b")
    if lacking == ".":
        b = tmp_path / "no_such_folder"
    else:
        (b / lacking).unlink()
    result = CliRunner().invoke(app, ["compare", str(a), str(b), "--output", str(tmp_path / "out")])
    assert isinstance(result.exception, InvalidInput) and str(b) in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_the_figure_has_a_panel_a_flow_and_a_point_a_cell(tmp_path):
    frames = [pd.read_csv(folder(tmp_path / name) / "tables" / "errors.csv") for name in "ab"]
    frames[1]["error_eos_mean"] *= 2
    pairs = paired_errors(*frames)
    figure = draw(pairs, ("a", "b"))
    points = {axes.get_title(loc="left").split("\n")[0]: axes.lines[1] for axes in figure.axes}
    assert points["Stable flow"].get_xdata().tolist() == [0.4, 0.2]
    assert points["Stable flow"].get_ydata().tolist() == [0.8, 0.4]
    assert points["Rod flow"].get_xdata().tolist() == [0.01]
    titles = [axes.get_title(loc="left").split("\n")[1] for axes in figure.axes]
    assert titles == ["2 cells, median b/a 2", "1 cell, median b/a 2"]


def config(**changes):
    settings = {"architectures": ["mlp"], "optimizers": ["gd", "adam"], "precision_cells": [], "run": "a"}
    return configuration.parse(smoke(**settings) | changes)


def test_tables_that_would_lose_cells_are_kept(tmp_path):
    results = folder(tmp_path / "a")
    require_no_fewer_cells(config(), results)
    require_no_fewer_cells(config(architectures=["mlp", "vit"], seeds=[0, 1]), results)
    require_no_fewer_cells(config(optimizers=["gd"]), tmp_path / "another")
    for fewer in ({"optimizers": ["gd"]}, {"seeds": [1]}, {"architectures": ["vit"]}):
        with pytest.raises(InvalidInput, match=r"run=other, or overwrite=true.*lose mlp-adam-seed0"):
            require_no_fewer_cells(config(**fewer), results)
        require_no_fewer_cells(config(**fewer), results, overwrite=True)


def test_a_row_without_numbers_is_no_cell_that_is_lost(tmp_path):
    results = folder(tmp_path / "a")
    table = pd.read_csv(results / "tables" / "thresholds.csv")
    table.assign(missing=["", "run"]).to_csv(results / "tables" / "thresholds.csv", index=False)
    require_no_fewer_cells(config(optimizers=["gd"]), results)
