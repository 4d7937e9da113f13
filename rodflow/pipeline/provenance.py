"""Where a result comes from: config, code, versions, machine, time; and the digest of the code that makes it."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rodflow import _HOME_OF
from rodflow.catalogue import Entry, FlowEntry
from rodflow.config import Config
from rodflow.config.own import Part
from rodflow.errors import InvalidInput
from rodflow.measures.summaries import Provenance
from rodflow.pipeline.own import folder_of, found

PACKAGE = Path(__file__).parents[1]
IGNORED = (
    "rodflow.catalogue",
    "rodflow.cli",
    "rodflow.config",
    "rodflow.errors",
    "rodflow.jobs",
    "rodflow.pipeline.job",
    "rodflow.pipeline.own",
    "rodflow.pipeline.provenance",
)
"""No result depends on these modules and packages, what they hold included: settings are a parameter of each rule, a
name of the catalogue counts by its own entry, and where files lie, how they are written and what messages say is no
result.
"""
DATA = (".html", ".css", ".js")
"""Files beside a module that count as its code."""


def _file(module: str) -> Path | None:
    path = PACKAGE.parent.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def _ignored(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in IGNORED)


@functools.cache
def _tree(module: str) -> ast.Module:
    """The code of a module of the project, without docstrings.

    Raises: ``ModuleNotFoundError`` if there is none of that name.
    """
    path = _file(module) if module.split(".")[0] == "rodflow" else None
    if path is None:
        raise ModuleNotFoundError(f"rodflow has no module {module}, so that no digest of its code can be taken")
    return _parsed(path.read_bytes())


def _parsed(content: bytes) -> ast.Module:
    """The code of a file, without docstrings and other texts that nothing is done with."""
    tree = ast.parse(content)
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [statement for statement in body if not _is_text(statement)]  # type: ignore[attr-defined]
        waiting += _within(node)
    return tree


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _within(node: ast.AST) -> list[ast.AST]:
    """The parts of a node that are statements or hold some; expressions, most of a tree, are left out."""
    kinds = ast.stmt | ast.excepthandler | ast.match_case
    return [part for part in ast.iter_child_nodes(node) if isinstance(part, kinds)]


@functools.cache
def _imports(module: str) -> frozenset[str]:
    """The project's modules that a module imports, wherever it does, type hints aside.

    Raises: ``ModuleNotFoundError`` for one that is not there, and ``ImportError`` for a name that a package looks up
    when it is asked for: which module holds it cannot be seen from here.
    """
    names: set[str] = set()
    waiting: list[ast.AST] = [_tree(module)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING":
            continue
        waiting += _within(node)
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            there = {name for name in submodules if _file(name)}
            names |= {node.module} | there
            if node.module.split(".")[0] == "rodflow" and there != submodules and _looks_up(node.module):
                raise ImportError(f"{module} imports {sorted(submodules - there)} from a package: name their modules")
    return frozenset(name for name in names if name.split(".")[0] == "rodflow")


@functools.cache
def _looks_up(module: str) -> bool:
    """Whether a module has a ``__getattr__``, which finds its names when they are asked for."""
    return any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in _tree(module).body)


def modules_used(*modules: str) -> list[str]:
    """The project's modules that ``modules`` import, directly or not, themselves included; those ``IGNORED`` aside.

    Raises: ``ModuleNotFoundError`` if one of them does not exist.
    """
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or (_ignored(name) and name not in modules):
            continue
        found.add(name)
        waiting += sorted(_imports(name))
    return sorted(found)


@functools.cache
def _code(module: str) -> bytes:
    """The code of a module without comments, docstrings and layout, with the ``DATA`` beside it."""
    path = _file(module)
    assert path is not None
    data = sorted(file for file in path.parent.iterdir() if file.suffix in DATA)
    code = ast.dump(_tree(module)).encode()
    return b"\0".join([code, *(file.name.encode() + b"\0" + file.read_bytes() for file in data)])


@functools.cache
def code_digest(*modules: str, entries: tuple[Entry, ...] = ()) -> str:
    """sha256 of all code that ``modules`` use; a workflow parameter, so that changed code runs again.

    With ``entries`` of the catalogue, of the code that these name as well, and no other entry's. Comments, docstrings
    and the layout of the code make no difference.

    Raises: ``ModuleNotFoundError`` for a module that does not exist.
    """
    digest = hashlib.sha256()
    for entry in entries:
        settings = {**entry.settings, **entry.solver} if isinstance(entry, FlowEntry) else {}
        digest.update(json.dumps([entry.target, settings], sort_keys=True).encode() + b"\0")
    for name in modules_used(*modules, *(entry.module for entry in entries)):
        digest.update(name.encode() + b"\0" + _code(name) + b"\0")
    return digest.hexdigest()[:16]


def code_with_parts(config: Config, parts: dict[str, Part], stage: str, *entries: Entry) -> str:
    """The digest of a stage, and of the files of the parts of a user's own that it takes."""
    functions = sorted(part.function for part in parts.values())
    modules = {function.partition(":")[0] for function in functions}
    files, imported = own_files(modules, folder_of(config.own))
    # what they take of this library counts by module
    library = {_HOME_OF.get(name.removeprefix("rodflow."), name) for name in modules | imported}
    library = {name for name in library if name.split(".")[0] == "rodflow" and _file(name)}
    digest = code_digest(stage, *sorted(library), entries=entries)
    if not parts:
        return digest
    return hashlib.sha256(json.dumps([digest, functions, files], sort_keys=True).encode()).hexdigest()[:16]


