"""One's own images that are not what they should be: a line that names the file, what was found and what is needed."""

import io
import os
import re
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image
from refused import refusal

import imagesets

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (20, 5, 7), np.uint8)
COLOUR = RANDOM.integers(0, 256, (20, 5, 7, 3), np.uint8)


@pytest.fixture
def refused(tmp_path):
    """The rest of the line after the path, for a source below tmp_path."""

    def line(name, **options):
        message = refusal("images", tmp_path / "data", path=tmp_path / name, **options)
        assert message.startswith(f"images: {tmp_path / name}")
        return message.removeprefix(f"images: {tmp_path / name}").lstrip()

    return line


# Arrays.

FLOATS = IMAGES / 255
SHAPES = "[N, H, W], [N, H, W, C] or [N, C, H, W] with C 1 or 3 is needed"
ARRAYS = {
    "no images": ({"x": IMAGES, "y": IMAGES}, "has no array named images; it has x, y"),
    "flat": ({"images": IMAGES.reshape(20, 35)}, f"has images of shape [20, 35], where {SHAPES}"),
    "four channels": (
        {"images": np.zeros((20, 5, 7, 4), np.uint8)},
        f"has images of shape [20, 5, 7, 4], where {SHAPES}",
    ),
    "empty": ({"images": IMAGES[:0]}, f"has images of shape [0, 5, 7], where {SHAPES}"),
    "no pixels": ({"images": IMAGES[:, :0]}, f"has images of shape [20, 0, 7], where {SHAPES}"),
    "two axes": (
        {"images": np.zeros((20, 3, 32, 3), np.uint8)},
        "has images of shape [20, 3, 32, 3], in which the channels could be the second axis or the last; pad the "
        "images, or give grey ones as [N, H, W]",
    ),
    "one": ({"images": IMAGES[:1]}, "has 1 image, where 3 at least are needed: for training, validation and test"),
    "two": ({"images": IMAGES[:2]}, "has 2 images, where 3 at least are needed: for training, validation and test"),
    "equal": ({"images": np.repeat(IMAGES[:1], 20, axis=0)}, "has 20 images that are all equal"),
    "black": ({"images": np.zeros((20, 5, 7), np.uint8)}, "has 20 images that are all equal"),
    "of 0 and 1": ({"images": IMAGES % 2}, "has images of 0 and 1 in uint8, where white is 255; multiply them by 255"),
    "of int64": (
        {"images": IMAGES.astype(np.int64)},
        "has images of int64, where uint8 of 0 to 255, or floats in [0, 1], are needed",
    ),
    "of text": ({"images": IMAGES.astype(str)}, "has images of <U3, where uint8 of 0 to 255, or floats in [0, 1], are"),
    "complex": ({"images": FLOATS.astype(complex)}, "has images of complex128, where uint8 of 0 to 255, or floats"),
    "objects": (
        {"images": IMAGES.astype(object)},
        "has images of Python objects, which are not read: they are a pickle, which could run code",
    ),
    "labels of objects": (
        {"images": IMAGES, "labels": np.array([None] * 20)},
        "has labels of Python objects, which are",
    ),
    "short labels": ({"images": IMAGES, "labels": np.arange(19)}, "has labels of shape [19], where [20] is needed"),
    "one-hot labels": (
        {"images": IMAGES, "labels": np.eye(20, dtype=int)},
        "has labels of shape [20, 20], where [20] is",
    ),
    "float labels": (
        {"images": IMAGES, "labels": np.ones(20)},
        "has labels of float64, where whole numbers are needed",
    ),
    "negative labels": (
        {"images": IMAGES, "labels": np.arange(20) - 1},
        "has -1 in labels, where numbers from 0 on are needed",
    ),
    "flat factors": (
        {"images": IMAGES, "factors": np.arange(20)},
        "has factors of shape [20], where [20, any] is needed",
    ),
}
SPLIT = {"train": np.arange(10), "valid": np.arange(10, 15), "test": np.arange(15, 20)}
SPLITS = {
    "two": (
        {"train": [0], "test": [1]},
        "has train and test, where all three of train, valid, test, or none, are needed",
    ),
    "outside": (SPLIT | {"test": [19, 20]}, "has the index 20 in test, where 0 to 19 are needed"),
    "negative": (SPLIT | {"test": [-1]}, "has -1 in test, where numbers from 0 on are needed"),
    "overlap": (SPLIT | {"test": [19, 12]}, "has the index 12 in valid and in test; an image is in one split"),
    "twice": (SPLIT | {"test": [19, 19]}, "has an index in test twice"),
    "empty": (SPLIT | {"valid": np.arange(0)}, "has valid of shape [0], where [any] is needed"),
    "masks": (SPLIT | {"test": np.arange(20) > 14}, "has test of bool, where whole numbers are needed"),
}


