"""Random errors as rounding makes them: the same numbers on every device and in every dtype, from step and stream."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

BLOCK = 2**15
"""Numbers that a CPU draws at once: for few weights those of many steps, since starting an operation takes the time;
for many weights a part of them, which stays in the cache.
"""


def rounding_errors(w: Tensor, size: float, t: int, stream: int) -> Tensor:
    """Errors ``[d]`` as rounding makes them in the step to t: ``size |w_i| u_i``, u uniform in [-1, 1).

    u depends on i, t and ``stream`` alone, and is a multiple of 2^-23, so that it is the same number in each dtype.
    """
    steps = max(1, BLOCK // max(1, w.numel()))
    first = t - t % steps
    return w.abs().mul_(size).mul_(_uniform(w.numel(), first, steps, stream, w.device)[t - first])


@lru_cache(maxsize=2)
def _uniform(d: int, first: int, steps: int, stream: int, device: torch.device) -> Tensor:
    """Uniform numbers in [-1, 1) for d weights in each of so many steps, float32 ``[steps, d]``.

    Counter-based: a hash of the weight's index and of two keys that a second hash makes of stream and step. The mixing
    of 32 bits is that of C. Wellons' "lowbias32" (public domain). Products of int32 wrap, as torch has no uint32 ones.
    """
    keys = [_splitmix64((stream << 32) + t) for t in range(first, first + steps)]
    low, high = (
        torch.tensor([[_signed(key >> shift)] for key in keys], dtype=torch.int32, device=device) for shift in (0, 32)
    )
    numbers = torch.empty(steps, d, device=device)
    part = BLOCK if device.type == "cpu" else d
    for begin in range(0, d, part):
        end = min(begin + part, d)
        x = torch.arange(begin, end, dtype=torch.int32, device=device) * _signed(0x9E3779B9) + low
        x ^= (x >> 16).bitwise_and_(0xFFFF)
        x *= _signed(0x21F0AAAD)
        x += high
        x ^= (x >> 15).bitwise_and_(0x1FFFF)
        x *= _signed(0x735A2D97)
        torch.mul(x.bitwise_right_shift_(8), 2.0**-23, out=numbers[:, begin:end])
    return numbers


def _signed(bits: int) -> int:
    """The lowest 32 bits as an int32."""
    return ((bits & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000


def _splitmix64(x: int) -> int:
    """64 mixed bits of x: one output of the generator of Steele, Lea and Flood (OOPSLA 2014) from the state x."""
    x = (x + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return x ^ (x >> 31)
