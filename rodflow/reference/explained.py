"""what the code says of its letters and columns -> tables of the project's pages."""

from __future__ import annotations

import re
from pathlib import Path

import rodflow.flows
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
