"""One's own images: arrays and folders of pictures as splits, options, the cache, and checksums."""

import hashlib
import os
import tracemalloc

import numpy as np
import pytest
from cached import folder_of, mapped
from PIL import Image

import imagesets
from imagesets import arrays, pictures, source

RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 256, (30, 5, 7, 3), np.uint8)  # not square
GREY = RANDOM.integers(0, 256, (30, 5, 7), np.uint8)


@pytest.fixture
def load(tmp_path):
    return lambda path, **options: imagesets.load("images", tmp_path / "data", path=tmp_path / path, **options)


@pytest.fixture
def write(tmp_path):
    """Writes arrays to own.npz."""

    def make(compressed=False, **given):
        (np.savez_compressed if compressed else np.savez)(tmp_path / "own.npz", **given)
        return tmp_path / "own.npz"

    return make


@pytest.fixture
def draw(tmp_path):
    """Saves an array as a picture."""

    def make(name, pixels, **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, **options)

    return make


def together(splits, kind="images"):
    return np.concatenate([getattr(split, kind) for split in splits])


def as_set(images):
    return {image.tobytes() for image in images}


# Arrays.


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (GREY, GREY[:, None]),
        (GREY[:, None], GREY[:, None]),
        (GREY[..., None], GREY[:, None]),
        (COLOUR, COLOUR.transpose(0, 3, 1, 2)),
        (COLOUR.transpose(0, 3, 1, 2), COLOUR.transpose(0, 3, 1, 2)),
        (np.asfortranarray(COLOUR), COLOUR.transpose(0, 3, 1, 2)),
        (GREY[:, :1], GREY[:, None, :1]),  # a row each
    ],
    ids=["HW", "1HW", "HW1", "HW3", "3HW", "by column", "1W"],
)
@pytest.mark.parametrize("kind", ["npz", "packed", "npy"])
def test_images_of_every_layout_are_split(load, write, tmp_path, monkeypatch, images, expected, kind):
    monkeypatch.setattr(arrays, "PIECE", 200)  # bytes: a few images
    if kind == "npy":
        np.save(tmp_path / "own.npy", images)
    else:
        write(compressed=kind == "packed", images=images)
    splits = load("own.npy" if kind == "npy" else "own.npz")
    assert [len(split.images) for split in splits] == [24, 3, 3]
    assert all(split.labels is None and split.factors is None for split in splits)
    assert splits.train.images.shape[1:] == expected.shape[1:]
    assert as_set(together(splits)) == as_set(expected)
    assert mapped(splits.train.images)


@pytest.mark.parametrize("dtype", ["float16", "float32", ">f8"])
def test_floats_become_the_nearest_level(load, write, dtype):
    levels = np.linspace(0, 1, 30 * 35).reshape(30, 5, 7).astype(dtype)
    write(images=levels, train=np.arange(28), valid=[28], test=[29])
    expected = np.floor(255 * levels.astype(np.float64) + 0.5)
    np.testing.assert_array_equal(together(load("own.npz"))[:, 0], expected)
    assert expected.min() == 0
    assert expected.max() == 255


