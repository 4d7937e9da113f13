"""How a process of numerical work is set up."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from rodflow.jobs.process import set_up

if sys.argv[1] == "set up":
    set_up(1)
    assert torch.get_num_threads() == 1
for _ in range(20):
    torch.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how):
    """Of five vectors of 40 MB, each freed before the next, after twenty such."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_freed_memory_is_used_again():
    assert page_faults("as it starts") > 10_000
    assert page_faults("set up") < 100
