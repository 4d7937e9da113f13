"""The file of a discrete run: what it holds, how it is written and read."""

import tracemalloc

import h5py
import numpy as np
import torch
from helpers.problems import network, optimizer

from rodflow.jobs.files import read_arrays, write_arrays
from rodflow.pipeline.run_file import load_once, save
from rodflow.training.discrete import train
from rodflow.training.run_file import load


def test_a_file_of_a_run_holds_midpoints_weights_and_windows_and_little_else(tmp_path):
    """Not m and nu at every record: 0.6 of what all states take for Adam and 50 records, of which windows are 0.2."""
    net = network()
    run = train(net.objective(), optimizer("adam"), net.w0, 500, record_interval=10)
    run.window(20)
    save(run, tmp_path / "run.h5")
    d, records, numbers = len(net.w0), 50, np.dtype(float).itemsize
    with h5py.File(tmp_path / "run.h5") as file:
        large = {name: file[name].nbytes for name in file if file[name].ndim == 2 and file[name].shape[1] == d}
    assert large == {
        **dict.fromkeys(("midpoints", "state_w"), records * d * numbers),
        **dict.fromkeys((f"window20_{part}" for part in ("w", "m", "nu")), 17 * d * numbers),
    }
    assert (tmp_path / "run.h5").stat().st_size < sum(large.values()) + 2**15
    stored = load(tmp_path / "run.h5")
    assert torch.equal(stored.states.w, run.states.w)
    assert stored.states.m.shape == stored.states.nu.shape == (records, 0)


def test_flows_of_one_process_read_a_run_once(tmp_path):
    net, path = network(), tmp_path / "run.h5"
    run = train(net.objective(), optimizer("gd"), net.w0, 30, record_interval=10)
    save(run, path)
    first = load_once(path)
    assert load_once(path) is first
    longer = train(net.objective(), optimizer("gd"), net.w0, 40, record_interval=10)
    save(longer, path)
    assert len(load_once(path).record_steps) == 4


def test_arrays_are_written_without_a_copy_of_all(tmp_path):
    arrays = {name: np.ones(2**20) for name in ("one", "two", "three", "four")}
    tracemalloc.start()
    try:
        write_arrays(tmp_path / "run.h5", arrays, {"threshold": 2.0})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**23
    read, attributes = read_arrays(tmp_path / "run.h5")
    assert attributes == {"threshold": 2.0} and all((read[name] == 1).all() for name in arrays)
