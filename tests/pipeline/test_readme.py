"""What the README shows works as it stands there."""

import math
import re
import subprocess
import sys
import tempfile

import matplotlib
import pandas as pd
import pytest
from helpers.checkout import ROOT

from rodflow import config as configuration
from rodflow.measures.constants import EDGE

README = (ROOT / "README.md").read_text()
DOCS = sorted((ROOT / "docs").glob("*.md"))


def test_library_example_is_the_file_and_says_what_it_printed():
    shown = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    assert shown == (ROOT / "examples/first.py").read_text()
    printed = re.search(r"It prints\n\n```\n(.*?)```", README, re.DOTALL).group(1)
    assert printed == (ROOT / "docs/first.txt").read_text(), "make docs-numbers runs it"


def test_library_example_runs(tmp_path, monkeypatch, capsys):
    """Up to the edge, where the stable flow and rod flow are about as near."""
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    example = (ROOT / "examples/first.py").read_text()
    shorter = example.replace("steps=640", "steps=100").replace("steps=580", "steps=40")
    assert shorter != example
    names: dict = {}
    exec(shorter, names)
    said = capsys.readouterr().out
    assert re.fullmatch(r"(\w+ +ends \de-\d\d from the run\n){3}", said)
    for flow in names["flows"].values():
        error = flow.error(names["run"])
        assert list(error.index) == [70, 80, 90, 100]
        assert (error < 0.05 * names["run"].midpoints[-1].norm().item()).all()
    assert (tmp_path / "first.png").stat().st_size > 10_000


@pytest.mark.slow
def test_what_the_example_printed_is_what_it_prints():
    """Rounding differs between processors, and at the edge it grows: to a factor of three."""
    command = [sys.executable, ROOT / "examples/first.py"]
    with tempfile.TemporaryDirectory() as folder:
        said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    ours, kept = (dict(re.findall(r"(\w+) +ends (\S+)", text)) for text in (said, README))
    assert ours.keys() == kept.keys() == {"stable", "rod", "twin"}
    for name, error in ours.items():
        assert abs(math.log(float(error) / float(kept[name]))) < math.log(3), (name, error, kept[name])


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
)
def test_files_that_pages_name_exist(page):
    text = (ROOT / page).read_text()
    for path in re.findall(
        r"`((?:rodflow|config|workflow|examples|benchmarks|tests)/[\w/]*\.(?:py|yaml|sh|smk))`", text
    ):
        assert (ROOT / path).exists(), path


def test_default_run_draws_the_first_figure_that_the_makefile_asks_for():
    config = configuration.load(ROOT / "config.yaml")
    (drawn,) = re.findall(rf"figures/{config.run}/cells/(\S+)\.png", (ROOT / "Makefile").read_text())
    assert drawn in {f"{architecture}-{optimizer}" for architecture, optimizer, _ in config.cells}


def test_first_figure_is_of_a_cell_that_is_at_its_edge_to_the_end():
    """As it is in the reference, a longer run of the same networks."""
    (architecture, optimizer) = re.search(r"cells/(\w+)-(\w+)\.png", (ROOT / "Makefile").read_text()).groups()
    runs = pd.read_parquet(ROOT / "reference/discrete.parquet")
    rows = pd.read_csv(ROOT / "reference/thresholds.csv")
    threshold = rows[(rows["architecture"] == architecture) & (rows["optimizer"] == optimizer)]["threshold"].iloc[0]
    own = runs[(runs["architecture"] == architecture) & (runs["optimizer"] == optimizer)].set_index("step")["sharpness"]
    assert (own.iloc[-len(own) // 3 :] >= EDGE * threshold).all()
    assert (own < EDGE * threshold).sum() > len(own) / 4  # and it gets there under one's eyes
