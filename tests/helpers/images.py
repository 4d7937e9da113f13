"""A file of images."""

import numpy as np


def cifar_arrays(n: int = 60) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    parts = {}
    for part, count in (("train", n), ("test", 10)):
        parts[f"x_{part}"] = rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        parts[f"y_{part}"] = np.arange(count) % 10
    return parts
