import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from layouts import celeba as layout
from PIL import Image
from refused import refusal

import imagesets
from imagesets import celeba, pictures, vision

IMAGES, PARTITION, ATTRIBUTES = (Path(source) for source in celeba.INFO.sources)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    layout.make(tmp_path)
    layout.shrink(monkeypatch)
    return tmp_path


def edit(path, number, new):
    """Puts other text in the place of a line, counted from 1; None deletes it."""
    lines = path.read_text().splitlines(keepends=True)
    lines[number - 1 : number] = [] if new is None else [f"{new}\n"]
    path.write_text("".join(lines))


@pytest.mark.parametrize("size", [32, 64])
def test_images_are_what_torchvision_makes_of_them(folder, size):
    vision.torchvision()
    from torchvision.transforms import CenterCrop, Compose, Resize

    transform = Compose([CenterCrop(178), Resize(size)])
    expected = [np.asarray(transform(Image.open(folder / IMAGES / name))) for name in layout.names()]
    images = np.concatenate([split.images for split in celeba.load(folder, size=size)])
    np.testing.assert_array_equal(images, np.stack(expected).transpose(0, 3, 1, 2))


def test_channels_and_axes_lie_where_they_should(folder):
    row, column = np.ogrid[:218, :178]
    picture = np.stack(np.broadcast_arrays(200, row / 2, column), axis=-1).astype(np.uint8)
    Image.fromarray(picture).save(folder / IMAGES / "000001.jpg", quality=95)
    red, green, blue = celeba.load(folder).train.images[0].astype(float)
    centres = (np.arange(64) + 0.5) * 178 / 64 - 0.5  # of the areas that become pixels, in pixels of the square
    for image, expected in ((red, 200), (green, (20 + centres[:, None]) / 2), (blue, centres[None])):
        inner = np.abs(image - expected)[2:-2, 2:-2]  # at the border the mean is of fewer pixels
        assert inner.max() < 6  # JPEG's loss
        assert inner.mean() < 1.5


def test_splits_are_the_publishers_in_the_order_of_the_names(folder):
    lines = (folder / PARTITION).read_text().splitlines()
    (folder / PARTITION).write_text("\n".join(reversed(lines)))
    edit(folder / PARTITION, 13, "000001.jpg 2")
    edit(folder / PARTITION, 1, "000013.jpg 0")
    loaded = celeba.load(folder)
    for split, numbers in zip(loaded, ((2, 3, 4, 5, 6, 13), (7, 8, 9), (1, 10, 11, 12))):
        expected = [celeba.shrunk(Image.open(folder / IMAGES / f"{number:06}.jpg"), 64) for number in numbers]
        np.testing.assert_array_equal(split.images, expected)
        np.testing.assert_array_equal(split.factors, layout.signs()[np.array(numbers) - 1] > 0)