@pytest.mark.parametrize(("given", "expected"), ARRAYS.values(), ids=ARRAYS)
def test_arrays(refused, tmp_path, given, expected):
    np.savez(tmp_path / "own.npz", **given)
    assert refused("own.npz").startswith(expected)


@pytest.mark.parametrize(("given", "expected"), SPLITS.values(), ids=SPLITS)
def test_splits(refused, tmp_path, given, expected):
    np.savez(tmp_path / "own.npz", images=IMAGES, **given)
    assert refused("own.npz") == expected


@pytest.mark.parametrize(
    ("value", "holds"), [(np.nan, "NaN"), (254.0, "0 to 254"), (-0.5, "-0.5 to "), (np.inf, "0 to inf")]
)
def test_floats_that_are_no_grey_levels(refused, tmp_path, value, holds):
    images = FLOATS.copy()
    images[17] -= images[17].min()
    images[17, 2, 3] = value
    np.save(tmp_path / "own.npy", images)
    said = refused("own.npy")
    assert said.startswith(f"has {holds}")
    assert said.endswith(" in image 17, where floats in [0, 1], or uint8 of 0 to 255, are needed")


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_code_in_data_is_never_run(refused, tmp_path):
    for name in ("labels", "images", "train", "other"):
        given = {"images": IMAGES} | {name: np.array([Bomb(tmp_path / "ran")] * 20, dtype=object)}
        np.savez(tmp_path / "own.npz", **given)
        if name == "other":
            imagesets.load("images", tmp_path / "other-data", path=tmp_path / "own.npz")
        else:
            refused("own.npz")
        (tmp_path / "own.npz").unlink()
    np.save(tmp_path / "own.npy", np.array([Bomb(tmp_path / "ran")] * 20, dtype=object))
    refused("own.npy")
    (tmp_path / "own.pkl").write_bytes((tmp_path / "own.npy").read_bytes()[128:])
    assert refused("own.pkl").startswith("is neither npz nor npy, nor a folder of pictures; it begins with ")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("left", [0, 1, 5, 100, 400, -400, -30, -1])
@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_a_truncated_file(refused, tmp_path, kind, left):
    (np.savez if kind == "npz" else np.save)(tmp_path / f"own.{kind}", IMAGES)
    if kind == "npz":
        np.savez(tmp_path / "own.npz", images=IMAGES, labels=np.arange(20))
    content = (tmp_path / f"own.{kind}").read_bytes()
    (tmp_path / f"own.{kind}").write_bytes(content[:left])
    assert re.match("is no whole npz or npy|is damaged|is neither npz nor npy", refused(f"own.{kind}"))


def test_a_damaged_archive(refused, tmp_path):
    np.savez(tmp_path / "own.npz", images=IMAGES)
    content = bytearray((tmp_path / "own.npz").read_bytes())
    content[500] ^= 1  # a pixel
    (tmp_path / "own.npz").write_bytes(content)
    assert refused("own.npz") == "is no whole npz or npy, in images (Bad CRC-32 for file 'images.npy')"


def test_an_encrypted_archive(refused, tmp_path):
    np.savez(tmp_path / "own.npz", images=IMAGES)
    content = bytearray((tmp_path / "own.npz").read_bytes())
    for magic, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # its flags, in both headers
        content[content.index(magic) + offset] |= 1
    (tmp_path / "own.npz").write_bytes(content)
    assert refused("own.npz") == "is encrypted: images cannot be read; save it without a password"


def header(shape):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue()


def test_a_header_that_promises_more_than_there_is(refused, tmp_path):
    (tmp_path / "own.npy").write_bytes(header((10**6, 1000, 1000)) + b"abc")
    said = "is damaged: images has 3 bytes, where its header says 1,000,000,000,000"
    assert refused("own.npy") == said
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as archive:
        archive.writestr("images.npy", header((10**6, 1000, 1000)) + b"abc")
    assert refused("own.npz") == said


def test_an_archive_that_unpacks_to_much_more_than_images_could(refused, tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "own.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("images.npy", "w") as member,
    ):
        member.write(header((120, 1000, 1000)))
        for _ in range(120):
            member.write(bytes(10**6))
    assert re.match(
        r"has images of 120,000,128 bytes packed in \d{3},\d{3}, which only empty images", refused("own.npz")
    )


