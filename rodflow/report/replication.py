"""The paper's claims, what was measured here, and the verdict that follows: the content of REPLICATION.md."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rodflow import config as configuration
from rodflow.config import Config
from rodflow.errors import InvalidInput
from rodflow.measures.constants import EDGE, FEW, NEAR
from rodflow.measures.errors import over, told
from rodflow.report.markdown import table

JUDGED_FLOWS = {
    "rod": "rod flow (covariance)",
    "rod_one_column": "rod flow, one column",
    "drift_free_rod_ode": "drift-free rod flow, ODE (ours)",
    "drift_free_rod": "drift-free rod flow, map (ours)",
}
"""The flows that the claims are tested on: two readings of the paper's equations, two forms of this project's own."""
PAPER_OPTIMIZERS = (
    "heavy_ball",
    "nesterov",
    "scalar_rmsprop",
    "rmsprop",
    "scalar_adam",
    "adam",
    "scalar_nadam",
    "nadam",
)
"""The paper's eight optimizers; gradient descent is an earlier paper's."""
PAPER_ARCHITECTURES = ("mlp", "cnn", "vit")

GAIN = 2.0
"""A flow tracks better than the stable flow where its error is below it in every cell, and this often in the median."""
SETTLED = 0.1
"""A run has settled at its threshold where its median sharpness in the edge window is within this share of it..."""
SHARE = 0.25
"""...and this share of its records lies in the window."""
AT_THE_FLOOR = 2.0
"""A flow is at the floor where its error is at most this many times the twins'."""
FULL: dict[str, Any] = {"dataset": "cifar10", "examples": 1000, "steps": 1000, "weights": 100_000}
"""From here on a run counts as full scale; the original's own scale is not known."""

HOLDS, IN_PART, FAILS, UNTESTED, NO_NUMBER = "holds", "holds in part", "does not hold", "not tested", "no comparison"
NOT_RUN = "not run"


@dataclass(frozen=True)
class Claim:
    """A row: a claim, the model that it was tested on, what was measured, at which scale, and what follows."""

    claim: str
    model: str
    measured: str
    scale: str
    verdict: str
    command: str


def judged(own: pd.DataFrame) -> str:
    """The verdict on a flow's rows of errors.csv, by its ``ratio_to_stable``; cells of too few records are left out.

    In a cell the flow is better where its error is below the stable flow's by more than the floor.
    """
    kept = told(own, "ratio_to_stable")
    ratios = kept["ratio_to_stable"]
    if not len(kept):
        return UNTESTED
    if ratios.median() < GAIN:
        return FAILS
    return HOLDS if ((ratios - 1) * kept["error_eos_mean"] > kept["floor"]).all() else IN_PART


def counted(held: int, total: int) -> str:
    """The verdict on a claim that holds in ``held`` of ``total`` cases: in part from half of them on."""
    if not total:
        return UNTESTED
    if held == total:
        return HOLDS
    return IN_PART if 2 * held >= total else FAILS


def scale(config: Config, weights: Iterable[int]) -> str:
    """``full`` or ``reduced``, by ``FULL``; ``weights`` are the numbers of weights of the networks that ran."""
    small = (
        config.data.dataset != FULL["dataset"]
        or config.data.examples < FULL["examples"]
        or config.steps < FULL["steps"]
        or min(weights) < FULL["weights"]
    )
    return "reduced" if small else "full"


def remake(config: Config, target: str, *changes: str) -> str:
    """The command that makes ``target`` again from the project's folder, with ``changes`` to the config if any.

    A config that is neither the project's own config.yaml nor the reference's is read from the copy that the run left
    with its results. The reference's images are whoever's that has them.
    """
    words = ["snakemake", "--cores", "2", target]
    if config == _project_config("reference/config.yaml"):
        words += ["--configfile", "reference/config.yaml"]
        changes = (*changes, *given_images(config))
    elif config != _project_config("config.yaml"):
        words += ["--configfile", f"results/{config.run}/config.yaml"]
    words += ["--config", *changes] if changes else []
    return " ".join(words)


