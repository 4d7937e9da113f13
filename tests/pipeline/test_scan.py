"""The scan of learning rates: on made-up cells whose sharpness is known, and on a small network."""

import contextlib
import math
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pandas as pd
import pytest
import torch
import yaml
from helpers.checkout import ROOT, interruptible, smoke, wait_for
from helpers.problems import network
from typer.testing import CliRunner

import rodflow as rf
from rodflow import config as configuration
from rodflow.cli import app
from rodflow.config import Cell
from rodflow.measures.constants import EDGE, LEAP, LEAST_SHARE
from rodflow.pipeline.rate_search import (
    ARRIVAL,
    DIVERGED,
    FADED,
    FOUND,
    LATE,
    LEAPT,
    LEFT,
    REASONS,
    Point,
    Trial,
    attempt,
    climb,
    following,
    predicted,
    search,
)
from rodflow.pipeline.stages import scan as stage
from rodflow.pipeline.stages.dataset import prepare
from rodflow.pipeline.stages.discrete import run_cell
from rodflow.pipeline.stages.scan import with_any_rates
from rodflow.pipeline.stages.tables import warned


@dataclass
class Valley:
    """A cell whose sharpness at a rate of 1 is ``first (1 + s / 100)^power`` until it holds its threshold.

    It enters at ``peak`` thresholds, is at its edge for the share ``stay`` of the steps, at most until
    the share ``until``, then ``off`` thresholds sharp. At a rate that ``stays`` it is there to its end.
    """

    first: float = 0.02
    power: float = 0.5
    peak: float = 1.1
    stay: float = 1.0
    until: float = 1.0
    off: float = 0.5
    stays: Callable[[float], bool] = lambda rate: False
    cosine: bool = False
    steps: int = 640
    interval: int = 20
    start: int = 20
    trained = 0

    def sharpness(self, s):
        return self.first * (1 + s / 100) ** self.power

    def factor(self, t):
        return 0.5 + 0.5 * math.cos(math.pi * t / self.steps / 2) if self.cosine else 1.0

    def at(self, rate, on_record):
        return self._train(lambda t: rate * self.factor(t), on_record)

    def along(self, rate_at, on_record):
        return self._train(rate_at, on_record)

    def _train(self, rate_at, on_record):
        s, since = 0.0, None
        for t in range(self.steps + 1):
            if t and t % self.interval == 0:
                self.trained += self.interval
                free = rate_at(t) * self.sharpness(s)
                if since is None and free >= 1:
                    since = t
                    held = self.peak
                elif since is not None:
                    there = t <= min(since + self.stay * self.steps, self.until * self.steps)
                    held = 1.0 if there or self.stays(rate_at(0)) else self.off
                on_record(t, free if since is None else held)
            s += rate_at(t)
        return None


def exact_rate(valley, t):
    """The rate at which the threshold is met at step t: halving an interval, in which the sharpness only grows."""
    low, high = 1e-9, 1e9
    for _ in range(200):
        rate = math.sqrt(low * high)
        low, high = (
            (rate, high)
            if rate * valley.factor(t) * valley.sharpness(rate * sum(map(valley.factor, range(t)))) < 1
            else (low, rate)
        )
    return rate


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("power", [0.0, 0.5, 2.0])
def test_the_climb_predicts_the_rate_that_meets_the_threshold_at_the_wanted_step(power, cosine):
    valley = Valley(power=power, cosine=cosine)
    rate, reached = predicted(valley, climb(valley), ARRIVAL)
    assert reached and rate == pytest.approx(exact_rate(valley, round(ARRIVAL * valley.steps)), rel=0.05)


