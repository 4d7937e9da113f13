"""The command line: every stage of the pipeline as a sub-command that runs without Snakemake."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rodflow import config as configuration
from rodflow.catalogue import ARCHITECTURES
from rodflow.config import Cell
from rodflow.errors import InvalidInput, cut
from rodflow.jobs.progress import start_log

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)

ConfigFile = Annotated[Path, typer.Option("--config", help="The run's config, a YAML file.")]
Architecture = Annotated[
    str, typer.Option(help=f"One of the config's: {', '.join(ARCHITECTURES)}, or its own networks.")
]
Optimizer = Annotated[str, typer.Option(help="One of the config's optimizers.")]
Seed = Annotated[int, typer.Option(help="Seed of the initial weights.", min=0, max=2**31 - 1)]
Landscape = Annotated[str, typer.Option(help="One of the config's landscapes.")]
Results = Annotated[Path, typer.Option(help="The run's results folder.")]
Variant = Annotated[str, typer.Option(help="A variant of the precision study; none: the config as it is.")]
DiscreteFile = Annotated[Path, typer.Option(help="The cell's run, written by the discrete stage (.h5).")]
Dataset = Annotated[Path, typer.Option(help="Images prepared by the dataset stage (.npz).")]


@app.command()
def dataset(config: ConfigFile, output: Annotated[Path, typer.Option(help="Where the images go (.npz).")]) -> None:
    """Prepare the images: read or fetch, select, normalise."""
    from rodflow.pipeline.stages.dataset import prepare

    prepare(configuration.load(config), output)


@app.command()
def discrete(
    config: ConfigFile,
    architecture: Architecture,
    optimizer: Optimizer,
    dataset: Dataset,
    output: Annotated[Path, typer.Option(help="Where the run goes (.h5).")],
    seed: Seed = 0,
    variant: Variant = "",
) -> None:
    """Train one cell by full-batch steps."""
    from rodflow.pipeline.stages.discrete import run_cell

    cell, settings = Cell(architecture, optimizer, seed), configuration.load(config)
    if not variant:
        settings.require(architecture=architecture, optimizer=optimizer)
    run_cell(settings.variant(variant), cell, dataset, output)


@app.command()
def flow(
    config: ConfigFile,
    architecture: Architecture,
    optimizer: Optimizer,
    name: Annotated[str, typer.Option("--flow", help="One of the config's flows.")],
    dataset: Dataset,
    discrete: DiscreteFile,
    output: Annotated[Path, typer.Option(help="Where the flow's series goes (.parquet).")],
    seed: Seed = 0,
    variant: Variant = "",
) -> None:
    """Integrate one flow of a cell and measure it against the run."""
    from rodflow.pipeline.stages.flow import run_flow

    cell, settings = Cell(architecture, optimizer, seed), configuration.load(config)
    if not variant:
        settings.require(architecture=architecture, optimizer=optimizer, flow=name)
    run_flow(settings.variant(variant), cell, name, dataset, discrete, output)


@app.command()
def precision(
    config: ConfigFile,
    results: Results,
    architecture: Architecture,
    optimizer: Annotated[str, typer.Option(help="One with a learning rate for this architecture.")],
    seed: Seed = 0,
) -> None:
    """Put a cell's runs and flows in every variant of the precision study into one table."""
    from rodflow.pipeline.stages.precision import tabulate_study

    tabulate_study(configuration.load(config), Cell(architecture, optimizer, seed), results)


@app.command()
def landscape(
    config: ConfigFile,
    landscape: Landscape,
    output: Annotated[Path, typer.Option(help="Where the run and its flows go (.parquet).")],
) -> None:
    """Gradient descent and its flows on one toy landscape."""
    from rodflow.pipeline.stages.landscape import run_landscape

    configuration.load(config).require(landscape=landscape)
    run_landscape(landscape, output)


@app.command()
def plane(
    config: ConfigFile,
    architecture: Architecture,
    optimizer: Optimizer,
    dataset: Dataset,
    discrete: DiscreteFile,
    output: Annotated[Path, typer.Option(help="Where the run and its flows go (.parquet).")],
    seed: Seed = 0,
) -> None:
    """Put a cell's run and flows in the plane of drift and oscillation, step by step, for its animation."""
    from rodflow.pipeline.stages.plane import run_plane

    settings = configuration.load(config)
    settings.require(architecture=architecture, optimizer=optimizer)
    run_plane(settings, Cell(architecture, optimizer, seed), dataset, discrete, output)


Incomplete = Annotated[
    bool, typer.Option("--incomplete", help="Make do with what is finished, and say what is missing.")
]


@app.command()
def tables(config: ConfigFile, results: Results, incomplete: Incomplete = False) -> None:
    """Aggregate all cells into errors.csv, thresholds.csv, fidelity.csv, comparison.csv and summary.md."""
    from rodflow.pipeline.stages.tables import aggregate

    aggregate(configuration.load(config), results, incomplete)


@app.command()
def replication(config: ConfigFile, results: Results) -> None:
    """Judge the paper's claims by the tables: REPLICATION.md."""
    from rodflow.pipeline.stages.replication import replicate

    replicate(configuration.load(config), results)


