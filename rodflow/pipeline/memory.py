"""Out of memory: the message names the setting that bounds it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from rodflow.config import Config
from rodflow.errors import InvalidInput

P = ParamSpec("P")
R = TypeVar("R")
CPU_SIGNS = ("can't allocate memory", "not enough memory", "size calculation overflowed")
"""What torch says, as a plain RuntimeError, of memory that a CPU does not have or could not address."""


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that memory is out: Python's, torch's, or one that torch raises as any other."""
    said = type(error).__name__ == "OutOfMemoryError" or any(sign in str(error) for sign in CPU_SIGNS)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and said)


def naming_chunk_size(stage: Callable[Concatenate[Config, P], R]) -> Callable[Concatenate[Config, P], R]:
    """``stage``, whose first argument is a config, so that running out of memory raises ``InvalidInput`` that names
    ``chunk_size``, the examples held at once.
    """

    @wraps(stage)
    def wrapped(config: Config, *arguments: P.args, **settings: P.kwargs) -> R:
        try:
            return stage(config, *arguments, **settings)
        except (MemoryError, RuntimeError) as error:
            if not lacks_memory(error):
                raise
            held = min(config.chunk_size or config.data.examples, config.data.examples)
            fewer = f"fewer than {held} examples at once" if held > 1 else "a smaller network (sizes) or shorter run"
            raise InvalidInput("chunk_size", config.chunk_size, f"{fewer}: out of memory ({error})") from error

    return wrapped
