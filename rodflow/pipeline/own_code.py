"""The code of a user's own parts, looked at without importing it: where it lies, and what a function uses.

What a function uses is the statement that defines it and, from there on, all that define the names in it, in its file
and in the files beside it that these import from. What a file does when it is loaded belongs to all of its functions:
statements that define nothing; and decorators, base classes and calls on what a function uses belong to that function,
since they may change it. A name that is looked up at run time (``globals()``) is not seen. Of a module that lies
elsewhere, only its own file counts, and nothing that it imports.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import NamedTuple, TypeVar

import rodflow

ALL = "*"
LIBRARY = "rodflow"
T = TypeVar("T", bound=ast.AST)


class Statement(NamedTuple):
    """A statement at the top of a module."""

    node: ast.stmt
    binds: frozenset[str]
    """The names that it defines."""
    names: frozenset[str]
    """All names in it."""
    carried_out: frozenset[str]
    """The names in what of it is carried out, beyond a definition, when the module is loaded."""
    imports: frozenset[tuple[str, str]]
    """What it imports, anywhere in it: a module and a name in it, or ``ALL``."""
    attributes: frozenset[tuple[str, str]]
    """The ``name.attribute`` in it."""
    library: frozenset[str]
    """The names under which it imports this library."""

    @property
    def always(self) -> bool:
        """Whether it counts for every function of the module."""
        return not self.binds or "__getattr__" in self.binds

    @property
    def changeable(self) -> bool:
        """Whether what it defines may be changed later on; a function is hardly, a constant cannot be."""
        constant = isinstance(self.node, ast.Assign | ast.AnnAssign) and isinstance(self.node.value, ast.Constant)
        return not constant and not isinstance(self.node, ast.FunctionDef | ast.AsyncFunctionDef)


class Used(NamedTuple):
    """What a function uses: statements of the user's modules, by module, and modules of this library."""

    code: dict[str, list[str]]
    library: frozenset[str]


def within(node: ast.AST) -> list[ast.AST]:
    """The parts of a node that are statements or hold some; expressions, most of a tree, are left out."""
    kinds = ast.stmt | ast.excepthandler | ast.match_case
    return [part for part in ast.iter_child_nodes(node) if isinstance(part, kinds)]


