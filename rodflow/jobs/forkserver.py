"""The fork server: start-up once, a fork per job.

Importing torch, pandas and matplotlib takes 2.9 seconds of processor time, many jobs take less: in the default run, 196
jobs, that is 570 seconds beside the 1,875 that the whole run takes with a server. So the workflow starts a process that
imports them and computes nothing (``ForkServer``). Each ``python -m rodflow ...`` of its rules hands its arguments,
folder, environment and standard streams to that process, which forks a child for them (``run_in_server``, ``serve``).
From there on the child is an ordinary start: it returns to ``rodflow.cli.main``, and the command ends as the child
does, by exit status or by signal. Signals go on to the child; a child whose command is gone is killed.

A command runs in its own process, as if there were no server, where the variable ``RODFLOW_FORKSERVER`` names no
server that answers: one that still imports, that imported another checkout or in another environment, or that is on
another machine. Only on Linux: a fork is safe in a process without threads, which macOS's own libraries may start.

The server lives as long as its standard input is open: it ends with the process that started it, however that ends,
and its jobs with it. A command imports this module and no other of the project, so this one imports little.
"""

from __future__ import annotations

import functools
import io
import json
import os
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    import subprocess

    from threadpoolctl import ThreadpoolController

VARIABLE = "RODFLOW_FORKSERVER"
"""Environment variable: the path of the server's socket, or ``OFF``."""
OFF = "off"
PROGRAM = "python -m rodflow"
SUPPORTED = sys.platform == "linux"
FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
ACCEPTED = b"+"
LENGTH = 4
"""Bytes of a whole number on the socket: the size of a request, the exit status of a job (negative: its signal)."""
ANSWER_SECONDS, REQUEST_SECONDS = 60.0, 5.0
"""How long a command waits for its child, and the server for a request that has begun."""
SINGLE_THREADED = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""The server's environment: its libraries are not to start a thread when they are imported."""
LAZY = (
    "cvxpy",
    "h5py",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_pdf",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "torch._dynamo",
    "torch.fx.experimental.symbolic_shapes",
)
"""What the stages, and torch itself at the first gradient, import when they come to use it."""


def identity() -> list[Any]:
    """What a command and a server must share for the server's imports to be the command's."""
    settings = {key: value for key, value in os.environ.items() if key.startswith("PYTHON")}
    return [sys.version, sys.prefix, os.path.dirname(os.path.realpath(__file__)), settings]


# The command


def run_in_server() -> None:
    """Run this process's command in a child of the server and exit as it does; return where no server takes it."""
    path = os.environ.get(VARIABLE, OFF)
    if not SUPPORTED or path == OFF:
        return
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(path)
        _send_request(connection)
        if connection.recv(len(ACCEPTED)) != ACCEPTED:
            return
    except OSError:
        return
    connection.settimeout(None)

    def forward(number: int, _: object) -> None:
        with suppress(OSError):
            connection.send(bytes([number]))

    for number in FORWARDED:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, forward)
    # the child holds its end too: this returns nothing only when server and child are both gone
    answer = connection.recv(LENGTH, socket.MSG_WAITALL)
    if len(answer) < LENGTH:
        sys.exit("error: the fork server ended before this job")
    status = int.from_bytes(answer, "big", signed=True)
    if status < 0:
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


def _send_request(connection: socket.socket) -> None:
    request = {
        "identity": identity(),
        "arguments": sys.argv[1:],
        "folder": os.getcwd(),
        "environment": dict(os.environ),
    }
    message = json.dumps(request).encode()
    socket.send_fds(connection, [len(message).to_bytes(LENGTH, "big")], [0, 1, 2])
    connection.sendall(message)


# The server


