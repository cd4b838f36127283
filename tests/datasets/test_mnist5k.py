import os
from unittest.mock import Mock

import numpy as np
import pytest

from datasets import DataError, cache, mnist5k

FILE = "mnist5k.npz"


@pytest.fixture(scope="module")
def parsed(root):
    return cache.cached(root / FILE, mnist5k.SHA256, mnist5k.parse)


@pytest.fixture
def parse(parsed, monkeypatch):
    """Stands in for the slow parser, and counts its calls."""
    stand_in = Mock(return_value=parsed)
    monkeypatch.setattr(mnist5k, "parse", stand_in)
    return stand_in


def assert_equal(a, b):
    for first, second in zip(a, b):
        np.testing.assert_array_equal(first.images, second.images)
        np.testing.assert_array_equal(first.labels, second.labels)


def test_grey_levels_and_classes(parsed):
    assert parsed["images"].shape == (5000, 1, 28, 28)
    assert (parsed["images"].min(), parsed["images"].max()) == (0, 255)
    assert np.bincount(parsed["labels"]).tolist() == [500] * 10


def test_every_split_is_stratified_and_shuffled(tmp_path, parse):
    for split, count in zip(mnist5k.load(tmp_path), (400, 50, 50)):
        assert np.bincount(split.labels).tolist() == [count] * 10
        assert np.mean(np.diff(split.labels) != 0) > 0.8  # 0.9 in expectation; sorted labels have less than 0.02


def test_labels_stay_with_their_images(tmp_path, parse, parsed):
    label_of = {image.tobytes(): label for image, label in zip(parsed["images"], parsed["labels"])}
    for split in mnist5k.load(tmp_path):
        assert [label_of[image.tobytes()] for image in split.images] == split.labels.tolist()


def test_the_split_never_changes(tmp_path, parse):
    parts = {name: split.images for name, split in mnist5k.load(tmp_path)._asdict().items()}
    assert cache.digest(parts) == "5c36a434bb707c17193c984e0f72ae602e297efd1da41a4bcef28ca9d5f3dff7"


def test_the_second_load_reads_the_cache(tmp_path, parse):
    first = mnist5k.load(tmp_path / "new")
    assert os.listdir(tmp_path / "new") == [FILE]
    assert_equal(first, mnist5k.load(tmp_path / "new"))
    assert parse.call_count == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1000],
        lambda content: b"no archive at all",
        lambda content: content[:100_000] + bytes((content[100_000] ^ 1,)) + content[100_001:],
    ],
    ids=["empty", "truncated", "other", "one bit"],
)
def test_a_damaged_cache_is_built_again(tmp_path, parse, damage):
    first = mnist5k.load(tmp_path)
    right = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(damage(right))
    assert_equal(first, mnist5k.load(tmp_path))
    assert parse.call_count == 2
    assert (tmp_path / FILE).read_bytes() == right


def test_a_stale_cache_is_built_again(tmp_path, parse, parsed):
    np.savez(tmp_path / FILE, images=parsed["images"][::-1], labels=parsed["labels"])
    assert np.bincount(mnist5k.load(tmp_path).train.labels).tolist() == [400] * 10
    assert parse.call_count == 1


def test_a_root_that_cannot_be_written_is_loaded_all_the_same(tmp_path, parse):
    (tmp_path / "file").touch()
    first = mnist5k.load(tmp_path / "file" / "data")
    assert_equal(first, mnist5k.load(tmp_path / "file" / "data"))
    assert parse.call_count == 2
    assert os.listdir(tmp_path) == ["file"]


def test_a_failed_write_leaves_nothing_behind(tmp_path, parse, monkeypatch):
    def refuse(*arguments):
        raise PermissionError

    monkeypatch.setattr(os, "replace", refuse)
    mnist5k.load(tmp_path)
    assert os.listdir(tmp_path) == []


def test_other_digits_are_refused(tmp_path, monkeypatch):
    other = {"images": np.zeros((5000, 1, 28, 28), np.uint8), "labels": np.zeros(5000, np.uint8)}
    monkeypatch.setattr(mnist5k, "parse", lambda: other)
    with pytest.raises(DataError, match=r"mnist5k: its source has other contents .* requirements.txt"):
        mnist5k.load(tmp_path)
    assert os.listdir(tmp_path) == []
