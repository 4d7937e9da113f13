"""The fork server: a command ends, writes and reacts in its child as it does in its own process."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from helpers.checkout import ROOT, interruptible, wait_for

from rodflow.jobs import forkserver
from rodflow.jobs.files import read_arrays
from rodflow.jobs.forkserver import OFF, VARIABLE, ForkServer

pytestmark = pytest.mark.skipif(not forkserver.SUPPORTED, reason="the fork server is for Linux")
SMOKE = str(ROOT / "config" / "smoke.yaml")


def gone(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has asked for its status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def reads_a_pipe(pid: int) -> bool:
    """Whether a process sleeps in a read of a pipe; or just sleeps, where the kernel does not say in what."""
    state, where = (Path(f"/proc/{pid}/{name}").read_text() for name in ("stat", "wchan"))
    return "pipe_read" in where or (where in ("", "0") and state.rpartition(")")[2].split()[0] == "S")


class Served(NamedTuple):
    """A server that answers at ``path`` and writes to ``log``."""

    path: str
    log: Path

    def begun(self, word: str) -> list[int]:
        """The children that began a command with this word in it."""
        return [int(pid) for pid in re.findall(rf"(\d+) begins: .*{re.escape(word)}", self.log.read_text())]


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    log = tmp_path_factory.mktemp("server") / "logs" / "forkserver.log"
    with pytest.MonkeyPatch.context() as patch:
        # the server's `python`, and where it and the commands find this checkout
        patch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.delenv(VARIABLE, raising=False)
        server = ForkServer()
        server.start(log)
        path = os.environ[VARIABLE]
        wait_for(lambda: Path(path).exists() or server.process.poll() is not None)
        yield Served(path, log)
        server.stop()
        assert VARIABLE not in os.environ
    assert log.read_text().endswith("ended\n")
    assert not Path(path).parent.exists()


def start(*words: str, server: str, cwd: Path = ROOT, **settings: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "rodflow", *words],
        cwd=cwd,
        env=os.environ | {VARIABLE: server, "PYTHONPATH": str(ROOT)} | settings,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=interruptible,
    )


def run(*words: str, server: str, text: str = "", **options) -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    process = start(*words, server=server, **options)
    output = process.communicate(text, timeout=120)
    return process.returncode, *output


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["schema"], 0),
        (["--help"], 0),
        (["flow", "--seed", "first"], 2),
        (["dataset", "--config", "absent.yaml", "--output", "x.npz"], 2),
        (["dataset", "--config", SMOKE, "--output", "/dev/null/x.npz"], 1),
    ],
    ids=["output", "help", "usage", "wrong input", "no such folder"],
)
def test_output_and_status_are_those_of_an_ordinary_start(served, words, status):
    before = len(served.begun(" ".join(words)))
    forked = run(*words, server=served.path)
    assert len(served.begun(" ".join(words))) == before + 1
    assert forked == run(*words, server=OFF)
    assert forked[0] == status
    assert forked[1] + forked[2]


def test_results_are_those_of_an_ordinary_start_to_the_last_bit(served, tmp_path):
    for name, server in (("forked", served.path), ("own", OFF)):
        images = f"{name}/dataset.npz"
        cell = ["--architecture", "mlp", "--optimizer", "gd", "--dataset", images, "--output", f"{name}/run.h5"]
        for words in (["dataset", "--output", images], ["discrete", *cell]):
            status, _, error = run(*words, "--config", SMOKE, server=server, cwd=tmp_path, OMP_NUM_THREADS="1")
            assert status == 0, error
    assert len(served.begun("forked/run.h5")) == 1
    (forked, forked_attributes), (own, own_attributes) = (
        read_arrays(tmp_path / f"{name}/run.h5") for name in ("forked", "own")
    )
    assert forked.keys() == own.keys() and forked_attributes.keys() == own_attributes.keys()
    for key in own:
        np.testing.assert_array_equal(forked[key], own[key])
    for name in ("dataset.npz", "run.parquet"):
        assert (tmp_path / "forked" / name).read_bytes() == (tmp_path / "own" / name).read_bytes()


def test_environment_and_standard_input_are_the_commands(served, tmp_path):
    narrow, wide = ({"COLUMNS": columns} for columns in ("50", "140"))
    helps = [run("--help", server=served.path, **width) for width in (narrow, wide)]
    assert helps[0] != helps[1]
    assert helps == [run("--help", server=OFF, **width) for width in (narrow, wide)]
    # a relative path: the folder is the command's as well
    status, _, error = run(
        "dataset",
        "--config",
        "/dev/stdin",
        "--output",
        "of_stdin.npz",
        server=served.path,
        text=Path(SMOKE).read_text(),
        cwd=tmp_path,
    )
    assert status == 0, error
    assert (tmp_path / "of_stdin.npz").exists() and served.begun("of_stdin.npz")


def test_threads_are_the_commands():
    """In a process of its own, as a child of the server is: other tests' libraries have pools of their own here."""
    check = (
        "import os, sys, torch, numpy; from threadpoolctl import threadpool_info; from rodflow.jobs import forkserver\n"
        "for n in (2, 1):\n"
        "    os.environ['OMP_NUM_THREADS'] = str(n); forkserver._honour_threads()\n"
        "    assert torch.get_num_threads() == n and {pool['num_threads'] for pool in threadpool_info()} == {n}\n"
    )
    done = subprocess.run([sys.executable, "-c", check], check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


class Waiting(NamedTuple):
    """A command that waits for its config at the other end of a pipe."""

    process: subprocess.Popen
    pipe: int

    def config(self, text: str) -> None:
        os.write(self.pipe, text.encode())
        os.close(self.pipe)


def wait_for_config(pipe: Path, server: str) -> Waiting:
    """Start a command and wait until it reads its config from a new named pipe."""
    os.mkfifo(pipe)
    process = start("dataset", "--config", str(pipe), "--output", "x.npz", server=server)
    opened: list[int] = []

    def reads() -> bool:
        try:
            opened.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # nobody reads yet
            return False
        return True

    wait_for(reads)
    return Waiting(process, opened[0])


def test_jobs_run_side_by_side(served, tmp_path):
    names = ("first", "second")
    jobs = {name: wait_for_config(tmp_path / name, served.path) for name in names}
    children = {name: served.begun(str(tmp_path / name))[0] for name in names}
    for name in ("second", "first"):  # each ends by itself, the later one first
        assert not gone(children[name])
        jobs[name].config(f"[{name}]")
        assert f"got ['{name}']" in jobs[name].process.communicate(timeout=30)[1]
        assert jobs[name].process.returncode == 2
        assert gone(children[name])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_ends_a_command_as_it_ends_an_ordinary_start(served, tmp_path, number):
    ends = []
    for name, server in (("forked", served.path), ("own", OFF)):
        process = wait_for_config(tmp_path / name, server).process
        works = process.pid if server == OFF else served.begun(str(tmp_path / name))[0]
        # Python sees a signal that comes between opening and reading only after the read
        wait_for(lambda works=works: reads_a_pipe(works))
        process.send_signal(number)
        ends.append((*process.communicate(timeout=30), process.returncode))
    assert ends[0] == ends[1]
    assert ends[0][2] == (130 if number == signal.SIGINT else -number)  # typer answers an interrupt itself
    assert gone(served.begun(str(tmp_path / "forked"))[0])


def test_a_killed_command_takes_its_child_along(served, tmp_path):
    process = wait_for_config(tmp_path / "pipe", served.path).process
    process.kill()
    process.communicate()
    wait_for(lambda: gone(served.begun(str(tmp_path / "pipe"))[0]))
    assert run("schema", server=served.path)[0] == 0


def test_a_killed_child_ends_its_command_alike(served, tmp_path):
    process = wait_for_config(tmp_path / "pipe", served.path).process
    os.kill(served.begun(str(tmp_path / "pipe"))[0], signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("case", ["absent", "deserted", "too long", "of another environment"])
def test_without_a_server_of_its_kind_a_command_runs_by_itself(served, tmp_path, case):
    path, settings = str(tmp_path / "socket"), {}
    if case == "deserted":
        with forkserver.socket.socket(forkserver.socket.AF_UNIX) as socket:
            socket.bind(path)
    elif case == "too long":
        path = "/tmp/" + 200 * "x"
    elif case == "of another environment":
        path, settings = served.path, {"PYTHONOPTIMIZE": "1"}
    before = len(served.begun("schema"))
    assert run("schema", server=path, **settings) == run("schema", server=OFF)
    assert len(served.begun("schema")) == before


def test_no_server_forks_from_a_process_with_threads():
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    try:
        with pytest.raises(SystemExit, match="started threads"):
            forkserver.preload()
    finally:
        release.set()
        thread.join()


def test_no_server_is_started_where_it_is_switched_off(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, OFF)
    server = ForkServer()
    server.start(tmp_path / "log")
    assert server.process is None and os.environ[VARIABLE] == OFF
    server.stop()


def test_a_server_ends_with_the_process_that_started_it_and_its_jobs_with_it(served, tmp_path):
    log = tmp_path / "log"
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, sys, time; from rodflow.jobs.forkserver import ForkServer, VARIABLE;"
            "server = ForkServer(); server.start(sys.argv[1]);"
            "print(server.process.pid, os.environ[VARIABLE], flush=True); time.sleep(600)",
            str(log),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    pid, path = parent.stdout.readline().split()
    assert path != served.path
    wait_for(Path(path).exists)
    process = wait_for_config(tmp_path / "pipe", path).process
    child = Served(path, log).begun("pipe")[0]
    parent.kill()
    parent.communicate()
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    wait_for(lambda: gone(int(pid)) and gone(child))
    assert not Path(path).parent.exists()
    assert run("schema", server=served.path)[0] == 0  # the other run's server serves on
