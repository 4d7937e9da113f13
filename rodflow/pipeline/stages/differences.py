"""two finished runs -> what differs: settings.csv, numbers.csv, differences.md and a figure of errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from rodflow.config.reader import read_yaml
from rodflow.errors import InvalidInput
from rodflow.jobs.files import read_table, write_table, write_text
from rodflow.measures.differences import different_numbers, different_settings, paired_errors
from rodflow.report.figures.differences import draw
from rodflow.report.figures.style import save
from rodflow.report.summary import differences_in_brief

TABLES = {
    "errors": (["seed", "error_eos_mean"], ["architecture", "optimizer", "flow"]),
    "thresholds": (["seed", "threshold"], ["architecture", "optimizer"]),
    "fidelity": (["seed"], ["architecture", "optimizer", "flow"]),
}
"""The tables that are compared, and the columns of numbers and of text that each needs."""
FILES = ["config.yaml", *(f"tables/{name}.csv" for name in TABLES)]
"""What makes a folder that of a finished run."""


def differ(a: Path, b: Path, output: Path) -> str:
    """Write what differs between the runs in the results folders ``a`` and ``b`` below ``output``; the Markdown page.

    The figure is drawn where both runs have a flow with an error at the edge of the same cell.

    Raises: ``InvalidInput`` for a folder that holds no finished run, before anything is written.
    """
    for folder in (a, b):
        lacking = [file for file in FILES if not Path(folder, file).is_file()]
        if lacking:
            raise InvalidInput("results", str(folder), f"the folder of a finished run: there is no {lacking[0]}")
    configs = [_mapping(folder / "config.yaml") for folder in (a, b)]
    tables = {
        name: [read_table(folder / "tables" / f"{name}.csv", *columns) for folder in (a, b)]
        for name, columns in TABLES.items()
    }
    settings = different_settings(*configs)
    numbers = pd.concat([different_numbers(name, *pair) for name, pair in tables.items()], ignore_index=True)
    pairs = paired_errors(*tables["errors"])
    page = differences_in_brief((str(a), str(b)), settings, tables["errors"], numbers, pairs)
    write_table(output / "settings.csv", settings)
    write_table(output / "numbers.csv", numbers)
    if ((pairs["a"] > 0) & (pairs["b"] > 0)).any():
        save(draw(pairs, (str(a), str(b))), [output / "errors.png", output / "errors.pdf"])
    write_text(output / "differences.md", page)
    return page


def _mapping(file: Path) -> dict[str, Any]:
    settings = read_yaml(file)
    if not isinstance(settings, dict):
        raise InvalidInput(str(file), settings, "a mapping of keys to values")
    return settings
