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


def test_targets_that_are_numbers_keep_their_values():
    x, y = np.arange(12.0).reshape(6, 2), np.linspace(0, 1, 6)
    table = datasets.select(x, y, 4)
    assert (table.classes, table.outputs) == (0, 1)
    np.testing.assert_array_equal(table.y, y[:4, None])
    np.testing.assert_allclose([table.x.mean(0), table.x.std(0)], [[0, 0], [1, 1]], atol=1e-12)
    several = datasets.select(x, np.ones((6, 3), dtype=int), 6)  # whole numbers in columns are no labels
    assert several.outputs == 3 and several.y.dtype == np.float64
    with pytest.raises(InvalidInput, match=r"data\.classes: got \[0\], allowed: null"):
        datasets.select(x, y, 4, [0])
    with pytest.raises(InvalidInput, match=r"data\.examples: got 7, allowed: at most 6$"):
        datasets.select(x, y, 7)


def test_each_kind_of_inputs_is_normalised_by_its_own_axes():
    rng, labels = np.random.default_rng(0), np.arange(5) % 2
    table = np.hstack([rng.normal(3, 2, (5, 2)), np.full((5, 1), 7.0)])  # a feature that says nothing becomes 0
    np.testing.assert_allclose(datasets.select(table, labels, 5).x.std(0), [1, 1, 0])
    grey = datasets.select(rng.integers(0, 255, (5, 4, 4), dtype=np.uint8), labels, 5).x
    assert grey.shape == (5, 4, 4) and abs(grey.mean()) < 1e-12 and grey.std() == pytest.approx(1)
    sounds = datasets.select(rng.normal(3, 2, (5, 2, 9, 3, 2)), labels, 5).x
    np.testing.assert_allclose(sounds.std((0, 2, 3, 4)), 1)


def test_only_signed_whole_numbers_that_are_not_normalised_stay_whole():
    for dtype, normalise, kept in (("i4", False, "i8"), ("i8", True, "f8"), ("u1", False, "f8"), ("f4", False, "f8")):
        x = np.arange(6, dtype=dtype).reshape(3, 2)
        assert datasets.select(x, np.arange(3), 3, normalise=normalise).x.dtype == np.dtype(kept), dtype


def test_a_file_of_inputs_and_targets_is_read_as_it_is(tmp_path):
    x, y = np.arange(6, dtype=np.float32).reshape(3, 2), np.array([True, False, True])
    np.savez(tmp_path / "table.npz", x=x, y=y, more=np.array([None]))
    read = datasets.checked(*datasets.npz(str(tmp_path / "table.npz")), "data.file", "table.npz")
    np.testing.assert_array_equal(read[0], x)
    assert datasets.select(*read, 3, normalise=False).y.tolist() == [1, 0, 1]
    assert datasets.checked(np.arange(3.0), y, "", "")[0].shape == (3, 1)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.ones((3, 2))}, "missing: y"),
        ({"x": np.ones((3, 2)), "y": np.ones(4)}, r"x is \[3, 2\], y \[4\]"),
        ({"x": np.ones((3, 2)), "y": np.ones((3, 2, 2))}, r"y \[3, 2, 2\]"),
        ({"x": np.ones((0, 2)), "y": np.ones(0)}, r"x is \[0, 2\]"),
        ({"x": np.array(["a"]), "y": np.ones(1)}, "x is <U1"),
        ({"x": np.array([[np.inf]]), "y": np.ones(1)}, "x holds numbers that are not finite"),
        ({"x": np.array([[None]]), "y": np.ones(1)}, "Object arrays cannot be loaded"),
    ],
)
def test_a_file_of_other_arrays_is_refused(tmp_path, arrays, said):
    path = str(tmp_path / "wrong.npz")
    np.savez(path, **arrays)
    with pytest.raises(InvalidInput, match=rf"data\.file: got .*wrong\.npz.*{said}"):
        datasets.checked(*datasets.npz(path), "data.file", path)
    with pytest.raises(InvalidInput, match=r"data\.file: got None, allowed: an \.npz file with x"):
        datasets.npz(None)