class Request(NamedTuple):
    """What a command asks for; ``streams`` are descriptors of its standard input, output and error."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    streams: list[int]


class Job(NamedTuple):
    """A child that runs; ``begun`` is in seconds of the monotonic clock."""

    connection: socket.socket
    command: str
    begun: float


def _log(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def _receive(connection: socket.socket) -> Request | None:
    """The request of a command that shares this server's identity, None for another's.

    Raises: ``OSError`` or ``ValueError`` if it does not come whole within ``REQUEST_SECONDS``.
    """
    connection.settimeout(REQUEST_SECONDS)
    size, streams, _, _ = socket.recv_fds(connection, LENGTH, 3)
    accepted = False
    try:
        with connection.makefile("rb") as file:
            message = json.loads(file.read(int.from_bytes(size, "big")))
        accepted = message.pop("identity") == identity()
        return Request(**message, streams=streams) if accepted else None
    finally:
        if not accepted:
            _close(streams)


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class _Server:
    """The loop over the listening socket, the jobs' connections, this process's signals and its standard input."""

    def __init__(self, path: str):
        self.path = path
        self.jobs: dict[int, Job] = {}
        self.signals, self.waker = socket.socketpair()
        self.listener = socket.socket(socket.AF_UNIX)
        self.waker.setblocking(False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)  # what there is to do is done in the loop
        signal.set_wakeup_fd(self.waker.fileno())
        self.listener.bind(path)
        self.listener.listen(128)
        self.selector = selectors.DefaultSelector()
        for source in (self.listener, self.signals, sys.stdin):
            self.selector.register(source, selectors.EVENT_READ)

    def loop(self) -> bool:
        """Serve. False in the server, once it is to end; True in each child, which is to run its command."""
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is self.listener:
                    if self.accept():
                        return True
                elif key.fileobj is self.signals:
                    if signal.SIGTERM in self.signals.recv(4096):
                        return False
                    for pid in list(self.jobs):
                        self.reap(pid, os.WNOHANG)
                elif key.fileobj is sys.stdin:
                    if not os.read(key.fd, 4096):
                        return False
                elif key.data in self.jobs:
                    self.forward(key.data)

    def accept(self) -> bool:
        """Fork a child for the next command; True in the child. A command that is not accepted runs by itself."""
        connection, _ = self.listener.accept()
        try:
            request = _receive(connection)
        except (OSError, ValueError) as error:
            _log(f"no request: {error}")
            request = None
        if request is None:
            connection.close()
            return False
        # no signal is to find the server's handlers in the child
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
        except OSError as error:
            _log(f"no child: {error}")
            pid = -1
        if pid == 0:
            self.become(request, connection)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if pid == 0:
            return True
        _close(request.streams)
        if pid < 0:
            connection.close()
            return False
        connection.setblocking(False)
        self.jobs[pid] = Job(connection, " ".join(request.arguments), time.monotonic())
        self.selector.register(connection, selectors.EVENT_READ, pid)
        _log(f"{pid} begins: {self.jobs[pid].command}")
        self.send(pid, ACCEPTED)
        return False

    def become(self, request: Request, connection: socket.socket) -> None:
        """Make of a forked child what an ordinary start of its command would be."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        connection.detach()  # stays open until the child ends, see run_in_server
        self.selector.close()
        for held in (self.listener, self.signals, self.waker, *(job.connection for job in self.jobs.values())):
            held.close()
        for target, descriptor in enumerate(request.streams):
            os.dup2(descriptor, target)
            os.close(descriptor)
        cast(io.TextIOWrapper, sys.stdout).reconfigure(line_buffering=sys.stdout.isatty())
        os.chdir(request.folder)
        os.environ.clear()
        os.environ.update(request.environment)
        sys.argv[1:] = request.arguments
        _honour_threads()

    def forward(self, pid: int) -> None:
        """Hand a command's signals on to its child; kill the child if the command has gone."""
        try:
            numbers = self.jobs[pid].connection.recv(64)
        except ConnectionError:
            numbers = b""
        if not numbers:
            self.selector.unregister(self.jobs[pid].connection)
        for number in numbers or [signal.SIGKILL]:
            os.kill(pid, number)

    def reap(self, pid: int, options: int = 0) -> None:
        """Tell a command how its child ended, if it has."""
        ended, status, usage = os.wait4(pid, options)
        if not ended:
            return
        code = os.waitstatus_to_exitcode(status)
        self.send(pid, code.to_bytes(LENGTH, "big", signed=True))
        job = self.jobs.pop(pid)
        if job.connection in self.selector.get_map():
            self.selector.unregister(job.connection)
        job.connection.close()
        seconds, cpu = time.monotonic() - job.begun, usage.ru_utime + usage.ru_stime
        _log(f"{pid} ends: {code}, {seconds:.2f} s, {cpu:.2f} s of CPU, at most {usage.ru_maxrss // 1024} MiB")

    def send(self, pid: int, message: bytes) -> None:
        """Write to a command; one that is gone is seen by ``forward``."""
        with suppress(OSError):
            self.jobs[pid].connection.send(message)

    def end(self) -> None:
        """Kill the children that run, and remove the socket and its folder."""
        for pid in list(self.jobs):
            os.kill(pid, signal.SIGKILL)
            self.reap(pid)
        os.unlink(self.path)
        os.rmdir(os.path.dirname(self.path))


