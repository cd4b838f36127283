import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from layouts import cifar10 as layout
from refused import refusal

from imagesets import cifar10, scatter, vision

BATCHES = Path("cifar-10-batches-py")
SECOND = BATCHES / "data_batch_2"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    layout.make(tmp_path)
    layout.shrink(monkeypatch)
    return tmp_path


def index(split):
    """The number that each synthetic image holds."""
    return split.images[:, 0, 0, 0]


def images(count=12, width=3072, dtype=np.uint8):
    return np.zeros((count, width), dtype)


def test_pixels_lie_where_the_publisher_says(folder):
    for split in cifar10.load(folder):
        i, channel, row, column = np.ix_(index(split), range(3), range(32), range(32))
        expected = (i.astype(int) + 5 * row + 11 * column + 83 * channel) % 256
        np.testing.assert_array_equal(split.images, expected)


def test_labels_stay_with_their_images(folder):
    for split in cifar10.load(folder):
        np.testing.assert_array_equal(split.labels, index(split) % 10)


def test_train_and_valid_are_disjoint_and_test_stays_test(folder):
    train, valid, test = cifar10.load(folder)
    assert (len(train.images), len(valid.images)) == (45, 15)
    np.testing.assert_array_equal(np.sort([*index(train), *index(valid)]), np.arange(60))
    np.testing.assert_array_equal(index(test), np.arange(60, 80))


def test_the_split_never_changes(folder):
    train, valid, _ = cifar10.load(folder)
    assert index(train)[:5].tolist() == [42, 8, 14, 52, 28]
    assert index(valid)[:5].tolist() == [10, 11, 19, 47, 44]


def test_the_split_of_the_whole_set_never_changes():
    orders = scatter.draw(cifar10.INFO, cifar10.SEED)
    assert orders["train"][:5].tolist() == [37229, 38923, 36600, 15275, 39574]
    assert orders["valid"][:5].tolist() == [14224, 4166, 3870, 20340, 5787]


def test_torchvision_reads_the_same(folder, monkeypatch):
    datasets = vision.torchvision().datasets
    monkeypatch.setattr(datasets.cifar, "check_integrity", lambda *arguments: True)  # of the true files only
    (folder / BATCHES / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    theirs = datasets.CIFAR10(folder, train=False)
    test = cifar10.load(folder).test
    np.testing.assert_array_equal(test.images, theirs.data.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(test.labels, theirs.targets)


@pytest.mark.parametrize("keys", [(b"data", b"labels"), ("data", "labels")])
def test_a_batch_that_python_3_has_pickled_is_read_as_well(folder, keys):
    values = np.random.default_rng(0).integers(0, 256, (12, 3072), np.uint8), [k % 10 for k in range(12)]
    (folder / SECOND).write_bytes(pickle.dumps(dict(zip(keys, values)), protocol=2))
    read, labels = cifar10.read(folder / SECOND, 12)
    np.testing.assert_array_equal(read.reshape(12, -1), values[0])
    assert labels == values[1]


def test_reading_warns_of_nothing(folder, recwarn):
    cifar10.load(folder)
    assert list(recwarn) == []  # numpy 2 warns of some of what numpy 1 has pickled


@pytest.mark.parametrize("name", [SECOND, BATCHES / "test_batch"])
@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        (lambda content: b"", "is no whole batch of CIFAR-10 (Ran out of input)"),
        (lambda content: content[:1000], "is no whole batch of CIFAR-10 (pickle data was truncated)"),
        (lambda content: content[:-1], "is no whole batch of CIFAR-10 ("),
        (lambda content: b"\x1f\x8b\x08\x08 a packed file", "is no whole batch of CIFAR-10 (invalid load key"),
        (lambda content: content.replace(b"U\x04data", b"U\x04date"), "holds no data"),
        (lambda content: content.replace(b"U\x06labels", b"U\x06lapels"), "holds no labels"),
    ],
    ids=["empty", "cut", "a byte short", "other", "no data", "no labels"],
)
def test_a_damaged_file_is_named(folder, name, damage, finding):
    path = folder / name
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    message = refusal("cifar10", folder)
    assert message.startswith(f"cifar10: {path} {finding}")
    assert message.endswith("or use mnist5k, which needs no download")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("batch", "finding"),
    [
        ([1, 2], "holds no data"),
        ({b"data": [0] * 12, b"labels": [0] * 12}, "holds data that is no array of uint8"),
        ({b"data": images(dtype=float), b"labels": [0] * 12}, "holds data that is no array of uint8"),
        ({b"data": images(11), b"labels": [0] * 11}, "holds data of shape [11, 3072], where [12, 3072] is needed"),
        ({b"data": images(width=1024), b"labels": [0] * 12}, "holds data of shape [12, 1024], where [12, 3072]"),
        ({b"data": images(), b"labels": [0] * 11}, "holds labels that are no list of 12"),
        ({b"data": images(), b"labels": "abcdefghijkl"}, "holds labels that are no list of 12"),
        ({b"data": images(), b"labels": [0] * 11 + [10]}, "holds the label '10', where 0 to 9 are needed"),
        ({b"data": images(), b"labels": [0] * 11 + [-1]}, "holds the label '-1', where 0 to 9 are needed"),
        ({b"data": images(), b"labels": [0] * 11 + ["9\n"]}, "holds the label '9\\n', where 0 to 9 are needed"),
    ],
)
def test_wrong_contents_are_named(folder, batch, finding):
    (folder / SECOND).write_bytes(pickle.dumps(batch, protocol=2))
    assert refusal("cifar10", folder).startswith(f"cifar10: {folder / SECOND} {finding}")


