"""YAML without surprises: of bounded size, no key twice, numbers in decimal digits, no types by tag.

YAML 1.1 has more than a config needs, and some of it changes a value silently: a repeated key (the last one wins), a
leading zero (``010`` is eight), a colon (``1:30`` is ninety). Such files are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from yaml import MappingNode, Node, ScalarNode
from yaml.constructor import ConstructorError

from rodflow.errors import InvalidInput

LARGEST_FILE = 2**20
"""Bytes of the largest file that is read."""


class Reader(yaml.SafeLoader):
    """PyYAML's safe loader, without what would change a value silently."""

    def flatten_mapping(self, node: MappingNode) -> None:
        """Take in the merge keys (``<<``) of a mapping whose keys differ."""
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                raise ConstructorError("while reading a mapping", node.start_mark, "a key is no text", key.start_mark)
            if key.value in seen:
                raise ConstructorError(
                    "while reading a mapping", node.start_mark, f"the key {key.value} is there twice", key.start_mark
                )
            seen.add(key.value)
        super().flatten_mapping(node)
        # what is merged from several places is there several times, the last of them holding: without this, merges of
        # merges would grow exponentially
        node.value = list({key.value: (key, value) for key, value in node.value}.values())

    def plain_number(self, node: Node) -> int:
        """An integer in decimal digits, as everyone reads it."""
        text = self.construct_scalar(node)  # type: ignore[arg-type]  # it refuses what is no scalar
        digits = text.lstrip("+-")
        if not digits.isdecimal() or (digits[0] == "0" and digits != "0"):
            raise ConstructorError(
                "while reading a number", node.start_mark, f"{text} is not written in decimal digits", node.start_mark
            )
        return int(text)

    def refuse_tag(self, node: Node) -> None:
        raise ConstructorError("while reading a value", node.start_mark, f"{node.tag} is no type of a config's values")


Reader.add_constructor("tag:yaml.org,2002:int", Reader.plain_number)
for _tag in ("binary", "omap", "pairs", "set", "timestamp"):
    Reader.add_constructor(f"tag:yaml.org,2002:{_tag}", Reader.refuse_tag)


def read_yaml(path: str | Path) -> Any:
    """The content of a YAML file of at most ``LARGEST_FILE`` bytes. Raises: ``InvalidInput`` if it cannot be read."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise InvalidInput("config", str(path), f"a YAML file of at most {LARGEST_FILE} bytes")
        return yaml.load(content, Reader)
    except InvalidInput:
        raise
    # PyYAML's own constructors raise more than YAMLError: ValueError for "!!int x", KeyError for "!!bool x", and so on
    except (OSError, yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidInput("config", str(path), f"a readable YAML file ({reason})") from error


def plain_scalars(value: Any) -> Any:
    """``value`` with each text that a YAML file would read as a number, a truth value or null turned into that.

    Snakemake's ``--config`` leaves every scalar between brackets a text, quoted or not. One that no config may hold as
    a number, ``010``, stays as it is.
    """
    if isinstance(value, dict):
        return {key: plain_scalars(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain_scalars(inner) for inner in value]
    if not isinstance(value, str):
        return value
    reader = Reader("")
    node = ScalarNode(reader.resolve(ScalarNode, value, (True, False)), value)
    if node.tag.rpartition(":")[2] not in ("int", "float", "bool", "null"):
        return value
    try:
        return reader.construct_object(node)
    except (ConstructorError, ValueError):
        return value