def test_beyond_its_end_a_path_is_extrapolated_by_its_slope():
    valley = Valley(power=0.7, first=1e-5)
    path = [Point(s, valley.sharpness(s)) for s in (1e4, 2e4, 4e4, 8e4)]
    rate, reached = predicted(valley, path, ARRIVAL)
    assert not reached and rate == pytest.approx(exact_rate(valley, round(ARRIVAL * valley.steps)), rel=0.01)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_gentle_cell_takes_one_climb_and_one_run_whatever_its_scale(scale):
    valley = Valley(first=0.02 / scale)
    valley.sharpness = lambda s: 0.02 / scale * (1 + s / scale / 100) ** 0.5
    (found,) = search(valley)
    assert found.verdict == FOUND and found.largest <= LEAP and found.share >= LEAST_SHARE and found.last >= EDGE
    assert found.rate == pytest.approx(exact_rate(valley, round(ARRIVAL * valley.steps)), rel=0.05)
    assert valley.trained <= 2 * valley.steps


def test_a_wrong_prediction_is_mended_by_the_runs_own_path():
    """The path of a run is three times as sharp as that of the climb, as where a second moment lags behind."""
    valley = Valley(power=1.0, peak=1.0)
    climbing = valley.along
    valley.along = lambda rate_at, on_record: climbing(rate_at, lambda t, sharpness: on_record(t, sharpness / 30))
    trials = search(valley)
    assert 1 <= len(trials) <= 3 and trials[-1].verdict == FOUND


@pytest.mark.parametrize(
    ("valley", "reason"),
    [(Valley(peak=2.0), LEAPT), (Valley(stay=0.1), LEFT), (Valley(power=-2.0, first=1.0), LATE)],
    ids=["leaps at every rate", "leaves before it has its share", "becomes flatter and flatter"],
)
def test_a_cell_that_cannot_be_had_ends_with_the_best_and_the_reason(valley, reason):
    trials = search(valley)
    assert trials[-1].verdict == reason and reason in REASONS
    assert trials[-1].ended == valley.steps and len(trials) > 1