@functools.cache
def _thread_pools() -> ThreadpoolController:
    """The thread pools of the libraries that are loaded; those of the server, where it is asked first."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _honour_threads() -> None:
    """Give the libraries the number of threads that they would have read from the environment when loaded."""
    import torch

    asked = os.environ.get("OMP_NUM_THREADS", "")
    count = int(asked) if asked.isdigit() and int(asked) else len(os.sched_getaffinity(0))
    _thread_pools().limit(limits=count)
    torch.set_num_threads(count)


def preload() -> None:
    """Import all that the stages use. Raises: ``SystemExit`` if that starts a thread, with which no fork is safe."""
    import gc
    import importlib
    import pkgutil

    from rodflow import cli
    from rodflow.pipeline import stages

    begun = time.monotonic()
    for name in (cli.__name__, *(f"{stages.__name__}.{m.name}" for m in pkgutil.iter_modules(stages.__path__))):
        importlib.import_module(name)
    for name in LAZY:
        with suppress(ModuleNotFoundError):  # of an extra that is not installed
            importlib.import_module(name)
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        sys.exit(f"the imports started threads, {threads} in all; jobs run in their own processes")
    _thread_pools()
    gc.freeze()  # so that no collection in a child touches, and copies, the server's memory
    _log(f"{len(sys.modules)} modules in {time.monotonic() - begun:.1f} s")


def serve(path: str) -> None:
    """Preload and serve on a socket at ``path``, alone in its folder. Returns in the children only."""
    preload()
    server = _Server(path)
    if not server.loop():
        server.end()
        _log("ended")
        sys.exit()


def run_command() -> None:
    """Run the child's command and exit as an ordinary start does, only sooner."""
    from rodflow.cli import main

    try:
        main(PROGRAM)
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        # an interpreter that is taken down touches, and so copies, all of the server's memory: a third of a second
        os._exit(end.code)


# The workflow


class ForkServer:
    """The server of one run of the workflow, and the variable that shows the run's jobs the way."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.folder = ""

    def start(self, log: str | os.PathLike[str]) -> None:
        """Start a server that ends with this process; none where there is none to be. Its messages go to ``log``."""
        import shutil
        import subprocess
        import tempfile

        if not SUPPORTED or os.environ.get(VARIABLE) == OFF:
            return
        self.folder = tempfile.mkdtemp(prefix="rodflow-")  # for this user only
        path = os.path.join(self.folder, "socket")
        os.makedirs(os.path.dirname(log), exist_ok=True)
        # by the rules' interpreter, in a session of its own: an interrupt from the terminal reaches the jobs only
        with open(log, "w") as file:
            self.process = subprocess.Popen(
                [shutil.which("python") or sys.executable, "-m", __name__, path],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                env=os.environ | SINGLE_THREADED,
                start_new_session=True,
            )
        os.environ[VARIABLE] = path

    def stop(self) -> None:
        """End the server if there is one, and remove what it left."""
        import shutil

        if self.process is None:
            return
        os.environ.pop(VARIABLE, None)
        self.process.terminate()
        self.process.communicate()  # closes its standard input
        self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)


if __name__ == "__main__":
    serve(sys.argv[1])
    run_command()
