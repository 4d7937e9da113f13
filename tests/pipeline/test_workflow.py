"""The DAG: it runs, it reruns only what a change touches, it survives an interruption, it refuses a wrong config."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.checkout import (
    NARROW,
    ROOT,
    assert_equal,
    copy_project,
    environment,
    interruptible,
    outputs,
    read_without_times,
    shorten_valley,
    snakemake,
    wait_for,
)
from helpers.images import cifar_arrays
from helpers.runs import run_everything

from rodflow import config as configuration
from rodflow.config.run import VARIANTS
from rodflow.config.schema import Data
from rodflow.jobs import forkserver

pytestmark = pytest.mark.snakemake


def run(folder: Path, *words: str, narrow: tuple[str, ...] = NARROW, cores: int = 2) -> str:
    ended = subprocess.run(
        snakemake(*words, narrow=narrow, cores=cores), cwd=folder, env=environment(), capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = shorten_valley(copy_project(tmp_path_factory.mktemp("project")))
    run(folder)
    return folder


def planned(project: Path, narrow: tuple[str, ...] = NARROW) -> set[str]:
    """The rules that would run now."""
    return rules_in(run(project, "--dry-run", narrow=narrow))


def rules_in(text: str) -> set[str]:
    return set(re.findall(r"^(?:local)?rule (\w+):$", text, re.MULTILINE)) - {"all"}


@pytest.fixture
def no_server(monkeypatch):
    """For runs of a job or two, which would end before the server, 3 seconds of processor time, is there."""
    monkeypatch.setenv(forkserver.VARIABLE, forkserver.OFF)


@pytest.fixture
def restored(project):
    """Undo a test's change to the sources."""
    before = {path: path.read_text() for path in (project / "rodflow").rglob("*.py")}
    yield project
    for path, text in before.items():
        if path.read_text() != text:
            path.write_text(text)


def test_every_output_is_there_and_a_second_run_does_nothing(project):
    errors = pd.read_csv(project / "results/smoke/tables/errors.csv")
    assert list(errors["flow"]) == ["stable", "rod"]
    assert len(pd.read_csv(project / "results/smoke/tables/precision.csv")) == 3
    drawn = ("cells/mlp-gd", "architectures/mlp", "overview", "fidelity", "precision/mlp-gd", "landscapes/valley")
    for name in drawn:
        for suffix in (".png", ".pdf", ".json"):
            assert (project / f"figures/smoke/{name}{suffix}").stat().st_size > 0
    for name in ("mlp-gd", "valley"):
        assert (project / f"figures/smoke/animations/{name}.gif").stat().st_size > 0
    assert "| rod flow (covariance) |" in (project / "results/smoke/tables/REPLICATION.md").read_text()
    assert 'id="mlp-gd"' in (project / "figures/smoke/index.html").read_text()
    assert planned(project) == set()


@pytest.mark.long
def test_one_core_makes_the_same_bytes_as_two(project, tmp_path):
    """Tables, series, PNG, PDF and GIF of the grid, columns of measured time aside."""
    alone = copy_project(tmp_path / "alone")
    run(alone, cores=1, narrow=(*NARROW, "landscapes=[]", "precision_cells=[]"))
    of_grid = {
        name: of_two for name, of_two in outputs(project).items() if not re.search("landscapes|precision|valley", name)
    }
    assert {".csv", ".parquet", ".h5", ".png", ".pdf", ".gif"} <= {Path(name).suffix for name in of_grid}
    assert_equal(alone, of_grid)


@pytest.mark.skipif(not forkserver.SUPPORTED, reason="the fork server is for Linux")
def test_jobs_are_forks_of_one_server_that_ends_with_the_run(project):
    log = project / "results/smoke/logs/forkserver.log"
    before = log.read_text()
    begun = re.findall(r"(\d+) begins: (\w+)", before)
    assert len(begun) == len(re.findall(r"\d+ ends: 0", before))
    # the first jobs do not wait for the server; those that need all others come when it is there
    assert {"tables", "figure"} <= {stage for _, stage in begun}
    assert before.endswith("ended\n")
    planned(project)
    assert log.read_text() == before  # a dry run starts none


