"""Where a result comes from: config, code, versions, machine, time; and the digest of the code that made it."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent
# no result depends on these: the config's content is a parameter of each rule, progress and messages are not results
IGNORED = {"rodflow", "rodflow.cli", "rodflow.config", "rodflow.progress", "rodflow.provenance", "rodflow.errors"}


def _file(module: str) -> Path | None:
    path = PACKAGE.parent.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def _imports(path: Path) -> set[str]:
    """The project's modules that the source at ``path`` imports, wherever it does, type hints aside."""
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING":
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "rodflow" and _file(name)}


def modules_used(module: str) -> list[str]:
    """The project's modules that ``module`` imports, directly or not, itself included, by name."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if name in found or name in IGNORED or path is None:
            continue
        found.add(name)
        waiting += sorted(_imports(path))
    return sorted(found)


@functools.cache
def code_digest(module: str) -> str:
    """sha256 of the sources of all that ``module`` uses; a workflow parameter, so that changed code runs again."""
    digest = hashlib.sha256()
    for name in modules_used(module):
        path = _file(name)
        assert path is not None
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def git_commit() -> str | None:
    """The checkout's commit, with ``+changes`` if files differ from it; None outside a checkout."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(PACKAGE), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def versions() -> dict[str, str | None]:
    """The versions of Python and of the packages that results pass through; None for one that is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in ("torch", "torchdiffeq", "numpy", "scipy", "pandas", "matplotlib", "h5py", "snakemake"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def provenance(config: dict[str, Any], seconds: float, device: str = "cpu") -> dict[str, Any]:
    """Resolved config, commit, versions, device, host's processor count, and the wall time of the stage in seconds."""
    return {
        "config": config,
        "commit": git_commit(),
        "versions": versions(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "device": device,
        "wall_time_seconds": round(seconds, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
