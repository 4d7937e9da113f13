"""pyproject.toml, environment.yml and the constraints file name the same packages."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, packages_distributions
from itertools import chain

import pytest
import yaml
from helpers.checkout import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import rodflow
from rodflow.errors import InvalidInput
from rodflow.flows import complementarity
from rodflow.problems import datasets

CONDA_NAMES = {"pytorch": "torch"}

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]


def of_pyproject() -> dict[str, str]:
    """The bounds of every package that pyproject.toml asks for, with all its extras; each is named once."""
    extras = PROJECT["optional-dependencies"].values()
    asked = [Requirement(line) for line in [*PROJECT["dependencies"], *chain.from_iterable(extras)]]
    bounds = {canonicalize_name(r.name): str(r.specifier) for r in asked}
    assert len(bounds) == len(asked)
    return bounds


def test_environment_yml_agrees_with_pyproject():
    lines = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    found = {}
    for line in lines:
        name, bound = re.fullmatch(r"(?:[\w-]+::)?([\w-]+)(.*)", line).groups()
        found[CONDA_NAMES.get(name, name)] = bound
    assert found.pop("python") == PROJECT["requires-python"]
    assert found == of_pyproject()


def test_constraints_pin_every_dependency_within_its_bounds():
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pins[canonicalize_name(name)] = version
    for name, bounds in of_pyproject().items():
        assert Requirement(f"x{bounds}").specifier.contains(pins[name]), name


def test_make_installs_every_extra():
    installed = re.search(r"--editable '\.\[([\w,]+)\]'", (ROOT / "Makefile").read_text())[1].split(",")
    assert sorted(installed) == sorted(PROJECT["optional-dependencies"])


def imported(code: str) -> set[str]:
    """The first parts of the names of all modules that some code imports."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.partition(".")[0])
    return names


def test_the_library_asks_for_what_it_imports_and_no_more():
    found = set.union(*(imported(path.read_text()) for path in (ROOT / "rodflow").rglob("*.py")))
    of_module = packages_distributions()
    others = found - sys.stdlib_module_names - {"rodflow"}
    packages = {canonicalize_name(package) for name in others for package in of_module[name]}
    asked = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    # pandas reads Parquet by pyarrow; cvxpy and torchvision are of the extras central and cifar10
    assert packages | {"pyarrow"} == asked | {"cvxpy", "torchvision"}


@pytest.mark.parametrize(
    ("extra", "module", "use"),
    [
        ("central", "cvxpy", lambda: complementarity._problem.__wrapped__(2)),
        ("cifar10", "torchvision.datasets", datasets.cifar10),
    ],
)
def test_what_a_missing_extra_keeps_from_working_names_it(monkeypatch, extra, module, use):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InvalidInput, match=re.escape(f"pip install 'rodflow[{extra}]'")):
        use()


def test_the_supported_versions_of_python_are_the_same_everywhere():
    named = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if "Python :: 3." in c]
    bounds = SpecifierSet(PROJECT["requires-python"])
    assert [f"3.{minor}" for minor in range(30) if bounds.contains(f"3.{minor}")] == named
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{named[0].replace('.', '')}"
    assert f"Python {named[0]} to {named[-1]}" in (ROOT / "README.md").read_text()


def test_pinned_packages_run_on_the_first_release_of_each_version():
    """A distribution's Python 3.11 may be an early one: Debian 12 has 3.11.2."""
    minors = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if "Python :: 3." in c]
    pinned = [line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    assert len(pinned) > 50
    for name in pinned:
        asked = SpecifierSet(distribution(name).metadata["Requires-Python"] or "")
        assert all(asked.contains(f"{minor}.0") for minor in minors), f"{name}: {asked}"


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert PROJECT["version"] == rodflow.__version__ == citation["version"]
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert f"## {rodflow.__version__}, {citation['date-released']}\n" in changes


def test_hooks_before_a_commit_run_lines_of_make_lint_and_fetch_nothing():
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].removeprefix(".venv/bin/") in recipe.replace("\t", "").splitlines()


def test_make_alone_lists_its_targets():
    """Each with a word on what it does, but for those that are files."""
    text = (ROOT / "Makefile").read_text()
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.search(r"^\.PHONY:((?:.*\\\n)*.*)", text, re.MULTILINE)[1].replace("\\", "").split()
    assert re.findall(r"^  make ([\w-]+) +\S", listed, re.MULTILINE) == re.findall(r"^([\w-]+):", text, re.MULTILINE)
    assert sorted(targets) == sorted(re.findall(r"^  make ([\w-]+)", listed, re.MULTILINE))
