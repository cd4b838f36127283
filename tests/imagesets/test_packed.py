"""Packed images against the array that they were packed from."""

import numpy as np
import pytest

from imagesets.packed import PackedImages, pack, unpack

SHAPES = [(1, 4, 4), (1, 3, 5), (3, 5, 3), (1, 1, 1)]  # 16, 15, 45 and 1 pixels: whole bytes, and not
COUNT = 11
INDEX = np.array([10, 0, 3, 3, 7, 1])


@pytest.fixture(params=SHAPES, ids=str)
def array(request):
    """Images of 0 and 255, half of each."""
    return np.random.default_rng(1).integers(0, 2, (COUNT, *request.param), np.uint8) * np.uint8(255)


@pytest.fixture(params=[None, INDEX], ids=["all", "index"])
def pair(request, array):
    """Packed images, and what they must look like."""
    index = request.param
    return PackedImages(pack(array), array.shape[1:], index), array if index is None else array[index]


MASK = np.array([True, False, True, True, False, True, False, False, True, False, False])


@pytest.mark.parametrize(
    "key",
    [
        0,
        5,
        -1,
        np.int64(2),
        slice(None),
        slice(1, 4),
        slice(None, None, -2),
        slice(3, 3),
        [4, 0, 0],
        np.array([5, -1, 2]),
        np.array([[0, 1, 2], [3, 4, 5]]),
        np.array([], np.int64),
        ...,
        None,
        (slice(None), 0),
        (slice(1, 4), 0, slice(1, None)),
        (2, 0),
        (-1, 0, -1, -1),
        (np.array([5, 1]), 0),
        (np.array([5, 1]), slice(None), 0),
        (np.array([[5, 1], [0, 2]]), ..., 0),
        (slice(None), None),
        (3,),
        (slice(None), np.int64(0), ..., slice(None, None, -1)),
    ],
    ids=repr,
)
def test_every_index_means_what_it_means_for_the_array(pair, key):
    packed, array = pair
    found, right = packed[key], array[key]
    np.testing.assert_array_equal(found, right)
    assert (found.shape, found.dtype) == (right.shape, right.dtype)


def test_a_mask_chooses_images(pair):
    packed, array = pair
    mask = MASK[: len(array)]
    np.testing.assert_array_equal(packed[mask], array[mask])
    np.testing.assert_array_equal(packed[mask, 0], array[mask, 0])


@pytest.mark.parametrize("key", [COUNT, -COUNT - 1, (slice(None), 3), (0, 0, 0, 0, 0), [0, COUNT]], ids=repr)
def test_what_is_not_there_is_an_index_error(pair, key):
    packed, array = pair
    with pytest.raises(IndexError):
        array[key]
    with pytest.raises(IndexError):
        packed[key]


@pytest.mark.parametrize(
    "key",
    [([0, 1], [0, 0]), (..., 0), (None, 0), (slice(None), np.array([0])), (0, slice(None), [0])],
    ids=repr,
)
def test_an_index_that_would_mean_something_else_is_refused(pair, key):
    with pytest.raises(IndexError, match=r"packed images take images\[which\] or images\[which, slices\]; unpack"):
        pair[0][key]


def test_shape_and_length(pair):
    packed, array = pair
    assert (packed.shape, packed.ndim, packed.dtype) == (array.shape, array.ndim, array.dtype)
    assert len(packed) == len(array)


def test_it_becomes_an_array(pair):
    packed, array = pair
    np.testing.assert_array_equal(np.asarray(packed), array)
    assert np.asarray(packed).dtype == np.uint8
    assert np.asarray(packed, np.float32).dtype == np.float32
    np.testing.assert_array_equal(np.asarray(packed, np.float32), array)
    np.testing.assert_array_equal(np.concatenate([packed, packed]), np.concatenate([array, array]))
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(packed, copy=False)


def test_iteration_ends(pair):
    packed, array = pair
    images = list(packed)
    assert len(images) == len(array)
    np.testing.assert_array_equal(images, array)


def test_what_is_unpacked_is_a_copy_that_can_be_written(pair):
    packed, array = pair
    for key in (0, slice(None), (slice(None), 0), [0, 1]):
        images = packed[key]
        assert images.flags.writeable
        images[:] = 7
    np.testing.assert_array_equal(packed[:], array)


def test_the_first_pixel_is_the_highest_bit():
    images = np.zeros((2, 1, 3, 3), np.uint8)
    images[0, 0, 0, 0] = images[1, 0, 2, 2] = 255
    assert pack(images).tolist() == [[0b1000_0000, 0], [0, 0b1000_0000]]
    np.testing.assert_array_equal(unpack(pack(images), (1, 3, 3)), images)


@pytest.mark.parametrize("on", [True, 1, 255, 0.5], ids=repr)
def test_a_pixel_is_on_where_it_is_not_zero(on):
    images = np.array([[[[0, on], [on, 0]]]])
    assert unpack(pack(images), (1, 2, 2)).tolist() == [[[[0, 255], [255, 0]]]]


def test_eight_pixels_take_a_byte():
    assert pack(np.zeros((5, 1, 64, 64), np.uint8)).nbytes == 5 * 512
    assert pack(np.zeros((5, 1, 3, 3), np.uint8)).nbytes == 5 * 2  # no image shares a byte with the next


def test_rows_may_be_a_memory_map(tmp_path, array):
    np.save(tmp_path / "rows.npy", pack(array))
    packed = PackedImages(np.load(tmp_path / "rows.npy", mmap_mode="c"), array.shape[1:], INDEX)
    np.testing.assert_array_equal(packed[:], array[INDEX])
    np.testing.assert_array_equal(packed[1], array[0])
