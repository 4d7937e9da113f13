"""pyproject.toml, environment.yml and the constraints file name the same packages."""

import re
import tomllib
from itertools import chain

import yaml
from checkout import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

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


def test_the_supported_versions_of_python_are_the_same_everywhere():
    named = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if "Python :: 3." in c]
    bounds = SpecifierSet(PROJECT["requires-python"])
    assert [f"3.{minor}" for minor in range(30) if bounds.contains(f"3.{minor}")] == named
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{named[0].replace('.', '')}"
    assert f"Python {named[0]} to {named[-1]}" in (ROOT / "README.md").read_text()
