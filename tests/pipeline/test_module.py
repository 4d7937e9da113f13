"""The workflow as a module of another one, in another folder; the environment's snakemake with nothing activated."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.checkout import ROOT, copy_project

from rodflow.jobs import forkserver

pytestmark = [pytest.mark.snakemake, pytest.mark.long]

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
SHOWN = re.findall(r"```python\n(.*?)```", (ROOT / "config/README.md").read_text(), re.DOTALL)
MODULE, HANDLERS = (text.replace("path/to/rodflow/", "../project/") for text in SHOWN)
CONFIGFILE = 'configfile: "study.yaml"\n'
OWN = """
rule counted:
    default_target: True
    input:
        "results/small/tables/errors.csv",
    output:
        "counted.txt",
    shell:
        "(wc -l < {input}; python -c 'import rodflow; print(rodflow.__file__)') > {output}"

"""


def bare() -> dict[str, str]:
    """An environment that knows nothing of this one's Python."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def call(folder: Path, *words: str, fails: bool = False, path: str = "/usr/bin:/bin") -> str:
    whole = [str(Path(sys.executable).parent / "snakemake"), "--cores", "2", *words]
    ended = subprocess.run(whole, cwd=folder, env=bare() | {"PATH": path}, capture_output=True, text=True)
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
    (folder / "Snakefile").write_text(CONFIGFILE + MODULE + OWN)
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
    (other / "Snakefile").write_text(CONFIGFILE + MODULE + OWN + HANDLERS)
    call(other, "rodflow_all", "--config", WIDER)
    assert (other / "figures/small/index.html").stat().st_size > 0
    log = (other / "results/small/logs/forkserver.log").read_text()
    assert " begins: page " in log and log.endswith("ended\n")
    assert "Nothing to be done" in call(other, "rodflow_all", "--config", WIDER)
    # the narrower config would take a cell from the tables
    assert "lose mlp-adam-seed0" in call(other, fails=True)


def test_folders_with_a_prefix(other):
    (other / "Snakefile").write_text(CONFIGFILE + MODULE.replace("    config:", '    prefix: "deep"\n    config:'))
    said = call(other, "--dry-run", "--printshellcmds", "deep/results/small/dataset.npz")
    assert "--config deep/results/small/config.yaml --output deep/results/small/dataset.npz" in said


def test_snakemake_runs_where_nothing_is_activated(project):
    """And so do the jobs, by the Python that runs it."""
    call(project, "results/smoke/dataset.npz", "--configfile", "config/smoke.yaml")
    assert (project / "results/smoke/dataset.npz").stat().st_size > 0


# as much of conda as Snakemake asks: it makes an environment whose python leaves a mark, and activates it
CONDA = """#!/bin/bash
here=$(dirname "$(dirname "$0")")
case "$1" in
  info) echo '{"conda_prefix": "'$here'", "platform": "linux-64"}' ;;
  --version) echo conda 25.1.0 ;;
  config) echo '{"get": {"channel_priority": "strict"}}' ;;
  env|create)
    while [ "$1" != --prefix ]; do shift; done
    mkdir -p "$2/bin"
    printf '#!/bin/sh\\necho "$@" >> %s\\nexec %s "$@"\\n' "$here/called" PYTHON > "$2/bin/python"
    chmod +x "$2/bin/python" ;;
esac
"""


def test_a_conda_environments_python_comes_before(project, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/conda").write_text(CONDA.replace("PYTHON", sys.executable))
    (tmp_path / "bin/conda").chmod(0o755)
    (tmp_path / "bin/activate").write_text('export PATH="$1/bin:$PATH"\n')
    words = ["--configfile", "config/smoke.yaml", "--sdm", "conda", "--conda-prefix", str(tmp_path), "--force"]
    call(project, "results/smoke/dataset.npz", *words, path=f"{tmp_path}/bin:/usr/bin:/bin")
    assert "-m rodflow dataset" in (tmp_path / "called").read_text()


def test_what_the_catalogue_says_is_there():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    known = call(ROOT, "--help")
    for flag in usage["mandatory-flags"]["flags"].split():
        assert flag in known
    assert usage["software-stack-deployment"]["conda"] and (ROOT / "environment.yml").exists()
    listed = re.findall(r"^\| `([\w-]+\.yaml)`", (ROOT / "config/README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in (ROOT / "config").glob("*.yaml"))