def test_labels_and_factors_go_with_their_images(load, write):
    labels, factors = np.arange(30, dtype=np.uint8), np.stack([np.arange(30) % 4, np.arange(30) // 4], axis=1)
    path = write(images=GREY, labels=labels, factors=factors)
    splits = load("own.npz")
    order = together(splits, "labels")
    assert sorted(order) == list(range(30)) != list(order)
    np.testing.assert_array_equal(together(splits)[:, 0], GREY[order])
    np.testing.assert_array_equal(together(splits, "factors"), factors[order])
    assert imagesets.info("images", path=path).factors == {"factor_1": 4, "factor_2": 8}


def test_a_given_split_is_kept_in_its_order_and_need_not_have_all(load, write):
    given = {"train": [9, 3, 5], "valid": np.array([20], np.uint16), "test": [0, 29]}
    path = write(images=GREY, labels=np.arange(30), **given)
    splits = load("own.npz")
    for part, order in given.items():
        np.testing.assert_array_equal(getattr(splits, part).images[:, 0], GREY[order])
        np.testing.assert_array_equal(getattr(splits, part).labels, order)
    info = imagesets.info("images", path=path)
    assert (info.train, info.valid, info.test, info.image_shape) == (3, 1, 2, (1, 5, 7))


@pytest.mark.parametrize(("count", "sizes"), [(3, [1, 1, 1]), (19, [17, 1, 1]), (20, [16, 2, 2])])
def test_a_tenth_each_and_one_at_least_is_held_out(load, write, count, sizes):
    path = write(images=GREY[:count])
    info = imagesets.info("images", path=path)
    assert [len(split.images) for split in load("own.npz")] == [info.train, info.valid, info.test] == sizes


def test_other_arrays_of_an_archive_are_left_alone(load, write):
    write(images=GREY, metadata=np.array({"a": 1}, dtype=object))
    assert len(load("own.npz").train.images) == 24


# Folders.


@pytest.fixture
def classes(draw):
    """Fifteen pictures each of two classes, named so that both orders differ from that of writing."""
    for number in range(30):
        draw(f"own/{'dog' if number < 15 else 'cat'}/{29 - number:02d}.png", COLOUR[number])


def test_a_folder_a_class_gives_labels(load, classes):
    splits = load("own")
    expected = {image.tobytes(): int(number < 15) for number, image in enumerate(COLOUR.transpose(0, 3, 1, 2))}
    found = {image.tobytes(): label for split in splits for image, label in zip(split.images, split.labels)}
    assert found == expected


def test_a_flat_folder_has_none_and_what_systems_leave_there_is_ignored(load, draw, tmp_path):
    for number in range(30):
        draw(f"own/{number}.png", GREY[number])
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / "own" / name).write_bytes(b"\0")
    (tmp_path / "own" / ".thumbnails").mkdir()
    splits = load("own")
    assert splits.train.labels is None
    assert as_set(together(splits)) == as_set(GREY[:, None])


def test_train_valid_and_test_may_be_folders(load, draw, tmp_path):
    for part, numbers in {"train": range(10), "valid": range(10, 12), "test": range(12, 16)}.items():
        for number in numbers:
            draw(f"flat/{part}/{number:02d}.png", GREY[number])
            draw(f"own/{part}/{'ab'[number % 2]}/{number:02d}.png", GREY[number])
    flat, own = load("flat"), load("own")
    np.testing.assert_array_equal(together(flat)[:, 0], GREY[:16])
    assert [len(split.images) for split in own] == [10, 2, 4]
    assert together(own, "labels").tolist() == [0] * 5 + [1] * 5 + [0, 1] + [0, 0, 1, 1]
    info = imagesets.info("images", path=tmp_path / "own")
    assert (info.train, info.valid, info.test, info.image_shape) == (10, 2, 4, (1, 5, 7))


def test_pictures_are_read_a_few_at_a_time(load, classes, tmp_path, monkeypatch):
    taken = []
    whole = pictures.pieces
    monkeypatch.setattr(pictures, "pieces", lambda *given: (taken.append(len(p)) or p for p in whole(*given)))
    monkeypatch.setattr(pictures, "PIECE", 8)
    expected = {image.tobytes() for image in COLOUR.transpose(0, 3, 1, 2)}
    assert as_set(together(load("own"))) == expected
    assert taken == [8, 8, 8, 6]


def test_formats_and_kinds_of_pixels_become_grey_or_rgb(load, draw, tmp_path):
    smooth = np.broadcast_to(np.linspace(0, 255, 7).astype(np.uint8)[:, None], (5, 7, 3))
    folder = tmp_path / "own"
    draw("own/00.png", smooth)
    draw("own/01.jpg", smooth, quality=100)
    draw("own/02.bmp", smooth)
    draw("own/03.webp", smooth, lossless=True)
    draw("own/04.tiff", smooth)
    draw("own/05.ppm", smooth)
    Image.fromarray(smooth).quantize(16).save(folder / "06.gif")
    Image.fromarray(smooth).quantize(16).save(folder / "07.png")
    Image.fromarray(smooth).convert("RGBA").save(folder / "08.png")
    Image.fromarray(smooth).convert("L").save(folder / "09.png")
    Image.fromarray(smooth).convert("LA").save(folder / "10.png")
    upright = Image.fromarray(smooth).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees clockwise
    upright.save(folder / "11.png", exif=exif)
    draw("own/12.png", 255 - smooth)
    found = together(load("own")).astype(int)
    assert found.shape == (13, 3, 5, 7)
    furthest = np.sort(abs(found - smooth.transpose(2, 0, 1)).max(axis=(1, 2, 3)))
    assert furthest[10] == 0
    assert furthest[11] <= 3  # the JPEG
    assert furthest[12] == 255


# Options.


def test_size_cuts_to_the_aspect_about_the_centre(load, draw, tmp_path):
    for number in range(5):
        wide = np.full((10, 30), 9 * number, np.uint8)
        wide[:, 10:20] = 200  # the central square
        draw(f"own/{number}.png", wide)
        draw(f"own/{number}-tall.png", np.repeat(wide.T, 2, axis=0))  # and of another size
    square = load("own", size=5)
    assert square.train.images.shape == (8, 1, 5, 5)
    assert (together(square)[:, :, :, 2:3] == 200).all()
    oblong = load("own", size=[4, 12])
    assert oblong.train.images.shape == (8, 1, 4, 12)
    info = imagesets.info("images", path=tmp_path / "own", size=[4, 12], grey=False)
    assert info.image_shape == (3, 4, 12)


def test_grey_is_the_luminance_and_not_grey_is_three_channels(load, write, draw):
    draw("own/0.png", GREY[0])  # the first is grey
    for number in range(1, 6):
        draw(f"own/{number}.png", COLOUR[number])
    expected = {np.asarray(Image.fromarray(image).convert("L")).tobytes() for image in COLOUR[1:6]}
    assert as_set(together(load("own", grey=True))) == expected | {GREY[0].tobytes()}
    colour = together(load("own", grey=False))
    assert as_set(colour) == as_set([*COLOUR[1:6].transpose(0, 3, 1, 2), np.stack([GREY[0]] * 3)])


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
def test_arrays_take_the_same_options_as_pictures(load, write, draw, layout):
    for number in range(30):
        draw(f"own/{number:02d}.png", COLOUR[number])
    write(images=COLOUR if layout == "HWC" else COLOUR.transpose(0, 3, 1, 2))
    for options in ({"size": [3, 4]}, {"grey": True}, {"size": 4, "grey": True}):
        np.testing.assert_array_equal(together(load("own.npz", **options)), together(load("own", **options)))


# The cache.


def test_what_was_changed_is_made_again(load, write, tmp_path):
    path = write(images=GREY)
    before = as_set(together(load("own.npz")))
    write(images=GREY[::-1] // 2)
    os.utime(path, ns=(1, 1))
    assert as_set(together(load("own.npz"))) == as_set(GREY[:, None] // 2) != before
    assert imagesets.info("images", path=path).train == 24


def test_a_folder_with_a_picture_more_less_or_changed_is_made_again(load, classes, draw, tmp_path):
    assert len(load("own").train.images) == 24
    draw("own/cat/more.png", 255 - COLOUR[0])
    assert len(together(load("own"))) == 31
    assert imagesets.info("images", path=tmp_path / "own").train == 25
    (tmp_path / "own" / "cat" / "more.png").unlink()
    assert len(together(load("own"))) == 30
    draw("own/cat/00.png", 255 - COLOUR[0])
    os.utime(tmp_path / "own" / "cat" / "00.png", ns=(5, 5))
    assert (255 - COLOUR[0]).transpose(2, 0, 1).tobytes() in as_set(together(load("own")))
    folder_of(tmp_path / "data", "images")  # there is one


def test_what_is_kept_is_read_without_the_pixels_of_the_source(load, classes, monkeypatch):
    before = together(load("own"))
    monkeypatch.setattr(pictures, "pieces", None)
    np.testing.assert_array_equal(together(load("own")), before)


def test_two_paths_have_arrays_of_their_own(load, tmp_path):
    for name, images in {"a": GREY, "b": 255 - GREY}.items():
        np.save(tmp_path / f"{name}.npy", images)
        os.utime(tmp_path / f"{name}.npy", ns=(7, 7))
    for _ in range(2):
        assert as_set(together(load("a.npy"))) == as_set(GREY[:, None])
        assert as_set(together(load("b.npy"))) == as_set(255 - GREY[:, None])
    assert len(list((tmp_path / "data" / "cache").glob("images-*"))) == 2


@pytest.fixture
def most():
    """Bytes that Python and NumPy held at most at a time while something was done; mapped files do not count."""

    def measure(done):
        tracemalloc.start()
        try:
            done()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return measure


def test_only_a_piece_of_the_images_is_in_memory(load, write, draw, monkeypatch, most):
    monkeypatch.setattr(arrays, "PIECE", 100_000)
    monkeypatch.setattr(pictures, "PIECE", 8)
    write(images=GREY)
    load("own.npz", size=3)  # imports what would count
    images = RANDOM.integers(0, 256, (500, 100, 100), np.uint8)
    write(images=images)
    assert most(lambda: load("own.npz")) < 1_500_000  # of 5,000,000
    write(compressed=True, images=images / 255)
    assert most(lambda: load("own.npz", size=90)) < 1_500_000
    for number in range(100):
        draw(f"large/{number}.png", images[5 * number : 5 * number + 5].reshape(500, 100))
    assert most(lambda: load("large")) < 1_500_000


# Checksums.


def test_the_checksum_of_a_file_is_that_of_its_bytes(write, tmp_path):
    path = write(images=GREY)
    found = imagesets.checksum("images", path=path)
    assert found == hashlib.sha256(path.read_bytes()).hexdigest() == imagesets.checksum("images", path=path, size=3)
    write(images=GREY[::-1])
    os.utime(path, ns=(3, 3))
    assert imagesets.checksum("images", path=path) == hashlib.sha256(path.read_bytes()).hexdigest() != found


def test_the_checksum_of_a_folder_is_that_of_names_and_contents(classes, tmp_path, draw):
    def found():
        return imagesets.checksum("images", path=tmp_path / "own")

    before = found()
    (tmp_path / "own" / "cat" / ".hidden").write_bytes(b"")
    for path in (tmp_path / "own").rglob("*.png"):
        os.utime(path, ns=(9, 9))
    assert found() == before
    (tmp_path / "own" / "cat" / "00.png").rename(tmp_path / "own" / "cat" / "000.png")
    renamed = found()
    draw("own/cat/000.png", COLOUR[7])
    assert len({before, renamed, found()}) == 3


def test_what_is_known_beforehand_needs_no_pixels(classes, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "pieces", None)
    info = imagesets.info("images", path=tmp_path / "own")
    assert (info.image_shape, info.train, info.valid, info.test) == ((3, 5, 7), 24, 3, 3)
    assert info.files == str(tmp_path / "own")
    assert source.NAME == info.name == "images"
