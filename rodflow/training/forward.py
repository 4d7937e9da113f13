"""A loss's forward pass under what its derivatives need of torch, one pass at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from torch.backends import cudnn, mha
from torch.nn.attention import SDPBackend, sdpa_kernel

ONE_AT_A_TIME = threading.RLock()
"""Held during a forward pass or a tracing. ``torch.func.functional_call`` writes parameters into the module while it
runs, and the choice of attention kernels is one of the whole process: threads would see each other's.
"""


def exact_on_gpu() -> None:
    """From now on, in this process, convolutions on a GPU compute in the precision of their numbers, with the same bits
    each time.

    By default torch computes those of float32 in TF32, which has ten bits, and with additions in any order: a rounding
    error of 1e-3, where a run and its twin are thought to have one of 1e-7.
    """
    cudnn.allow_tf32, cudnn.deterministic = False, True


@contextmanager
def forward_pass(twice: bool = False) -> Iterator[None]:
    """One forward pass, of a loss that is differentiated ``twice`` or fewer times.

    Torch's fused attention has no second derivative: ``twice`` takes the plain one. The fast path of torch's
    transformer layers, which torch takes where nothing is differentiated, drops what padding hides: never here, so
    that a value is that of the function whose gradient is taken.
    """
    with ONE_AT_A_TIME, sdpa_kernel(SDPBackend.MATH) if twice else nullcontext():
        fast = mha.get_fastpath_enabled()
        mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            mha.set_fastpath_enabled(fast)
