"""Jobs that wait for each other, in this process and in others; failures, a process that dies, a time limit."""

import os
import signal
import time
from functools import partial

import pytest

from rodflow.errors import InvalidInput
from rodflow.jobs.checkpoint import Checkpoint
from rodflow.jobs.pool import ABRUPTLY, Job, do


def touch(folder, name):
    (folder / name).write_text(str(time.monotonic()))


def refuse():
    raise InvalidInput("key", 1, "two")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class SlowlyWritten(Checkpoint):
    """One that is still being written when its process is asked to end for the second time."""

    def _write(self):
        self._writing = True
        time.sleep(3)
        super()._write()


def count(path, kind=Checkpoint):
    """Count to where a checkpoint is due only when the process is asked to end."""
    with kind(path, "key", seconds=1000) as checkpoint:
        for i in range(10**6):
            checkpoint.save({"i": i})
            time.sleep(0.001)


@pytest.mark.parametrize("processes", [1, 2])
def test_what_follows_a_job_comes_after_it_and_not_after_one_that_failed(tmp_path, processes):
    made = partial(touch, tmp_path)
    jobs = [
        Job("a", partial(made, "a"), [Job("aa", partial(made, "aa")), Job("ab", partial(made, "ab"))]),
        Job("b", refuse, [Job("ba", partial(made, "ba"))]),
        Job("c", partial(made, "c")),
    ]
    outcome = do(jobs, processes)
    assert outcome.failed == {"b": "key: got 1, allowed: two"} and outcome.left == []
    when = {file.name: float(file.read_text()) for file in tmp_path.iterdir()}
    assert when.keys() == {"a", "aa", "ab", "c"} and when["a"] < min(when["aa"], when["ab"])
    if processes == 1:
        assert when["aa"] < when["ab"] < when["c"]


def test_a_process_that_dies_fails_its_job_and_the_rest_goes_on(tmp_path):
    jobs = [Job("dead", die, [Job("never", partial(touch, tmp_path, "never"))])]
    jobs += [Job(name, partial(touch, tmp_path, name)) for name in ("one", "other", "third")]
    outcome = do(jobs, 2)
    assert outcome.failed["dead"] == ABRUPTLY and set(outcome.failed.values()) == {ABRUPTLY}
    made = {file.name for file in tmp_path.iterdir()}
    assert {"third"} <= made == {"one", "other", "third"} - outcome.failed.keys() and not outcome.left


@pytest.fixture(scope="module")
def limit():
    """Seconds, of which two processes take a part to begin."""
    begun = time.monotonic()
    do([Job("none", int), Job("nothing", int)], 2, seconds=600)
    return 6 + 3 * (time.monotonic() - begun)


def test_a_time_limit_leaves_checkpoints_and_names_what_is_left(tmp_path, limit):
    after = Job("after", partial(touch, tmp_path, "after"))
    jobs = [Job(name, partial(count, tmp_path / f"{name}.npz"), [after]) for name in ("a", "b", "c")]
    begun = time.monotonic()
    outcome = do(jobs, 2, seconds=limit)
    assert limit <= time.monotonic() - begun < limit + 30
    assert outcome.left == ["a", "after", "b", "after", "c", "after"] and not outcome.failed
    assert {file.name for file in tmp_path.iterdir()} == {"a.npz", "b.npz"}
    with Checkpoint(tmp_path / "a.npz", "key") as checkpoint:
        assert checkpoint.load()["i"] > 0


def test_a_time_limit_ends_a_process_beside_one_that_waits_for_work(tmp_path, limit):
    jobs = [Job("quick", int), Job("slow", partial(count, tmp_path / "slow.npz", SlowlyWritten))]
    outcome = do(jobs, 2, seconds=limit)
    assert outcome.left == ["slow"] and not outcome.failed and (tmp_path / "slow.npz").exists()


def test_a_limit_longer_than_the_jobs_is_none(tmp_path):
    assert do([Job("a", partial(touch, tmp_path, "a"))], 1, seconds=60).left == [] and (tmp_path / "a").exists()
