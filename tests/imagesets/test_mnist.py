"""MNIST in its true size; what it has in common with other sets in idx files is in test_idx.py."""

import numpy as np
import pytest

from imagesets import DataError, idx, mnist, vision

TRAIN_IMAGES = "MNIST/raw/train-images-idx3-ubyte"


def index(split):
    """The number that each synthetic image holds."""
    return np.ascontiguousarray(split.images[:, 0, 0, :4]).view(">u4").ravel()


@pytest.fixture
def damaged(root, tmp_path):
    """The whole data folder by links, so that one file can be replaced."""
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    for name in idx.SHAPES:
        (tmp_path / "MNIST" / "raw" / name).symlink_to(root / "MNIST" / "raw" / name)
    (tmp_path / TRAIN_IMAGES).unlink()
    return tmp_path


def test_test_images_stay_test_and_labels_stay_with_their_images(root):
    train, valid, test = mnist.load(root)
    np.testing.assert_array_equal(index(test), np.arange(60_000, 70_000))
    np.testing.assert_array_equal(np.sort(np.r_[index(train), index(valid)]), np.arange(60_000))
    for part in (train, valid, test):
        np.testing.assert_array_equal(part.labels, index(part) % 10)


def test_the_split_never_changes(root):
    train, valid, _ = mnist.load(root)
    assert index(train)[:5].tolist() == [7076, 53382, 18827, 451, 11482]
    assert index(valid)[:5].tolist() == [48904, 53557, 19238, 59643, 41275]


def test_a_truncated_file_is_left_alone(damaged, root, monkeypatch):
    path = damaged / TRAIN_IMAGES
    path.write_bytes((root / TRAIN_IMAGES).read_bytes()[:1000])
    (damaged / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()  # one is missing as well
    monkeypatch.setattr(vision.torchvision().datasets, "MNIST", lambda *a, **k: pytest.fail("downloads"))
    with pytest.raises(DataError, match="train-images-idx3-ubyte is damaged: it has 1000 bytes, where 47040016"):
        mnist.load(damaged)
    assert path.stat().st_size == 1000
