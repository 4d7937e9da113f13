"""A function of tensors, replayed: the operations that it carries out, without the Python around them."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from rodflow.errors import InvalidInput
from rodflow.jobs.progress import log
from rodflow.training.forward import ONE_AT_A_TIME

Function = Callable[..., tuple[Tensor, ...]]
Compile = Literal["auto", "off", "on"]
COMPILE = get_args(Compile)
PATIENCE = 200
"""Calls at arguments of one kind before the function is traced: tracing takes as long as some hundred calls gain."""
ASIDE = 1.01
"""Trace at arguments scaled by this factor, so that a value baked in as a constant is detected."""


class Replayed:
    """``plain``, a function of tensors that returns tensors, as the list of its operations.

    A small network's gradient spends most of its time in Python, and on a GPU in launching one operation after the
    other. So for each combination of shapes, dtypes and device that is met, the function is traced: what
    follows carries out the same operations, without the function's Python and without recording a graph for
    differentiation. On a GPU they are a CUDA graph besides, launched as one. With ``compile="on"`` torch.compile fuses
    them first, which takes seconds to minutes and a C++ compiler; ``compile="off"`` leaves the function as it is.
    The first call traces. Where ``auto`` gives the same bits either way, on a CPU, :data:`PATIENCE` calls come first.

    The function has to be pure: it may depend on nothing but its arguments, and on nothing that it reads out of a
    tensor into Python. Where it cannot be traced, or what was traced gives other numbers at the arguments of that
    call, the function is called as it is, and the log says why, once. ``faster`` is another way to the same results,
    traced in the place of ``plain``, whose bits may be others.

    Raises: ``InvalidInput`` for another value of ``compile``.
    """

    def __init__(self, plain: Function, compile: Compile = "auto", faster: Function | None = None):
        if compile not in COMPILE:
            raise InvalidInput("compile", compile, f"one of {', '.join(COMPILE)}")
        self.plain, self.compile, self.faster = plain, compile, faster or plain
        self.refused = ""
        """Why the function is called as it is, if it is not for ``compile``."""
        self._ready: dict[tuple[object, ...], Function] = {}
        self._patient = compile == "auto" and faster is None
        self._called: Counter[tuple[object, ...]] = Counter()

    @property
    def replays(self) -> bool:
        """Whether the function is replayed, as far as is known."""
        return self.compile != "off" and not self.refused

    def __call__(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        if not self.replays:
            return self.plain(*arguments)
        key = tuple((a.shape, a.dtype, a.device) for a in arguments)
        if key not in self._ready:
            if self._patient and self._called[key] < PATIENCE and not arguments[0].is_cuda:
                self._called[key] += 1
                return self.plain(*arguments)
            with ONE_AT_A_TIME:  # a second thread takes what the first one traced
                self._trace(key, arguments)
        return self._ready.get(key, self.plain)(*arguments)

    def _trace(self, key: tuple[object, ...], arguments: tuple[Tensor, ...]) -> None:
        if key in self._ready or self.refused:
            return
        try:
            self._ready[key] = self._replay(arguments)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # tracing runs the user's code under torch's tracer: anything may be raised
            self.refused = (str(error).strip() or type(error).__name__).splitlines()[0]
            log.info("gradients are evaluated operation by operation: %s", self.refused)

    def forget(self) -> None:
        """Let go of what was traced, and of its memory."""
        self._ready.clear()

    def _replay(self, arguments: tuple[Tensor, ...]) -> Function:
        replay: Function = traced(self.faster, arguments)
        if self.compile == "on":
            replay = torch.compile(replay)
        if arguments[0].is_cuda:
            replay = Recorded(replay, arguments, CudaTape())
        for found, wanted in zip(replay(*arguments), self.plain(*arguments), strict=True):
            if not agree(found, wanted):
                raise ValueError("replayed, it gives other numbers")
        return replay


def traced(function: Function, arguments: tuple[Tensor, ...]) -> fx.GraphModule:
    """The operations of ``function`` at arguments like these, as a function of these."""
    aside = [a * ASIDE if a.is_floating_point() else a for a in arguments]
    with torch.no_grad():
        return make_fx(function)(*aside)


def agree(found: Tensor, wanted: Tensor) -> bool:
    """Whether two tensors agree to half of their digits."""
    size = float(wanted.abs().nan_to_num(0, 0, 0).max()) if wanted.numel() else 0.0
    rough = math.sqrt(torch.finfo(wanted.dtype).eps)
    return torch.allclose(found, wanted, rtol=rough, atol=rough * size, equal_nan=True)


class Tape(Protocol):
    """Where work is recorded once and done again with what is then in the same memory."""

    def record(self, work: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Do the work; its results, in memory that :meth:`play` writes to."""

    def play(self) -> None:
        """Do the work again."""


class CudaTape:
    """A CUDA graph: all kernels of the work, launched as one."""

    def __init__(self) -> None:
        self.graph = torch.cuda.CUDAGraph()

    def record(self, work: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # libraries take their workspaces before anything is captured
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(aside)
        with torch.cuda.graph(self.graph):
            return work()

    def play(self) -> None:
        self.graph.replay()


class Recorded:
    """``function`` at arguments of these shapes, recorded on a tape: arguments are copied in, results copied out."""

    def __init__(self, function: Function, arguments: tuple[Tensor, ...], tape: Tape):
        self.inputs = [a.clone() for a in arguments]
        self.sources = list(arguments)  # an argument that is the same tensor as last time, as data are, is in place
        self.tape, self.in_use = tape, threading.Lock()
        self.results = tape.record(lambda: function(*self.inputs))

    def __call__(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        with self.in_use:
            for i, argument in enumerate(arguments):
                if i == 0 or argument is not self.sources[i]:
                    self.inputs[i].copy_(argument)
                    self.sources[i] = argument
            self.tape.play()
            return tuple(result.clone() for result in self.results)
