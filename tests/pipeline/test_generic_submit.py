"""profiles/generic: what it asks of the scheduler and what it understands of the answers; PBS's commands are played."""

import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from helpers.checkout import ROOT, copy_project, environment, shorten_valley, snakemake

# keeps its arguments, starts the job script and leaves its exit status where qstat finds it
QSUB = """#!/bin/bash
here=$(dirname "$0")
id=$(ls "$here" | grep -c arguments).server
echo "${@:1:$#-1}" > "$here/$id.arguments"
(setsid bash "${!#}" > "$here/$id.output" 2>&1; echo $? > "$here/$id.status") > /dev/null &
echo "$id"
"""
QSTAT = """#!/bin/bash
[ "$1 $2" = "-x -f" ] || exit 1
here=$(dirname "$0")
echo "Job Id: $3"
if [ -f "$here/$3.status" ]; then
  echo "    job_state = F"
  echo "    Exit_status = $(cat "$here/$3.status")"
else
  echo "    job_state = R"
fi
"""


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.snakemake
@pytest.mark.long
def test_jobs_and_a_group_through_the_submit_command(tmp_path):
    project = shorten_valley(copy_project(tmp_path / "project"))
    scheduler = tmp_path / "scheduler"
    executable(scheduler / "qsub", QSUB)
    executable(scheduler / "qstat", QSTAT)
    targets = ["results/smoke/discrete/mlp-gd-seed0.parquet", "figures/smoke/landscapes/valley.png"]
    words = ["--set-resources", "discrete:gpu=1", "--workflow-profile", "profiles/generic"]
    words += ["--seconds-between-status-checks", "1", *targets]
    there = environment()
    there["PATH"] = f"{scheduler}:{there['PATH']}"
    ended = subprocess.run(snakemake(*words), cwd=project, env=there, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(pd.read_parquet(project / targets[0])) > 0
    assert (project / targets[1]).stat().st_size > 0
    submitted = sorted(file.read_text() for file in scheduler.glob("*.arguments"))
    asked = "-V -j oe -o .snakemake/log/ -l select=1:ncpus={}:mem={}mb:ngpus={} -l walltime={}:00\n"
    discrete, landscape_and_figure = (1, 4000, 1, 480), (1, 1000, 0, 15)
    assert submitted == sorted(
        asked.format(*job) for job in (discrete, landscape_and_figure)
    )  # the dataset is made here


@pytest.mark.snakemake
@pytest.mark.parametrize("attempt", [1, 2])
def test_a_job_that_is_tried_again_asks_for_more(attempt):
    """--attempt is what Snakemake says to the job that it starts on a node."""
    words = ["--dry-run", "--forceall", "--attempt", str(attempt), "results/smoke/flows/mlp-gd-seed0-stable.parquet"]
    said = subprocess.run(snakemake(*words), cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
    for rule in ("discrete", "flow"):
        asked = re.search(rf"rule {rule}:\n(?:    .*\n)*?    resources: (.*)", said.stdout)[1].split(", ")
        assert {f"mem_mb={4000 * attempt}", f"runtime={480 * attempt}"} <= set(asked)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("    job_state = Q", "running"),
        ("    job_state = F\n    Exit_status = 0", "success"),
        ("    job_state = F\n    Exit_status = 271", "failed"),  # killed, by a limit or by hand
        ("    job_state = F", "failed"),  # deleted in the queue
        ("qstat: Unknown Job Id 7.server", "failed"),
        ("qstat: cannot connect to server", "running"),
    ],
)
def test_status_of_a_job(tmp_path, said, status):
    executable(tmp_path / "qstat", f"#!/bin/sh\necho '{said}'\nexit 1\n")
    there = environment() | {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    command = [ROOT / "profiles/generic/status.sh", "7.server"]
    assert subprocess.run(command, env=there, capture_output=True, text=True).stdout == f"{status}\n"
