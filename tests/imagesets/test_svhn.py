from types import SimpleNamespace

import numpy as np
import pytest
from layouts import svhn as layout
from refused import refusal
from scipy.io import savemat

from imagesets import scatter, svhn, vision

TRAIN, TEST = "train_32x32.mat", "test_32x32.mat"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    layout.make(tmp_path)
    layout.shrink(monkeypatch)
    return tmp_path


def index(split):
    """The number that each synthetic image holds."""
    return split.images[:, 0, 0, 0]


def rewrite(path, **arrays):
    savemat(path, arrays, do_compression=True)


def images(count=60, dtype=np.uint8):
    return np.zeros((32, 32, 3, count), dtype)


def digits(count=60, value=1):
    return np.full((count, 1), value, np.uint8)


def test_pixels_lie_where_the_publisher_says(folder):
    for split in svhn.load(folder):
        i, channel, row, column = np.ix_(index(split), range(3), range(32), range(32))
        expected = (i.astype(int) + 5 * row + 11 * column + 83 * channel) % 256
        np.testing.assert_array_equal(split.images, expected)


def test_ten_is_the_digit_zero_and_labels_stay_with_their_images(folder):
    for split in svhn.load(folder):
        np.testing.assert_array_equal(split.labels, index(split) % 10)


def test_train_and_valid_are_disjoint_and_test_stays_test(folder):
    train, valid, test = svhn.load(folder)
    assert (len(train.images), len(valid.images)) == (45, 15)
    np.testing.assert_array_equal(np.sort([*index(train), *index(valid)]), np.arange(60))
    np.testing.assert_array_equal(index(test), np.arange(60, 80))


def test_the_split_never_changes(folder):
    train, valid, _ = svhn.load(folder)
    assert index(train)[:5].tolist() == [19, 21, 25, 16, 46]
    assert index(valid)[:5].tolist() == [26, 0, 39, 4, 23]


def test_the_split_of_the_whole_set_never_changes():
    orders = scatter.draw(svhn.INFO, svhn.SEED)
    assert orders["train"][:5].tolist() == [15931, 31707, 70090, 45, 71574]
    assert orders["valid"][:5].tolist() == [67017, 10876, 15286, 30895, 3557]


def test_torchvision_reads_the_same(folder, monkeypatch):
    datasets = vision.torchvision().datasets
    monkeypatch.setattr(datasets.svhn, "check_integrity", lambda *arguments: True)  # of the true files only
    theirs = datasets.SVHN(folder, split="test")
    test = svhn.load(folder).test
    np.testing.assert_array_equal(test.images, theirs.data)
    np.testing.assert_array_equal(test.labels, theirs.labels)


@pytest.mark.parametrize("name", [TRAIN, TEST])
@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        (lambda content: b"", "is no whole MATLAB file ("),
        (lambda content: b"<html>404 Not Found</html>" * 20, "is no whole MATLAB file (Unknown mat file type"),
        (lambda content: content[:100], "is no whole MATLAB file ("),
        (lambda content: content[:2000], "is no whole MATLAB file (could not read bytes"),
        (lambda content: content[:-1], "is no whole MATLAB file ("),
        (
            lambda content: content[:1500] + bytes((content[1500] ^ 1,)) + content[1501:],
            "is no whole MATLAB file (Error -3 while decompressing data",
        ),
        (lambda content: content[:128], "holds no array X"),
    ],
    ids=["empty", "other", "header cut", "cut", "a byte short", "one bit", "header only"],
)
def test_a_damaged_file_is_named(folder, name, damage, finding):
    path = folder / name
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    message = refusal("svhn", folder)
    assert message.startswith(f"svhn: {path} {finding}")
    assert message.endswith("or use mnist5k, which needs no download")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("arrays", "finding"),
    [
        ({"X": images()}, "holds no array y"),
        ({"y": digits()}, "holds no array X"),
        ({"X": images(59), "y": digits(59)}, "holds X of shape [32, 32, 3, 59], where [32, 32, 3, 60] is needed"),
        ({"X": np.zeros((60, 32, 32, 3), np.uint8), "y": digits()}, "holds X of shape [60, 32, 32, 3], where"),
        ({"X": images(), "y": digits(59)}, "holds y of shape [59, 1], where [60, 1] is needed"),
        ({"X": images(dtype=float), "y": digits()}, "holds X of float64, where uint8 is needed"),
        ({"X": images(), "y": digits(value=0)}, "holds the label 0 in y, where 1 to 10 are needed"),
        ({"X": images(), "y": digits(value=11)}, "holds the label 11 in y, where 1 to 10 are needed"),
        ({"X": "words", "y": digits()}, "holds X as ndarray, where numbers are needed"),
    ],
)
def test_wrong_contents_are_named(folder, arrays, finding):
    rewrite(folder / TRAIN, **arrays)
    assert refusal("svhn", folder).startswith(f"svhn: {folder / TRAIN} {finding}")


def test_a_folder_in_a_files_place_is_named(folder):
    (folder / TEST).unlink()
    (folder / TEST).mkdir()
    assert f"{folder / TEST} cannot be read (Is a directory)" in refusal("svhn", folder)


def test_what_is_damaged_is_told_before_anything_is_downloaded(folder, monkeypatch):
    monkeypatch.setattr(svhn, "torchvision", lambda: pytest.fail("downloads beside a damaged file"))
    (folder / TRAIN).unlink()
    (folder / TEST).write_bytes(b"no MATLAB file")
    assert f"{folder / TEST} is no whole MATLAB file" in refusal("svhn", folder)
    assert (folder / TEST).read_bytes() == b"no MATLAB file"


def test_missing_without_network_is_one_quiet_line(tmp_path, capfd):
    message = refusal("svhn", tmp_path)
    assert message.startswith(f"svhn: {tmp_path / TRAIN} is missing and could not be downloaded (")
    assert "Name or service not known" in message
    assert message.endswith(f"put {TRAIN}, {TEST} under {tmp_path}, or use mnist5k, which needs no download")
    assert capfd.readouterr() == ("", "")


def test_only_the_missing_file_is_downloaded(folder, tmp_path, monkeypatch):
    content = (folder / TEST).read_bytes()
    asked = []

    def download(root, split, download):
        asked.append((split, download))
        (root / TEST).write_bytes(content)

    (folder / TEST).unlink()
    monkeypatch.setattr(svhn, "torchvision", lambda: SimpleNamespace(datasets=SimpleNamespace(SVHN=download)))
    assert index(svhn.load(folder).test).tolist() == list(range(60, 80))
    assert asked == [("test", True)]
