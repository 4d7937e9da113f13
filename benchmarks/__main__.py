"""``python -m benchmarks [part ...]``: measure, and write tables, then the page. Without a part, all but paper.

Rows add to those of the same machine and commit; a page inside the checkout changes what the commit is called.
"""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path

import pandas as pd
import torch

from benchmarks import gpu, mixed, rod
from benchmarks.accuracy import VARIANTS, Variants, errors
from benchmarks.cost import TIMED, costs
from benchmarks.paper import rows as rows_of
from benchmarks.rates import rates
from benchmarks.report import PARTS, add, render
from benchmarks.scaling import scaling
from rodflow import config as configuration
from rodflow.catalogue import ARCHITECTURES, OPTIMIZERS
from rodflow.jobs.files import write_text
from rodflow.pipeline.provenance import git_commit


def machine() -> str:
    """One line on what the numbers were measured on."""
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    return f"Measured on {os.cpu_count()} processor cores ({where}), torch {torch.__version__.split('+')[0]}."


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(PARTS)}; none: all but paper")
    parser.add_argument(
        "--config", type=Path, default=Path("config.yaml"), help="whose cells all but cost and scaling run"
    )
    parser.add_argument("--paper", type=Path, default=Path("config/paper.yaml"), help="whose sizes cost and gpu take")
    parser.add_argument("--architectures", nargs="+", choices=list(ARCHITECTURES), help="of cost and gpu; none: all")
    parser.add_argument("--optimizers", nargs="+", choices=list(OPTIMIZERS), help="of cost and rod; none: a few")
    parser.add_argument(
        "--dtypes", nargs="+", choices=list(gpu.DTYPES), default=["float32"], help="of cost and gpu; mixed: of gpu"
    )
    parser.add_argument("--examples", type=int, help="of cost and gpu; none: the sizes' config's")
    parser.add_argument("--compiled", action="store_true", help="of gpu: by torch.compile too, which takes minutes")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="of accuracy, rod, mixed and rates; threads of the others"
    )
    parser.add_argument("--variants", nargs="+", default=[""], help="of accuracy, rod and mixed: how their names begin")
    parser.add_argument(
        "--results", type=Path, default=Path("results/paper"), help="of paper: a run's folder, made here"
    )
    parser.add_argument("--tables", type=Path, default=Path("results/benchmarks"))
    parser.add_argument("--page", type=Path, default=Path("docs/performance.md"))
    chosen = parser.parse_args()
    for part in chosen.parts:
        if part not in PARTS:
            parser.error(f"got {part}, allowed: {', '.join(PARTS)}")

    def named(variants: Variants) -> Variants:
        """Those that are asked for."""
        return {name: v for name, v in variants.items() if name.startswith(tuple(chosen.variants))}

    config, cells = configuration.load(chosen.config), chosen.optimizers
    paper = configuration.load(chosen.paper)
    changed = {"threads": chosen.processes, "architectures": chosen.architectures or paper.architectures}
    paper = paper.model_copy(update=changed)
    measured_on = f"{machine()} Commit {git_commit()}."
    measure = {
        "cost": lambda: costs(paper, cells or TIMED, chosen.dtypes, chosen.examples or paper.data.examples),
        "accuracy": lambda: errors(config, chosen.processes, named(VARIANTS)),
        "rod": lambda: errors(rod.narrowed(config, cells or rod.OPTIMIZERS), chosen.processes, named(rod.VARIANTS)),
        "mixed": lambda: errors(config, chosen.processes, named(mixed.VARIANTS)),
        "rates": lambda: rates(config, chosen.processes),
        "gpu": lambda: gpu.rows(
            paper, chosen.dtypes, chosen.examples or paper.data.examples, chosen.compiled, chosen.processes
        ),
        "paper": lambda: rows_of(chosen.results),
        "scaling": lambda: scaling(chosen.processes),
    }
    for part in chosen.parts or [part for part in PARTS if part != "paper"]:
        for rows in measure[part]():
            add(chosen.tables, part, pd.DataFrame(rows), measured_on)
    write_text(chosen.page, render(chosen.tables, chosen.page))


if __name__ == "__main__":
    main()
