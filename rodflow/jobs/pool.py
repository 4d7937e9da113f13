"""Jobs that wait for each other: one after the other in this process, or several at once in processes of their own."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import active_children, get_context

from rodflow.errors import InvalidInput
from rodflow.jobs.progress import log, start_log

ABRUPTLY = "its process ended abruptly, as one does for which there is no memory"


@dataclass
class Job:
    """``work``, which can be sent to another process, and the jobs that need what it makes."""

    name: str
    work: Callable[[], object]
    then: list[Job] = field(default_factory=list)


@dataclass
class Outcome:
    """What became of jobs: what those say that failed, by name, and the names of those that the time did not reach.

    A job that waits for one that failed is neither.
    """

    failed: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    def fail(self, job: Job, said: str) -> None:
        """Note that a job failed, and tell it."""
        self.failed[job.name] = said
        log.error("%s failed: %s", job.name, said)


def attempt(work: Callable[[], object]) -> str:
    """What makes ``work`` fail: wrong input, a file that cannot be used, lack of memory; empty if it is done."""
    try:
        work()
    except (InvalidInput, OSError, MemoryError) as error:
        return str(error) or type(error).__name__
    return ""


def _attempt_in_a_process_of_its_own(work: Callable[[], object]) -> str:
    """:func:`attempt`, and the process ends where ``work`` was asked to end.

    Otherwise the pool would keep the process, which could then wait for ever for the lock of a queue: another process
    that the same signal ended had it.
    """
    try:
        return attempt(work)
    except SystemExit as asked:
        os._exit(asked.code if isinstance(asked.code, int) else 1)


def do(jobs: Iterable[Job], processes: int = 1, seconds: float | None = None) -> Outcome:
    """Do all jobs, so many at once; what follows a job comes next. One that fails is told, and the others go on.

    After ``seconds`` those that run are asked to end by SIGTERM, at which they write their checkpoints. Without that
    limit, a single process is this one.
    """
    waiting, outcome = deque(jobs), Outcome()
    if processes == 1 and seconds is None:
        while waiting:
            job = waiting.popleft()
            if said := attempt(job.work):
                outcome.fail(job, said)
            else:
                waiting.extendleft(reversed(job.then))
        return outcome
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    while waiting and not outcome.left:
        _in_processes(waiting, processes, deadline, outcome)
    return outcome


def _in_processes(waiting: deque[Job], processes: int, deadline: float, outcome: Outcome) -> None:
    """Do jobs until none is ``waiting``, one's process is dead, which takes the others along, or the time is over."""
    others = set(active_children())
    running: dict[Future[str], Job] = {}
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=start_log) as pool:
        while waiting or running:
            while waiting and len(running) < processes:
                job = waiting.popleft()
                running[pool.submit(_attempt_in_a_process_of_its_own, job.work)] = job
            left = deadline - time.monotonic()
            done, _ = wait(running, None if left == math.inf else max(left, 0), FIRST_COMPLETED)
            if not done:
                for process in set(active_children()) - others:
                    process.terminate()
                wait(running)
                outcome.left = [name for job in (*running.values(), *waiting) for name in _names(job)]
                return
            for future in done:
                job = running.pop(future)
                said = ABRUPTLY if isinstance(future.exception(), BrokenProcessPool) else future.result()
                if said:
                    outcome.fail(job, said)
                else:
                    waiting.extendleft(reversed(job.then))
                if said == ABRUPTLY:
                    for other in running.values():
                        outcome.fail(other, ABRUPTLY)
                    return


def _names(job: Job) -> list[str]:
    return [job.name, *(name for other in job.then for name in _names(other))]