def without_texts(tree: T) -> T:
    """``tree`` without docstrings and other texts that nothing is done with; in place."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [statement for statement in body if not _is_text(statement)]  # type: ignore[attr-defined]
        waiting += within(node)
    return tree


def _is_text(statement: ast.AST) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def found(module: str, folder: Path) -> tuple[ModuleSpec | None, bool]:
    """Where a module is, and whether in ``folder``, which comes before where Python looks. Nothing is imported."""
    first, *rest = module.split(".")
    spec = PathFinder.find_spec(first, [str(folder)])
    beside = spec is not None
    if spec is None:
        try:
            spec = importlib.util.find_spec(first)
        except ValueError:  # of a module without a specification, such as __main__
            return None, False
    for i in range(len(rest)):
        if spec is None or spec.submodule_search_locations is None:
            return None, beside
        spec = PathFinder.find_spec(f"{first}.{'.'.join(rest[: i + 1])}", list(spec.submodule_search_locations))
    return spec, beside


def statements(module: str, folder: Path) -> tuple[Statement, ...]:
    """The statements of a module, each import of several names as one of each; none if it has no file in Python.

    Raises: ``SyntaxError`` and ``ValueError`` for a file that Python cannot read.
    """
    spec, _ = found(module, folder)
    if spec is None or not (spec.origin or "").endswith(".py"):
        return ()
    path = Path(str(spec.origin))
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return _parsed(path.read_bytes(), package)


@functools.lru_cache(maxsize=64)
def _parsed(content: bytes, package: str) -> tuple[Statement, ...]:
    tree = without_texts(ast.parse(content))
    assert isinstance(tree, ast.Module)
    return tuple(_statement(node, package) for node in _split(tree))


def _split(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (ast.Import([alias]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (ast.ImportFrom(node.module, [alias], node.level) for alias in node.names)
        elif not (isinstance(node, ast.If) and "'__main__'" in ast.dump(node.test)):  # a script's own part
            yield node


def _statement(node: ast.stmt, package: str) -> Statement:
    inner = list(ast.walk(node))
    carried_out: list[ast.AST] = []
    binds: set[str] = set()
    match node:
        case ast.Import():
            binds = {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        case ast.ImportFrom():
            binds = {alias.asname or alias.name for alias in node.names} - {ALL}
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            binds, carried_out = {node.name}, [*node.decorator_list]
        case ast.ClassDef():
            binds = {node.name}
            functions = (ast.FunctionDef, ast.AsyncFunctionDef)
            carried_out = [*node.decorator_list, *node.bases, *node.keywords]
            carried_out += [part for part in node.body if not isinstance(part, functions)]
        case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts = [part for target in targets for part in ast.walk(target)]
            if not any(isinstance(part, ast.Attribute | ast.Subscript) for part in parts):  # which change something
                binds = {part.id for part in parts if isinstance(part, ast.Name)}
            calls = any(isinstance(part, ast.Call) for part in inner)
            carried_out = [node.value] if calls and node.value is not None else []
    return Statement(
        node,
        frozenset(binds),
        _names(inner),
        _names([part for root in carried_out for part in ast.walk(root)]),
        frozenset(pair for part in inner for pair in _imported(part, package)),
        frozenset(
            (part.value.id, part.attr)
            for part in inner
            if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name)
        ),
        frozenset(
            alias.asname or alias.name
            for part in inner
            if isinstance(part, ast.Import)
            for alias in part.names
            if alias.name == LIBRARY
        ),
    )


def _names(nodes: list[ast.AST]) -> frozenset[str]:
    return frozenset(node.id for node in nodes if isinstance(node, ast.Name))


def _imported(node: ast.AST, package: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Import):
        yield from ((alias.name, ALL) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        module = ".".join([*above, *filter(None, [node.module])])
        yield from ((module, alias.name) for alias in node.names)


def used(function: str, folder: Path) -> Used:
    """What ``module:function`` uses. Raises: ``SyntaxError`` and ``ValueError`` for a file that Python cannot read."""
    importlib.invalidate_caches()
    module, _, name = function.partition(":")
    search = _Search(module, name, folder)
    code = {
        module: [ast.dump(search.statements(module)[i].node) for i in sorted(counted)]
        for module, counted in sorted(search.counted.items())
    }
    return Used(code, frozenset(search.library))


class _Search:
    """The names that are wanted of each module, and the statements of it that count, until neither grows."""

    def __init__(self, target: str, name: str, folder: Path):
        self.target = target
        self.statements = functools.cache(lambda module: statements(module, folder))
        self.is_beside = functools.cache(lambda module: found(module, folder)[1])
        self.is_module = functools.cache(lambda module: found(module, folder)[0] is not None)
        self.wanted: dict[str, set[str]] = {target: {name}}
        self.counted: dict[str, set[int]] = {}
        self.library: set[str] = set()
        self.changed = True
        while self.changed:
            self.changed = False
            for module in list(self.wanted):
                self._look_at(module)

    def _want(self, module: str, name: str) -> None:
        """A name of a module is used; the packages around the module are loaded before it."""
        if module.split(".")[0] == LIBRARY:
            self.library |= _homes(module, name)
        elif self.is_beside(module):
            if name != ALL and self.is_module(f"{module}.{name}"):
                module, name = f"{module}.{name}", ALL
            parts = module.split(".")
            for i in range(1, len(parts) + 1):
                self.wanted.setdefault(".".join(parts[:i]), set())
            self.wanted[module].add(name)

    def _look_at(self, module: str) -> None:
        """Count the statements of a module that its wanted names ask for; want what these use."""
        whole, wanted = self.statements(module), self.wanted[module]
        counted = self.counted.setdefault(module, set())
        libraries = {name for s in whole for name in s.library}
        for i, s in enumerate(whole):
            if i not in counted and (s.always or ALL in wanted or s.binds & wanted or self._changes(s, wanted, whole)):
                counted.add(i)
                wanted |= s.names
                self.changed = True
                for pair in s.imports:
                    self._want(*pair)
                for name, attribute in s.attributes:
                    if name in libraries:
                        self._want(LIBRARY, attribute)

    def _changes(self, statement: Statement, wanted: set[str], whole: tuple[Statement, ...]) -> bool:
        """Whether what a definition carries out when the module is loaded may change what is wanted: whether it gets,
        in its own module, to a name of the user's that can be changed.
        """
        reached = set(statement.carried_out)
        while more := {name for s in whole if s.binds & reached for name in s.names} - reached:
            reached |= more
        shared = reached & wanted
        return any(s.binds & shared and s.changeable and self._is_own(s) for s in whole if s is not statement)

    def _is_own(self, statement: Statement) -> bool:
        imports = isinstance(statement.node, ast.Import | ast.ImportFrom)
        return not imports or any(self.is_beside(module) for module, _ in statement.imports)


def _homes(module: str, name: str) -> set[str]:
    """The modules of this library where what is imported may be; not all of them need to exist."""
    if module != LIBRARY:
        return {module, f"{module}.{name}"}
    return {rodflow._HOME_OF[name]} if name in rodflow._HOME_OF else {f"{LIBRARY}.{name}"}
