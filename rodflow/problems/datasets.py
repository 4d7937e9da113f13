"""Examples to learn: scikit-learn's digits (embedded), CIFAR-10 (a file, or fetched and verified), or a user's file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rodflow.errors import InvalidInput, whole_number
from rodflow.jobs.files import read_npz, refused_as

FORMAT = "an .npz file with x_train, y_train, x_test, y_test"


@dataclass(frozen=True)
class Examples:
    """Inputs x ``[n, ...]``, float64, or int64 for whole numbers such as tokens; targets y.

    y are labels ``[n]``, int64 in 0..classes-1, or, where ``classes`` is 0, numbers ``[n, k]`` float64.
    """

    x: np.ndarray
    y: np.ndarray
    classes: int

    @property
    def outputs(self) -> int:
        """How many outputs a network has to have: one a class, or one a target."""
        return self.classes or self.y.shape[1]


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
        parts = read_npz(path, ("x_train", "y_train", "x_test", "y_test"))
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


def npz(file: str | None) -> tuple[np.ndarray, np.ndarray]:
    """x ``[n, ...]`` and y ``[n]`` or ``[n, k]`` of an .npz file, which is never unpickled.

    Raises: ``InvalidInput`` if the file is missing or cannot be read.
    """
    wanted = "an .npz file with x [n, ...] and y [n] or [n, k]"
    if file is None or not Path(file).is_file():
        raise InvalidInput("data.file", file, wanted + (" (this file does not exist)" if file else ""))
    with refused_as(file, wanted, key="data.file"):
        parts = read_npz(file, ("x", "y"))
    return parts["x"], parts["y"]


def checked(x: Any, y: Any, key: str, value: object) -> tuple[np.ndarray, np.ndarray]:
    """Inputs x ``[n, ...]`` and targets y ``[n]`` or ``[n, k]`` as arrays; x ``[n]`` is a table of one feature.

    Raises: ``InvalidInput`` naming ``key`` and its ``value`` where they are none of finite numbers, or do not fit.
    """

    def require(holds: bool, said: str) -> None:
        if not holds:
            raise InvalidInput(key, value, f"inputs x [n, ...] and targets y [n] or [n, k], finite numbers ({said})")

    x, y = np.asarray(x), np.asarray(y)
    for name, part in (("x", x), ("y", y)):
        require(part.dtype.kind in "fiub", f"{name} is {part.dtype}")
        require(part.ndim > 0 and part.size > 0, f"{name} is {list(part.shape)}")
        require(bool(np.isfinite(part).all()), f"{name} holds numbers that are not finite")
    require(y.ndim <= 2 and len(x) == len(y), f"x is {list(x.shape)}, y {list(y.shape)}")
    return (x[:, None] if x.ndim == 1 else x), y


def select(
    x: np.ndarray,
    y: np.ndarray,
    examples: int,
    classes: list[int] | None = None,
    normalise: bool = True,
    random_labels: float = 0.0,
) -> Examples:
    """The first ``examples``, prepared. Labels, which are whole numbers y ``[n]``, become 0, 1, ... in the order of
    ``classes``, of which alone examples are taken; other targets become ``[n, k]`` float64.

    Normalised, each channel of images ``[n, channels, ...]``, each feature of a table ``[n, k]``, and grey images
    ``[n, height, width]`` as a whole, get mean 0 and deviation 1 over the chosen examples; a constant becomes 0. Not
    normalised, inputs of signed whole numbers stay such (tokens); all others are float64.

    About a share ``random_labels`` of the chosen examples get a label drawn from all classes alike, the same each time.

    Raises: ``InvalidInput`` for a class that does not occur, classes or random labels of targets that are no labels, or
    fewer examples than asked for.
    """
    labelled = y.ndim == 1 and y.dtype.kind in "iub"
    if random_labels and not labelled:
        raise InvalidInput("data.random_labels", random_labels, "0: these targets are no labels")
    if classes is not None and not labelled:
        raise InvalidInput("data.classes", classes, "null: these targets are no labels")
    present = sorted(set(y.astype(np.int64).tolist())) if labelled else []
    wanted = present if classes is None else classes
    unknown = [c for c in wanted if c not in present]
    if unknown:
        raise InvalidInput("data.classes", unknown, f"classes among {present}")
    chosen = np.flatnonzero(np.isin(y, wanted)) if labelled else np.arange(len(y))
    of = f", the examples of classes {wanted}" if labelled else ""
    examples = whole_number("data.examples", examples, f"at most {len(chosen)}{of}", least=1, most=len(chosen))
    chosen = chosen[:examples]
    x = x[chosen].astype(np.int64 if x.dtype.kind == "i" and not normalise else np.float64)
    if normalise:
        over = tuple(axis for axis in range(x.ndim) if axis != 1 or x.ndim == 3)
        mean, deviation = x.mean(over, keepdims=True), x.std(over, keepdims=True)
        x = (x - mean) / np.maximum(deviation, 1e-12)
    if labelled:
        place = {label: i for i, label in enumerate(wanted)}
        labels = np.array([place[int(label)] for label in y[chosen]], dtype=np.int64)
        random = np.random.default_rng(0)
        drawn = random.random(examples) < random_labels
        labels[drawn] = random.integers(0, len(wanted), drawn.sum())
        return Examples(x, labels, len(wanted))
    return Examples(x, y[chosen].astype(np.float64).reshape(len(chosen), -1), 0)