def append(project: Path, module: str, line: str = "CHANGED = 1") -> None:
    """Put a line at the end of a module of the package."""
    with open(project / "rodflow" / module, "a") as file:
        file.write(f"\n{line}\n")


def changed(project: Path, module: str, line: str = "CHANGED = 1") -> set[str]:
    """The rules that would run after a line at the end of a module of the package."""
    append(project, module, line)
    return planned(project)


OF_FIGURES = {f"{kind}_figure" for kind in ("cell", "architecture", "table", "precision", "landscape")}
OF_FIGURES |= {"cell_animation", "landscape_animation"}


def test_changed_plotting_draws_again_and_trains_nothing(restored):
    assert changed(restored, "report/figures/style.py") == OF_FIGURES | {"page"}


def test_a_changed_flow_is_integrated_again_and_no_other(restored):
    append(restored, "flows/rod.py")
    text = run(restored, "--dry-run")
    rules = rules_in(text)
    assert {"flow", "landscape", "tables", "cell_figure"} <= rules
    assert not {"dataset", "discrete", "precision", "precision_table", "precision_figure"} & rules
    assert set(re.findall(r"output: \S*/flows/mlp-gd-seed0-(\w+)\.parquet", text)) == {"rod"}


def test_a_changed_flow_of_the_study_makes_the_study_again(restored):
    rules = changed(restored, "flows/drift_free_rod.py")
    assert {"flow", "precision", "precision_table", "precision_figure"} <= rules
    assert not {"dataset", "discrete", "cell_figure"} & rules


def test_changed_training_trains_again(restored):
    assert {"discrete", "flow"} <= changed(restored, "training/discrete.py")


def test_a_changed_comment_runs_nothing(restored):
    for module in ("training/discrete.py", "flows/rod.py"):
        append(restored, module, "# changed")
    assert changed(restored, "report/figures/style.py", "# changed") == set()


def test_what_no_job_depends_on_runs_nothing(restored):
    for module in ("flows/central.py", "optimizers/qhm.py", "jobs/files.py"):
        append(restored, module)
    assert changed(restored, "errors.py") == set()


def test_report_holds_every_figure_and_table(project):
    run(project, "--report", "report.html")
    report = (project / "report.html").read_text()
    found = [
        *project.glob("figures/**/*.png"),
        *project.glob("figures/**/*.gif"),
        *project.glob("results/smoke/tables/*.*"),
    ]
    shown = {str(path.relative_to(project)) for path in found if path.suffix != ".json"}
    assert len(shown) == 15
    for path in shown:
        assert path in report, path
    for category in ("Cells", "Architectures", "All cells", "Precision", "Landscapes", "Animations", "Tables"):
        assert f'"{category}"' in report, category


@pytest.mark.long
def test_the_run_is_collected_where_that_is_asked_for(project, no_server):
    run(project, "--keep-going", "reference")  # a flag: --configfile takes all words up to the next
    assert len(pd.read_csv(project / "reference/smoke/cells.csv")) == 1
    assert planned(project) == set()
    ended = subprocess.run(
        snakemake("--keep-going", "reference-check"), cwd=project, env=environment(), capture_output=True, text=True
    )
    assert ended.returncode != 0
    assert "error: optimizer: got 'rmsprop', allowed: one of the config's: gd" in ended.stderr


GRID = {f"{kind}/mlp-gd-seed0{flow}" for kind, flow in (("discrete", ""), ("flows", "-stable"), ("flows", "-rod"))}
STUDY = {
    f"precision/{variant}/{kind}/mlp-gd-seed0{flow}"
    for variant in VARIANTS
    for kind, flow in (("discrete", ""), ("flows", "-stable"), ("flows", "-drift_free_rod"))
}


