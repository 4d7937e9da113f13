"""Random rounding errors: the promised size, the same numbers everywhere, no trace of an order in them."""

import numpy as np
import pytest
import torch

from rodflow.training.rounding import BLOCK, rounding_errors


def by_hand(i: np.ndarray, t: int, stream: int) -> np.ndarray:
    """The number of weight i in step t of a stream, with numpy's unsigned integers, in [-1, 1)."""
    with np.errstate(over="ignore"):
        key = np.uint64((stream << 32) + t) + np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            key = (key ^ (key >> np.uint64(shift))) * np.uint64(factor)
        key ^= key >> np.uint64(31)
        x = i.astype(np.uint32) * np.uint32(0x9E3779B9) + key.astype(np.uint32)
        x = (x ^ (x >> np.uint32(16))) * np.uint32(0x21F0AAAD) + (key >> np.uint64(32)).astype(np.uint32)
        x = (x ^ (x >> np.uint32(15))) * np.uint32(0x735A2D97)
    return (x.astype(np.int32) >> 8) * 2.0**-23


def numbers(d: int, t: int, stream: int = 1, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return rounding_errors(torch.ones(d, dtype=dtype), 1.0, t, stream)


@pytest.mark.parametrize("d", [1, 30, 1500, BLOCK, 2 * BLOCK + 7])
@pytest.mark.parametrize(("t", "stream"), [(0, 0), (7, 1), (123_456, 1000)])
def test_numbers_are_the_hash_of_weight_step_and_stream(d, t, stream):
    expected = torch.from_numpy(by_hand(np.arange(d), t, stream))
    assert torch.equal(numbers(d, t, stream), expected)
    assert torch.equal(numbers(d, t, stream, torch.float32).double(), expected)


def test_rounding_errors_have_the_promised_size():
    """Uniform in [-size |w|, size |w|]: mean 0, mean square a third of the largest, by 1e5 draws."""
    w = torch.linspace(-3, 3, 100_000, dtype=torch.float64)
    errors = rounding_errors(w, 1e-3, 7, 1) / (1e-3 * w.abs())
    assert 0.999 < errors.abs().max() <= 1
    assert abs(float(errors.mean())) < 0.01
    assert abs(float((errors**2).mean()) - 1 / 3) < 0.01


def test_steps_weights_and_streams_have_nothing_to_do_with_each_other():
    """Correlations of 1,000 steps and 1,500 weights, and of two streams: none beyond chance, five deviations."""
    d, steps = 1500, 1000
    one, other = (torch.stack([numbers(d, t, stream) for t in range(steps)]) for stream in (0, 1))
    for matrix, samples in ((one @ one.T, d), (one.T @ one, steps), (one @ other.T, d)):
        chance = matrix.fill_diagonal_(0) * 3 / samples**0.5
        assert chance.std() == pytest.approx(1, abs=0.01)
        assert chance.abs().max() < 6
    spectrum = torch.fft.fft(one, dim=1)[:, 1 : d // 2].abs().square() * 3 / d
    assert spectrum.mean() == pytest.approx(1, abs=0.01)
    assert (spectrum.mean(0) - 1).abs().max() < 6 / steps**0.5
