"""What `import rodflow` shows: to a notebook that completes names, and to a type checker."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import rodflow as rf


def typed(module):
    """The names that a type checker sees in a module, and where it takes each from."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    block = next(n for n in tree.body if isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING")
    assert all(alias.name == alias.asname for node in block.body for alias in node.names)
    return {alias.name: node.module for node in block.body for alias in node.names}


@pytest.mark.parametrize("module", [rf, rf.problems])
def test_all_names_are_shown_and_are_there(module):
    assert dir(module) == sorted(module.__all__) == sorted(typed(module))
    for name, home in typed(module).items():
        found = getattr(module, name)
        there = importlib.import_module(home)
        assert found is getattr(there, name, None) or found is importlib.import_module(f"{home}.{name}")
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name  # noqa: B018


def test_names_are_loaded_when_first_used():
    code = "import sys, rodflow as rf; dir(rf); before = [*sys.modules]; rf.train; print('torch' in before)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "False\n"


@pytest.mark.long
def test_a_type_checker_sees_what_names_are(tmp_path):
    api = pytest.importorskip("mypy.api")
    script = tmp_path / "script.py"
    script.write_text(
        "import rodflow as rf\nreveal_type(rf.problems.digits().w0)\nreveal_type(rf.Adam(0.1))\nrf.train('loss')\n"
    )
    said, _, _ = api.run([str(script)])
    for expected in ("torch._tensor.Tensor", "family.Adam", 'Missing positional arguments "optimizer", "w0", "steps"'):
        assert expected in said
