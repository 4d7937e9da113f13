"""What trainings and flows ask a scheduler for: by the sizes of the config, and more when they are tried again."""

import re
import subprocess
import sys

import pytest
from helpers.checkout import ROOT, environment, smoke

from rodflow import config as configuration
from rodflow.pipeline import needs
from rodflow.problems.architectures import build

SMOKE, DEFAULT, PAPER = (
    configuration.load(ROOT / name) for name in ("config/smoke.yaml", "config.yaml", "config/paper.yaml")
)


@pytest.mark.parametrize(("config", "shape"), [(DEFAULT, (8, 8)), (PAPER, (3, 32, 32))])
def test_weights_are_counted_as_the_networks_have_them(config, shape):
    for architecture in config.architectures:
        outputs = len(config.data.classes or range(10))
        module = build(architecture, shape, outputs, 0, **config.sizes_of(architecture))
        assert needs.network(config, architecture).weights == sum(p.numel() for p in module.parameters())


def test_the_default_run_asks_for_little_and_paper_scale_for_much():
    for config in (SMOKE, DEFAULT):
        assert needs.memory(config, config.architectures) == 1000
        assert {needs.minutes(config, config.architectures, flow) for flow in ("", *config.flows)} == {30}
    assert [needs.memory(PAPER, [a]) for a in PAPER.architectures] == sorted(
        needs.memory(PAPER, [a]) for a in PAPER.architectures
    )
    assert 9000 < needs.memory(PAPER, ["cnn"]) < 30_000 < needs.memory(PAPER, PAPER.architectures) < 60_000
    assert 30 < needs.minutes(PAPER, ["vit"], "twin") < needs.minutes(PAPER, ["vit"], "drift_free_rod") < needs.DAY
    assert needs.minutes(PAPER, ["vit"], "rod") == needs.DAY


@pytest.mark.parametrize(
    ("architecture", "optimizer", "dtype", "examples", "growth"),
    [
        ("mlp", "adam", "float64", 1000, 1442),
        ("cnn", "gd", "float32", 1000, 3453),
        ("vit", "adam", "float32", 200, 3185),
    ],
)
def test_memory_is_enough_for_what_was_measured(architecture, optimizer, dtype, examples, growth):
    """The peaks of docs/performance.md, in MiB beside the libraries' 430."""
    row = f"| {architecture} | {optimizer} | {dtype} | {examples:,} |"
    rows = [line for line in (ROOT / "docs/performance.md").read_text().splitlines() if line.startswith(row)]
    assert rows and all(line.split(" | ")[5] == str(growth) for line in rows)
    config = PAPER.model_copy(update={"data": PAPER.data.model_copy(update={"examples": examples})})
    assert needs.memory(config, [architecture]) > (430 + growth) * 1.05


def test_fewer_examples_at_once_take_less_memory_and_no_less_time():
    whole, chunks = (PAPER.model_copy(update={"chunk_size": size}) for size in (None, 100))
    assert needs.memory(chunks, ["vit"]) < needs.memory(whole, ["vit"]) / 5
    assert needs.minutes(chunks, ["vit"]) == needs.minutes(whole, ["vit"])


def test_a_gpu_holds_the_examples_and_is_faster():
    assert needs.memory(PAPER, ["vit"], gpu=True) == needs.GPU_MB == needs.memory(SMOKE, ["vit"], gpu=True)
    assert needs.minutes(PAPER, ["vit"], "rod", gpu=True) < needs.minutes(PAPER, ["vit"], "rod") / 2


def test_each_attempt_asks_for_more():
    assert [needs.memory(PAPER, ["cnn"], attempt=n) // needs.memory(PAPER, ["cnn"]) for n in (1, 2, 3)] == [1, 2, 3]
    assert needs.minutes(PAPER, ["vit"], "rod", attempt=3) == 3 * needs.DAY


def test_a_network_of_the_users_own_has_no_size():
    own = {"networks": {"wide": {"function": "mine:wide"}}}
    rates = {"wide": {"gd": 0.1}}
    config = configuration.parse(
        smoke(own=own, architectures=["wide"], optimizers=["gd"], learning_rates=rates, precision_cells=[])
    )
    assert needs.memory(config, ["wide"]) == needs.UNKNOWN_MB
    assert needs.minutes(config, ["wide"], "rod") == needs.UNKNOWN_MINUTES


@pytest.mark.snakemake
@pytest.mark.parametrize("attempt", [1, 2])
def test_the_rules_ask_for_it(attempt):
    """--attempt is what Snakemake says to the job that it starts on a node."""
    words = ["--cores", "1", "--dry-run", "--configfile", "config/paper.yaml", "--attempt", str(attempt)]
    command = [sys.executable, "-m", "snakemake", *words, "--config", "run=asked", "device=cpu", "optimizers=['adam']"]
    said = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True).stdout
    resources = r"rule {}:\n(?:    .*\n)*?    output: \S*{}\S*.*\n(?:    .*\n)*?    resources: (.*)"
    config = PAPER.model_copy(update={"device": "cpu"})
    for rule, file, architectures, flow in (
        ("discrete", "mlp-adam-seed0", config.architectures, ""),
        ("flow", "mlp-adam-seed0-twin", ["mlp"], "twin"),
        ("flow", "vit-adam-seed0-rod", ["vit"], "rod"),
    ):
        asked = re.search(resources.format(rule, file), said)[1].split(", ")
        assert f"mem_mb={needs.memory(config, architectures, attempt=attempt)}" in asked
        assert f"runtime={needs.minutes(config, architectures, flow, attempt=attempt)}" in asked
