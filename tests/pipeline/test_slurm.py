"""A part of the smoke run through a real Slurm of one node, with profiles/slurm as a site would edit it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from helpers.checkout import NARROW, ROOT, copy_project, environment, read_without_times

pytestmark = [pytest.mark.slurm, pytest.mark.snakemake]
NODE = str(ROOT / "tests/pipeline/slurm_node.sh")


def edit_profile(project: Path) -> None:
    """What this site needs: no account, no accounting, impatience; flows are short here, and its GPU is pretended."""
    file = project / "profiles/slurm/config.yaml"
    profile = yaml.safe_load(file.read_text())
    profile |= {"slurm-no-account": True, "slurm-status-command": "squeue", "latency-wait": 5}
    profile["slurm-init-seconds-before-status-checks"] = 1
    profile["default-resources"]["slurm_partition"] = "test"
    profile["groups"]["flow"] = "flows"
    profile["group-components"]["flows"] = 8
    profile["set-resources"] = {"discrete": {"gpu": 1, "gpu_model": "pretended"}, "flow": {"runtime": 7}}
    file.write_text(yaml.safe_dump(profile))


def jobs_of(text: str) -> pd.DataFrame:
    """`scontrol --oneliner show jobs` as a table: rules, state, minutes, cores, memory in MB, GPUs, array's task."""
    jobs = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in text.splitlines()]
    clock = [[int(part) for part in job["TimeLimit"].split(":")] for job in jobs]
    table = {
        "rules": [re.sub("_wildcards_.*", "", job["Comment"]).removeprefix("rule_") for job in jobs],
        "state": [job["JobState"] for job in jobs],
        "minutes": [hours * 60 + minutes for hours, minutes, _ in clock],
        "cores": [int(job["NumCPUs"]) for job in jobs],
        "memory": [re.search(r"mem=(\w+)", job["TRES"]).group(1) for job in jobs],
        "gpus": [job.get("TresPerJob", "none") for job in jobs],
        "task": [job.get("ArrayTaskId", "") for job in jobs],
    }
    return pd.DataFrame(table)


def table_files(project: Path) -> dict[str, str]:
    """Every CSV of the run's tables as text, columns of measured time left out."""
    files = sorted((project / "results/smoke/tables").glob("*.csv"))
    return {file.name: read_without_times(file).to_csv() for file in files}


def test_tables_are_those_of_a_local_run(tmp_path):
    project, local = copy_project(tmp_path / "slurm"), copy_project(tmp_path / "local")
    edit_profile(project)
    words = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm"]
    words += ["--configfile", "config/smoke.yaml", "--config", *NARROW]
    script = '"$@"; status=$?; scontrol --oneliner show jobs > jobs.txt; exit $status'
    command = [NODE, "bash", "-c", script, "bash", *words]
    ended = subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True, timeout=1200)
    assert ended.returncode == 0, ended.stdout + ended.stderr

    jobs = jobs_of((project / "jobs.txt").read_text())
    assert set(jobs["state"]) == {"COMPLETED"}
    figures = "figures_architecture_figure_cell_animation_cell_figure_precision_figure_table_figure"
    asked = {
        "discrete": (480, "4001M", "gres:gpu:pretended:1"),  # with what the plugin adds for an array
        "flows_flow": ((2 + 6) * 7, "4000M", "none"),
        "landscapes_landscape_landscape_animation_landscape_figure": (10 + 2 * 5, "1000M", "none"),
        "plane": (480, "4000M", "none"),
        "precision": (10, "1000M", "none"),
        "tables": (10, "2000M", "none"),
        "precision_table": (10, "1000M", "none"),
        "replication": (10, "1000M", "none"),
        "page": (10, "1000M", "none"),
        figures: (6 * 5, "1000M", "none"),
    }
    # the dataset is made here; the runs, in each variant too, are one array
    assert jobs["rules"].value_counts().to_dict() == dict.fromkeys(asked, 1) | {"discrete": 1 + 3}
    assert dict(jobs.loc[jobs["task"] != "", ["task", "rules"]].values) == dict.fromkeys("1234", "discrete")
    assert set(jobs["cores"]) == {1}
    for _, job in jobs.iterrows():
        assert (job["minutes"], job["memory"], job["gpus"]) == asked[job["rules"]], job["rules"]

    words = [sys.executable, "-m", "snakemake", "--cores", "2", *words[5:]]
    subprocess.run(words, cwd=local, env=environment(), check=True, capture_output=True)
    tables = table_files(local)
    assert len(tables) == 5
    assert table_files(project) == tables
    for name in ("cells/mlp-gd", "architectures/mlp", "overview", "fidelity", "precision/mlp-gd", "landscapes/valley"):
        assert (project / f"figures/smoke/{name}.png").stat().st_size > 0


def test_a_daemon_that_does_not_start_is_named(tmp_path):
    broken = tmp_path / "slurmctld"
    broken.write_text("#!/bin/sh\necho 'error: ClusterName is missing' >&2\nexit 1\n")
    broken.chmod(0o755)
    there = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ended = subprocess.run([NODE, "true"], env=there, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 70
    assert "slurmctld did not start; it said:\nerror: ClusterName is missing" in ended.stderr
