"""Idx files, and the sets that are published in them: MNIST and Fashion-MNIST."""

import dataclasses
import gzip
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from imagesets import DataError, cache, fashion_mnist, idx, mnist, vision

SHAPES = {
    "train-images-idx3-ubyte": (40, 2, 3),
    "train-labels-idx1-ubyte": (40,),
    "t10k-images-idx3-ubyte": (12, 2, 3),
    "t10k-labels-idx1-ubyte": (12,),
}
CLASSES = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}  # torchvision's, and the folders that they make


@pytest.fixture(params=[mnist, fashion_mnist], ids=lambda module: module.INFO.name)
def module(request, monkeypatch):
    """The module of a set that is published in idx files, shrunk to SHAPES."""
    monkeypatch.setattr(idx, "SHAPES", SHAPES)
    info = dataclasses.replace(request.param.INFO, image_shape=(1, 2, 3), train=30, valid=10, test=12)
    monkeypatch.setattr(request.param, "INFO", info)
    return request.param


@pytest.fixture
def raw(module):
    return Path(CLASSES[module.INFO.name], "raw")


def write(folder, write_idx):
    """Image i, counted over both files, is filled with i; its label is 100 + i."""
    for part, indices in (("train", np.arange(40)), ("t10k", np.arange(40, 52))):
        write_idx(folder / f"{part}-images-idx3-ubyte", np.repeat(indices, 6).reshape(-1, 2, 3))
        write_idx(folder / f"{part}-labels-idx1-ubyte", 100 + indices)


@pytest.fixture
def folder(tmp_path, raw, write_idx):
    """A data folder with the small files."""
    write(tmp_path / raw, write_idx)
    return tmp_path


@pytest.fixture
def no_download(module, monkeypatch):
    class Refused:
        def __init__(self, *arguments, **keywords):
            pytest.fail("downloads")

    monkeypatch.setattr(vision.torchvision().datasets, CLASSES[module.INFO.name], Refused)


def arrays_kept(folder):
    return sorted(path.name for path in (folder / "cache").rglob("*") if path.suffix != ".lock")


# One file


@pytest.mark.parametrize("shape", [(24,), (4, 6), (2, 3, 4)], ids=str)
def test_read_gives_what_was_written(tmp_path, write_idx, shape):
    images = np.arange(24).reshape(shape)
    write_idx(tmp_path / "images", images)
    read = idx.read(mnist.INFO, tmp_path / "images", shape)
    assert read.dtype == np.uint8
    assert read.flags.writeable
    np.testing.assert_array_equal(read, images)


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b"", "is damaged: it has 0 bytes, where 22 are needed"),
        (b"\0\0\x08\x03\0\0", "is damaged: it has 6 bytes, where 22 are needed"),
        (b"\0\0\x08\x03\0\0\0\x01\0\0\0\x02\0\0\0\x03abcde", "is damaged: it has 21 bytes, where 22 are needed"),
        (b"\0\0\x08\x03\0\0\0\x01\0\0\0\x02\0\0\0\x03abcdefg", "is damaged: it has 23 bytes, where 22 are needed"),
        (b"\0\0\x08\x03\0\0\0\x01\0\0\0\x03\0\0\0\x02abcdef", "holds an array of shape [1, 3, 2], where [1, 2, 3] is"),
        (b"\0\0\x08\x01\0\0\0\x0eabcdefghijklmn", "is no unpacked idx file: begins with 0x00000801, not 0x00000803"),
        (b"\x1f\x8b\x08\x08 a packed file of some length", "is no unpacked idx file: begins with 0x1f8b0808, not"),
    ],
)
@pytest.mark.parametrize("info", [mnist.INFO, fashion_mnist.INFO], ids=lambda info: info.name)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path, content, finding, info):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        idx.read(info, path, (1, 2, 3))
    message = str(caught.value)
    assert message.startswith(f"{info.name}: {path} {finding}")
    assert message.endswith(
        "delete it, and it is downloaded again, or replace it, or use mnist5k, which needs no download"
    )
    assert "\n" not in message
    assert path.read_bytes() == content


# The split


def test_split_keeps_images_and_labels_together():
    images, labels = np.arange(50, dtype=np.uint8)[:, None, None], np.arange(50, dtype=np.uint8)
    train, valid = idx.split(images, labels, valid=10)
    assert train.images.shape == (40, 1, 1, 1)
    assert sorted([*train.labels, *valid.labels]) == list(range(50))
    for part in (train, valid):
        np.testing.assert_array_equal(part.images.ravel(), part.labels)
        assert (np.diff(part.labels) < 0).any()


