"""The site: it builds without a warning, and what pages, docstrings and notebooks say of the code is so."""

import doctest
import importlib
import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
import pytest
from helpers.checkout import ROOT
from mkdocs.exceptions import PluginError
from PIL import Image

import rodflow
from rodflow.catalogue import FLOWS
from rodflow.errors import InvalidInput
from rodflow.flows.columns import SERIES_COLUMNS
from rodflow.reference.blocks import IDEAS, filled
from rodflow.reference.contents import TABLES
from rodflow.reference.pictures import PICTURES
from rodflow.report import columns

PAGES = ["README.md", "config/README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
REFERENCE = ROOT / "reference"


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs/hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- the site


class Links(HTMLParser):
    """What a page fetches by itself, what else it leads to, and the anchors that it has."""

    def __init__(self, page):
        super().__init__()
        self.fetched, self.linked, self.anchors = [], [], set()
        self.feed(page.read_text())

    def handle_starttag(self, tag, attributes):
        has = dict(attributes)
        self.anchors |= {has.get("id"), has.get("name")}
        self.fetched += [has[k] for k in ("src", "href") if has.get(k) and tag in ("script", "img", "link", "iframe")]
        self.linked += [has["href"]] if tag == "a" and has.get("href") else []


def broken(folder):
    """The links of the site in ``folder`` that lead nowhere within it, and all that it fetches from elsewhere."""
    pages = {page: Links(page) for page in folder.rglob("*.html")}
    for page, links in pages.items():
        for link in {*links.fetched, *links.linked}:
            to = urlsplit(link)
            if to.scheme or to.netloc:
                if link in links.fetched and to.scheme != "data":
                    yield page.name, link
                continue
            # the page of an address that is not found is served anywhere, and so has addresses from the root
            base = folder if to.path.startswith("/") else page.parent
            target = (base / unquote(to.path).lstrip("/")).resolve() if to.path else page
            target = target / "index.html" if target.is_dir() else target
            anchors = pages[target].anchors if target in pages else set()
            if not target.exists() or (to.fragment and unquote(to.fragment) not in anchors):
                yield page.name, link


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html#x">b</a><a href="https://x.y">x</a><p id="x"><a href="#x">.</a>')
    (tmp_path / "b.html").write_text('<a href="a.html#x">a</a><a href="c.html">c</a><script src="//x.y/z.js"></script>')
    assert sorted(broken(tmp_path)) == [("a.html", "b.html#x"), ("b.html", "//x.y/z.js"), ("b.html", "c.html")]


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
    assert list(broken(tmp_path)) == []


def test_a_link_to_code_leads_to_the_line(hooks):
    path = "rodflow/flows/rod.py"
    lines = (ROOT / path).read_text().splitlines()
    assert lines[hooks.line(path, "RodFlow.velocity") - 1].strip().startswith("def velocity(")
    assert lines[hooks.line(path, "SHORT") - 1].startswith("SHORT =")
    with pytest.raises(PluginError, match=r"rod\.py has no RodFlow\.speed"):
        hooks.line(path, "RodFlow.speed")


def test_pages_of_optimizers_and_flows_show_their_settings(hooks):
    """Which a class that it extends may hold."""
    assert "rf.Adam(\n    learning_rate: float,\n    beta1: float = 0.9,\n" in hooks.settings("Adam")
    assert "    optimizer: StepMap,\n    *,\n    step: float = 1.0,\n" in hooks.settings("CentralMomentumFlow")
    assert not any(hooks.settings(name) for name in ("train", "Solver", "StepMap"))


# --- numbers and pictures


@pytest.mark.parametrize("page", PAGES)
def test_pages_show_the_numbers_of_the_reference(page):
    text = (ROOT / page).read_text()
    assert filled(text, REFERENCE) == text, "make docs-numbers refreshes them"


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_a_number_changed_by_hand_is_found(page):
    """In a table, and in a sentence."""
    text = (ROOT / page).read_text()
    tables = list(re.finditer(r"<!-- reference: \w*(?:models|flows) -->.*?<!-- end -->", text, re.DOTALL))
    numbers = list(re.finditer(r"(?<=-->)\d[^<]*", text))
    assert tables and numbers
    for table, digit in [(t, d) for t in [*tables, *numbers] for d in list(re.finditer(r"\d", t[0]))[::17]]:
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
    counted = re.search(">([^<]*)<", filled(text.format("above_9"), REFERENCE))[1]
    assert counted == f"{sum(value > 9 for value in own)} of {len(own)}"
    ratio = pd.read_csv(REFERENCE / "fidelity.csv").query("flow == 'rod'")["sharpness_ratio"]
    within = f"{sum(abs(r - 1) <= 0.05 for r in ratio)} of {len(ratio)}"
    assert filled("<!-- rod.sharpness_ratio.within_5 -->7<!-- -->", REFERENCE).count(within) == 1
    for mark in ("rod.ratio_to_stable.mean", "road.ratio_to_stable.median", "rod.flow.median"):
        with pytest.raises(InvalidInput, match="allowed: one of"):
            filled(f"<!-- {mark} -->7<!-- -->", REFERENCE)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * ("valley" in n)) for n in PICTURES])
def test_pictures_are_of_the_reference_and_the_code(name, tmp_path):
    """One line of twelve panels that is 10% off makes a mean difference of 2e-4; the same data make none."""
    PICTURES[name](REFERENCE, tmp_path / name)
    ours, kept = (Image.open(folder / name) for folder in (tmp_path, ROOT / "docs"))
    frames = [getattr(picture, "n_frames", 1) for picture in (ours, kept)]
    assert ours.size == kept.size and frames[0] == frames[1], "make docs-numbers draws it again"
    for frame in range(frames[0]):
        pixels = []
        for picture in (ours, kept):
            picture.seek(frame)
            pixels.append(np.asarray(picture.convert("RGB")) / 255)
        assert np.abs(pixels[0] - pixels[1]).mean() < 1e-4, f"frame {frame}: make docs-numbers draws it again"


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
