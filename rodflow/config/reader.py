"""YAML for configs: PyYAML's safe loader, made to refuse a key that stands twice and to read numbers as YAML 1.2 does.

YAML 1.1, which PyYAML reads, takes the last of two equal keys, ``010`` for eight, ``1:30`` for ninety, and ``1e-3`` for
a text. Here these are an error, ten, a text and a number.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from yaml import MappingNode, Node, ScalarNode
from yaml.constructor import ConstructorError

from rodflow.errors import InvalidInput

TAG = "tag:yaml.org,2002:"
FLOAT = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"


class Reader(yaml.SafeLoader):
    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in known if tag not in (f"{TAG}int", f"{TAG}float", f"{TAG}timestamp")]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        node: MappingNode = super().compose_mapping_node(anchor)
        keys = [key.value for key, _ in node.value]
        for i, (key, _) in enumerate(node.value):
            if key.value in keys[:i]:
                raise ConstructorError(
                    "while reading a mapping", node.start_mark, f"the key {key.value} is there twice", key.start_mark
                )
        return node

    def construct_decimal(self, node: Node) -> int:
        return int(self.construct_scalar(node))  # type: ignore[arg-type]  # it refuses what is no scalar


Reader.add_implicit_resolver(f"{TAG}int", re.compile("[-+]?[0-9]+$"), list("-+0123456789"))
Reader.add_implicit_resolver(f"{TAG}float", re.compile(FLOAT), list("-+.0123456789"))
Reader.add_constructor(f"{TAG}int", Reader.construct_decimal)


def read_yaml(path: str | Path) -> Any:
    """The content of a YAML file. Raises: ``InvalidInput`` if it cannot be read."""
    try:
        return yaml.load(Path(path).read_bytes(), Reader)
    except Exception as error:  # PyYAML's constructors raise more than YAMLError
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidInput("config", str(path), f"a readable YAML file ({reason})") from error


def plain_scalars(value: Any) -> Any:
    """``value`` with each text that a YAML file would read as a number, a truth value or null turned into that.

    Snakemake's ``--config`` leaves every scalar between brackets a text, quoted or not.
    """
    if isinstance(value, dict):
        return {key: plain_scalars(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain_scalars(inner) for inner in value]
    if not isinstance(value, str):
        return value
    reader = Reader("")
    node = ScalarNode(reader.resolve(ScalarNode, value, (True, False)), value)
    plain = node.tag.removeprefix(TAG) in ("int", "float", "bool", "null")
    return reader.construct_object(node) if plain else value
