"""Whether this machine has a GPU, and how many jobs share it; asked of the driver, since torch is slow to load."""

from __future__ import annotations

import shutil
import subprocess

JOB_MIB = 20_000
"""Free memory that a job is reckoned to need: the largest network of config/paper.yaml took 22,500 MiB in float64, the
others 425 and 5,600. A job that gets less halves its ``chunk_size``.
"""


def shares() -> int:
    """How many jobs at once the free memory of the first GPU holds, at least one; 0 without a GPU."""
    if shutil.which("nvidia-smi") is None:
        return 0
    words = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True).stdout.split()
        return max(1, int(said[0]) // JOB_MIB)
    except (subprocess.SubprocessError, OSError, ValueError):
        return 1
    except IndexError:  # a driver without a GPU
        return 0
