import hashlib
import itertools
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.path import Path as Outline

import imagesets
from imagesets import DataError, PackedImages, packed, sprites
from imagesets.factors import FACTORS, SIZES

SQUARE, ELLIPSE, HEART = range(3)
CENTRE = (16.14, 15.81)  # column and row at position 0
AREAS = [441.0, math.pi * 13 * 7.2, 12.0**2 * (1 + math.pi / 4)]  # at scale 1
GLYPHS = list(itertools.product(range(3), range(6), range(40)))


def numbers(images):
    """The number of each image in the full grid, from its factors."""
    return np.ravel_multi_index(tuple(images.factors.T), SIZES)


def by_number(splits):
    """All images and their numbers in the full grid, in the order of the grid."""
    index = np.concatenate([numbers(split) for split in splits])
    return np.concatenate([split.images[:] for split in splits])[np.argsort(index)], np.sort(index)


def drawn(shape, scale=1.0, angle=0.0):
    return sprites.depth(shape, scale, angle) > 0


def moments(sprite):
    """Area, centre (column and row at position 0) and the pixels' places about it, upwards positive, as x + iy."""
    rows, columns = np.nonzero(sprite)
    x, y = columns.mean(), rows.mean()
    return len(rows), (x - sprites.LAST, y - sprites.LAST), (columns - x) - 1j * (rows - y)


def between(angle, other, period):
    """The smallest difference of two angles that repeat after a period."""
    return abs((angle - other + period / 2) % period - period / 2)