# What is neither.


def test_no_such_file(refused, tmp_path):
    assert refused("none.npz") == "cannot be read (No such file or directory)"
    (tmp_path / "none.npz.gz").touch()
    packed = f"packed, it lies there as {tmp_path / 'none.npz.gz'}: unpack it"
    assert refused("none.npz") == f"cannot be read (No such file or directory); {packed}"
    (tmp_path / "notes.txt").write_text("my images")
    assert refused("notes.txt").startswith("is neither npz nor npy, nor a folder of pictures; it begins with b'my im")
    assert refused("notes.txt/none").startswith("cannot be read (Not a directory)")
    os.mkfifo(tmp_path / "pipe")
    assert refused("pipe") == "is neither a file nor a folder"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "images needs the option path: the npz or npy file, or the folder of pictures, that `path` names"),
        ({"path": 3}, "images: path is 3, where that of an npz or npy file or of a folder is needed"),
        ({"path": ""}, "images: path is '', where that of an npz or npy file or of a folder is needed"),
        ({"size": 0}, "images: size is 0, where a number of pixels from 1 to 4096, or [height, width], is needed"),
        ({"size": True}, "images: size is True, where a number of pixels"),
        ({"size": [5]}, "images: size is [5], where a number of pixels"),
        ({"size": [5, 2.0]}, "images: size is [5, 2.0], where a number of pixels"),
        ({"grey": "yes"}, "images: grey is 'yes', where True or False is needed"),
        ({"pth": "x"}, "images has no option 'pth'; it takes path, size, grey. Did you mean 'path'?"),
    ],
)
def test_wrong_options(tmp_path, options, message):
    np.save(tmp_path / "own.npy", IMAGES)
    if options and not {"path", "pth"} & options.keys():
        options = {"path": tmp_path / "own.npy", **options}
    assert refusal("images", tmp_path / "data", **options).startswith(message)


# Folders.


@pytest.fixture
def folder(tmp_path):
    """Ten pictures, 7 wide and 5 high, in colour."""
    (tmp_path / "own").mkdir()
    for number in range(10):
        Image.fromarray(COLOUR[number]).save(tmp_path / "own" / f"{number}.png")
    return tmp_path / "own"


def test_a_text_file_among_pictures(refused, folder):
    (folder / "5.txt").write_text("notes")
    assert refused("own").startswith("has wrong pictures, 1 of 11: 5.txt (is neither PNG nor JPEG nor ")
    (folder / "5.txt").rename(folder / "0.jpg")  # the first is read beforehand
    assert refused("own").startswith("has wrong pictures: 0.jpg (is neither PNG nor JPEG nor ")


def test_pictures_of_different_sizes(refused, folder):
    Image.fromarray(COLOUR[5].transpose(1, 0, 2)).save(folder / "5.png")
    said = "5.png (is 5 x 7, where 0.png is 7 x 5; give size, as in size: 32)"
    assert refused("own") == f"has wrong pictures, 1 of 10: {said}"


