"""pyproject.toml, environment.yml and the constraints file name the same packages."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
CONDA_NAMES = {"pytorch": "torch"}


def of_pyproject() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {r.name: str(r.specifier) for r in map(Requirement, project["dependencies"])}


def test_environment_yml_agrees_with_pyproject():
    lines = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    found = {}
    for line in lines:
        name, bound = re.fullmatch(r"(?:[\w-]+::)?([\w-]+)(.*)", line).groups()
        found[CONDA_NAMES.get(name, name)] = bound
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert found.pop("python") == python
    assert found == of_pyproject()


def test_constraints_pin_every_dependency_within_its_bounds():
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pins[name.lower().replace("_", "-")] = version
    for name, bounds in of_pyproject().items():
        assert Requirement(f"x{bounds}").specifier.contains(pins[name]), name