def given_images(config: Config) -> list[str]:
    """What a command says of the images, if they do not come with the project."""
    return [] if config.data.dataset in ("digits", *config.own.datasets) else ["""'data={"file": "my.npz"}'"""]


@functools.cache
def _project_config(name: str) -> Config | None:
    """The config in a file of the project; None where none can be read, as beside an installed package."""
    try:
        return configuration.load(Path(__file__).parents[2] / name)
    except InvalidInput:
        return None


def claims(
    config: Config, errors: pd.DataFrame, thresholds: pd.DataFrame, fidelity: pd.DataFrame, weights: Iterable[int]
) -> list[Claim]:
    """The paper's claims against errors.csv, thresholds.csv and fidelity.csv of a run.

    ``weights``: the numbers of weights of its networks, for the scale.
    """
    size = scale(config, weights)
    command = remake(config, f"results/{config.run}/tables/REPLICATION.md")
    rows = []

    def add(claim: str, flow: str, measured: str, verdict: str) -> None:
        ran = flow not in JUDGED_FLOWS or flow in config.flows
        model = JUDGED_FLOWS.get(flow, flow)
        rows.append(Claim(claim, model, measured if ran else "–", size if ran else NOT_RUN, verdict, command))

    ratios = {flow: errors[errors["flow"] == flow] for flow in JUDGED_FLOWS}
    for flow, own in ratios.items():
        add(
            "tracks the run through the edge of stability better than the stable flow does",
            flow,
            _spread(own),
            judged(own),
        )
    for flow, own in ratios.items():
        add("by how much", flow, _margin(own), NO_NUMBER if len(told(own, "ratio_to_stable")) else UNTESTED)
    for flow, own in ratios.items():
        add("is as near to the run as chance lets it be (our question)", flow, *_floored(own))
    add(
        "effective sharpness stabilises at the threshold that the optimizer predicts",
        "discrete run",
        *_settled(thresholds),
    )
    for flow in JUDGED_FLOWS:
        ratio = fidelity.loc[fidelity["flow"] == flow, "sharpness_ratio"].dropna()
        near = int(((ratio - 1).abs() <= NEAR).sum())
        text = f"median within {NEAR:.0%} of the run's in {near} of {len(ratio)} cells"
        add("sharpness stabilises with the run's", flow, text, counted(near, len(ratio)))
    for kind, names, whole in (
        ("optimizer", PAPER_OPTIMIZERS, "holds for all eight optimizers"),
        ("architecture", PAPER_ARCHITECTURES, "holds for three architectures: MLP, CNN, ViT"),
    ):
        for flow, own in ratios.items():
            verdicts = {name: judged(own[own[kind] == name]) for name in names}
            held = sum(verdict == HOLDS for verdict in verdicts.values())
            tested = any(verdict != UNTESTED for verdict in verdicts.values())
            verdict = counted(held, len(names)) if tested else UNTESTED
            add(f"better tracking {whole}", flow, _tally(held, verdicts), verdict)
    return rows


def _spread(own: pd.DataFrame) -> str:
    kept = told(own, "ratio_to_stable")
    if not len(kept):
        return "no cell with a ratio"
    ratio = kept["ratio_to_stable"]
    least, most = kept.iloc[ratio.argmin()], kept.iloc[ratio.argmax()]
    return (
        f"stable flow's error over its own: median {ratio.median():.3g} of {over(own, 'ratio_to_stable')}, "
        f"from {ratio.min():.3g} ({least['architecture']} {least['optimizer']}) "
        f"to {ratio.max():.3g} ({most['architecture']} {most['optimizer']}); "
        f"above 1 in {int((ratio > 1).sum())}"
    )


def _margin(own: pd.DataFrame) -> str:
    ratio = told(own, "ratio_to_stable")["ratio_to_stable"]
    if not len(ratio):
        return "no cell with a ratio"
    low, middle, high = ratio.quantile([0.25, 0.5, 0.75])
    text = f"{middle:.3g} times (quartiles {low:.3g} and {high:.3g}; {over(own, 'ratio_to_stable')})"
    corrected = told(own, "ratio_to_stable_corrected")["ratio_to_stable_corrected"]
    said = f"; {corrected.median():.3g} times the corrected stable flow ({over(own, 'ratio_to_stable_corrected')})"
    return text + (said if len(corrected) else "")