def own_files(modules: Iterable[str], folder: Path) -> tuple[dict[str, str], set[str]]:
    """The digests of the files of ``modules`` and of those in ``folder`` that they import, directly or not; and the
    names of all that these files import. Nothing is imported here.

    Raises: ``InvalidInput`` for a file that Python cannot read.
    """
    files: dict[str, str] = {}
    imported: set[str] = set()
    waiting = modules = set(modules)
    while waiting := waiting - {"", *files}:
        name, *rest = sorted(waiting)
        waiting = set(rest)
        spec = None if name.split(".")[0] == "rodflow" else found(name, folder, beside=name not in modules)
        if spec is None or not (spec.origin or "").endswith(".py"):
            continue
        try:
            files[name], names = _own_file(Path(str(spec.origin)).read_bytes(), spec.parent or "")
        except (SyntaxError, ValueError, ImportError) as error:
            raise InvalidInput("own", str(spec.origin), f"a file that Python can read ({error})") from error
        waiting |= {name.rpartition(".")[0], *names}  # a package is loaded before what it holds
        imported |= names
    return files, imported


@functools.lru_cache(maxsize=64)
def _own_file(content: bytes, package: str) -> tuple[str, frozenset[str]]:
    """The digest of a file of a ``package``, comments and docstrings aside, and the names that it imports."""
    tree = _parsed(content)
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Attribute):
            names.add(f"rodflow.{node.attr}")  # rf.Adam; a name too many does no harm
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), frozenset(names)


def checkpoint_file(output: Path) -> Path:
    """Where the job that makes ``output`` keeps its checkpoint until it is done: beside it."""
    return output.with_name(f"{output.stem}.checkpoint.npz")


def fingerprint(settings: dict[str, Any], code: str, inputs: Iterable[str | Path] = ()) -> str:
    """sha256 of all that a job's checkpoint depends on: settings, the digest of its code, versions, inputs' bytes."""
    digest = hashlib.sha256(json.dumps([settings, code, versions()], sort_keys=True).encode())
    for path in inputs:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


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
    for name in ("torch", "torchdiffeq", "numpy", "pandas", "matplotlib", "h5py", "snakemake"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def provenance(config: dict[str, Any], seconds: float, device: str = "cpu") -> Provenance:
    """Resolved config, commit, versions, device, host's processor count, and the wall time of the stage in seconds."""
    return Provenance(
        config=config,
        commit=git_commit(),
        versions=versions(),
        platform=platform.platform(),
        processors=os.cpu_count(),
        device=device,
        wall_time_seconds=round(seconds, 3),
        finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
