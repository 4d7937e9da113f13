"""The example of a user's own parts, by the command in its README: it runs, and a change reruns what takes it."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from helpers.checkout import ROOT, copy_project, environment

pytestmark = [pytest.mark.snakemake, pytest.mark.long]
README = (ROOT / "examples/own_workflow/README.md").read_text()
COMMAND = re.search(r"^snakemake .*$", README, re.MULTILINE).group()


def run(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", *shlex.split(COMMAND), *words]
    ended = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = copy_project(tmp_path_factory.mktemp("own_workflow"))
    run(folder)
    return folder


def test_it_makes_tables_and_figures_at_the_edge(project):
    assert len((ROOT / "examples/own_workflow/parts.py").read_text().splitlines()) < 80
    errors = pd.read_csv(project / "results/own/tables/errors.csv").set_index(["architecture", "flow"])
    assert set(errors.index) == {(a, f) for a in ("mlp", "ResNet") for f in ("stable", "drift_free_rod", "twin")}
    thresholds = pd.read_csv(project / "results/own/tables/thresholds.csv")
    assert (thresholds["optimizer"] == "Lion").all() and (thresholds["eos_share"] > 0.2).all()
    for architecture in ("mlp", "ResNet"):
        stable, rod = (errors.loc[(architecture, f), "error_eos_mean"] for f in ("stable", "drift_free_rod"))
        assert rod < stable / 3
        assert (project / f"figures/own/cells/{architecture}-Lion.png").stat().st_size > 0
    assert "ResNet, Lion" in (project / "figures/own/index.html").read_text()


def test_a_change_of_a_part_runs_again_what_takes_it(project):
    """All that takes a part of the changed file, which here is each cell and the table; a comment nothing."""
    path = project / "examples/own_workflow/parts.py"
    text = path.read_text().replace("    blocks = [", "    # another comment\n    blocks = [")
    changed = text.replace("x + self.inner(x)", "x + 0.5 * self.inner(x)")
    assert changed != text != path.read_text()

    def planned(content):
        path.write_text(content)
        return set(re.findall(r"output: results/own/(dataset|discrete/\w+|flows/\w+)", run(project, "--dry-run")))

    assert planned(text) == set()
    assert planned(changed) == {"dataset", "discrete/mlp", "discrete/ResNet", "flows/mlp", "flows/ResNet"}