class Harmful:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.mkdir, eval, np.load, pickle.loads], ids=lambda function: function.__name__)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_is_no_program(folder, function, protocol):
    made = folder / "made"
    argument = f"__import__('os').mkdir({str(made)!r})" if function is eval else str(made)
    batch = {b"data": images(), b"labels": [0] * 12, b"more": Harmful(function, argument)}
    (folder / SECOND).write_bytes(pickle.dumps(batch, protocol=protocol))
    message = refusal("cifar10", folder)
    assert message.startswith(f"cifar10: {folder / SECOND} is no whole batch of CIFAR-10 (it names ")
    assert f"{function.__name__}, which no array needs)" in message
    assert not made.exists()


def test_only_latin_1_is_encoded(folder):
    content = pickle.dumps({b"data": images(), b"labels": [0] * 12}, protocol=2)
    (folder / SECOND).write_bytes(content.replace(b"latin1", b"rot_13"))
    assert "(bytes are encoded as rot_13)" in refusal("cifar10", folder)


def test_a_folder_in_a_files_place_is_named(folder):
    (folder / SECOND).unlink()
    (folder / SECOND).mkdir()
    assert f"{folder / SECOND} cannot be read (Is a directory)" in refusal("cifar10", folder)


def test_what_is_damaged_is_told_before_anything_is_downloaded(folder, monkeypatch):
    monkeypatch.setattr(cifar10, "torchvision", lambda: pytest.fail("downloads beside a damaged file"))
    (folder / BATCHES / "data_batch_1").unlink()
    (folder / SECOND).write_bytes(b"no pickle")
    assert f"{folder / SECOND} is no whole batch of CIFAR-10" in refusal("cifar10", folder)
    assert (folder / SECOND).read_bytes() == b"no pickle"


def test_missing_without_network_is_one_quiet_line(tmp_path, capfd):
    message = refusal("cifar10", tmp_path)
    first = BATCHES / "data_batch_1"
    assert message.startswith(f"cifar10: {tmp_path / first} is missing and could not be downloaded (")
    assert "Name or service not known" in message
    assert f"put {first}, {SECOND}, " in message
    assert message.endswith(f"{BATCHES / 'test_batch'} under {tmp_path}, or use mnist5k, which needs no download")
    assert capfd.readouterr() == ("", "")


def test_only_missing_files_are_filled_in(folder, monkeypatch):
    def download(root, download):
        layout.make(Path(root))

    (folder / SECOND).unlink()
    kept = (folder / BATCHES / "test_batch").stat().st_ino
    monkeypatch.setattr(cifar10, "torchvision", lambda: SimpleNamespace(datasets=SimpleNamespace(CIFAR10=download)))
    assert index(cifar10.load(folder).train)[:5].tolist() == [42, 8, 14, 52, 28]
    assert (folder / BATCHES / "test_batch").stat().st_ino == kept
