"""A user's own parts, which a config names by ``module:function``: checked, imported where a job needs them, called."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.machinery import ModuleSpec, PathFinder
from itertools import accumulate
from pathlib import Path
from typing import Any

from rodflow.config import Config
from rodflow.config.own import Own, Part
from rodflow.errors import InvalidInput
from rodflow.jobs.progress import log
from rodflow.pipeline.memory import lacks_memory

CALLED = {
    "networks": ("shape", "outputs"),
    "datasets": (),
    "optimizers": ("learning_rate",),
    "losses": ("output", "target"),
    "flows": ("objective", "optimizer"),
}
"""What the functions of each kind are called with beside their settings; the learning rate by its name."""


def folder_of(own: Own) -> Path:
    """Where the modules of own parts lie."""
    return Path(own.folder or ".").resolve()


def found(module: str, folder: Path, beside: bool = False) -> ModuleSpec | None:
    """Where a module is: in ``folder``, else where Python looks unless it has to lie ``beside``. Nothing is imported.

    Raises: ``ValueError`` for ``__main__``.
    """
    first, *rest = accumulate(module.split("."), "{}.{}".format)
    importlib.invalidate_caches()
    spec = PathFinder.find_spec(first, [str(folder)])
    if spec is None and not beside:
        spec = importlib.util.find_spec(first)
    for name in rest:
        spec = PathFinder.find_spec(name, (spec and spec.submodule_search_locations) or [])
    return spec


def require_parts(config: Config) -> None:
    """Check the parts that some job of the config takes, as far as that goes without importing their modules: whether
    the module is there and can be read, whether it has the function, and whether that takes the settings.

    Raises: ``InvalidInput`` naming the part.
    """
    for key, part in config.parts_used.items():
        _require(key, part, folder_of(config.own))


def _require(key: str, part: Part, folder: Path) -> None:
    module, name = part.function.split(":")
    try:
        spec = found(module, folder)
        if spec is None:
            raise _refusal(
                key, part, f"a function of a Python file in {folder}, or of a module to import (no {module})"
            )
        if not (spec.origin or "").endswith(".py"):
            return
        tree = ast.parse(Path(str(spec.origin)).read_bytes())
    except (SyntaxError, ValueError) as error:
        raise _refusal(key, part, f"a function of a file that Python can read ({error})") from error
    top = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    nodes = [node for node in top if node.name == name]
    if nodes and isinstance(nodes[-1], ast.FunctionDef) and not nodes[-1].decorator_list:
        _require_call(key, part, _signature(nodes[-1].args))
    elif not nodes and not {name, "*", "globals", "__getattr__"} & _names(tree):
        raise _refusal(key, part, f"a function of {module}: {', '.join(node.name for node in top) or 'it has none'}")


def _names(tree: ast.Module) -> set[str]:
    """The names that stand in a file, ``*`` among them if it imports all names of another."""
    nodes = list(ast.walk(tree))
    names = {getattr(node, "id", None) or getattr(node, "name", None) for node in nodes}
    return {*filter(None, names), *(node.asname for node in nodes if isinstance(node, ast.alias) and node.asname)}


def _refusal(key: str, part: Part, allowed: str) -> InvalidInput:
    return InvalidInput(f"{key}.function", part.function, allowed)


def _signature(arguments: ast.arguments) -> inspect.Signature:
    """The signature of a definition, its defaults aside."""
    kinds = inspect.Parameter
    several = [*arguments.posonlyargs, *arguments.args]
    defaults: list[Any] = [kinds.empty] * (len(several) - len(arguments.defaults)) + arguments.defaults
    parameters = [
        kinds(a.arg, kinds.POSITIONAL_ONLY if a in arguments.posonlyargs else kinds.POSITIONAL_OR_KEYWORD, default=d)
        for a, d in zip(several, defaults, strict=True)
    ]
    parameters += [kinds(arguments.vararg.arg, kinds.VAR_POSITIONAL)] if arguments.vararg else []
    for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        parameters.append(kinds(a.arg, kinds.KEYWORD_ONLY, default=kinds.empty if default is None else default))
    parameters += [kinds(arguments.kwarg.arg, kinds.VAR_KEYWORD)] if arguments.kwarg else []
    return inspect.Signature(parameters)


def _require_call(key: str, part: Part, signature: inspect.Signature) -> None:
    kind = key.split(".")[1]
    names = CALLED[kind]
    try:
        if kind == "optimizers":
            signature.bind(**dict.fromkeys(names), **part.settings)
        else:
            signature.bind(*names, **part.settings)
    except TypeError as error:
        called = ", ".join([*names, *(f"{name}=" for name in part.settings)])
        allowed = f"a function that can be called as {part.function.partition(':')[2]}({called}) ({error})"
        raise _refusal(key, part, allowed) from error


def load(own: Own, kind: str, name: str) -> Callable[..., Any]:
    """The function of a part, its settings filled in.

    Raises: ``InvalidInput`` naming the part where its module cannot be imported, is another one of that name, has no
    such function, or that cannot be called with its settings.
    """
    key, folder = f"own.{kind}.{name}", folder_of(own)
    part: Part = getattr(own, kind)[name]
    _require(key, part, folder)
    module, function = part.function.split(":")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    with blamed(own, {key: part}):
        imported = importlib.import_module(module)
    spec = found(module, folder)
    if spec is not None and spec.has_location and spec.origin != getattr(imported, "__file__", None):
        raise _refusal(key, part, f"a module of another name: {module} is one that Python has loaded already")
    made = getattr(imported, function, None)
    if not callable(made):
        raise _refusal(key, part, f"a function of {module} (it has {'no callable' if made else 'no'} {function})")
    _require_call(key, part, inspect.signature(made))
    return partial(made, **part.settings)


@contextmanager
def blamed(own: Own, parts: Mapping[str, Part]) -> Iterator[None]:
    """What is raised in the block is the fault of the ``parts`` that are called there, if any: ``InvalidInput`` names
    them and the place; the log has the rest. A lack of memory is no fault.
    """
    try:
        yield
    except Exception as error:
        if not parts or isinstance(error, InvalidInput) or lacks_memory(error):
            raise
        functions = " or ".join(part.function for part in parts.values())
        log.error("%s failed", functions, exc_info=error)
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [frame for frame in frames if Path(frame.filename).is_relative_to(folder_of(own))]
        place = (theirs or frames)[-1]
        said = f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}: {error}"
        allowed = f"a function that raises nothing ({said})"
        raise InvalidInput(" or ".join(f"{key}.function" for key in parts), functions, allowed) from error


def call(own: Own, kind: str, name: str, result: type, *arguments: Any, **named: Any) -> Any:
    """What the function of a part returns for the ``arguments``, which has to be a ``result``.

    Raises: ``InvalidInput`` as :func:`load`, for what the function raises, and for what it returns if it is another.
    """
    key, part = f"own.{kind}.{name}", getattr(own, kind)[name]
    function = load(own, kind, name)
    with blamed(own, {key: part}):
        returned = function(*arguments, **named)
    if not isinstance(returned, result):
        wanted = f"{result.__module__.partition('.')[0]}'s {result.__name__}" if result is not tuple else "(x, y)"
        raise _refusal(key, part, f"a function that returns {wanted}, not {type(returned).__name__}")
    return returned