@app.command()
def precision_table(config: ConfigFile, results: Results, incomplete: Incomplete = False) -> None:
    """Aggregate all precision studies into precision.csv."""
    from rodflow.pipeline.stages.precision_table import aggregate_studies

    aggregate_studies(configuration.load(config), results, incomplete)


@app.command()
def figure(
    config: ConfigFile,
    results: Results,
    kind: Annotated[
        str, typer.Argument(help="cell, architecture, precision, landscape; overview, fidelity, comparison.")
    ],
    output: Annotated[Path, typer.Option(help="The figure's path without suffix; PNG and PDF are written.")],
    architecture: Architecture = "",
    optimizer: Optimizer = "",
    landscape: Landscape = "",
    incomplete: Incomplete = False,
) -> None:
    """Draw one figure from the files of a run."""
    from rodflow.pipeline.stages.figure import draw_figure

    names = {"architecture": architecture, "optimizer": optimizer, "landscape": landscape}
    draw_figure(configuration.load(config), results, kind, output, incomplete, **names)


@app.command()
def animation(
    config: ConfigFile,
    results: Results,
    kind: Annotated[str, typer.Argument(help="landscape or cell.")],
    output: Annotated[Path, typer.Option(help="The animation's path without suffix; a GIF is written.")],
    architecture: Architecture = "",
    optimizer: Optimizer = "",
    landscape: Landscape = "",
) -> None:
    """Draw one animation from the files of a run."""
    from rodflow.pipeline.stages.animation import animate

    names = {"architecture": architecture, "optimizer": optimizer, "landscape": landscape}
    animate(configuration.load(config), results, kind, output, **names)


@app.command()
def page(
    config: ConfigFile,
    results: Results,
    output: Annotated[Path, typer.Option(help="The page, index.html in the folder of the run's figures.")],
    incomplete: Incomplete = False,
) -> None:
    """Lay out all claims, cells and figures of a run on one page."""
    from rodflow.pipeline.stages.page import lay_out

    lay_out(configuration.load(config), results, output, incomplete)


@app.command()
def scan(
    config: ConfigFile,
    output: Annotated[
        Path | None, typer.Option(help="Where the config with these rates goes; none: results/<run>/scan.yaml.")
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="Images of the dataset stage (.npz); none: prepared anew.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="So many cells at once, in processes of their own.", min=1)] = 1,
) -> None:
    """Look for learning rates at which the config's cells enter their edge of stability gently and stay there.

    The config needs no rates. What was found is printed, and stands over the config that is written.
    """
    from rodflow.pipeline.stages.scan import scan as scan_rates

    typer.echo(scan_rates(config, output, jobs, dataset))


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="The results folder of a finished run.")],
    b: Annotated[Path, typer.Argument(help="That of another.")],
    output: Annotated[Path | None, typer.Option(help="A folder; none: results/<a>-against-<b>.")] = None,
) -> None:
    """What differs between two runs, in settings and numbers: two tables, a figure, and a page that is printed."""
    from rodflow.pipeline.stages.differences import differ

    typer.echo(differ(a, b, output or Path("results", f"{a.resolve().name}-against-{b.resolve().name}")), nl=False)


Reference = Annotated[Path, typer.Option(help="The folder of the reference.")]


@app.command()
def reference(config: ConfigFile, results: Results, output: Reference = Path("reference")) -> None:
    """Collect a finished run's tables, series, figures and provenance into a small folder to commit."""
    from rodflow.reference.collect import collect

    collect(configuration.load(config), results, output)


@app.command()
def reference_check(
    config: ConfigFile,
    reference: Reference = Path("reference"),
    root: Annotated[Path, typer.Option(help="Where results/ goes.")] = Path("."),
) -> None:
    """Run two cells of the reference again and compare with its numbers; the config names the images."""
    from rodflow.reference.check import check
    from rodflow.reference.tolerances import printed, require_agreement

    table = check(configuration.load(config), reference, root)
    typer.echo(printed(table))
    require_agreement(table)


@app.command()
def reference_replication(
    output: Annotated[Path, typer.Option(help="Where REPLICATION.md goes.")],
    reference: Reference = Path("reference"),
) -> None:
    """Judge the paper's claims by the reference's tables."""
    from rodflow.reference.replication import replicate_reference

    replicate_reference(reference, output)


@app.command()
def reference_pages(pages: list[Path], reference: Reference = Path("reference")) -> None:
    """Put the reference's tables into pages, between the marks that name them."""
    from rodflow.reference.blocks import refresh

    refresh(pages, reference)


@app.command()
def reference_pictures(
    output: Annotated[Path, typer.Option(help="The folder of the pages' pictures.")],
    reference: Reference = Path("reference"),
) -> None:
    """Draw the pictures of the pages from the reference, and that of the valley."""
    from rodflow.reference.pictures import draw_pictures

    draw_pictures(reference, output)


@app.command()
def schema() -> None:
    """Print the config's JSON schema."""
    typer.echo(configuration.json_schema())


def main(program: str | None = None) -> None:
    """Run the command line; a wrong input ends with one line on standard error and exit status 2.

    A file that cannot be written ends with exit status 1.

    ``program`` is how messages name the command; by default the name by which it was called.
    """
    start_log()
    try:
        app(prog_name=program)
    except InvalidInput as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"error: {cut(str(error))}", file=sys.stderr)
        sys.exit(1)