@pytest.mark.parametrize(
    ("changes", "made"),
    [
        (("learning_rates={mlp: {gd: 0.1}}",), GRID | STUDY),
        (("data={dataset: digits, examples: 41}", "learning_rates={mlp: {gd: 0.2}}"), GRID | STUDY | {"dataset"}),
        (("solvers={rod: {columns: 3}}",), {"flows/mlp-gd-seed0-rod"}),
        (("dtype=float64",), GRID),
        (("animated_cells=[]",), set()),
    ],
)
def test_a_changed_setting_makes_again_what_depends_on_it_and_nothing_else(project, changes, made):
    text = run(project, "--dry-run", narrow=(*NARROW, *changes))
    found = re.findall(r"output: results/smoke/(dataset|(?:\S+/)?(?:discrete|flows)/[\w-]+)\.", text)
    assert set(found) == made and len(found) == len(made)


@pytest.mark.long
def test_what_a_changed_setting_makes_again_has_the_bytes_of_a_run_anew(project, tmp_path, no_server):
    """A flow with another setting, and its tables; the run and the other flow stay."""
    folder = Path(shutil.copytree(project, tmp_path / "changed"))
    narrow = (*NARROW, "solvers={rod: {columns: 2}}", "landscapes=[]", "precision_cells=[]", "animated_cells=[]")
    assert rules_in(run(folder, narrow=(*narrow, "--", "results/smoke/tables/errors.csv"))) == {"flow", "tables"}
    results = run_everything(configuration.load(folder / "results/smoke/config.yaml"), tmp_path / "anew")
    for name in (f"{name}.parquet" for name in GRID):
        assert (folder / "results/smoke" / name).read_bytes() == (results / name).read_bytes()
    for name in ("errors", "thresholds", "fidelity"):
        one, other = (read_without_times(of / f"tables/{name}.csv") for of in (folder / "results/smoke", results))
        pd.testing.assert_frame_equal(one, other)


def test_another_checkpoint_interval_runs_nothing(project):
    assert planned(project, narrow=(*NARROW, "checkpoint_seconds=5")) == set()


def test_another_optimizer_leaves_finished_cells_alone(project):
    text = run(project, "--dry-run", narrow=("architectures=['mlp']", "optimizers=['gd','adam']", NARROW[2]))
    assert "mlp-adam-seed0.h5" in text
    assert "output: results/smoke/discrete/mlp-gd-seed0.h5" not in text


@pytest.mark.long
def test_interrupted_and_started_again_gives_the_same_numbers(project, tmp_path):
    folder = copy_project(tmp_path / "again")
    grid = (*NARROW, "landscapes=[]", "precision_cells=[]")
    process = subprocess.Popen(
        snakemake(narrow=grid),
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=interruptible,
    )
    wait_for(lambda: list(folder.glob("results/smoke/discrete/*.h5")), seconds=300)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=300)
    assert not (folder / "results/smoke/tables/errors.csv").exists()
    run(folder, narrow=grid)
    pd.testing.assert_frame_equal(
        *(read_without_times(f / "results/smoke/tables/errors.csv") for f in (project, folder))
    )


def test_no_studied_cells_no_study(project):
    text = run(project, "--dry-run", "--forceall", narrow=(*NARROW, "precision_cells=[]"))
    assert "rule precision" not in text


def test_a_config_whose_tables_would_lose_cells_is_refused_before_anything_is_written(project):
    before, said = outputs(project), (project / "results/smoke/config.yaml").read_bytes()
    words = snakemake(narrow=(NARROW[0], "optimizers=['adam']", *NARROW[2:]))
    ended = subprocess.run(words, cwd=project, env=environment(), capture_output=True, text=True)
    assert ended.returncode != 0 and "lose mlp-gd-seed0" in ended.stderr and "overwrite=true" in ended.stderr
    assert_equal(project, before)
    assert (project / "results/smoke/config.yaml").read_bytes() == said


