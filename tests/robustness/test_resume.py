"""Broken off and gone on with: the same bits as in one go, whatever ended the process and wherever it was."""

import contextlib
import logging
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.checkout import (
    ROOT,
    assert_equal,
    copy_project,
    environment,
    interruptible,
    outputs,
    smoke,
    snakemake,
    wait_for,
)
from helpers.problems import digits_mlp, optimizer, series_of
from helpers.runs import run_everything

from rodflow import config as configuration
from rodflow.catalogue import FLOWS
from rodflow.config import Cell
from rodflow.errors import InvalidInput
from rodflow.flows import complementarity, drift_free_rod
from rodflow.flows.central import CentralFlow
from rodflow.flows.integrate import integrate
from rodflow.jobs.checkpoint import Checkpoint, Interrupted
from rodflow.jobs.files import read_archive, write_archive
from rodflow.pipeline.provenance import checkpoint_file, code_digest, fingerprint
from rodflow.pipeline.stages.dataset import prepare
from rodflow.pipeline.stages.discrete import run_cell
from rodflow.pipeline.stages.flow import run_flow
from rodflow.training.curvature import Curvature
from rodflow.training.discrete import train

RATES = {"gd": 0.4, "heavy_ball": 4.0, "rmsprop": 0.01}  # at the edge of stability within some 40 steps
STEPS, START, INTERVAL = 60, 40, 5


class Killed(BaseException):
    """What SIGKILL would do at a record."""


@dataclass
class Fragile:
    """Calls ``attempt(checkpoint)`` again and again, each killed after as many records as ``lives`` says."""

    path: Path
    lives: tuple[int, ...]
    resumed: list[bool] = field(default_factory=list)

    def __call__(self, attempt):
        for records in (*self.lives, None):
            self.resumed.append(self.path.exists())
            try:
                with Short(self.path, records) as checkpoint:
                    return attempt(checkpoint)
            except Killed:
                continue


class Short(Checkpoint):
    """Writes every record, and dies after ``records`` of them."""

    def __init__(self, path, records):
        super().__init__(path, "key", seconds=0)
        self.left = records

    def save(self, state):
        super().save(state)
        if self.left is not None:
            self.left -= 1
            if not self.left:
                raise Killed


@pytest.fixture(scope="module")
def problem():
    return digits_mlp()


@pytest.fixture(scope="module")
def runs(problem):
    return {name: train_on(problem, name) for name in RATES}


def train_on(problem, name, checkpoint=None, **settings):
    settings = {"record_interval": INTERVAL, "eigenvalues": 2, "checkpoint": checkpoint} | settings
    return train(problem.objective, optimizer(name, RATES[name]), problem.w0, STEPS, **settings)


def bits(run):
    """All that a run holds, to the bit; NaN equals NaN."""
    series = {name: part.numpy().tobytes() for name, part in series_of(run).items()}
    return series | {"diverged_at": run.diverged_at}


def flow_bits(result):
    kept = (result.cost, result.diverged_at, result.start, result.series.dtypes.to_dict())
    return (result.series.to_numpy().tobytes(), result.centres.numpy().tobytes(), *kept)


@pytest.mark.parametrize("settings", [{}, {"perturbation": 1e-6}], ids=["", "perturbed"])
@pytest.mark.parametrize("name", RATES)
def test_training(problem, tmp_path, name, settings):
    whole = train_on(problem, name, **settings)
    fragile = Fragile(tmp_path / "run.npz", (1, 3, 8))  # the last one dies when there is nothing left to do
    pieces = fragile(lambda checkpoint: train_on(problem, name, checkpoint, **settings))
    assert fragile.resumed == [False, True, True, True]
    assert bits(pieces) == bits(whole)
    assert pieces.window(START).states.w.numpy().tobytes() == whole.window(START).states.w.numpy().tobytes()
    assert not fragile.path.exists()


def test_training_that_diverges(problem, tmp_path):
    def attempt(checkpoint=None):
        return train(
            problem.objective, optimizer("gd", 5.0), problem.w0, STEPS, record_interval=2, checkpoint=checkpoint
        )

    whole, fragile = attempt(), Fragile(tmp_path / "run.npz", (1,))
    assert whole.diverged_at is not None
    assert bits(fragile(attempt)) == bits(whole)
    assert fragile.resumed == [False, True]


MODELLED = {
    "gd": ["edge", "edge_unit_step", "twin", "rod"],
    "heavy_ball": ["stable", "stable_corrected", "drift_free_rod", "central_momentum", "second_twin"],
    "rmsprop": ["stable", "rod_one_column", "drift_free_rod", "drift_free_rod_ode", "central"],
}


