"""What the README shows works as it stands there."""

import re

import matplotlib
import pandas as pd
from helpers.checkout import ROOT

from rodflow import config as configuration
from rodflow.measures.constants import EDGE

README = (ROOT / "README.md").read_text()


def test_library_example_runs():
    matplotlib.use("Agg")
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    shorter = example.replace("steps=600", "steps=100").replace("steps=500", "steps=40")
    assert shorter != example
    names: dict = {}
    exec(shorter, names)
    error = names["flow"].error(names["run"])
    assert list(error.index) == [70, 80, 90, 100]
    assert (error < 0.05 * names["run"].midpoints[-1].norm().item()).all()


def test_files_that_it_names_exist():
    for path in re.findall(r"`((?:rodflow|config|workflow|examples)[\w/]*\.(?:py|yaml))`", README):
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
