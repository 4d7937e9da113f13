"""Data files: read as they are, or refused by name."""

import numpy as np
import pytest
from helpers.images import cifar_arrays

from rodflow.errors import InvalidInput
from rodflow.problems import datasets


@pytest.fixture
def cifar_file(tmp_path):
    path = tmp_path / "cifar.npz"
    np.savez(path, **cifar_arrays())
    return path


def test_cifar10_file_is_read_and_scaled(cifar_file):
    x, y = datasets.cifar10(str(cifar_file))
    assert x.shape == (60, 3, 32, 32)
    np.testing.assert_allclose(x * 255, cifar_arrays()["x_train"])
    np.testing.assert_array_equal(y, cifar_arrays()["y_train"])


def test_select_takes_the_first_of_the_classes_and_normalises(cifar_file):
    images = datasets.select(*datasets.cifar10(str(cifar_file)), examples=12, classes=[3, 1])
    assert images.classes == 2
    np.testing.assert_array_equal(images.y[:2], [1, 0])  # labels 1, 3 come first in the file
    np.testing.assert_allclose(images.x.mean((0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(images.x.std((0, 2, 3)), 1)


def test_digits_are_those_of_the_library():
    x, y = datasets.digits()
    assert x.shape == (1797, 1, 8, 8)
    assert (x.min(), x.max()) == (0, 1)
    assert sorted(set(y.tolist())) == list(range(10))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.pop("y_train"), "missing: y_train"),
        (lambda a: a.update(x_train=a["x_train"][:, 0]), "uint8"),
        (lambda a: a.update(x_train=a["x_train"].astype(float)), "float64"),
        (lambda a: a.update(y_train=a["y_train"][:-1]), "y_train"),
        (lambda a: a.update(y_train=a["y_train"] + 5), "labels from 5 to 14"),
        (lambda a: a.update(y_train=np.full(60, None)), "cannot be read"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path, change, said):
    arrays = cifar_arrays()
    change(arrays)
    path = tmp_path / "wrong.npz"
    np.savez(path, **arrays)
    with pytest.raises(InvalidInput, match=r"data\.file") as refused:
        datasets.cifar10(str(path))
    assert said in str(refused.value)
    assert "wrong.npz" in str(refused.value)


def test_missing_and_truncated_files_are_refused(tmp_path, cifar_file):
    with pytest.raises(InvalidInput, match="does not exist"):
        datasets.cifar10(str(tmp_path / "none.npz"))
    content = cifar_file.read_bytes()
    for length in (0, 10, len(content) // 3, len(content) - 5):
        cifar_file.write_bytes(content[:length])
        with pytest.raises(InvalidInput, match="cannot be read"):
            datasets.cifar10(str(cifar_file))


def test_too_many_examples_and_absent_classes_are_refused():
    x, y = datasets.digits()
    with pytest.raises(InvalidInput, match=r"data\.examples"):
        datasets.select(x, y, 5000)
    with pytest.raises(InvalidInput, match=r"data\.classes"):
        datasets.select(x, y, 10, [11])
