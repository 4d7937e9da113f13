"""Incomplete runs: what failed is named, the rest is tabulated and drawn, and a whole run later makes all again."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from helpers.checkout import copy_project, environment, read_without_times, smoke, snakemake
from helpers.pages import Reader
from helpers.runs import run_everything
from helpers.summaries import MADE

from rodflow import config as configuration
from rodflow.errors import InvalidInput
from rodflow.jobs.files import read_json, write_json
from rodflow.pipeline.finished import everything, missing, on_disk
from rodflow.pipeline.job import Job
from rodflow.pipeline.stages.figure import draw_figure
from rodflow.pipeline.stages.page import lay_out
from rodflow.pipeline.stages.precision_table import aggregate_studies
from rodflow.pipeline.stages.replication import replicate
from rodflow.pipeline.stages.tables import aggregate, last_line, warned

GRID = {
    "architectures": ["mlp"],
    "optimizers": ["gd", "adam"],
    "flows": ["stable", "drift_free_rod", "central"],
    "steps": 40,
    "landscapes": [],  # they take longer than all else
}
NARROW = GRID | {"flows": ["stable", "drift_free_rod"], "precision_cells": []}
TABLES = ("errors", "thresholds", "fidelity", "comparison")
NEVER = "mlp-adam-seed0: the run was never at its edge"
KILLED = '    if optimizer == "adam":\n        import os\n\n        os.kill(os.getpid(), 9)  # as for want of memory\n'


def run(project: Path, *words: str, fails: bool = False) -> tuple[str, set[str]]:
    """What Snakemake said, and the rules that ran or would run."""
    grid = [f"{key}={json.dumps(value)}" for key, value in NARROW.items()]
    command = snakemake(*(word for word in words if "=" not in word), narrow=(*grid, *(w for w in words if "=" in w)))
    ended = subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True)
    said = ended.stdout + ended.stderr
    assert (ended.returncode != 0) == fails, said
    return said, set(re.findall(r"^(?:local)?rule (\w+):$", said, re.MULTILINE)) - {"all"}


def landscape(results: Path) -> Path:
    """Files in the place of a landscape's."""
    series = results / "landscapes/valley.parquet"
    series.parent.mkdir()
    for file in (series, series.with_name("valley-grid.parquet")):
        file.touch()
    write_json(series.with_suffix(".json"), {"provenance": MADE.model_dump()})
    return series


@pytest.mark.snakemake
@pytest.mark.long
def test_a_run_that_a_cell_was_killed_in_is_tabulated_and_then_finished(tmp_path):
    project = copy_project(tmp_path / "project")
    results, figures = project / "results/smoke", project / "figures/smoke"
    assert "incomplete: got 1, allowed: true or false" in run(project, "--dry-run", "incomplete=1", fails=True)[0]
    cli, head = project / "rodflow/cli.py", '    """Train one cell by full-batch steps."""\n'
    working = cli.read_text()
    cli.write_text(working.replace(head, head + KILLED))
    said, _ = run(project, fails=True)
    assert re.search(r"Error in rule discrete:.*mlp-adam-seed0", said, re.DOTALL)
    assert not (results / "tables/errors.csv").exists() and not (figures / "index.html").exists()
    (results / "flows/mlp-gd-seed0-drift_free_rod.json").unlink()

    said, ran = run(project, "incomplete=true")
    drawn, whole = {"cell_figure", "architecture_figure", "table_figure"}, {"tables", "replication", "page"}
    assert ran == drawn | whole
    assert "Incomplete: 2 missing, see results/smoke/tables/summary.md" in said
    missing = {name: pd.read_csv(results / f"tables/{name}.csv")["missing"].fillna("").tolist() for name in TABLES}
    by_flow = ["", "flow", "run", "run"]
    assert missing == {"errors": by_flow, "thresholds": ["", "run"], "fidelity": by_flow, "comparison": []}
    summary = (results / "tables/summary.md").read_text()
    words = "1 of 2 runs and 1 of 4 flows are finished. Missing: mlp gd seed 0 (drift_free_rod), mlp adam seed 0 (run)."
    assert summary.startswith(f"Incomplete: {words}")
    assert "| flows/mlp-gd-seed0-drift_free_rod |" in summary and "| discrete/mlp-adam-seed0 |" in summary
    assert words in (results / "tables/REPLICATION.md").read_text()
    assert not list(figures.glob("cells/mlp-adam.*"))
    page = (figures / "index.html").read_text()
    assert words in page
    assert all((figures / target).is_file() for target in Reader(page).targets if target[0] not in "#d")
    valley = landscape(results)
    _, planned = run(project, "--dry-run", "incomplete=true", 'landscapes=["valley"]')
    assert planned == {"landscape_figure", "landscape_animation", "tables", "replication", "page"} | planned & drawn
    shutil.rmtree(valley.parent)

    cli.write_text(working)
    said, ran = run(project)
    assert ran == {"discrete", "flow"} | drawn | whole
    assert f"Warning: {NEVER}" in said and NEVER in (results / "logs/tables.log").read_text()
    lines = [line.replace(str(results), "results/smoke") for line in warned(results)]
    assert [line for line in lines if f"Warning: {line}" not in said] == []
    assert "missing" not in (figures / "index.html").read_text().split("</style>")[1].lower()
    assert "ncomplete" not in (results / "tables/summary.md").read_text()
    run_everything(configuration.load(results / "config.yaml"), tmp_path / "never")
    for name in TABLES:
        one, other = (root / f"results/smoke/tables/{name}.csv" for root in (project, tmp_path / "never"))
        assert read_without_times(one).to_csv() == read_without_times(other).to_csv()
        assert pd.read_csv(one)["missing"].isna().all()
    assert run(project, "--dry-run", "incomplete=true")[1] == set()