def _floored(own: pd.DataFrame) -> tuple[str, str]:
    ratio = told(own, "ratio_to_floor")["ratio_to_floor"]
    if not len(ratio):
        return "no cell with a floor", UNTESTED
    near = int((ratio <= AT_THE_FLOOR).sum())
    text = f"its error over the floor: median {ratio.median():.3g} of {over(own, 'ratio_to_floor')}, at most "
    text += f"{ratio.max():.3g}; at most {AT_THE_FLOOR:g} in {near}"
    return text, counted(near, len(ratio))


def _settled(thresholds: pd.DataFrame) -> tuple[str, str]:
    relative = thresholds["sharpness_eos_median"] / thresholds["threshold"]
    settled = int((((relative - 1).abs() <= SETTLED) & (thresholds["eos_share"] >= SHARE)).sum())
    if not relative.notna().any():
        return "no cell at the edge", UNTESTED
    text = (
        f"median in the edge window {relative.min():.3g} to {relative.max():.3g} thresholds, "
        f"share of records in it {thresholds['eos_share'].min():.0%} to {thresholds['eos_share'].max():.0%}; "
        f"settled in {settled} of {len(thresholds)} cells"
    )
    return text, counted(settled, len(thresholds))


def _tally(held: int, verdicts: dict[str, str]) -> str:
    parts = [f"holds for {held} of {len(verdicts)}"]
    for verdict in (IN_PART, FAILS, UNTESTED):
        named = [name for name, own in verdicts.items() if own == verdict]
        if named:
            parts.append(f"{verdict}: {', '.join(named)}")
    return "; ".join(parts)


def by_name(config: Config, errors: pd.DataFrame, kind: str) -> list[dict[str, str]]:
    """A row for each ``optimizer`` or ``architecture`` of the config: every model's ratios, verdict, command."""
    rows = []
    for name in getattr(config, f"{kind}s"):
        row = {kind: f"`{name}`"}
        for flow, model in JUDGED_FLOWS.items():
            own = errors[(errors[kind] == name) & (errors["flow"] == flow)]
            ratio = told(own, "ratio_to_stable")["ratio_to_stable"]
            numbers = f"{ratio.median():.3g} (from {ratio.min():.3g}; {over(own, 'ratio_to_stable')}): "
            row[model] = (numbers if len(ratio) else "") + judged(own)
        target = f"results/{name}/tables/REPLICATION.md"
        narrowed = f"'{kind}s=[\"{name}\"]'"
        row["command"] = f"`{remake(config, target, f'run={name}', narrowed)}`"
        rows.append(row)
    return rows


def generated(config: Config) -> str:
    """The line that tells whether a REPLICATION.md is up to date: digests of this file and of the cells' settings."""
    settings = [[*job, chosen] for job, chosen in config.followed.items()]
    content = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    generator = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    return f"Generated by `rodflow/report/replication.py` (sha256 {generator}) for cells with settings {content}."


def markdown(rows: list[Claim], config: Config, errors: pd.DataFrame, source: str, missing: str = "") -> str:
    """REPLICATION.md; ``source`` says which code and machine the numbers come from, ``missing`` what is not judged."""
    judgements = [
        {
            "claim": row.claim,
            "tested on": row.model,
            "our number": row.measured,
            "scale": row.scale,
            "verdict": row.verdict,
        }
        for row in rows
    ]
    data = config.data
    settings = (
        f"{len(config.architectures)} architectures x {len(config.optimizers)} optimizers, "
        f"{config.seeds_named}, "
        f"{data.examples} examples of {data.dataset}, {config.loss} loss, {config.steps} full-batch steps; "
        + "; ".join(f"{name}{_sizes(config.sizes_of(name))}" for name in config.architectures)
    )
    parts = [
        "# Replication",
        "What Regis & Chewi claim of rod flow for momentum and adaptive optimizers (arXiv 2605.06821), against the run "
        f"`{config.run}` of this project. Every number below is computed from that run's `errors.csv`, "
        "`thresholds.csv` and `fidelity.csv`, every verdict from the numbers by the rules below.",
        *([f"**{missing}** The verdicts are on what is finished."] if missing else []),
        table(judgements),
        f"All rows are made again by `{rows[0].command}`. Run: {settings}. {source}",
        "## By optimizer\n\nStable flow's error over the flow's own, median over its cells (and the smallest).",
        table(by_name(config, errors, "optimizer")),
        "## By architecture",
        table(by_name(config, errors, "architecture")),
        _rules(),
        UNKNOWN,
        f"---\n\n{generated(config)} `make replication` refreshes the copy that is committed.",
    ]
    return "\n\n".join(parts) + "\n"


