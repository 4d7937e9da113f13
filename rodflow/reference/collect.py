"""a finished run -> the reference: its tables, series, figures and provenance in a small folder to commit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from rodflow.config import CELL_COLUMNS, Config
from rodflow.config.schema import PLACES
from rodflow.errors import InvalidInput
from rodflow.jobs.files import (
    read_json,
    read_table,
    refused_as,
    replaced,
    write_json,
    write_table,
    write_text,
)
from rodflow.measures.summaries import OfCell, Provenance
from rodflow.pipeline.finished import everything
from rodflow.pipeline.results import read_flow, read_run
from rodflow.pipeline.stages.figure import DRAWN
from rodflow.reference.contents import LARGEST_FOLDER, TABLES, cell_row, cells, origin, readme
from rodflow.report.figures.style import save

COLOURS = 256
"""Of a figure: lines, shades and their blends, with no difference to the eye."""


def collect(config: Config, results: Path, output: Path) -> None:
    """Put what is worth keeping of the run below ``results`` into the folder ``output``, in place of an earlier one.

    Folders of ``output`` that are references themselves stay. The same results give the same bytes. No file tells where
    on a machine anything lay.

    Raises: ``InvalidInput`` if the run is not finished, was made with other settings, or takes more than
    ``LARGEST_FOLDER`` bytes, or if ``output`` holds anything else; then what was there is as it was.
    """
    _require_own(output)
    _require_finished(config, results)
    images = _digest_of_images(results / "dataset.json")
    records, series, rows, jobs = [], [], [], []
    for cell in config.cells:
        run = read_run(results, cell)
        flows = {flow: read_flow(results, cell, flow, run) for flow in config.flows_of(cell.optimizer)}
        jobs.append(_made(run.summary, config.discrete_settings(cell)))
        jobs += [_made(summary, config.flow_settings(cell, flow)) for flow, (_, summary) in flows.items()]
        records.append(_named(run.records, cell._asdict()))
        series += [_named(table, cell._asdict() | {"flow": flow}) for flow, (table, _) in flows.items()]
        rows.append(cell_row(config, run.summary, [summary for _, summary in flows.values()]))
    public, made, table = config.placeless, origin(jobs, images), cells(rows)
    with replaced(output) as folder:
        write_text(folder / "config.yaml", public.to_yaml())
        write_table(folder / "cells.csv", table)
        for name in TABLES if config.precision_studies else TABLES[:-1]:
            shutil.copyfile(results / "tables" / name, folder / name)
        write_table(folder / "discrete.parquet", pd.concat(records, ignore_index=True))
        write_table(folder / "flows.parquet", pd.concat(series, ignore_index=True))
        _draw(config, results, folder / "figures")
        write_json(folder / "provenance.json", made.model_dump())
        write_text(folder / "README.md", readme(public, table, made))
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        if size > LARGEST_FOLDER:
            allowed = f"at most {LARGEST_FOLDER}, which all who clone the project get"
            raise InvalidInput("reference", f"{size} bytes", allowed)
        for other in output.glob("*/cells.csv"):
            shutil.copytree(other.parent, folder / other.parent.name)


def _digest_of_images(file: Path) -> str:
    with refused_as(file, "the provenance of prepared images"):
        return str(read_json(file)["images"])


def _require_own(output: Path) -> None:
    """Refuse to replace a folder that is no earlier reference."""
    if output.exists() and not (output.is_dir() and ((output / "cells.csv").is_file() or not any(output.iterdir()))):
        raise InvalidInput("output", str(output), "a new or an empty folder, or an earlier reference (with cells.csv)")


def _require_finished(config: Config, results: Path) -> None:
    """Refuse tables that are not of the config's cells and flows, all of them."""
    file = results / "tables" / "errors.csv"
    table = read_table(file, ["seed"], ["architecture", "optimizer", "flow"])
    found = set(table[[*CELL_COLUMNS, "flow"]].itertuples(index=False, name=None))
    for job in sorted(found ^ config.followed.keys()):
        held = "a row of" if job in config.followed else "no row of"
        raise InvalidInput("file", str(file), f"the table of a finished run with this config ({held} {job})")


def _made(summary: OfCell, settings: dict[str, Any]) -> Provenance:
    """The provenance of a job, whose settings were these, its images' place aside."""
    name, made = f"the summary of {summary.cell}", summary.provenance
    with refused_as(name, "a summary with the settings of its job"):
        found = made.config | {"data": made.config["data"] | {key: settings["data"][key] for key in PLACES}}
    if found != settings:
        raise InvalidInput("file", name, "one that was made with the settings of the config")
    return made


def _named(table: pd.DataFrame, names: dict[str, str | int]) -> pd.DataFrame:
    """``table`` under columns in front that say what it is of."""
    return pd.concat([pd.DataFrame(names, index=table.index), table], axis=1)


def _draw(config: Config, results: Path, folder: Path) -> None:
    """The run's figures, as PNG: those of all cells, of each architecture, of each cell and precision study."""
    whole = everything(config)
    drawn: list[tuple[str, str, dict[str, str]]] = [(kind, kind, {}) for kind in ("overview", "fidelity")]
    drawn += [("comparison", "comparison", {})] if config.compares else []
    for a in config.architectures:
        drawn.append(("architecture", f"architectures/{a}", {"architecture": a}))
        drawn += [("cell", f"cells/{a}-{o}", {"architecture": a, "optimizer": o}) for o in config.optimizers]
    for cell in whole.drawn_studies(config):
        names = {"architecture": cell.architecture, "optimizer": cell.optimizer}
        drawn.append(("precision", f"precision/{cell.architecture}-{cell.optimizer}", names))
    for kind, stem, names in drawn:
        file = folder / f"{stem}.png"
        save(DRAWN[kind](config, results, names, whole), [file])
        with Image.open(file) as image:  # a third of the bytes
            few = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        few.save(file, optimize=True)