@pytest.fixture(scope="module")
def failed(tmp_path_factory) -> tuple[configuration.Config, Path]:
    """The config of gradient descent and Adam on two seeds, and results of the former alone."""
    config = configuration.parse(smoke(**GRID, seeds=[0, 1]))
    some = config.model_copy(update={"optimizers": ["gd"]})
    results = run_everything(some, tmp_path_factory.mktemp("failed"))
    aggregate(config, results, incomplete=True)
    aggregate_studies(config, results, incomplete=True)
    return config, results


@pytest.fixture
def copied(failed, tmp_path):
    return failed[0], shutil.copytree(failed[1], tmp_path / "results/smoke")


def test_rows_of_what_is_missing_have_no_numbers(failed):
    _, results = failed
    errors = pd.read_csv(results / "tables/errors.csv")
    assert errors["missing"].fillna("").tolist() == [""] * 6 + ["run"] * 4
    assert errors.loc[errors["optimizer"] == "gd", "error_final"].notna().all()
    assert (
        errors.loc[errors["optimizer"] == "adam"]
        .drop(columns=["architecture", "optimizer", "flow", "seed", "missing"])
        .isna()
        .all(axis=None)
    )
    assert pd.read_csv(results / "tables/precision.csv")["missing"].isna().all()


def test_stages_refuse_a_missing_file_unless_told(copied, tmp_path):
    config, results = copied
    figure = {"kind": "cell", "output": tmp_path / "figure", "architecture": "mlp"}
    for refused in (
        lambda: aggregate(config, results),
        lambda: lay_out(config, results, tmp_path / "index.html"),
        lambda: draw_figure(config, results, **figure, optimizer="adam"),
    ):
        with pytest.raises(InvalidInput, match=r"mlp-adam-seed0"):
            refused()
    with pytest.raises(InvalidInput, match="one with a finished run"):
        draw_figure(config, results, **figure, optimizer="adam", incomplete=True)
    assert not (tmp_path / "index.html").exists() and not list(tmp_path.glob("figure*"))