@pytest.mark.parametrize(
    ("arrival", "stay", "off", "verdict"),
    [
        (0.3, 0.5, 0.89, FADED),
        (0.3, 0.4, 0.89, LEFT),
        (0.3, 0.5, 0.7, LEFT),
        (0.3, 0.3, 0.89, LEFT),
        (0.55, 0.1, 0.5, LEFT),
        (0.65, 1.0, 0.5, LATE),
        (0.55, 1.0, 0.5, FOUND),
    ],
    ids=[
        "leaves softly near its end",
        "leaves softly, but early",
        "leaves near its end, but in a burst",
        "leaves softly without its share",
        "arrives after the half and bursts: a larger rate may burst too",
        "arrives too late to have its share",
        "arrives after the half and stays",
    ],
)
def test_what_a_run_says_of_its_rate(arrival, stay, off, verdict):
    valley = Valley(power=4.0, peak=1.0, stay=stay, off=off)
    enters = round(arrival * valley.steps / valley.interval) * valley.interval
    trial = attempt(valley, exact_rate(valley, enters) * 1.0001)
    assert trial.verdict == verdict
    leaves = enters + stay * valley.steps
    if verdict == FADED:
        assert trial.left == valley.interval * (leaves // valley.interval + 1) and trial.ended == valley.steps
        assert trial.share == pytest.approx(stay, abs=2 * valley.interval / valley.steps) and trial.last == off
    if verdict == FOUND:
        assert trial.left is None


def test_a_cell_that_leaves_softly_near_its_end_at_every_rate_ends_with_such_a_run():
    trials = search(Valley(until=0.8, off=0.89))
    best = trials[-1]
    assert best.verdict == FADED and len(trials) > 1 and all(trial.verdict != FOUND for trial in trials)
    assert best.share >= LEAST_SHARE and best.largest <= LEAP and best.left == 520  # the first record after step 512


@pytest.mark.parametrize(("side", "most"), [(-1, 6), (1, 2)], ids=["smaller", "larger"])
@pytest.mark.parametrize(("stay", "off", "first"), [(0.1, 0.5, LEFT), (0.45, 0.89, FADED)], ids=["burst", "softly"])
def test_where_a_run_leaves_its_edge_rates_on_both_sides_are_tried(side, most, stay, off, first):
    """Whether a run stays does not follow from when it arrives, as where momentum makes it burst."""
    rate = exact_rate(Valley(), round(ARRIVAL * 640))
    trials = search(Valley(stay=stay, off=off, stays=lambda tried: (tried / rate) ** side > 1.15))
    assert trials[0].verdict == first and trials[-1].verdict == FOUND and len(trials) <= most
    assert (trials[-1].rate / rate) ** side > 1.15


@pytest.mark.parametrize("seed", range(20))
def test_no_rate_is_tried_twice_or_outside_what_is_too_small_and_too_large(seed):
    draw = random.Random(seed)
    valley, good = Valley(power=draw.uniform(0, 2)), draw.uniform(0.2, 5)
    climbed, trials = climb(valley), []
    while (rate := following(valley, climbed, trials)) and len(trials) < 40:
        late = {trial.rate for trial in trials if trial.verdict == LATE}
        large = {trial.rate for trial in trials if trial.verdict in (LEAPT, DIVERGED)}
        assert max(late, default=0) < rate < min(large, default=math.inf)
        assert all(abs(math.log(rate / trial.rate)) > 0.04 for trial in trials)
        verdict = draw.choice([LATE if rate < good else draw.choice([LEAPT, DIVERGED]), LEFT, FADED])
        path = () if verdict == DIVERGED else attempt(valley, rate).path
        trials.append(Trial(rate, verdict, 0.3, 1.0, 0.8, 640, 600, path))
    assert 2 <= len(trials) < 40


def test_a_record_is_told_when_it_is_taken_and_what_is_raised_ends_the_run():
    net, told = network(), []
    run = partial(rf.train, net.objective(None), rf.GradientDescent(1e-2), net.w0, 12, record_interval=4)
    kept = run(on_record=lambda t, sharpness: told.append((t, sharpness)))
    assert told == list(zip([4, 8, 12], kept.sharpness[:, 0].tolist(), strict=True))
    assert torch.equal(kept.midpoints, run().midpoints)

    def enough(t, sharpness):
        raise StopIteration

    with pytest.raises(StopIteration):
        run(on_record=enough)


SETTINGS = smoke(
    architectures=["mlp"],
    optimizers=["gd"],
    flows=["stable"],
    landscapes=[],
    precision_cells=[],
    steps=300,
    seeds=[0, 1],
) | {"record_interval": 10, "data": {"dataset": "digits", "examples": 40}, "run": "scanned"}


@pytest.mark.parametrize(
    ("valley", "said"),
    [
        (Valley(), "yes"),
        (Valley(until=0.8, off=0.89), "yes, and off its edge from step 520 on, softly"),
        (Valley(peak=2.0), f"no: {REASONS[LEAPT]}"),
    ],
    ids=[FOUND, FADED, LEAPT],
)
def test_the_table_tells_a_run_that_stays_from_one_that_does_not(tmp_path, monkeypatch, valley, said):
    monkeypatch.setattr(stage, "CellTrainer", lambda config, cell, dataset: valley)
    config = configuration.parse(with_any_rates(SETTINGS))
    (row,) = stage.scan_cells(config, tmp_path / "images.npz", [Cell("mlp", "gd", 0)])
    assert row[stage.COLUMNS.index("found")] == said


def scanned(folder, settings, *words):
    folder.mkdir()
    (folder / "mine.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    words = ["scan", "--config", f"{folder}/mine.yaml", "--output", f"{folder}/found.yaml", *words]
    return CliRunner().invoke(app, words)


def test_the_rate_that_is_written_is_that_of_a_run_that_measures_what_was_told(tmp_path):
    """Without rates in the config, and to the same bytes in other processes; other settings stay as they were typed."""
    settings = {key: value for key, value in SETTINGS.items() if key != "learning_rates"}
    result = scanned(tmp_path / "a", settings)
    assert result.exit_code == 0, result.output
    found = tmp_path / "a" / "found.yaml"
    config = configuration.load(found)
    assert {**yaml.safe_load(found.read_text()), "learning_rates": None} == {**settings, "learning_rates": None}
    images = tmp_path / "dataset.npz"
    prepare(config, images)
    lines = [
        line.strip("|# ").split(" | ") for line in found.read_text().splitlines() if "seed" in line and "|" in line
    ]
    assert [line[0] for line in lines] == ["mlp-gd-seed0", "mlp-gd-seed1"] and lines[0][-1] == "yes"
    for seed, line in enumerate(lines):
        run_cell(config, Cell("mlp", "gd", seed), images, tmp_path / "run.h5")
        records = pd.read_parquet(tmp_path / "run.parquet")["sharpness"] / 2  # whose flows start at its second record
        told = [float(line[1]), *(f"{x:.2f}" for x in ((records >= EDGE).mean(), records[1:].max(), records.iloc[-1]))]
        assert [config.learning_rates["mlp"]["gd"], *line[2:5]] == told
    assert scanned(tmp_path / "b", settings, "--dataset", str(images), "--jobs", "2").output == result.output
    assert (tmp_path / "b" / "found.yaml").read_bytes() == found.read_bytes()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learning_rates": [1]}, "learning_rates"),
        ({"optimizers": ["sgdx"]}, "optimizers"),
        ({"data": {"dataset": "cifar10", "file": "no.npz"}}, "no.npz"),
        ({"optimizers": ["adam"], "hyperparameters_of": {"adam": {"weight_decay": 0.1}}}, "adam.weight_decay: got 0.1"),
    ],
)
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_what_cannot_be_scanned_is_refused_and_nothing_is_written(tmp_path, changes, said, jobs):
    result = scanned(tmp_path / "a", SETTINGS | changes, "--jobs", jobs)
    assert result.exit_code != 0 and said in str(result.exception)
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["mine.yaml"]


