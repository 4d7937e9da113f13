"""tables, series and figures of a run -> its page, figures/<run>/index.html."""

from __future__ import annotations

from pathlib import Path

from rodflow.catalogue import label
from rodflow.config import Cell, Config
from rodflow.jobs.files import read_model, write_text
from rodflow.measures.summaries import Provenance
from rodflow.pipeline.finished import Finished, found
from rodflow.pipeline.results import read_flow, read_run
from rodflow.pipeline.stages.replication import judged_claims, replication_tables
from rodflow.report.page.content import CellFiles, render


def cell_files(results: Path, cells: dict[Cell, list[str]]) -> CellFiles | None:
    """The files of the first of ``cells``, which differ in seed; None without any."""
    if not cells:
        return None
    cell, names = next(iter(cells.items()))
    run = read_run(results, cell)
    flows = {name: read_flow(results, cell, name, run) for name in names}
    series = {name: table for name, (table, _) in flows.items()}
    return CellFiles(*run, series, {name: summary for name, (_, summary) in flows.items()})


def other_figures(config: Config, there: Finished) -> dict[str, str]:
    """What each figure but the cells' shows, by its path without suffix from the page."""
    texts = {
        "overview": "How many times closer to the run than the stable flow each flow is, for all cells.",
        "fidelity": "How faithful each flow is: before the edge, in sharpness, loss, rod and onset.",
    }
    if config.compares:
        texts["comparison"] = "What each continuous-time model costs, and how far it is from the run at the edge."
    for name in filter(there.of, config.architectures):
        texts[f"architectures/{name}"] = f"All optimizers on one architecture, {label(name)}."
    for architecture, optimizer, _ in there.drawn_studies(config):
        texts[f"precision/{architecture}-{optimizer}"] = (
            f"{label(architecture)}, {label(optimizer)} in three precisions."
        )
    for name in there.landscapes:
        texts[f"landscapes/{name}"] = f"Gradient descent and its flows in the plane: {label(name).lower()}."
    return texts


def lay_out(config: Config, results: Path, output: Path, incomplete: bool = False) -> None:
    """Write the page of a run to ``output``, from the files below ``results``; it links the figures beside it.

    What an ``incomplete`` run lacks is marked.
    """
    tables = replication_tables(results / "tables")
    there = found(config, results, incomplete)
    cells = {(a, o): cell_files(results, there.of(a, o)) for a in config.architectures for o in config.optimizers}
    made = read_model(results / "tables" / "provenance.json", Provenance)
    claims = judged_claims(config, results, tables)
    page = render(config, claims, tables["errors"], tables["thresholds"], cells, other_figures(config, there), made)
    write_text(output, page)
