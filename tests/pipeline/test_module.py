"""The workflow as a module of another one, in another folder; the environment's snakemake with nothing activated."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.checkout import copy_project

from rodflow.jobs import forkserver

pytestmark = pytest.mark.snakemake

STUDY = {
    "run": "small",
    "architectures": ["mlp"],
    "optimizers": ["gd"],
    "flows": ["stable", "drift_free_rod"],
    "steps": 40,
    "flow_start": 20,
    "record_interval": 10,
    "data": {"dataset": "digits", "examples": 20},
    "sizes": {"mlp": {"widths": [4]}},
    "learning_rates": {"mlp": {"gd": 0.2, "adam": 2.0e-3}},
}
SNAKEFILE = """
configfile: "study.yaml"

module rodflow:
    snakefile:
        "../project/Snakefile"
    config:
        config["rodflow"]

use rule * from rodflow as rodflow_*

rule counted:
    default_target: True
    input:
        "results/small/tables/errors.csv",
    output:
        "counted.txt",
    shell:
        "(wc -l < {input}; python -c 'import rodflow; print(rodflow.__file__)') > {output}"
"""
HANDLERS = """
onstart:
    rodflow.onstart()

onsuccess:
    rodflow.onsuccess()
"""


def bare() -> dict[str, str]:
    """An environment that knows nothing of this one's Python."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PATH": "/usr/bin:/bin"}


def call(folder: Path, *words: str, fails: bool = False) -> str:
    whole = [str(Path(sys.executable).parent / "snakemake"), "--cores", "2", *words]
    ended = subprocess.run(whole, cwd=folder, env=bare(), capture_output=True, text=True)
    assert (ended.returncode != 0) == fails, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return copy_project(tmp_path_factory.mktemp("module") / "project")


@pytest.fixture(scope="module")
def other(project) -> Path:
    folder = project.parent / "other"
    folder.mkdir()
    (folder / "study.yaml").write_text(yaml.safe_dump({"rodflow": STUDY}))
    (folder / "Snakefile").write_text(SNAKEFILE)
    call(folder, "--dry-run")
    assert not (folder / "results").exists()
    call(folder)
    return folder


def test_another_workflow_runs_it_once_by_its_own_code(project, other):
    assert (other / "counted.txt").read_text().split() == ["3", str(project / "rodflow/__init__.py")]
    before = (other / "results/small/config.yaml").stat().st_mtime_ns
    assert "Nothing to be done" in call(other)
    assert (other / "results/small/config.yaml").stat().st_mtime_ns == before


WIDER = "rodflow={optimizers: [gd, adam]}"


def test_a_wider_config_leaves_finished_cells_alone(other):
    text = call(other, "--dry-run", "--config", WIDER)
    assert set(re.findall(r"output: \S*(discrete/[\w-]+)\.h5", text)) == {"discrete/mlp-adam-seed0"}
    assert not re.search("rule rodflow_dataset", text)


@pytest.mark.skipif(not forkserver.SUPPORTED, reason="the fork server is for Linux")
def test_its_handlers_start_the_fork_server(other):
    (other / "Snakefile").write_text(SNAKEFILE + HANDLERS)
    call(other, "rodflow_all", "--config", WIDER)
    assert (other / "figures/small/index.html").stat().st_size > 0
    log = (other / "results/small/logs/forkserver.log").read_text()
    assert " begins: page " in log and log.endswith("ended\n")
    assert "Nothing to be done" in call(other, "rodflow_all", "--config", WIDER)
    # the narrower config would take a cell from the tables
    assert "lose mlp-adam-seed0" in call(other, fails=True)


def test_folders_with_a_prefix(other):
    text = SNAKEFILE.replace("    config:", '    prefix:\n        "deep"\n    config:', 1)
    (other / "Snakefile").write_text(text)
    said = call(other, "--dry-run", "--printshellcmds", "deep/results/small/dataset.npz")
    assert "--config deep/results/small/config.yaml --output deep/results/small/dataset.npz" in said


def test_snakemake_runs_where_nothing_is_activated(project):
    """And so do the jobs, by the Python that runs it."""
    call(project, "results/smoke/dataset.npz", "--configfile", "config/smoke.yaml")
    assert (project / "results/smoke/dataset.npz").stat().st_size > 0
