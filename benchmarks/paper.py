"""A finished run's errors and seconds, a row a cell: what the paper's size came to on the machine that made it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rodflow.config import CELL_COLUMNS, Cell
from rodflow.jobs.files import read_table
from rodflow.pipeline.results import read_run

FLOWS = ("stable", "drift_free_rod", "rod")


def rows(results: Path) -> Iterator[list[dict]]:
    """All cells of the run below ``results``, of which some flows may be missing.

    ``seconds``: wall time of a job, beside as many others as ran with it.

    Raises: ``InvalidInput`` if there are no tables of a run.
    """
    errors = read_table(results / "tables" / "errors.csv", ["n", "floor", "seconds"], [*CELL_COLUMNS[:2], "flow"])
    made = []
    for name, own in errors.groupby(CELL_COLUMNS, sort=False):
        row = dict(zip(CELL_COLUMNS, name, strict=True))
        of = own.set_index("flow").reindex(FLOWS)
        row["n"] = int(own["n"].max())
        row |= {f"{flow} error": of.loc[flow, "error_eos_mean"] for flow in FLOWS}
        row["floor"] = own["floor"].iloc[0]
        row["stable over rod"] = of.loc["rod", "ratio_to_stable"]
        row["stable over drift_free_rod"] = of.loc["drift_free_rod", "ratio_to_stable"]
        row["n stable"] = of.loc["drift_free_rod", "n_stable"]
        row["drift_free_rod over floor"] = of.loc["drift_free_rod", "ratio_to_floor"]
        row["run seconds"] = read_run(results, Cell(*name)).summary.provenance.wall_time_seconds
        row |= {f"{flow} seconds": of.loc[flow, "seconds"] for flow in FLOWS}
        made.append(row)
    yield made