def test_page_and_figures_of_some_seeds(copied, tmp_path):
    """Of gradient descent the first seed's run and one flow of the second are missing."""
    config, results = copied
    (results / "discrete/mlp-gd-seed0.parquet").unlink()
    (results / "flows/mlp-gd-seed1-drift_free_rod.parquet").unlink()
    (results / "precision/mlp-gd-seed0.json").unlink()
    config = config.model_copy(update={"landscapes": ["valley"]})
    aggregate(config, results, incomplete=True)
    aggregate_studies(config, results, incomplete=True)
    studies = pd.read_csv(results / "tables/precision.csv")
    assert studies["missing"].fillna("").tolist() == ["study", "", "", ""] and studies["seed"].tolist() == [0, 1, 1, 1]
    summary = (results / "tables/summary.md").read_text()
    assert "Missing: mlp gd seed 0 (run), mlp gd seed 1 (drift_free_rod), mlp adam seed 0 (run)" in summary
    assert "| precision/mlp-gd-seed0 |" in summary and "| landscapes/valley |" in summary
    flows = pd.read_csv(results / "tables/comparison.csv")["missing"].fillna("").tolist()
    assert flows == ["run", "run", "run", "", "flow", ""]
    replicate(config, results)
    for kind in ("overview", "fidelity", "comparison"):
        draw_figure(config, results, kind, tmp_path / kind)
    for kind in ("cell", "architecture"):
        draw_figure(config, results, kind, tmp_path / kind, incomplete=True, architecture="mlp", optimizer="gd")
    lay_out(config, results, tmp_path / "index.html", incomplete=True)
    text = (tmp_path / "index.html").read_text()
    page = Reader(text)
    assert page.open == []
    cells = dict(re.findall(r'<article class="cell" id="([\w-]+)">(.*?)</article>', text, re.DOTALL))
    assert "Discrete run (missing: seed 0)" in cells["mlp-gd"] and "Rod flow, drift-free (missing)" in cells["mlp-gd"]
    assert "Stable flow (missing: seed 0)" in cells["mlp-gd"] and "<svg" in cells["mlp-gd"]
    assert "the run is not finished" in cells["mlp-adam"] and "<a" not in cells["mlp-adam"]
    linked = {target.split(".")[0] for target in page.targets}
    assert {"cells/mlp-gd", "architectures/mlp", "overview", "precision/mlp-gd"} - linked == {"precision/mlp-gd"}
    assert "landscapes/valley" not in linked


def test_what_is_finished(copied):
    config, results = copied
    landscape(results)
    config = config.model_copy(update={"landscapes": ["valley", "quartic"]})
    whole = on_disk(config, results)
    flows = everything(config).flows
    assert whole.flows == {cell: flows[cell] for cell in flows if cell[1] == "gd"}
    assert whole.studies == [("mlp", "gd", 0), ("mlp", "gd", 1)] and whole.landscapes == ["valley"]
    other = config.model_copy(update={"maximum_sharpness": 3.0})
    with pytest.raises(InvalidInput, match="of which some flow is finished"):  # flows of other settings
        on_disk(other, results)
    run = results / "discrete/mlp-gd-seed1.json"
    summary = read_json(run)
    summary["provenance"]["finished"] = "2999-01-01T00:00:00Z"  # trained again, its flows are of the run before
    write_json(run, summary)
    assert on_disk(config, results).flows == {("mlp", "gd", 0): flows["mlp", "gd", 0], ("mlp", "gd", 1): []}


def test_the_last_line_of_a_log_is_shown_where_there_is_one(tmp_path):
    job, log = "flows/mlp-gd-seed0-rod", tmp_path / "logs/flows/mlp-gd-seed0-rod.log"
    assert last_line(tmp_path, job) == "–"
    log.parent.mkdir(parents=True)
    for content, said in ((b"", "–"), (b"begun\nerror: a | b\n\n", r"error: a \| b"), (b"\xff 10%\r 20%\r", "20%")):
        log.write_bytes(content)
        assert last_line(tmp_path, job) == said


def test_of_a_study_the_runs_and_flows_that_it_waits_for_are_missing(copied):
    config, results = copied
    cell = config.precision_studies[0]
    Job("study", cell).file(results).unlink()
    there = on_disk(config, results)
    assert cell not in there.studies and Job("study", cell) not in there.jobs
    run, flow = (
        Job("discrete", cell, variant="float64").file(results),
        Job("flow", cell, "stable", "float32").file(results),
    )
    run.unlink()
    flow.unlink()
    said = [job.label for job in missing(config, results) if "precision" in job.label]
    assert said == [f"precision/float32/flows/{cell}-stable", f"precision/float64/discrete/{cell}"]
