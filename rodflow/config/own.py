"""Parts of a user's own: networks, data sets, optimizers, losses and flows that a config names by ``module:function``.

Nothing is imported here: a config is read, and a workflow planned, without the user's modules and without torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema

from rodflow.config.values import PathName, Strict
from rodflow.errors import InvalidInput

IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
NAME = "[A-Za-z][A-Za-z0-9_]*"
"""Of a part. It is a part of file names, where a dash parts it from others, and what readers see."""
DEEPEST = 4
"""Levels of lists and mappings in a setting."""


def setting(value: Any, levels: int = DEEPEST) -> Any:
    """A value of a part's settings: a number, a text, true, false or null, or a list or mapping of these."""
    if isinstance(value, list | dict) and not levels:
        raise InvalidInput("", value, f"lists and mappings at most {DEEPEST} deep")
    if isinstance(value, list):
        return [setting(inner, levels - 1) for inner in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: setting(inner, levels - 1) for key, inner in value.items()}
    bounded = abs(value) < 2**63 if isinstance(value, int) else isinstance(value, float) and isfinite(value)
    if not (bounded or value is None or isinstance(value, str)):
        raise InvalidInput("", value, "a finite number, a text, true, false, null, or a list or mapping of these")
    return value


class Part(Strict):
    """A function, and what it is called with beside what every function of its kind is given."""

    function: str = Field(pattern=rf"^{IDENTIFIER}(\.{IDENTIFIER})*:{IDENTIFIER}$", max_length=200)
    """``module:function``, of a Python file in ``own.folder`` or of a module that Python can import."""
    settings: dict[
        Annotated[str, Field(pattern=f"^{IDENTIFIER}$", max_length=60)], Annotated[Any, BeforeValidator(setting)]
    ] = {}
    """Keyword arguments of the function."""


class OptimizerPart(Part):
    """An optimizer."""

    momentum: bool = True
    """Whether its state has a first moment: ``central`` models optimizers without one, ``central_momentum`` others."""


class LossPart(Part):
    """A loss."""

    reduction: Literal["sum", "mean"] = "sum"
    """What the function does with the examples of a batch; the objective is the mean over all."""


class Own(Strict):
    """Parts of a user's own, by name; ``architectures``, ``data.dataset``, ``optimizers``, ... then take the names."""

    folder: PathName | None = None
    """Where their modules lie; null: the folder of the config's file."""
    networks: dict[str, Part] = {}
    """``function(shape, outputs, **settings)``: a torch module, ``[n, *shape]`` to ``[n, outputs]``."""
    datasets: dict[str, Part] = {}
    """``function(**settings)``: inputs x ``[n, ...]`` and targets y ``[n]`` or ``[n, k]``."""
    optimizers: dict[str, OptimizerPart] = {}
    """``function(learning_rate, **settings)``: an ``rf.StepMap``."""
    losses: dict[str, LossPart] = {}
    """``function(output, target, **settings)``: a number, over the examples of a batch."""
    flows: dict[str, Part] = {}
    """``function(objective, optimizer, **settings)``: an ``rf.Flow``."""


KINDS = tuple(name for name in Own.model_fields if name != "folder")
"""The kinds of parts, which are sections of ``own``."""


def own_names(settings: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The names of a config's own parts by kind, from its settings before they are checked."""
    own = settings.get("own")
    sections = own if isinstance(own, Mapping) else {}
    found = {kind: sections.get(kind) for kind in KINDS}
    return {kind: tuple(map(str, names)) if isinstance(names, Mapping) else () for kind, names in found.items()}


def beside(settings: Any, file: str | Path) -> Any:
    """The ``settings`` of a config's ``file``, ``own.folder`` filled in: the file's, from here where it lies below."""
    own = settings.get("own") if isinstance(settings, Mapping) else None
    if not isinstance(own, Mapping) or own.get("folder") is not None or not any(map(own.get, KINDS)):
        return settings
    folder = Path(file).absolute().parent
    folder = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    return {**settings, "own": {**own, "folder": str(folder)}}


def require_names(own: Own, taken: Mapping[str, Iterable[str]]) -> None:
    """Raises: ``InvalidInput`` for a part whose name cannot be one, or is a built-in one of its kind."""
    for kind in KINDS:
        for name in getattr(own, kind):
            if not re.fullmatch(NAME, name) or len(name) > 60:
                raise InvalidInput(f"own.{kind}", name, "letters, digits and _, a letter first, at most 60")
            if name in taken[kind]:
                raise InvalidInput(f"own.{kind}", name, f"another name than the built-in {', '.join(taken[kind])}")


def known(kind: str, names: Iterable[str], info: ValidationInfo) -> tuple[str, ...]:
    """The built-in ``names`` of a kind, and those of the config's own parts."""
    return (*names, *(info.context or {}).get(kind, ()))


def named(kind: str, names: Iterable[str]) -> Any:
    """The type of a name of ``names``, or of the config's own parts of a ``kind``."""
    names = tuple(names)

    def check(name: str, info: ValidationInfo) -> str:
        if name not in known(kind, names, info):
            raise InvalidInput("", name, f"one of {', '.join(known(kind, names, info))}")
        return name

    schema = {"anyOf": [{"enum": list(names)}, {"type": "string", "description": f"One of own.{kind}."}]}
    return Annotated[str, AfterValidator(check), WithJsonSchema(schema)]
