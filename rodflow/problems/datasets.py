"""Labelled images: scikit-learn's digits (embedded) and CIFAR-10 (a file of the user's, or fetched and verified)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rodflow.errors import InvalidInput, whole_number
from rodflow.jobs.files import read_npz, refused_as

FORMAT = "an .npz file with x_train, y_train, x_test, y_test"
LARGEST_PART = 2**28
"""Bytes of the largest array of a CIFAR-10 file that is read: 87,000 images, and there are 60,000."""


@dataclass(frozen=True)
class Images:
    """Images x ``[n, channels, side, side]`` float64, normalised by channel; labels y ``[n]`` int64 in 0..classes-1."""

    x: np.ndarray
    y: np.ndarray
    classes: int


def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 handwritten digits, ``[n, 1, 8, 8]`` in [0, 1]; ten classes; embedded in the library."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return x.reshape(-1, 1, 8, 8) / 16.0, y.astype(np.int64)


def cifar10(file: str | None = None, folder: str = "data") -> tuple[np.ndarray, np.ndarray]:
    """The CIFAR-10 training images, ``[n, 3, 32, 32]`` in [0, 1], and labels 0..9 (Krizhevsky, 2009).

    With ``file``, an .npz with uint8 ``x_train``, ``x_test`` ``[n, 3, 32, 32]`` and integer ``y_train``, ``y_test``
    ``[n]`` is read (never unpickled). Without, torchvision fetches the archive into ``folder`` and checks its digest.

    Raises: ``InvalidInput`` if the file is missing, truncated or of other shapes, or if torchvision cannot be used.
    """
    return read_cifar10_file(Path(file)) if file else _fetch_cifar10(folder)


def read_cifar10_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read and check the training part of an .npz file as :func:`cifar10` describes it."""

    def refuse(what: str) -> InvalidInput:
        return InvalidInput("data.file", str(path), f"{FORMAT} ({what})")

    if not path.is_file():
        raise refuse("this file does not exist")
    with refused_as(path, FORMAT, key="data.file"):
        parts = read_npz(path, ("x_train", "y_train", "x_test", "y_test"), LARGEST_PART)
    for part in ("train", "test"):
        x, y = parts[f"x_{part}"], parts[f"y_{part}"]
        if x.ndim != 4 or x.shape[1:] != (3, 32, 32) or x.dtype != np.uint8:
            raise refuse(f"x_{part} is {x.dtype} {list(x.shape)}, wanted uint8 [n, 3, 32, 32]")
        if y.shape != x.shape[:1] or y.dtype.kind not in "iu":
            raise refuse(f"y_{part} is {y.dtype} {list(y.shape)}, wanted integers [{len(x)}]")
        if len(y) and (y.min() < 0 or y.max() > 9):
            raise refuse(f"y_{part} holds labels from {y.min()} to {y.max()}, wanted 0 to 9")
    return parts["x_train"] / 255.0, parts["y_train"].astype(np.int64)


def _fetch_cifar10(folder: str) -> tuple[np.ndarray, np.ndarray]:
    advice = "name an .npz file in data.file, or install torchvision as it fits torch: pip install 'rodflow[cifar10]'"
    try:
        from torchvision.datasets import CIFAR10
    except (ImportError, RuntimeError) as error:
        raise InvalidInput("data.file", None, f"{advice} (importing torchvision failed: {error})") from error
    try:
        data = CIFAR10(folder, train=True, download=True)  # torchvision verifies the archive's MD5
    except (OSError, RuntimeError) as error:
        raise InvalidInput("data.file", None, f"{advice} (fetching CIFAR-10 failed: {error})") from error
    return np.asarray(data.data).transpose(0, 3, 1, 2) / 255.0, np.asarray(data.targets, dtype=np.int64)


def select(
    x: np.ndarray, y: np.ndarray, examples: int, classes: list[int] | None = None, normalise: bool = True
) -> Images:
    """The first ``examples`` images of the given classes, relabelled 0, 1, ..., each channel to mean 0 and deviation 1.

    Raises: ``InvalidInput`` for a class that does not occur, or fewer images than asked for.
    """
    present = sorted(set(y.tolist()))
    wanted = present if classes is None else classes
    unknown = [c for c in wanted if c not in present]
    if unknown:
        raise InvalidInput("data.classes", unknown, f"classes among {present}")
    chosen = np.flatnonzero(np.isin(y, wanted))
    allowed = f"at most {len(chosen)}, the images of classes {wanted}"
    examples = whole_number("data.examples", examples, allowed, least=1, most=len(chosen))
    chosen = chosen[:examples]
    x = x[chosen].astype(np.float64)
    if normalise:
        mean, deviation = x.mean((0, 2, 3), keepdims=True), x.std((0, 2, 3), keepdims=True)
        x = (x - mean) / np.maximum(deviation, 1e-12)
    labels = np.array([wanted.index(label) for label in y[chosen]], dtype=np.int64)
    return Images(x, labels, len(wanted))