@pytest.mark.parametrize(
    ("narrow", "refusal"),
    [
        (("optimizers=['sgdd']",), "optimizers.0: got 'sgdd'"),
        ((*NARROW, "seeds=[0,first]"), "seeds.1: got 'first'"),
    ],
)
def test_a_wrong_config_is_refused_by_name(project, narrow, refusal):
    words = snakemake("--dry-run", narrow=narrow)
    ended = subprocess.run(words, cwd=project, env=environment(), capture_output=True, text=True)
    assert ended.returncode != 0
    assert refusal in ended.stdout + ended.stderr


def test_a_key_given_twice_is_refused_by_name(project):
    twice = project / "config" / "twice.yaml"
    twice.write_text((project / "config" / "smoke.yaml").read_text() + "steps: 80\n")
    words = [sys.executable, "-m", "snakemake", "--cores", "1", "--dry-run", "--configfile", str(twice)]
    ended = subprocess.run(words, cwd=project, env=environment(), capture_output=True, text=True)
    assert ended.returncode != 0
    assert "the key steps is there twice" in ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def with_images(tmp_path_factory) -> Path:
    """A copy of the project with the file of images that a command of the docs names."""
    folder = copy_project(tmp_path_factory.mktemp("with_images"))
    np.savez(folder / "my.npz", **cifar_arrays(40))
    return folder


@pytest.mark.long
def test_readmes_commands_and_those_with_a_file_of_images(with_images):
    lines = re.findall(r"^snakemake --cores 2.*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(lines) == 3
    lines += re.findall(r"^snakemake .*my\.npz.*$", (ROOT / "docs/workflow.md").read_text(), re.MULTILINE)
    assert len(lines) == 5
    for line in lines:
        words = [sys.executable, "-m", *shlex.split(line, comments=True), "--dry-run", "--quiet"]
        ended = subprocess.run(words, cwd=with_images, env=environment(), capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_values_between_brackets_on_the_command_line(with_images, no_server):
    """What the jobs are given has the types that a config file would give it."""
    said = (
        "run=said",
        'data={"dataset": "cifar10", "file": "my.npz", "examples": 12, "classes": [0,1,2,3], normalise: false}',
        "seeds=[0,1]",
        "chunk_size=null",
        "solvers={rod: {columns: 3}, rod_one_column: {rtol: 1e-3, max_evaluations: 500}}",
        "learning_rates={mlp: {gd: 0.25, adam: 2e-3}}",
        "sizes={mlp: {widths: [6, 5]}}",
    )
    run(with_images, narrow=(*NARROW, *said, "--", "results/said/dataset.npz"))
    config = configuration.load(with_images / "results/said/config.yaml")
    assert config.data == Data(dataset="cifar10", file="my.npz", examples=12, classes=[0, 1, 2, 3], normalise=False)
    assert (config.seeds, config.chunk_size, config.sizes.mlp.widths) == ([0, 1], None, [6, 5])
    # the file's rates of the ViT were chosen for other images
    assert config.learning_rates == {"mlp": {"gd": 0.25, "adam": 2e-3}, "vit": {}}
    assert (config.solvers["rod_one_column"].rtol, config.solvers["rod_one_column"].max_evaluations) == (1e-3, 500)


@pytest.mark.long
@pytest.mark.parametrize(
    ("said", "words", "shares"),
    [("echo 81000", (), 4), ("echo 9000; echo 81000", (), 1), ("exit 9", (), 1), ("echo 81000", ("gpu=2",), 2)],
)
def test_jobs_share_a_gpu(project, tmp_path, monkeypatch, no_server, said, words, shares):
    """By the free memory that its driver tells, or as the profile says; each takes a share."""
    driver = tmp_path / "nvidia-smi"
    driver.write_text(f"#!/bin/sh\n{said}\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    given = ("--resources", *words) if words else ()
    file = "results/smoke/discrete/mlp-gd-seed0.h5"
    text = run(project, "--force", file, *given, narrow=(*NARROW, "device=auto"))
    assert f'Provided resources: gpu=Resource("gpu", {shares})' in text
    assert re.search(r"rule discrete:.*?resources: [^\n]*gpu=1", text, re.DOTALL)