def outline(shape, scale, angle):
    """The edge of a shape as points, columns and rows at position 0; drawn afresh from what the shapes are."""
    turn = np.linspace(0, 2 * np.pi, 401)
    if shape == SQUARE:
        points = np.array([10.5 + 10.5j, -10.5 + 10.5j, -10.5 - 10.5j, 10.5 - 10.5j])
    elif shape == ELLIPSE:
        points = 13 * np.cos(turn) + 7.2j * np.sin(turn)
    else:
        half = 6 * np.exp(1j * np.linspace(-np.pi / 2, np.pi / 2, 201))
        points = np.r_[-6 - 6j, 6 - 6j, 6 + half, 6j + half * 1j, -6 - 6j]
        points = points * np.exp(0.25j * np.pi)
        x, y = points.real, points.imag
        cross = x[:-1] * y[1:] - x[1:] * y[:-1]  # the centre of a polygon's area
        centre = ((points[:-1] + points[1:]) * cross).sum() / (3 * cross.sum())
        points = points - centre
    points = points * scale * np.exp(1j * angle)
    return Outline(np.stack([CENTRE[0] + points.real, CENTRE[1] - points.imag], axis=1))


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """The full grid's splits, and what building them took in a process of its own, in MiB."""
    folder = tmp_path_factory.mktemp("sprites")
    code = (
        "import resource, sys; from pathlib import Path; from imagesets import sprites;"
        "splits = sprites.load(Path(sys.argv[1])); splits.train.images[:256];"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == 'darwin' else 2**10))"
    )
    # The shell starts it, because ru_maxrss begins with that of the process that starts one: with all that tests hold.
    command = ["sh", "-c", '"$0" -c "$1" "$2"; exit $?', sys.executable, code, str(folder)]
    repository = Path(imagesets.__path__[0]).parent
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    yield sprites.load(folder), int(done.stdout)
    shutil.rmtree(folder)  # 420 MB


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Every place of a few sprites, by number of shape, scale, orientation, pos_x and pos_y."""
    splits = sprites.load(tmp_path_factory.mktemp("places"), scale=[1, 5], orientation=[7])
    return by_number(splits)[0].reshape(3, 2, 1, 32, 32, 64, 64)


def test_the_full_grid_is_built_and_read_in_little_memory(full):
    splits, mebibytes = full
    assert 100 < mebibytes < 1024  # 0 would be another unit
    assert [len(split.images) for split in splits] == [663_552, 36_864, 36_864]


def test_images_are_packed_and_black_or_white(full):
    for split in full[0]:
        assert isinstance(split.images, PackedImages)
        assert split.images.dtype == np.uint8
        assert split.images.shape[1:] == (1, 64, 64)
        assert np.unique(split.images[:500]).tolist() == [0, 255]


def test_labels_are_the_shape(full):
    for split in full[0]:
        assert split.factors.dtype == split.labels.dtype == np.int64
        np.testing.assert_array_equal(split.labels, split.factors[:, 1])
        assert not split.factors[:, 0].any()


def test_every_image_shows_its_factors(full):
    """Against outlines drawn another way; pixels that the edge nearly meets are left out."""
    columns, rows = np.meshgrid(np.arange(64), np.arange(64))
    for split in full[0]:
        for image, (_, shape, scale, orientation, x, y) in zip(split.images[:60], split.factors[:60]):
            edge = outline(shape, FACTORS["scale"][scale], FACTORS["orientation"][orientation])
            points = np.stack([columns.ravel() - x, rows.ravel() - y], axis=1)
            inside, outside = (edge.contains_points(points, radius=r).reshape(64, 64) for r in (-0.02, 0.02))
            inside, outside = inside & outside, ~(inside | outside)  # which is larger depends on the outline's sense
            assert (inside | outside).mean() > 0.99
            assert (image[0][inside] == 255).all()
            assert (image[0][outside] == 0).all()


def test_a_position_moves_the_same_sprite_by_a_pixel_a_step(places):
    for x, y in [(1, 0), (0, 1), (13, 29), (31, 31)]:
        moved = np.roll(places[:, :, :, 0, 0], (y, x), axis=(-2, -1))
        np.testing.assert_array_equal(places[:, :, :, x, y], moved)
    area = places.sum(axis=(-2, -1), dtype=np.int64)
    column = (places.sum(axis=-2, dtype=np.int64) * np.arange(64)).sum(axis=-1) / area
    row = (places.sum(axis=-1, dtype=np.int64) * np.arange(64)).sum(axis=-1) / area
    steps = np.arange(32)
    np.testing.assert_allclose(column, (column[..., :1, :1] + steps[:, None]) * np.ones(32), atol=1e-9)
    np.testing.assert_allclose(row, row[..., :1, :1] + steps * np.ones((32, 1)), atol=1e-9)


def test_the_centre_does_not_move_with_shape_scale_or_orientation():
    for shape, scale, orientation in GLYPHS:
        _, centre, _ = moments(drawn(shape, FACTORS["scale"][scale], FACTORS["orientation"][orientation]))
        assert math.dist(centre, CENTRE) < 0.3


def test_the_area_grows_with_the_square_of_the_scale():
    for shape, area in enumerate(AREAS):
        for scale in FACTORS["scale"]:
            found = [moments(drawn(shape, scale, angle))[0] / (area * scale**2) for angle in FACTORS["orientation"]]
            assert np.mean(found) == pytest.approx(1, abs=0.015)
            assert max(found) - min(found) < 0.16


def test_an_axis_aligned_square_has_the_sides_of_its_scale():
    for scale, side in zip(FACTORS["scale"], (11, 13, 15, 17, 19, 21)):
        sprite = drawn(SQUARE, scale)
        assert sprite.sum() == side**2
        assert sprite.any(axis=0).sum() == sprite.any(axis=1).sum() == side


def test_the_ellipse_turns_counter_clockwise_with_its_orientation():
    for scale, angle in itertools.product(FACTORS["scale"], FACTORS["orientation"]):
        _, _, z = moments(drawn(ELLIPSE, scale, angle))
        assert between(np.angle((z**2).sum()) / 2, angle, np.pi) < 0.07


def test_the_square_turns_counter_clockwise_with_its_orientation():
    for scale, angle in itertools.product(FACTORS["scale"], FACTORS["orientation"]):
        _, _, z = moments(drawn(SQUARE, scale, angle))
        corner = np.angle((z**4).sum()) / 4
        assert between(corner + np.pi / 4, angle, np.pi / 2) < 0.07


def test_the_heart_points_down():
    rows = drawn(HEART)
    rows = rows[rows.any(axis=1)]
    ends = np.abs(np.diff(rows.astype(int), prepend=0, append=0, axis=1)).sum(axis=1)
    assert rows[-1].sum() <= 2
    assert ends.tolist() == [4] + [2] * (len(rows) - 1)  # two halves above, one point below
    assert rows.sum(axis=1)[-8:].tolist() == sorted(rows.sum(axis=1)[-8:], reverse=True)


def test_the_heart_turns_counter_clockwise_with_its_orientation():
    """Its third moment repeats after a third of a turn; which third it is, the outlines have told."""
    for scale, angle in itertools.product(FACTORS["scale"], FACTORS["orientation"]):
        _, _, z = moments(drawn(HEART, scale, angle))
        assert between(np.angle((z**3).sum()) / 3, angle - np.pi / 2, 2 * np.pi / 3) < 0.15


@pytest.mark.parametrize(("shape", "period"), [(SQUARE, np.pi / 2), (ELLIPSE, np.pi), (HEART, 2 * np.pi)])
def test_periods(shape, period):
    for angle in (0.1, 0.7, 2.0):
        np.testing.assert_array_equal(drawn(shape, 1.0, angle), drawn(shape, 1.0, angle + period))
        differ = drawn(shape, 1.0, angle) ^ drawn(shape, 1.0, angle + period / 2)
        assert differ.sum() > 0.1 * AREAS[shape]


def test_the_first_and_the_last_orientation_are_one_angle(full, tmp_path):
    images, _ = by_number(sprites.load(tmp_path, orientation=[0, 1, 39], pos_x=1, pos_y=2))
    images = images.reshape(18, 3, 2, 64, 64)
    np.testing.assert_array_equal(images[:, 0], images[:, 2])
    assert (images[:, 0] != images[:, 1]).any(axis=(1, 2, 3)).all()


def test_no_other_sprites_are_equal():
    """Nor are two of them at different places, as their centres differ by less than a pixel."""
    sprite = {(s, k, o): drawn(s, FACTORS["scale"][k], FACTORS["orientation"][o]).tobytes() for s, k, o in GLYPHS}
    assert len(set(sprite.values())) == 3 * 6 * 39


def test_no_pixel_is_decided_by_rounding():
    """Rounding moves an edge by about 1e-14; a centre of a pixel on an edge would have depth 0."""
    closest = [abs(sprites.depth(s, FACTORS["scale"][k], FACTORS["orientation"][o])).min() for s, k, o in GLYPHS]
    assert min(closest) > 1e-5


def test_depth_is_no_more_than_the_distance_to_the_edge():
    for shape in range(3):
        depth = sprites.depth(shape, 0.7, 1.0)
        for axis in (0, 1):
            assert abs(np.diff(depth, axis=axis)).max() <= 1 + 1e-12


def test_no_sprite_comes_near_the_border(tmp_path):
    images, _ = by_number(sprites.load(tmp_path, scale=[5], pos_x=2, pos_y=2))
    assert len(images) == 3 * 40 * 4
    on = images[:, 0].any(axis=0)
    assert np.flatnonzero(on.any(axis=0))[[0, -1]].tolist() == [2, 61]  # columns
    assert np.flatnonzero(on.any(axis=1))[[0, -1]].tolist() == [2, 61]  # rows


def test_a_subset_has_the_same_images_as_the_full_grid(full, tmp_path):
    options = {"shape": [0, 2], "scale": 2, "orientation": [3, 38], "pos_x": 4, "pos_y": [5]}
    wanted = {}
    for split in full[0]:
        _, shape, scale, orientation, x, y = split.factors.T
        chosen = (shape != 1) & np.isin(scale, (0, 5)) & np.isin(orientation, (3, 38)) & np.isin(x, (0, 10, 21, 31))
        for row in np.flatnonzero(chosen & (y == 5)):
            wanted[tuple(split.factors[row])] = split.images[row]
    assert len(wanted) == 32
    found = {}
    for split in sprites.load(tmp_path, **options):
        for factors, image, label in zip(split.factors, split.images[:], split.labels):
            found[tuple(factors)] = image
            assert label == factors[1]
    assert found.keys() == wanted.keys()
    assert all((found[key] == wanted[key]).all() for key in wanted)


def test_a_subset_never_changes(tmp_path):
    train, valid, test = sprites.load(tmp_path, orientation=8, pos_x=4, pos_y=3)
    assert (len(train.images), len(valid.images), len(test.images)) == (1556, 86, 86)
    assert numbers(test)[:3].tolist() == [134480, 116704, 187056]
    digest = hashlib.sha256()
    for split in (train, valid, test):
        digest.update(packed.pack(split.images[:]).tobytes())
        digest.update(split.factors.astype("<i8").tobytes())
    assert digest.hexdigest() == "90f814e75cd9e38dbe7cc18b7bbc16f55db410841531a2e3a4edf6e753bc1215"


def test_info_says_the_sizes_of_a_subset_and_the_values_of_the_full_grid():
    info = sprites.info(shape=2, scale=[0, 3, 4], orientation=5, pos_x=3, pos_y=[9])
    assert (info.train, info.valid, info.test) == (82, 4, 4)
    assert info.factors == sprites.INFO.factors == dict(zip(FACTORS, SIZES))
    assert sprites.info() == sprites.INFO


def test_the_registry_knows_the_options(tmp_path):
    assert imagesets.options("sprites") == dict.fromkeys(["shape", "scale", "orientation", "pos_x", "pos_y"])
    splits = imagesets.load("sprites", tmp_path, scale=1, orientation=1, pos_x=[3], pos_y=8)
    assert [len(split.images) for split in splits] == [22, 1, 1]
    with pytest.raises(DataError, match=r"sprites has no option 'pos_z'; it takes .*\. Did you mean 'pos_"):
        imagesets.info("sprites", pos_z=3)


@pytest.mark.parametrize(
    ("option", "choice", "values"),
    [
        ("scale", None, [0, 1, 2, 3, 4, 5]),
        ("scale", 6, [0, 1, 2, 3, 4, 5]),
        ("scale", 1, [0]),
        ("scale", 3, [0, 2, 5]),
        ("orientation", 4, [0, 13, 26, 39]),
        ("pos_x", 5, [0, 8, 16, 23, 31]),
        ("shape", [2], [2]),
        ("pos_y", (30, 4), [4, 30]),
    ],
)
def test_choices(option, choice, values):
    found = dict(zip(FACTORS, sprites.chosen({option: choice})))
    assert found.pop(option).tolist() == values
    assert all(len(rest) == len(FACTORS[name]) for name, rest in found.items())


@pytest.mark.parametrize("option", list(FACTORS)[1:])
def test_so_many_evenly_spaced_values_are_so_many_different_ones(option):
    for count in range(1, len(FACTORS[option]) + 1):
        values = dict(zip(FACTORS, sprites.chosen({option: count})))[option]
        assert len(np.unique(values)) == count
        assert values[0] == 0
        assert count == 1 or values[-1] == len(FACTORS[option]) - 1


@pytest.mark.parametrize("wrong", [0, 7, -1, True, 2.0, "3", [], [6], [-1], [1, 1], [True], [0.0], {0: 1}, [[0]]])
def test_a_wrong_choice_is_named_with_what_is_needed(wrong, tmp_path):
    with pytest.raises(DataError) as caught:
        sprites.load(tmp_path, scale=wrong)
    assert str(caught.value) == (
        f"sprites: scale is {wrong!r}, where None (all values), how many (1 to 6), "
        "or a list of different numbers of values (0 to 5) is needed"
    )
    assert list(tmp_path.iterdir()) == []


def test_too_few_images_are_refused(tmp_path):
    with pytest.raises(DataError) as caught:
        sprites.load(tmp_path, shape=[1], scale=[1], orientation=[1], pos_x=[1], pos_y=19)
    message = "sprites: the options leave 19 images, where at least 20 are needed for three splits"
    assert str(caught.value) == message
    assert list(tmp_path.iterdir()) == []


def test_one_choice_said_in_two_ways_is_stored_once(tmp_path):
    few = {"orientation": [3], "pos_x": [3], "pos_y": [3]}
    for scale, shape in [(None, 2), (6, [0, 2]), ([5, 4, 3, 2, 1, 0], (2, 0))]:
        with pytest.raises(DataError, match="leave 12 images"):
            sprites.load(tmp_path, scale=scale, shape=shape, **few)
        sprites.load(tmp_path, scale=scale, shape=shape, orientation=[3], pos_x=[3], pos_y=2)
    stored = [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    assert len(stored) == 1
    index = json.loads((stored[0] / "index.json").read_text())
    assert {"rows", "train_index", "test_factors", "valid_labels"} <= index["arrays"].keys()


def test_a_root_that_cannot_be_written_is_drawn_in_memory(tmp_path):
    (tmp_path / "file").touch()
    options = {"orientation": 2, "pos_x": [3], "pos_y": 2}
    there, here = sprites.load(tmp_path / "file", **options), sprites.load(tmp_path, **options)
    for first, second in zip(there, here):
        np.testing.assert_array_equal(first.images, second.images)
        np.testing.assert_array_equal(first.factors, second.factors)
        np.testing.assert_array_equal(first.labels, second.labels)
