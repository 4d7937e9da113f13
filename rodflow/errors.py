"""Errors that a user can mend: a line that names key, value and what is allowed, or what is wrong with an object."""

from __future__ import annotations

import operator
from collections.abc import Callable
from reprlib import Repr

LENGTH = 1000
"""Characters of a value, and of what is allowed, that a message shows; the middle of a longer text is left out."""


class Excerpt(Repr):
    """A value, cut in nesting, length and digits to what a reader can take in."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother, self.maxlong = 3, 400, 200, 40
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 12

    def repr_int(self, x: int, level: int) -> str:
        """A long number is written in hexadecimal: Python refuses to write thousands of decimal digits."""
        return super().repr_int(x, level) if x.bit_length() < 1000 else cut(hex(x), self.maxlong)


def cut(text: str, length: int = LENGTH) -> str:
    """``text`` on one line, its middle left out if it is longer than ``length``."""
    text = " ".join(line.strip() for line in text.splitlines())
    return text if len(text) <= length else f"{text[: length // 2]} ... {text[-length // 2 :]}"


EXCERPT = Excerpt()


class InvalidInput(ValueError):
    """A setting or a file that cannot be used; the message names the key, the value and what is allowed."""

    def __init__(self, key: str, value: object, allowed: str):
        self.key, self.value, self.allowed = key, value, allowed
        name = cut(key if key.isprintable() and key.strip() else repr(key))
        super().__init__(f"{name}: got {cut(EXCERPT.repr(value))}, allowed: {cut(allowed)}")

    def __reduce__(self) -> tuple[type[InvalidInput], tuple[str, object, str]]:
        """So that one raised in another process arrives here."""
        return InvalidInput, (self.key, self.value, self.allowed)


class InvalidObject(InvalidInput):
    """A module, a loss or an optimizer that cannot be used: the message names it and says in a sentence what is wrong
    and what helps. ``key`` is that name.
    """

    def __init__(self, key: str, sentence: str):
        self.key, self.value, self.allowed = key, None, sentence
        ValueError.__init__(self, f"{cut(key)}: {cut(sentence)}")


def whole_number(key: str, value: object, allowed: str, least: int = 0, most: float = float("inf")) -> int:
    """An argument as Python's int: one of Python's or of numpy's, or a tensor of one, from ``least`` to ``most``.

    Raises: ``InvalidInput`` naming ``key`` for any other, and for floats, texts and bools.
    """
    try:
        if isinstance(value, bool) or "bool" in str(getattr(value, "dtype", "")):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidInput(key, value, allowed) from None
    if not least <= number <= most:
        raise InvalidInput(key, number, allowed)
    return number


def real_number(key: str, value: object, allowed: str, holds: Callable[[float], bool]) -> float:
    """An argument as Python's float, from the kinds that :func:`whole_number` takes and floats, where it ``holds``.

    Raises: ``InvalidInput`` naming ``key`` for any other, and for texts and bools; for NaN where that does not hold.
    """
    try:
        if isinstance(value, bool | str | bytes) or "bool" in str(getattr(value, "dtype", "")):
            raise TypeError
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise InvalidInput(key, value, allowed) from None
    if not holds(number):
        raise InvalidInput(key, number, allowed)
    return number