def alive(group):
    """Whether a process of a group is left, other than one that has ended."""
    listed = subprocess.run(["ps", "-A", "-o", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    return any(line.split()[0] == str(group) and line.split()[1][0] != "Z" for line in listed.splitlines())


def test_ctrl_c_ends_all_processes_of_a_scan(tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(SETTINGS | {"optimizers": ["gd", "adam"], "steps": 10**6}))
    words = ["scan", "--config", "mine.yaml", "--output", "found.yaml", "--jobs", "2"]
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "rodflow", *words],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stderr=log,
            preexec_fn=interruptible,
            start_new_session=True,
        )
        try:
            wait_for(lambda: (tmp_path / "log").read_text().count("at rising rates") >= 2)
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(60) != 0
            wait_for(lambda: not alive(process.pid))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert not (tmp_path / "found.yaml").exists()


def test_rates_that_are_there_are_kept():
    settings = {"architectures": ["mlp"], "optimizers": ["gd", "adam"], "precision_cells": ["vit-gd"]}
    filled = with_any_rates(settings | {"learning_rates": {"mlp": {"gd": 0.5}}})["learning_rates"]
    assert filled == {"mlp": {"gd": 0.5, "adam": 1.0}, "vit": {"gd": 1.0}}


@pytest.mark.parametrize(("largest", "lines"), [(1.2, 0), (1.4, 2)])
def test_a_leap_is_told_with_the_command_that_looks_for_rates(tmp_path, largest, lines):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "thresholds.csv").write_text(
        f"architecture,optimizer,seed,eos_share,sharpness_largest_ratio,diverged_at,missing\nmlp,gd,0,0.5,{largest},,\n"
    )
    said = warned(tmp_path)
    assert len(said) == lines
    assert not said or (f"{largest:.2f} thresholds" in said[0] and f"rodflow scan --config {tmp_path}" in said[1])
