import hashlib
import shutil
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from layouts import mnist_backgrounds_60k as layout

import imagesets
from imagesets import DataError, backgrounds, cache, mnist, mnist_backgrounds_60k

TWO_EACH = [["horizontal", "mosaic"], ["vertical", "black"]]
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = mnist.INFO.sources


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data folder with few digits."""
    layout.shrink(monkeypatch)
    layout.make(tmp_path)
    return tmp_path


@pytest.fixture
def no_download(monkeypatch):
    monkeypatch.setattr(mnist_backgrounds_60k, "torchvision", lambda: pytest.fail("downloads"))


def stored(folder):
    """What lies in the cache, but for locks."""
    return [path for path in (folder / cache.FOLDER).rglob("*") if path.suffix != ".lock"]


def test_all_of_mnist_in_its_splits(root):
    digits = mnist.load(root)
    tracemalloc.start()
    try:
        pairs = mnist_backgrounds_60k.load(root, styles=TWO_EACH)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20e6  # bytes of this process's own; the images take 110e6, in a map
    assert [split.images.shape for split in pairs] == [(n, 2, 1, 28, 28) for n in (50_000, 10_000, 10_000)]
    for before, after in zip(digits, pairs):
        np.testing.assert_array_equal(after.labels, before.labels)
        np.testing.assert_array_equal(after.factors[:, 0], before.labels)
        for rows in (slice(0, 1_500), slice(-1_500, None)):
            for stream in range(2):
                pictures = np.stack([backgrounds.picture(style) for style in TWO_EACH[stream]])
                behind = pictures[after.factors[rows, 1 + stream]]
                expected = np.where(before.images[rows, 0] > 0, before.images[rows, 0], behind)
                np.testing.assert_array_equal(after.images[rows, stream, 0], expected)


def test_few_digits(folder, no_download):
    train, valid, test = imagesets.load("mnist_backgrounds_60k", folder, styles=[["black"], ["vertical"]])
    assert [len(split.images) for split in (train, valid, test)] == [50, 10, 20]
    read = {
        source: np.fromfile(folder / source, np.uint8)[16:].reshape(-1, 28, 28)
        for source in (TRAIN_IMAGES, TEST_IMAGES)
    }
    number = {image.tobytes(): i for i, image in enumerate(read[TRAIN_IMAGES])}
    train_numbers, valid_numbers = ([number[pair[0].tobytes()] for pair in split.images] for split in (train, valid))
    assert sorted(train_numbers + valid_numbers) == list(range(60))
    assert valid_numbers[:5] == [42, 32, 10, 0, 18]
    for split, numbers in ((train, train_numbers), (valid, valid_numbers)):
        assert split.labels.tolist() == [i % 10 for i in numbers]
    np.testing.assert_array_equal(test.images[:, 0, 0], read[TEST_IMAGES])
    assert test.labels.tolist() == [i % 10 for i in range(20)]


def test_the_arrays_never_change(folder, no_download):
    splits = mnist_backgrounds_60k.load(folder, styles=TWO_EACH)
    content = b"".join(values.tobytes() for split in splits for values in split)
    assert hashlib.sha256(content).hexdigest()[:16] == "e81a426f3db2fb9b"


def test_the_digits_are_stored_as_mnist(folder, no_download):
    mnist_backgrounds_60k.load(folder)
    for source in mnist.INFO.sources:
        (folder / source).unlink()
    mnist_backgrounds_60k.load(folder, styles=TWO_EACH)  # needs the digits again
    names = sorted(path.name.rsplit("-", 1)[0] for path in (folder / cache.FOLDER).iterdir() if path.is_dir())
    assert names == ["mnist", "mnist_backgrounds_60k", "mnist_backgrounds_60k"]


def test_other_digits_are_composed_again(folder, no_download):
    mnist_backgrounds_60k.load(folder)
    path = folder / TEST_LABELS
    path.write_bytes(path.read_bytes()[:8] + bytes([7] * 20))
    assert mnist_backgrounds_60k.load(folder).test.labels.tolist() == [7] * 20


@pytest.mark.parametrize(
    ("source", "damage", "finding"),
    [
        (TRAIN_IMAGES, lambda content: content[:1000], "is damaged: it has 1000 bytes, where 47056 are needed"),
        (TRAIN_LABELS, lambda content: content + b"x", "is damaged: it has 69 bytes, where 68 are needed"),
        (TEST_IMAGES, lambda content: b"\x1f\x8b" + content[2:], "begins with 0x1f8b0803, not 0x00000803"),
        (TEST_LABELS, lambda content: b"", "is damaged: it has 0 bytes, where 28 are needed"),
    ],
)
def test_a_damaged_file_is_named_and_left_alone(folder, no_download, source, damage, finding):
    path = folder / source
    content = damage(path.read_bytes())
    path.write_bytes(content)
    missing = next(folder / other for other in mnist.INFO.sources if other != source)
    missing.unlink()
    with pytest.raises(DataError, match=f"{finding}; delete it") as caught:
        mnist_backgrounds_60k.load(folder)
    assert str(caught.value).startswith(f"mnist_backgrounds_60k: {path} ")
    assert str(caught.value).endswith("or use mnist_backgrounds, which needs no download")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content
    assert not missing.exists()
    assert stored(folder) == []


def test_missing_without_network_is_one_quiet_line(tmp_path, capfd):
    with pytest.raises(DataError) as caught:
        mnist_backgrounds_60k.load(tmp_path)
    message = str(caught.value)
    path = tmp_path / TRAIN_IMAGES
    assert message.startswith(f"mnist_backgrounds_60k: {path} is missing and could not be downloaded (")
    assert message.endswith(f"under {tmp_path}, or use mnist_backgrounds, which needs no download")
    assert "Name or service not known" in message
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")
    assert stored(tmp_path) == []


def test_missing_files_are_downloaded(folder, tmp_path, monkeypatch):
    layout.make(tmp_path / "server")
    (folder / TEST_LABELS).unlink()

    def downloads(to, download):
        shutil.copytree(tmp_path / "server" / "MNIST", to / "MNIST")

    fake = SimpleNamespace(datasets=SimpleNamespace(MNIST=downloads))
    monkeypatch.setattr(mnist_backgrounds_60k, "torchvision", lambda: fake)
    assert mnist_backgrounds_60k.load(folder).test.labels.tolist() == [i % 10 for i in range(20)]
    assert (folder / TEST_LABELS).read_bytes() == (tmp_path / "server" / TEST_LABELS).read_bytes()


def test_info_tells_the_styles():
    assert mnist_backgrounds_60k.info() == mnist_backgrounds_60k.INFO
    assert imagesets.info("mnist_backgrounds_60k", styles=TWO_EACH).factors == {"digit": 10, "style_1": 2, "style_2": 2}
    with pytest.raises(
        DataError, match=r"^mnist_backgrounds_60k: style 'blak' is not known; .* Did you mean 'black'\?$"
    ):
        imagesets.load("mnist_backgrounds_60k", styles=[["blak"], ["black"]])