def test_no_flow_is_left_out():
    assert {flow for flows in MODELLED.values() for flow in flows} == set(FLOWS)


@pytest.mark.parametrize(("name", "flow"), [(name, flow) for name, flows in MODELLED.items() for flow in flows])
def test_flows(problem, runs, tmp_path, name, flow):
    ours, reference = optimizer(name, RATES[name]), runs[name]

    def attempt(checkpoint=None):
        model = FLOWS[flow](problem.objective, ours)
        result = integrate(
            model,
            reference.window(START),
            STEPS - START,
            INTERVAL,
            reference=reference,
            eigenvalues=2,
            maximum_sharpness=100.0,
            checkpoint=checkpoint,
        )
        return flow_bits(result), model.incidents

    whole, fragile = attempt(), Fragile(tmp_path / "flow.npz", (1, 1, 2))
    assert fragile(attempt) == whole
    assert fragile.resumed == [False, True, True, True]
    assert not fragile.path.exists()


def test_incidents_are_counted_on(problem, runs, tmp_path, monkeypatch):
    monkeypatch.setattr(drift_free_rod, "LARGEST_GROWTH", 0.5)
    monkeypatch.setattr(drift_free_rod, "SHORT", 0.0)
    ours = optimizer("gd", RATES["gd"])
    for number, make in enumerate(
        (
            lambda *parts: drift_free_rod.DriftFreeRod(*parts, interval=2, split_tolerance=0),
            lambda *parts: CentralFlow(*parts, directions=1, tolerance=0.9),
        )
    ):

        def attempt(checkpoint=None, make=make):
            model = make(problem.objective, ours)
            start = runs["gd"].window(START)
            result = integrate(model, start, 20, INTERVAL, maximum_sharpness=100.0, checkpoint=checkpoint)
            return flow_bits(result), model.incidents

        whole = attempt()
        assert min(whole[1].values()) > 2
        assert Fragile(tmp_path / f"{number}.npz", (1, 3))(attempt) == whole


def test_the_solver_of_central_flow_remembers_nothing():
    """What it solved before has no effect on the digits of a solution: a new process has solved nothing."""
    generator = np.random.default_rng(0)

    def symmetric_problem():
        a, b = generator.standard_normal((2, 2)), generator.standard_normal((3, 3))
        pairs = [(0, 0), (0, 1), (1, 1)]
        beta = np.zeros((2, 2, 2, 2))
        for (i, j), row in zip(pairs, b @ b.T, strict=True):
            for (k, m), value in zip(pairs, row, strict=True):
                beta[i, j, k, m] = beta[j, i, k, m] = beta[i, j, m, k] = beta[j, i, m, k] = value
        return -a @ a.T, beta

    problems = [symmetric_problem() for _ in range(10)]
    in_a_row = [complementarity.solve(*problem) for problem in problems]
    for problem, solution in zip(problems, in_a_row, strict=True):
        assert solution.any()
        complementarity._problem.cache_clear()
        assert complementarity.solve(*problem).tobytes() == solution.tobytes()


def test_eigenvectors_belong_to_the_state(problem, tmp_path):
    """Without them the eigensolver would start anew, and end elsewhere within its tolerance."""
    whole = bits(train_on(problem, "gd"))
    checkpoint = Fragile(tmp_path / "run.npz", (3,))

    def forgetful(checkpoint):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Curvature, "load_state_dict", lambda self, state: None)
            return train_on(problem, "gd", checkpoint)

    assert bits(checkpoint(forgetful))["sharpness"] != whole["sharpness"]


def test_what_a_killed_writer_left_is_removed(tmp_path):
    path = tmp_path / "run.npz"
    for finish in (lambda checkpoint: checkpoint.save({"step": 1}), lambda checkpoint: None):
        (tmp_path / ".run.npz.12345.tmp.npz").write_bytes(b"half")
        with Checkpoint(path, "key", seconds=0) as checkpoint:
            finish(checkpoint)
        assert not list(tmp_path.iterdir())


@pytest.fixture
def kept(problem, tmp_path):
    """A checkpoint that a killed training left."""
    path = tmp_path / "run.npz"
    with pytest.raises(Killed), Short(path, 3) as checkpoint:
        train_on(problem, "gd", checkpoint)
    return path


def test_another_key_is_refused_and_the_run_starts_anew(problem, runs, kept, caplog):
    with Checkpoint(kept, "another") as checkpoint:
        assert checkpoint.load() is None
        assert "made by other settings" in caplog.text
        assert bits(train_on(problem, "gd", checkpoint)) == bits(runs["gd"])


