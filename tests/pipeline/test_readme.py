"""What the README shows works as it stands there."""

import re

import matplotlib
import yaml
from helpers.checkout import ROOT

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
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    assert f"figures/{config['run']}/cells/" in (ROOT / "Makefile").read_text()
