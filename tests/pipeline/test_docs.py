"""The site: it builds without a warning, and what pages, docstrings and notebooks say of the code is so."""

import doctest
import importlib
import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from helpers.checkout import ROOT
from matplotlib.image import imread
from mkdocs.exceptions import PluginError

import rodflow
from rodflow.catalogue import FLOWS
from rodflow.errors import InvalidInput
from rodflow.measures.columns import SERIES_COLUMNS
from rodflow.reference.blocks import IDEAS, filled
from rodflow.reference.contents import TABLES
from rodflow.reference.pictures import draw_mlp
from rodflow.report import columns
from rodflow.report.figures.style import save

PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
REFERENCE = ROOT / "reference"


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs/hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- the site


class Remote(HTMLParser):
    """The addresses in other places that a page fetches something from by itself."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        names = {"script": ["src"], "img": ["src"], "link": ["href"], "iframe": ["src"]}.get(tag, [])
        self.found += [v for k, v in attributes if k in names and v and v.startswith(("http:", "https:", "//"))]


def test_the_site_builds_without_a_warning(tmp_path):
    """mkdocs is strict: a broken link, or anchor, a page outside the navigation are errors. Notebooks are not run."""
    environment = os.environ | {"EXECUTE_NOTEBOOKS": "false", "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    index = (tmp_path / "api/index.html").read_text()
    for name in rodflow.__all__:
        assert f'href="{name}.html"' in index
        assert "doc-object" in (tmp_path / f"api/{name}.html").read_text(), name
    theory = (tmp_path / "theory.html").read_text()
    assert theory.count("<math") > 100 and "\\frac" not in theory and "&amp;=" not in theory
    assert re.search(r'href="code/rodflow/flows/rod\.py\.html#__codelineno-0-\d+"', theory)
    for page in tmp_path.rglob("*.html"):
        assert Remote(page.read_text()).found == [], page


def test_a_link_to_code_leads_to_the_line(hooks):
    path = "rodflow/flows/rod.py"
    lines = (ROOT / path).read_text().splitlines()
    assert lines[hooks.line(path, "RodFlow.velocity") - 1].strip().startswith("def velocity(")
    assert lines[hooks.line(path, "SHORT") - 1].startswith("SHORT =")
    with pytest.raises(PluginError, match=r"rod\.py has no RodFlow\.speed"):
        hooks.line(path, "RodFlow.speed")


# --- numbers and pictures


@pytest.mark.parametrize("page", PAGES)
def test_pages_show_the_numbers_of_the_reference(page):
    text = (ROOT / page).read_text()
    assert filled(text, REFERENCE) == text, "make docs-numbers refreshes them"


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_a_number_changed_by_hand_is_found(page):
    text = (ROOT / page).read_text()
    table = re.search(r"<!-- reference: models -->.*?<!-- end -->", text, re.DOTALL)
    for digit in list(re.finditer(r"\d", table[0]))[5::40]:
        at = table.start() + digit.start()
        changed = text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :]
        assert filled(changed, REFERENCE) == text != changed


def test_a_number_of_a_sentence():
    errors = pd.read_csv(REFERENCE / "errors.csv")
    own = errors[(errors["flow"] == "rod") & (errors["n_stable"] >= 5)]["ratio_to_stable"]
    text = "by <!-- rod.ratio_to_stable.{} -->7<!-- --> times"
    for statistic, value in {"median": own.median(), "least": own.min(), "largest": own.max()}.items():
        said = re.search(">([^<]*)<", filled(text.format(statistic), REFERENCE))[1]
        assert float(said) == pytest.approx(value, rel=5e-3)
    for mark in ("rod.ratio_to_stable.mean", "road.ratio_to_stable.median", "rod.flow.median"):
        with pytest.raises(InvalidInput, match="one of"):
            filled(f"<!-- {mark} -->7<!-- -->", REFERENCE)


def test_the_picture_of_four_optimizers_is_of_the_reference(tmp_path):
    save(draw_mlp(REFERENCE), [tmp_path / "mlp.png"])
    ours, kept = imread(tmp_path / "mlp.png"), imread(ROOT / "docs/mlp.png")
    assert ours.shape == kept.shape, "make docs-numbers draws it again"
    assert np.abs(ours - kept).mean() < 2e-3, "make docs-numbers draws it again"


# --- what the files hold


def test_every_column_has_a_meaning_and_every_meaning_a_column():
    found = {file: columns.SERIES.get(file) for file in columns.OWN}
    for table in (*TABLES, "cells.csv"):
        found[table.removesuffix(".csv")] = pd.read_csv(REFERENCE / table, nrows=0).columns.tolist()
    said = {file: columns.meanings(file, names) for file, names in found.items()}
    for file, own in columns.OWN.items():
        assert own.keys() <= said[file].keys(), file
        assert f"<!-- reference: columns_of_{file} -->" in (ROOT / "docs/outputs.md").read_text()
    assert columns.COMMON.keys() <= set().union(*said.values())
    with pytest.raises(KeyError, match="unheard_of"):
        columns.meanings("series", [*SERIES_COLUMNS, "unheard_of"])


def test_every_flow_has_an_idea():
    assert IDEAS.keys() == FLOWS.keys()


# --- examples


def modules_with_examples():
    texts = {path: path.read_text() for path in (ROOT / "rodflow").rglob("*.py")}
    found = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path, text in texts.items() if ">>> " in text]
    return sorted(name.removesuffix(".__init__") for name in found)


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_in_docstrings_run(name):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried and not failed


@pytest.mark.slow
@pytest.mark.parametrize("notebook", sorted(path.name for path in (ROOT / "docs/notebooks").glob("*.py")))
def test_notebooks_run(notebook, tmp_path):
    environment = os.environ | {"MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "docs/notebooks" / notebook)]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=600)
