"""tables, series and figures of a run -> its page, figures/<run>/index.html."""

from __future__ import annotations

from pathlib import Path

from rodflow.catalogue import label
from rodflow.config import Config
from rodflow.jobs.files import read_model, write_text
from rodflow.measures.summaries import Provenance
from rodflow.pipeline.finished import Finished, found
from rodflow.pipeline.stages.animation import motions
from rodflow.pipeline.stages.figure import cell_data
from rodflow.pipeline.stages.replication import judged_claims, replication_tables
from rodflow.report.figures.motion import player
from rodflow.report.page.content import render


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
    grid = {(a, o): there.of(a, o) for a in config.architectures for o in config.optimizers}
    cells = {name: cell_data(results, seeds) if seeds else None for name, seeds in grid.items()}
    made = read_model(results / "tables" / "provenance.json", Provenance)
    claims = judged_claims(config, results, tables)
    players = [player(name, motion) for name, motion in motions(config, results, there).items()]
    figures = other_figures(config, there)
    page = render(config, claims, tables["errors"], tables["thresholds"], cells, figures, made, players)
    write_text(output, page)