def test_images_and_labels_come_as_they_lie_in_the_files(module, folder):
    train, valid, test = module.load(folder)
    for part in (train, valid, test):
        assert part.images.shape == (len(part.labels), 1, 2, 3)
        assert (part.images == part.images[:, :1, :1, :1]).all()
        np.testing.assert_array_equal(part.labels, 100 + part.images[:, 0, 0, 0].astype(int))
        assert part.labels.dtype == np.int64
        assert part.factors is None
    assert test.labels.tolist() == list(range(140, 152))
    assert sorted([*train.labels, *valid.labels]) == list(range(100, 140))
    assert (len(train.labels), len(valid.labels)) == (30, 10)


@pytest.mark.parametrize("info", [mnist.INFO, fashion_mnist.INFO], ids=lambda info: info.name)
def test_the_split_never_changes(info):
    indices = np.arange(info.train + info.valid)
    train, valid = idx.split(indices[:, None, None], indices, info.valid)
    assert train.labels[:5].tolist() == [7076, 53382, 18827, 451, 11482]
    assert valid.labels[:5].tolist() == [48904, 53557, 19238, 59643, 41275]
    assert (len(train.labels), len(valid.labels)) == (50_000, 10_000)


def test_pixels_keep_their_places(module, folder, raw, write_idx):
    images = np.arange(12 * 6, dtype=np.uint8).reshape(12, 2, 3)
    write_idx(folder / raw / "t10k-images-idx3-ubyte", images)
    np.testing.assert_array_equal(module.load(folder).test.images[:, 0], images)


# What is missing, and what is damaged


@pytest.mark.parametrize("name", SHAPES)
def test_a_truncated_file_is_told_before_anything_is_downloaded(module, folder, raw, name, no_download):
    path = folder / raw / name
    content = path.read_bytes()[:-1]
    path.write_bytes(content)
    other = next(other for other in SHAPES if other != name)
    (folder / raw / other).unlink()
    with pytest.raises(DataError) as caught:
        module.load(folder)
    found = f"{path} is damaged: it has {len(content)} bytes, where {len(content) + 1} are needed"
    assert str(caught.value).startswith(f"{module.INFO.name}: {found}; ")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content
    assert not (folder / raw / other).exists()
    assert arrays_kept(folder) == []


def test_a_folder_in_a_files_place_is_named(module, folder, raw):
    path = folder / raw / "train-images-idx3-ubyte"
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte cannot be read \(Is a directory\)"):
        module.load(folder)
    assert arrays_kept(folder) == []


def test_missing_without_network_is_one_quiet_line(module, tmp_path, raw, capfd):
    with pytest.raises(DataError) as caught:
        module.load(tmp_path)
    message = str(caught.value)
    first, *others = (f"{raw}/{name}" for name in SHAPES)
    assert message.startswith(f"{module.INFO.name}: {tmp_path / first} is missing and could not be downloaded (")
    assert "Name or service not known" in message
    assert f"put {', '.join((first, *others))} under {tmp_path}, or use mnist5k, which needs no download" in message
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    assert arrays_kept(tmp_path) == []


def test_missing_below_a_folder_that_cannot_be_made(module, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"is missing and could not be downloaded \(.*Not a directory.*mnist5k"):
        module.load(tmp_path / "file" / "data")


@pytest.mark.parametrize("missing", [list(SHAPES), list(SHAPES)[:1], list(SHAPES)[2:]], ids=len)
def test_only_missing_files_are_filled_in(
    module, folder, raw, tmp_path_factory, monkeypatch, write_idx, missing, capfd
):
    source = tmp_path_factory.mktemp("mirror")
    write(source / raw, write_idx)

    class Downloads:
        def __init__(self, folder, download):
            assert download
            print("progress", file=sys.stderr)
            shutil.copytree(source, folder, dirs_exist_ok=True)

    monkeypatch.setattr(vision.torchvision().datasets, CLASSES[module.INFO.name], Downloads)
    right = {path.name: path.read_bytes() for path in (folder / raw).iterdir()}
    for name in missing:
        (folder / raw / name).unlink()
    before = {path.name: path.stat().st_ino for path in (folder / raw).iterdir()}
    assert len(module.load(folder).train.images) == 30
    assert capfd.readouterr() == ("", "")
    assert {path.name: path.read_bytes() for path in (folder / raw).iterdir()} == right
    for name, number in before.items():
        assert (folder / raw / name).stat().st_ino == number
    assert sorted(path.name for path in folder.iterdir()) == sorted([raw.parts[0], "cache"])