def test_a_damaged_checkpoint_is_refused(kept, caplog):
    whole = kept.read_bytes()
    generator = random.Random(0)
    for cut in [0, 1, len(whole) - 1] + [generator.randrange(len(whole)) for _ in range(40)]:
        kept.write_bytes(whole[:cut])
        assert Checkpoint(kept, "key").load() is None, cut
    assert caplog.text.count("checkpoint ignored") == 43
    kept.write_bytes(whole)
    assert Checkpoint(kept, "key").load() is not None


def test_a_flipped_bit_is_found_or_without_effect(kept):
    whole, before = kept.read_bytes(), read_archive(kept)
    generator, refused = random.Random(0), 0
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[generator.randrange(len(whole))] ^= 1 << generator.randrange(8)
        kept.write_bytes(damaged)
        try:
            after = read_archive(kept)
        except InvalidInput:
            refused += 1
            continue
        assert {n: a.tobytes() for n, a in after.items()} == {n: a.tobytes() for n, a in before.items()}
    assert refused > 100


def test_pickles_are_refused(tmp_path):
    np.savez(tmp_path / "run.npz", key=np.array("key"), step=np.array([{}], dtype=object))
    assert Checkpoint(tmp_path / "run.npz", "key").load() is None


def test_key_is_that_of_settings_code_and_inputs(tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.write_bytes(b"1")
    code = code_digest("rodflow.pipeline.stages.discrete")
    keys = [fingerprint({"steps": 1}, code, [data]), fingerprint({"steps": 2}, code, [data])]
    keys.append(fingerprint({"steps": 1}, code_digest("rodflow.pipeline.stages.flow"), [data]))
    keys.append(fingerprint({"steps": 1}, "changed", [data]))
    monkeypatch.setattr("rodflow.pipeline.provenance.versions", lambda: {"torch": "0"})
    keys.append(fingerprint({"steps": 1}, code, [data]))
    monkeypatch.undo()
    assert fingerprint({"steps": 1}, code, [data]) == keys[0]
    data.write_bytes(b"2")
    keys.append(fingerprint({"steps": 1}, code, [data]))
    assert len(set(keys)) == 6


def test_interval(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    path = tmp_path / "run.npz"
    with Checkpoint(path, "key", seconds=10) as checkpoint:
        for now[0], there in ((9.0, False), (10.0, True), (19.0, False), (20.0, True)):
            path.unlink(missing_ok=True)
            checkpoint.save({"step": 1})
            assert path.exists() == there
    with pytest.raises(InvalidInput, match="seconds: got -1"):
        Checkpoint(path, "key", seconds=-1)


def test_a_full_disk_is_a_warning(problem, runs, tmp_path, caplog):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))  # of any file, in bytes
    try:
        with Checkpoint(tmp_path / "run.npz", "key", seconds=0) as checkpoint:
            assert bits(train_on(problem, "gd", checkpoint)) == bits(runs["gd"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "File too large" in caplog.text
    assert not list(tmp_path.iterdir())


class Deadly:
    """An objective whose evaluations end the process by ``number``, from the ``at``-th gradient on."""

    def __init__(self, objective, number, at):
        self.objective, self.number, self.left = objective, number, at

    def __getattr__(self, name):
        return getattr(self.objective, name)

    def value_and_gradient(self, w):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)
        return self.objective.value_and_gradient(w)

    def gradient(self, w):
        return self.value_and_gradient(w)[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_between_records_writes_the_last_one(problem, runs, tmp_path, number):
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        before, path = signal.getsignal(number), tmp_path / "run.npz"
        deadly = Deadly(problem.objective, number, 2 * INTERVAL + 4)
        with pytest.raises(Interrupted) as ended, Checkpoint(path, "key", seconds=1e9) as checkpoint:
            train(
                deadly,
                optimizer("gd", RATES["gd"]),
                problem.w0,
                STEPS,
                record_interval=INTERVAL,
                eigenvalues=2,
                checkpoint=checkpoint,
            )
        assert ended.value.code == 128 + number
        assert signal.getsignal(number) is before
        with Checkpoint(path, "key", seconds=1e9) as checkpoint:
            assert checkpoint.load()["done"] == 2 * INTERVAL + 1
            assert bits(train_on(problem, "gd", checkpoint)) == bits(runs["gd"])
    finally:
        signal.signal(signal.SIGINT, handler)


def test_signal_while_writing_lets_the_file_be_finished(problem, tmp_path, monkeypatch):
    def interrupted(path, arrays):
        os.kill(os.getpid(), signal.SIGTERM)
        write_archive(path, arrays)

    path = tmp_path / "run.npz"
    with pytest.raises(Interrupted), Checkpoint(path, "key", seconds=0) as checkpoint:
        monkeypatch.setattr("rodflow.jobs.checkpoint.write_archive", interrupted)
        train_on(problem, "gd", checkpoint)
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]
    assert Checkpoint(path, "key").load()["done"] == INTERVAL + 1


def test_an_ignored_signal_stays_ignored(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Checkpoint(tmp_path / "run.npz", "key"):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_signal_in_a_forked_child_whose_parent_has_handlers_of_its_own(problem, tmp_path):
    def child(path):
        with Checkpoint(path, "key", seconds=0) as checkpoint:
            train(
                problem.objective,
                optimizer("gd", RATES["gd"]),
                problem.w0,
                10**6,
                record_interval=INTERVAL,
                checkpoint=checkpoint,
            )

    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        path = tmp_path / "run.npz"
        process = multiprocessing.get_context("fork").Process(target=child, args=(path,))
        process.start()
        wait_for(path.exists)
        os.kill(process.pid, signal.SIGTERM)
        process.join(60)
        assert process.exitcode == 128 + signal.SIGTERM
        assert Checkpoint(path, "key").load() is not None
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    """A folder with the config of one cell whose jobs write at every record, its data set and its discrete run."""
    folder = tmp_path_factory.mktemp("cell")
    settings = smoke(checkpoint_seconds=0, steps=600, architectures=["mlp"], optimizers=["adam"], compile="auto")
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    prepare(configuration.load(folder / "config.yaml"), folder / "dataset.npz")
    run_stage(folder, folder / "whole.h5")
    return folder


def run_stage(cell, output):
    """Make the discrete run, ``output`` an .h5, or a flow from it, in this process."""
    config, data = configuration.load(cell / "config.yaml"), cell / "dataset.npz"
    if output.suffix == ".h5":
        run_cell(config, Cell("mlp", "adam", 0), data, output)
    else:
        run_flow(config, Cell("mlp", "adam", 0), "drift_free_rod", data, cell / "whole.h5", output)


@pytest.mark.parametrize(
    ("number", "words", "names"),
    [
        (signal.SIGTERM, ["discrete"], ["pieces.h5", "pieces.parquet"]),
        (signal.SIGINT, ["flow", "--flow", "drift_free_rod", "--discrete", "whole.h5"], ["pieces-flow.parquet"]),
    ],
    ids=["discrete", "flow"],
)
def test_signal_to_a_job_which_is_then_started_again(cell, caplog, number, words, names):
    output = cell / names[0]
    common = ["--config", "config.yaml", "--architecture", "mlp", "--optimizer", "adam", "--dataset", "dataset.npz"]
    job = subprocess.Popen(
        [sys.executable, "-m", "rodflow", *words, *common, "--output", output.name],
        cwd=cell,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
        preexec_fn=interruptible,
    )
    wait_for(checkpoint_file(output).exists)
    job.send_signal(number)
    assert job.wait(60) == 128 + number
    assert checkpoint_file(output).exists() and not output.exists()
    with caplog.at_level(logging.INFO):
        run_stage(cell, output)
    assert "going on from checkpoint" in caplog.text
    run_stage(cell, cell / output.name.replace("pieces", "whole"))
    for name in names:
        assert (cell / name).read_bytes() == (cell / name.replace("pieces", "whole")).read_bytes()
    assert not checkpoint_file(output).exists()


LONGEST = 10.0
"""Seconds from the start of a workflow's first job to the latest of the random moments."""


def workflow(folder, cores, *words, grid):
    return subprocess.Popen(
        snakemake(*words, narrow=grid, cores=cores),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=interruptible,
        start_new_session=True,  # a process group of its own, with all its jobs
    )


def finish(process):
    text, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, text


def ended(folder, moment, grid, number=signal.SIGKILL):
    """Start the workflow on two cores and send a signal to it and all its jobs once ``moment(process)`` returns.

    False if it was done by then.
    """
    process = workflow(folder, 2, "--nolock", grid=grid)
    try:
        moment(process)
    finally:
        alive = process.poll() is None
        if alive:
            os.killpg(process.pid, number)
            process.communicate(timeout=120)
    if not alive:
        finish(process)
    return alive


def checkpoints(folder, stage="**"):
    return list(folder.glob(f"results/smoke/{stage}/*.checkpoint.npz"))


TABLES, STUDY = "results/smoke/tables/errors.csv", "results/smoke/precision/mlp-gd-seed0.parquet"


def one_cell(*flows, **more):
    """What narrows the smoke config to one cell and its precision study."""
    narrow = {"architectures": ["mlp"], "optimizers": ["gd"], "flows": [*flows], "steps": 2000}
    narrow |= {"landscapes": [], "precision_cells": ["mlp-gd"], "animated_cells": []} | more
    return [f"{key}={value}" for key, value in narrow.items()]


def assert_as_in_one_go(project, one_go):
    run_everything(configuration.load(project / "results/smoke/config.yaml"), one_go)
    assert_equal(project, outputs(one_go))


@pytest.mark.snakemake
@pytest.mark.long
def test_killed_workflow(tmp_path):
    """Killed in trainings and in flows, of a cell and of its study: it ends with what all stages make in one process.

    Runs that flows have started from are not made again, and there is no series of the study before its last job.
    """
    project, generator, kept = copy_project(tmp_path / "killed"), random.Random(0), {}
    grid = one_cell("drift_free_rod", checkpoint_seconds=0, compile="auto")  # gradients are replayed from some step on
    for stage, target in (
        ("discrete", TABLES),
        ("flows", TABLES),
        ("precision/*/discrete", STUDY),
        ("precision/*/flows", STUDY),
    ):

        def moment(process, stage=stage):
            wait_for(lambda: checkpoints(project, stage), seconds=300)
            time.sleep(generator.uniform(0, 0.2))

        assert ended(project, moment, [*grid, "--", target])
        runs = [run for file in checkpoints(project, "**/flows") for run in file.parents[1].glob("discrete/*.h5")]
        kept |= {run: run.stat().st_mtime_ns for run in runs}
        assert not (project / STUDY).exists()
    assert len(kept) >= 2
    finish(workflow(project, 2, grid=[*grid, "--", TABLES, "results/smoke/tables/precision.csv"]))
    assert {run: run.stat().st_mtime_ns for run in kept} == kept
    assert_as_in_one_go(project, tmp_path / "one_go")


@pytest.mark.snakemake
@pytest.mark.long
def test_workflow_stopped_at_three_random_moments(tmp_path):
    """As by Ctrl-C, or by a time limit of benchmarks/paper_on_gpu.sh: what runs then leaves the only checkpoints."""
    project, generator, stops, more = copy_project(tmp_path / "stopped"), random.Random(0), 0, 0
    grid = one_cell("drift_free_rod", precision_cells=[], steps=6000, checkpoint_seconds=1000)

    def moment(process):
        begun = time.time()
        wait_for(
            lambda: any(file.stat().st_mtime >= begun for file in project.glob("results/smoke/logs/[df]*/*")),
            seconds=300,
        )
        time.sleep(more + generator.uniform(0.5, 1.5))

    while stops < 3 and ended(project, moment, [*grid, "--", TABLES], signal.SIGINT):
        stopped = bool(checkpoints(project))  # none where no job had come to its first record
        stops, more = stops + stopped, more + (not stopped)
    assert stops
    finish(workflow(project, 2, grid=[*grid, "--", TABLES]))
    assert_as_in_one_go(project, tmp_path / "one_go")


@pytest.mark.snakemake
@pytest.mark.slow
def test_workflow_killed_twenty_times_at_random_moments(tmp_path):
    """On two cores it ends with what one core makes in one go: tables, series, PNG and PDF, byte by byte."""
    grid = ("architectures=['mlp']", "optimizers=['gd']", "flows=['stable','drift_free_rod']", "steps=10000")
    grid = (*grid, "landscapes=[]", "precision_cells=[]", "checkpoint_seconds=0.2")
    whole = copy_project(tmp_path / "whole")
    finish(workflow(whole, 1, grid=grid))
    expected, generator = outputs(whole), random.Random(0)

    kills, in_loops, projects = 0, 0, [copy_project(tmp_path / "killed0")]

    def moment(process):
        begun = time.time()
        logs = projects[-1] / "results/smoke/logs"
        wait_for(lambda: process.poll() is not None or any(f.stat().st_mtime >= begun for f in logs.glob("**/*.log")))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(generator.uniform(0, LONGEST))

    while kills < 20:
        if ended(projects[-1], moment, grid):
            kills += 1
            in_loops += bool(checkpoints(projects[-1]))
        else:  # done before it was killed: the next one
            projects.append(copy_project(tmp_path / f"killed{len(projects)}"))
    finish(workflow(projects[-1], 2, grid=grid))
    for project in projects:
        assert_equal(project, expected)
    size = sum(len(content) for content in expected.values() if isinstance(content, bytes))
    print(
        f"{kills} kills, {in_loops} left a checkpoint; {len(projects)} x {len(expected)} files equal, {size} bytes each"
    )
    assert in_loops
