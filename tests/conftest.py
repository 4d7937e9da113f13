"""One thread: the tests' arrays are small, and spinning threads slow each other down on a busy machine."""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import torch

torch.set_num_threads(1)