def test_attributes_are_found_by_name_and_are_zeros_and_ones(folder):
    count, names, *rows = (folder / ATTRIBUTES).read_text().splitlines()
    (folder / ATTRIBUTES).write_text("\r\n".join([count, names, *reversed(rows)]))
    loaded = celeba.load(folder)
    factors = np.concatenate([split.factors for split in loaded])
    np.testing.assert_array_equal(factors, (layout.signs() + 1) // 2)
    assert all(split.labels is None for split in loaded)


def test_factors_are_the_forty_public_names_in_their_order():
    assert imagesets.info("celeba").factors == dict.fromkeys(layout.HEADER.split(), 2)
    assert len(imagesets.info("celeba").factors) == 40


def test_the_size_is_an_option(folder):
    assert imagesets.info("celeba").image_shape == (3, 64, 64)
    assert imagesets.info("celeba", size=32).image_shape == (3, 32, 32)
    assert imagesets.load("celeba", folder).train.images.shape == (6, 3, 64, 64)
    assert imagesets.load("celeba", folder, size=32).train.images.shape == (6, 3, 32, 32)


@pytest.mark.parametrize("size", [48, "64", 64.0, None])
def test_another_size_is_refused(tmp_path, size):
    assert refusal("celeba", tmp_path, size=size) == f"celeba: size is {size!r}, where 32 or 64 is needed"


def test_images_are_streamed_in_pieces(folder, monkeypatch):
    whole = celeba.load(folder)
    shutil.rmtree(folder / "cache")
    monkeypatch.setattr(pictures, "PIECE", 4)
    for split, other in zip(whole, celeba.load(folder)):
        np.testing.assert_array_equal(split.images, other.images)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def test_truncated_and_small_images_are_named_and_left_alone(folder):
    for number in (2, 5, 8, 12):
        cut(folder / IMAGES / f"{number:06}.jpg")
    Image.new("RGB", (178, 178)).save(folder / IMAGES / "000003.jpg")
    before = {path.name: path.read_bytes() for path in (folder / IMAGES).iterdir()}
    message = refusal("celeba", folder)
    assert message.startswith(
        f"celeba: {folder / IMAGES} has wrong pictures, 5 of 13: 000002.jpg (image file is truncated"
    )
    assert "), 000003.jpg (is 178 x 178, where 178 x 218 is needed), 000005.jpg (image file is truncated" in message
    assert message.endswith(
        "), ...; delete it, and it is downloaded again, or replace it, or use sprites, which needs no download"
    )
    assert {path.name: path.read_bytes() for path in (folder / IMAGES).iterdir()} == before


@pytest.mark.parametrize(
    ("numbers", "finding"),
    [
        ([4], "lacks 1 of 13 images: 000004.jpg;"),
        ([4, 13, 1], "lacks 3 of 13 images: 000001.jpg, 000004.jpg, 000013.jpg;"),
        (range(1, 14), "lacks 13 of 13 images: 000001.jpg, 000002.jpg, 000003.jpg, ...;"),
    ],
)
def test_missing_images_are_named(folder, numbers, finding):
    for number in numbers:
        (folder / IMAGES / f"{number:06}.jpg").unlink()
    assert refusal("celeba", folder).startswith(f"celeba: {folder / IMAGES} {finding}")


@pytest.mark.parametrize(
    ("number", "new", "finding"),
    [
        (13, None, "has [6, 3, 3] images of train, valid and test, where [6, 3, 4] are needed"),
        (6, "000006.jpg 1", "has [5, 4, 4] images of train, valid and test, where [6, 3, 4] are needed"),
        (6, "000005.jpg 0", "names 000005.jpg a second time in line 6"),
        (6, "000006.jpg", "has '000006.jpg' in line 6, where a name and 0, 1 or 2 are needed"),
        (6, "000006.jpg 3", "has '000006.jpg 3' in line 6, where a name and 0, 1 or 2 are needed"),
        (6, "000006.jpg 0 0", "has '000006.jpg 0 0' in line 6, where a name and 0, 1 or 2 are needed"),
        (
            1,
            "<!DOCTYPE html><html><head><title>Quota exceeded",
            "has '<!DOCTYPE html><html><head><title>Quota ...' in line 1",
        ),
        (1, "\x00\xff\x00", "has '\\x00\ufffd\ufffd\\x00' in line 1, where"),
    ],
)
def test_a_wrong_partition_is_named(folder, number, new, finding):
    edit(folder / PARTITION, number, new)
    before = (folder / PARTITION).read_bytes()
    assert refusal("celeba", folder).startswith(f"celeba: {folder / PARTITION} {finding}")
    assert (folder / PARTITION).read_bytes() == before


ROW = " ".join(["1"] * 40)


@pytest.mark.parametrize(
    ("number", "new", "finding"),
    [
        (1, "12", "has '12' in line 1, where 13, the number of images, is needed"),
        (1, None, "has '5_o_Clock_Shadow Arched_Eyebrows Attract...' in line 1, where 13, the number of images"),
        (2, "Bald Young", "has 'Bald Young' in line 2, where the names of CelebA's 40 attributes are needed"),
        (15, None, "has the attributes of 12 images, where 13 are needed"),
        (15, "000013.jpg -1 1 1", "has '000013.jpg -1 1 1' in line 15, where a name and 40 of -1 and 1 are needed"),
        (3, f"000001.jpg {ROW} 1", "has '000001.jpg 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1...' in line 3, where a name and 40"),
        (
            3,
            f"000001.jpg {ROW[:-1]}0",
            "has '000001.jpg 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1...' in line 3, where a name and 40",
        ),
        (4, f"000001.jpg {ROW}", "names 000001.jpg a second time in line 4"),
        (4, f"000099.jpg {ROW}", "lacks the attributes of 000002.jpg"),
    ],
)
def test_wrong_attributes_are_named(folder, number, new, finding):
    edit(folder / ATTRIBUTES, number, new)
    assert refusal("celeba", folder).startswith(f"celeba: {folder / ATTRIBUTES} {finding}")


@pytest.mark.parametrize("path", [PARTITION, ATTRIBUTES])
def test_an_empty_list_is_named(folder, path):
    (folder / path).write_text("")
    assert refusal("celeba", folder).startswith(f"celeba: {folder / path} has ")


@pytest.mark.parametrize(("path", "reason"), [(IMAGES, "Not a directory"), (PARTITION, "Is a directory")])
def test_a_file_in_a_folders_place_is_named_and_the_other_way_round(folder, path, reason):
    if (folder / path).is_dir():
        shutil.rmtree(folder / path)
        (folder / path).touch()
    else:
        (folder / path).unlink()
        (folder / path).mkdir()
    assert f"celeba: {folder / path} cannot be read ({reason})" in refusal("celeba", folder)


@pytest.mark.parametrize(
    ("missing", "damaged", "finding"),
    [
        (IMAGES, PARTITION, "in line 6, where a name"),
        (IMAGES, ATTRIBUTES, "in line 6, where a name"),
        (ATTRIBUTES, IMAGES, "lacks 1 of 13 images: 000003.jpg"),
    ],
)
def test_what_is_damaged_is_told_before_anything_is_downloaded(folder, monkeypatch, missing, damaged, finding):
    monkeypatch.setattr(celeba, "torchvision", lambda: pytest.fail("downloads beside a damaged file"))
    if damaged == IMAGES:
        (folder / IMAGES / "000003.jpg").unlink()
    else:
        edit(folder / damaged, 6, "a malformed line")
    if missing == IMAGES:
        shutil.rmtree(folder / IMAGES)
    else:
        (folder / missing).unlink()
    message = refusal("celeba", folder)
    assert f"celeba: {folder / damaged} " in message
    assert finding in message


def test_missing_without_network_is_one_quiet_line(tmp_path, capfd):
    message = refusal("celeba", tmp_path)
    assert message.startswith(f"celeba: {tmp_path / IMAGES} is missing and could not be downloaded (")
    put = f"put {IMAGES}, {PARTITION}, {ATTRIBUTES} under {tmp_path}, or use sprites, which needs no download"
    assert message.endswith(put)
    assert capfd.readouterr() == ("", "")


def test_the_refusal_of_the_file_host_is_one_line(tmp_path, monkeypatch):
    class Refused(Exception):
        pass

    def download(root, download):
        raise Refused("Failed to retrieve file url:\n\n\tToo many users have viewed this file.\n\nTry again later.\n")

    monkeypatch.setattr(celeba, "torchvision", lambda: SimpleNamespace(datasets=SimpleNamespace(CelebA=download)))
    reason = "(Failed to retrieve file url: Too many users have viewed this file. Try again later.)"
    assert f"could not be downloaded {reason}; put {IMAGES}, " in refusal("celeba", tmp_path)


def test_a_downloaded_folder_and_list_are_put_in_their_places(folder, monkeypatch):
    expected = celeba.load(folder)
    shutil.rmtree(folder / "cache")
    shutil.rmtree(folder / IMAGES)
    (folder / ATTRIBUTES).unlink()
    kept = (folder / PARTITION).stat().st_ino
    theirs = SimpleNamespace(CelebA=lambda root, download: layout.make(root))
    monkeypatch.setattr(celeba, "torchvision", lambda: SimpleNamespace(datasets=theirs))
    for split, other in zip(expected, celeba.load(folder)):
        np.testing.assert_array_equal(split.images, other.images)
        np.testing.assert_array_equal(split.factors, other.factors)
    assert imagesets.missing("celeba", folder) == []
    assert (folder / PARTITION).stat().st_ino == kept
    assert sorted(path.name for path in folder.iterdir()) == ["cache", "celeba"]


def test_a_changed_list_is_read_again(folder):
    assert celeba.load(folder).train.factors[0].tolist() == (layout.signs()[0] > 0).tolist()
    edit(folder / ATTRIBUTES, 3, f"000001.jpg {ROW}")
    assert celeba.load(folder).train.factors[0].tolist() == [1] * 40