def _sizes(sizes: dict[str, Any]) -> str:
    """Such as " with filters 4, 8 and dense 16"; empty for a network without any."""
    said = [f"{key} {', '.join(map(str, v)) if isinstance(v, list) else v}" for key, v in sizes.items()]
    return f" with {' and '.join(said)}" if said else ""


def _rules() -> str:
    return f"""## Rules

* A *ratio* is the stable flow's mean error over the flow's own, over the records of the edge window (effective
  sharpness at {EDGE:g} of the threshold or above) that both reached; above 1 the flow is closer to the run. *n* is the
  number of these records, from the cell with the fewest to the one with the most. A cell with fewer than {FEW} is left
  out of medians and verdicts, which say of how many cells they are.
* The *floor* of a cell is the mean error of its twins: the run again, from the same state, with rounding errors of the
  same size drawn anew. An error below it would be chance.
* Better tracking *{HOLDS}* where the median ratio is at least {GAIN:g} and in every cell the two errors differ by more
  than the floor, *{IN_PART}* where only the median is, and *{FAILS}* below: an error within a factor of {GAIN:g} of the
  stable flow's is of its size.
* A flow is at the floor where its error is at most {AT_THE_FLOOR:g} times it.
* The cells' learning rates were chosen so that each run comes to its edge gently and stays there, and the window is
  defined by the edge: nothing here is said of runs below it, or thrown far above it. What happens there is shown for
  two cells at five rates each, an eighth to twice the chosen one, in [docs/performance.md](docs/performance.md).
* A run has *settled* where its median effective sharpness in the edge window is within {SETTLED:.0%} of the threshold
  and at least {SHARE:.0%} of its records lie in that window. The window begins at {EDGE:g}, so from below it is the
  share that counts, from above the median.
* Claims that are counted hold where all cases do, and in part from half of them on. Optimizers and architectures that
  were not run count against the claim, and are named.
* *Full* scale: {FULL["dataset"]} with at least {FULL["examples"]:,} examples, {FULL["steps"]:,} steps and
  {FULL["weights"]:,} weights in each network; anything less is *reduced*. The measure is ours."""


UNKNOWN = f"""## What was not known, and what is ours

* The body of the paper was not at hand. The original's data, networks, learning rates, hyperparameters, numbers of
  steps, solvers and measure of error are not known here, so that no setting is claimed to be the original's and its
  numbers cannot be set beside ours: hence *{NO_NUMBER}*.
* The phase-space equations for momentum and adaptive optimizers are derived here, from the construction for gradient
  descent (arXiv 2602.01480), whose equations are the published ones.
* How the paper takes a rod from the covariance Sigma of its equations could not be read. *Rod flow (covariance)* keeps
  the whole covariance, cut to a few columns whose number was converged. *One column* keeps one vector of it: it follows
  the drift and misses the edge, so that it fails whatever its accuracy. We do not take it for the paper's model.
* The drift-free rod flow is another model, made for this project. What holds for it supports the idea of a rod, not
  the paper's claim for its own equations. Claims about continuous time are judged on its ODE. Its map is that ODE's
  fast integrator: the longer the interval between two of its separating steps, the more it is the optimizer itself in
  other coordinates."""