def test_a_picture_in_colour_after_a_grey_one(refused, folder):
    Image.fromarray(IMAGES[0]).save(folder / "0.png")
    said = refused("own")
    assert said.startswith(
        "has wrong pictures, 9 of 10: 1.png (is in colour, where 0.png is grey; give grey: true, or "
    )


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tiff", "webp"])
def test_a_truncated_picture(refused, folder, suffix):
    noise = Image.fromarray(RANDOM.integers(0, 256, (40, 50, 3), np.uint8))
    for path in folder.iterdir():
        noise.save(path)
    noise.save(folder / f"5.{suffix}")
    content = (folder / f"5.{suffix}").read_bytes()
    (folder / f"5.{suffix}").write_bytes(content[: len(content) // 2])
    assert refused("own").startswith(f"has wrong pictures, 1 of {len(list(folder.iterdir()))}: 5.{suffix} (")


def picture_of(kind, path):
    image = Image.fromarray(COLOUR[0])
    if kind == "animated gif":
        image.save(path / "5.gif", save_all=True, append_images=[Image.fromarray(COLOUR[1])])
    elif kind == "animated png":
        image.save(path / "5.png", save_all=True, append_images=[Image.fromarray(COLOUR[1])])
    elif kind == "cmyk":
        image.convert("CMYK").save(path / "5.jpg")
    elif kind == "16 bits":
        Image.fromarray(IMAGES[0].astype(np.uint16) * 256).save(path / "5.png")
    elif kind == "floats":
        Image.fromarray(IMAGES[0].astype(np.float32)).save(path / "5.tiff")
    elif kind == "transparent":
        image.putalpha(Image.fromarray(IMAGES[0]))
        image.save(path / "5.png")
    elif kind == "transparent palette":
        image.quantize(8).save(path / "5.gif", transparency=0)
    elif kind == "transparent colour":
        image.save(path / "5.png", transparency=tuple(map(int, COLOUR[0, 0, 0])))


KINDS = {
    "animated gif": "has several frames, where one is needed",
    "animated png": "has several frames, where one is needed",
    "cmyk": "has pixels of type CMYK, where grey or RGB of 8 bits is needed",
    "16 bits": "has pixels of type I;16, where grey or RGB of 8 bits is needed",
    "floats": "has pixels of type F, where grey or RGB of 8 bits is needed",
    "transparent": "has transparent pixels, where a background is needed",
    "transparent palette": "has transparent pixels, where a background is needed",
    "transparent colour": "has transparent pixels, where a background is needed",
}


@pytest.mark.parametrize(("kind", "finding"), KINDS.items(), ids=KINDS)
def test_pictures_whose_look_would_have_to_be_guessed(refused, folder, kind, finding):
    (folder / "5.png").unlink()
    picture_of(kind, folder)
    (name,) = (path.name for path in folder.glob("5.*"))
    assert refused("own") == f"has wrong pictures, 1 of 10: {name} ({finding})"


def test_a_decompression_bomb(refused, folder, recwarn):
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    for side in (10_000, 40_000):  # Pillow warns of the first, and refuses the second
        begin = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        content = b"\x89PNG\r\n\x1a\n" + begin + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
        (folder / "5.png").write_bytes(content)
        assert re.match(r"has wrong pictures, 1 of 10: 5\.png \(Image size .* exceeds limit", refused("own", size=8))
    assert not recwarn.list


def test_no_picture_one_and_equal_ones(refused, folder, tmp_path):
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / ".hidden").touch()
    assert refused("none") == "has no pictures"
    (tmp_path / "one").mkdir()
    (folder / "0.png").rename(tmp_path / "one" / "0.png")
    assert refused("one").startswith("has 1 image, where 3 at least are needed")
    for path in folder.iterdir():
        Image.fromarray(COLOUR[0]).save(path)
    assert refused("own") == "has 9 images that are all equal"


def test_folders_that_are_no_classes(refused, folder, tmp_path):
    (folder / "cats").mkdir()
    assert refused("own") == "has pictures (0.png) beside folders (cats), where one or the other is needed"
    classes = tmp_path / "classes"
    for name in ("cats", "dogs"):
        (classes / name).mkdir(parents=True)
    folder.joinpath("0.png").rename(classes / "cats" / "0.png")
    rest = f"a folder in {classes} is a class, and holds pictures only"
    assert refused("classes") == f"/dogs has no pictures; {rest}"
    (classes / "dogs" / "old").mkdir()
    assert refused("classes") == f"/dogs has a folder, old; {rest}"


def test_folders_of_splits_that_are_not_whole(refused, folder, tmp_path):
    for name in ("test", "train"):
        (tmp_path / "splits" / name).mkdir(parents=True)
        (folder / f"{len(name)}.png").rename(tmp_path / "splits" / name / "0.png")
    assert refused("splits") == "has the folders test, train, where train, valid and test are needed"
    (tmp_path / "splits" / "val").mkdir()
    assert refused("splits") == "has the folders test, train, val, where train, valid and test are needed"
    (tmp_path / "splits" / "val").rename(tmp_path / "splits" / "valid")
    assert refused("splits") == "/valid has no pictures"
    (tmp_path / "splits" / "valid" / "cats").mkdir()
    (folder / "0.png").rename(tmp_path / "splits" / "valid" / "cats" / "0.png")
    assert refused("splits") == "has classes in some of train, valid and test only"


def test_what_changes_while_it_is_read(tmp_path, monkeypatch):
    from imagesets import images

    np.save(tmp_path / "own.npy", IMAGES)
    look = images._look

    def slow(*given):
        found = look(*given)
        os.utime(tmp_path / "own.npy", ns=(1, 1))
        return found

    imagesets.info("images", path=tmp_path / "own.npy")  # is asked once
    monkeypatch.setattr(images, "_look", slow)
    said = refusal("images", tmp_path / "data", path=tmp_path / "own.npy")
    assert said.endswith("was changed while it was read; load it again")
