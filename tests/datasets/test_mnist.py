import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from datasets import DataError, mnist, vision

TRAIN_IMAGES = Path("MNIST", "raw", "train-images-idx3-ubyte")


def index(split):
    """The number that each synthetic image holds."""
    return np.ascontiguousarray(split.images[:, 0, 0, :4]).view(">u4").ravel()


@pytest.fixture
def damaged(root, tmp_path):
    """The whole data folder by links, so that one file can be replaced."""
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    for name in mnist.SHAPES:
        (tmp_path / "MNIST" / "raw" / name).symlink_to(root / "MNIST" / "raw" / name)
    (tmp_path / TRAIN_IMAGES).unlink()
    return tmp_path


def test_read_gives_what_was_written(tmp_path, write_idx):
    images = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    write_idx(tmp_path / "images", images)
    read = mnist.read(tmp_path / "images", (2, 3, 4))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, images)


def test_split_keeps_images_and_labels_together():
    images, labels = np.arange(50, dtype=np.uint8)[:, None, None], np.arange(50, dtype=np.uint8)
    train, valid = mnist.split(images, labels, valid=10)
    assert train.images.shape == (40, 1, 1, 1)
    assert sorted([*train.labels, *valid.labels]) == list(range(50))
    for part in (train, valid):
        np.testing.assert_array_equal(part.images.ravel(), part.labels)
        assert (np.diff(part.labels) < 0).any()


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


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b"", "has 0 bytes, where 22 are needed"),
        (b"\0\0\x08\x03\0\0", "has 6 bytes, where 22 are needed"),
        (b"\0\0\x08\x03\0\0\0\x01\0\0\0\x02\0\0\0\x03abcde", "has 21 bytes, where 22 are needed"),
        (b"\0\0\x08\x03\0\0\0\x01\0\0\0\x02\0\0\0\x03abcdefg", "has 23 bytes, where 22 are needed"),
        (b"\0\0\x08\x03\0\0\0\x01\0\0\0\x03\0\0\0\x02abcdef", r"shape \[1, 3, 2\], where \[1, 2, 3\] is needed"),
        (b"\0\0\x08\x01\0\0\0\x0eabcdefghijklmn", "begins with 0x00000801, not 0x00000803"),
        (b"\x1f\x8b\x08\x08 a packed file of some length", "begins with 0x1f8b0808, not 0x00000803"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path, content, finding):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=finding) as caught:
        mnist.read(path, (1, 2, 3))
    assert str(path) in str(caught.value)
    assert "mnist5k" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_left_alone(damaged, root, monkeypatch):
    path = damaged / TRAIN_IMAGES
    path.write_bytes((root / TRAIN_IMAGES).read_bytes()[:1000])
    (damaged / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()  # one is missing as well
    monkeypatch.setattr(mnist, "download", lambda *arguments: pytest.fail("downloads beside a damaged file"))
    with pytest.raises(DataError, match="train-images-idx3-ubyte is damaged: it has 1000 bytes, where 47040016"):
        mnist.load(damaged)
    assert path.stat().st_size == 1000


def test_a_folder_in_a_files_place_is_named(damaged):
    (damaged / TRAIN_IMAGES).mkdir()
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte cannot be read \(Is a directory\)"):
        mnist.load(damaged)


def test_missing_without_network_is_one_quiet_line(tmp_path, capfd):
    with pytest.raises(DataError) as caught:
        mnist.load(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"mnist: {tmp_path / TRAIN_IMAGES} is missing and could not be downloaded (")
    assert "Name or service not known" in message
    assert f"into {tmp_path / 'MNIST' / 'raw'}, or use mnist5k" in message
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")
    assert list((tmp_path / "MNIST" / "raw").iterdir()) == []


def test_missing_below_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"is missing and could not be downloaded \(.*Not a directory.*mnist5k"):
        mnist.load(tmp_path / "file" / "data")


def test_only_missing_files_are_filled_in(damaged, root, monkeypatch, capfd):
    class Downloads:
        def __init__(self, folder, download):
            print("progress", file=sys.stderr)
            shutil.copytree(root / "MNIST", Path(folder, "MNIST"))

    monkeypatch.setattr(vision.torchvision().datasets, "MNIST", Downloads)
    train, _, _ = mnist.load(damaged)
    assert len(train.images) == 50_000
    assert capfd.readouterr() == ("", "")
    files = {path.name: path.is_symlink() for path in (damaged / "MNIST" / "raw").iterdir()}
    assert files == {name: name != TRAIN_IMAGES.name for name in mnist.SHAPES}


def test_a_full_data_folder_is_only_read(root, monkeypatch):
    monkeypatch.setattr(mnist, "download", lambda *arguments: pytest.fail("downloads what is there"))
    before = sorted(path.name for path in (root / "MNIST" / "raw").iterdir())
    mnist.load(root)
    assert sorted(path.name for path in (root / "MNIST" / "raw").iterdir()) == before