def test_a_wrong_download_is_named_and_not_kept(module, tmp_path, raw, monkeypatch, write_idx):
    class Downloads:
        def __init__(self, folder, download):
            write(Path(folder) / raw, write_idx)
            write_idx(Path(folder) / raw / "train-labels-idx1-ubyte", np.arange(39))

    monkeypatch.setattr(vision.torchvision().datasets, CLASSES[module.INFO.name], Downloads)
    with pytest.raises(
        DataError, match=r"train-labels-idx1-ubyte holds an array of shape \[39\], where \[40\] is needed"
    ):
        module.load(tmp_path)
    assert arrays_kept(tmp_path) == []


# What is kept


def test_a_full_data_folder_is_only_read(module, folder, raw, no_download):
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (folder / raw).iterdir()}
    module.load(folder)
    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (folder / raw).iterdir()} == before
    assert sorted(path.name for path in folder.iterdir()) == sorted([raw.parts[0], "cache"])


def test_the_files_are_read_once_and_may_then_be_deleted(module, folder, raw, monkeypatch):
    first = module.load(folder)
    shutil.rmtree(folder / raw)
    monkeypatch.setattr(idx, "read", lambda *arguments: pytest.fail("reads the files again"))
    for right, part in zip(first, module.load(folder)):
        np.testing.assert_array_equal(part.images, right.images)
        np.testing.assert_array_equal(part.labels, right.labels)
    assert cache.size(folder, module.INFO.name) > 0


@pytest.mark.parametrize("name", SHAPES)
def test_another_file_is_read_again(module, folder, raw, write_idx, name):
    first = module.load(folder)
    write_idx(folder / raw / name, np.full(SHAPES[name], 7))
    again = module.load(folder)
    parts = (again.test, first.test) if name.startswith("t10k") else (again.train, first.train)
    new, old = ((p.images if "images" in name else p.labels) for p in parts)
    assert (new == 7).all()
    assert not (old == 7).all()


def test_the_two_sets_do_not_share_what_is_kept(tmp_path, monkeypatch, write_idx):
    monkeypatch.setattr(idx, "SHAPES", SHAPES)
    for module in (mnist, fashion_mnist):
        monkeypatch.setattr(module, "INFO", dataclasses.replace(module.INFO, valid=10))
        write(tmp_path / CLASSES[module.INFO.name] / "raw", write_idx)
    write_idx(tmp_path / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte", np.full(12, 7))
    assert mnist.load(tmp_path).test.labels.tolist() == list(range(140, 152))
    assert fashion_mnist.load(tmp_path).test.labels.tolist() == [7] * 12
    assert mnist.load(tmp_path).test.labels.tolist() == list(range(140, 152))


def pack(path: Path) -> Path:
    packed = path.with_name(f"{path.name}.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return packed


def test_files_that_lie_packed_beside_their_place_are_unpacked(folder, raw, module, no_download):
    expected = module.load(folder)
    shutil.rmtree(folder / "cache")
    packed = [pack(folder / raw / name) for name in list(SHAPES)[:3]]
    found = module.load(folder)
    np.testing.assert_array_equal(found.train.images, expected.train.images)
    np.testing.assert_array_equal(found.test.labels, expected.test.labels)
    assert all(path.is_file() for path in packed)
    assert sorted(path.name for path in (folder / raw).glob("*ubyte")) == sorted(SHAPES)


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(bytes(4000))[:20], gzip.compress(bytes(99))[:-9] + b"12"],
    ids=["no gzip", "truncated", "wrong checksum"],
)
def test_a_damaged_packed_file_is_named_and_leaves_nothing(folder, raw, module, no_download, content):
    packed = pack(folder / raw / "train-images-idx3-ubyte")
    packed.write_bytes(content)
    with pytest.raises(DataError, match=rf"{packed} cannot be unpacked"):
        module.load(folder)
    assert not [path for path in (folder / raw).iterdir() if path.name.startswith(".")]


def test_what_lies_packed_elsewhere_is_named_where_there_is_no_network(folder, raw, module, monkeypatch):
    def offline(*arguments, **keywords):
        raise OSError("no network")

    monkeypatch.setattr(vision.torchvision().datasets, CLASSES[module.INFO.name], offline)
    packed = pack(folder / raw / "train-images-idx3-ubyte").rename(folder / "train-images.gz")
    with pytest.raises(DataError, match=rf"packed files lie there, to be unpacked: {packed}"):
        module.load(folder)
