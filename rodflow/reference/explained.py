"""what the code says of its letters, columns and settings -> tables of the project's pages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rodflow.flows
from rodflow import config as configuration
from rodflow.jobs.files import read_table
from rodflow.report import columns, markdown


def letters(_: Path) -> str:
    """The letters of all formulas, as the flows' docstring explains them."""
    rows = re.search(r"^=+ +=+\n(.*?)^=+", rodflow.flows.__doc__ or "", re.DOTALL | re.MULTILINE)
    assert rows is not None
    plain = rows[1].replace("``", "`").replace(":class:", "")
    lines = [re.split(r"  +", line, maxsplit=1) for line in plain.splitlines()]
    return markdown.table([{"letter": letter, "stands for": meaning} for letter, meaning in lines])


def columns_of(file: str, reference: Path) -> str:
    """What the columns of a table, or series, hold: a table's own, or those that its files have by definition."""
    found = columns.SERIES.get(file) or [str(name) for name in read_table(reference / f"{file}.csv")]
    said = columns.meanings(file, found).items()
    return markdown.table([{"column": f"`{name}`", "holds": meaning} for name, meaning in said])


def keys(_: Path) -> str:
    """A row a key of a config, those of its sections too: its default, and what it means, from the JSON schema."""
    schema = json.loads(configuration.json_schema())
    found = [
        {"key": f"`{name}`", "default": default, "meaning": meaning.replace("``", "`").replace("\n", " ")}
        for name, default, meaning in _keys(schema, schema["$defs"])
    ]
    return markdown.table(found)


def _keys(section: dict[str, Any], sections: dict[str, Any], above: str = "") -> Iterator[tuple[str, str, str]]:
    """The keys of a section: name, default and description, each followed by those below it."""
    for name, field in section["properties"].items():
        inner = field.get("additionalProperties", field)
        of_many = "" if inner is field else ".<name>"
        below = sections.get(inner.get("$ref", "").rpartition("/")[2]) if isinstance(inner, dict) else None
        default = "" if below and not of_many else f"`{json.dumps(field['default'])}`" if "default" in field else "–"
        yield above + name, default, field["description"]
        if below and name != "hyperparameters_of":  # whose keys are those of hyperparameters
            yield from _keys(below, sections, f"{above}{name}{of_many}.")
