"""Arrays made once a machine: how they are kept, and what they share."""

import os
import re
from unittest.mock import Mock

import numpy as np
import pytest
from cached import IMAGES, LABELS, assert_right, content, folder_of, listed, make, mapped

from imagesets.base import Split, Splits
from imagesets.cache import fill, size, splits_of, stored

# What is made, and how it is kept


def test_arrays_are_those_that_were_made_mapped_from_files(tmp_path, build):
    arrays = stored(tmp_path, "dots", build)
    assert_right(arrays)
    assert all(mapped(array) for array in arrays.values())
    folder = folder_of(tmp_path)
    assert re.fullmatch("dots-[0-9a-f]{12}", folder.name)
    assert listed(tmp_path) == [
        folder.name,
        *(f"{folder.name}/{f}" for f in ("images.npy", "index.json", "labels.npy")),
    ]
    np.testing.assert_array_equal(np.load(folder / "images.npy"), IMAGES)
    np.testing.assert_array_equal(np.load(folder / "labels.npy"), LABELS)


def test_other_users_may_read_them(tmp_path, build):
    stored(tmp_path, "dots", build)
    mask = os.umask(0)
    os.umask(mask)
    assert folder_of(tmp_path).stat().st_mode & 0o777 == 0o755
    assert {p.stat().st_mode & 0o777 for p in folder_of(tmp_path).iterdir()} == {0o666 & ~mask}


def test_the_second_call_does_not_build(tmp_path, build):
    stored(tmp_path, "dots", build)
    arrays = stored(tmp_path, "dots", build)
    assert_right(arrays)
    assert all(mapped(array) for array in arrays.values())
    assert build.call_count == 1


@pytest.mark.parametrize("other", [{"options": {"size": 64}}, {"options": {"size": None}}, {"version": 2}], ids=str)
def test_another_option_or_version_is_built_apart(tmp_path, build, other):
    usual = {"options": {"size": 32}, "version": 1}
    stored(tmp_path, "dots", build, **usual)
    stored(tmp_path, "dots", lambda new: new("images", (1,), np.uint8).fill(9), **usual | other)
    assert len(list((tmp_path / "cache").glob("dots-*"))) == 2
    assert stored(tmp_path, "dots", build, **usual | other)["images"].tolist() == [9]
    assert_right(stored(tmp_path, "dots", build, **usual))
    assert build.call_count == 1


def test_another_name_is_built_apart(tmp_path, build):
    stored(tmp_path, "dots", build)
    stored(tmp_path, "lines", build)
    assert build.call_count == 2


@pytest.mark.parametrize("same", [[{}, None], [{"a": 1, "b": [2]}, {"b": (2,), "a": 1}]], ids=str)
def test_the_same_options_in_other_words_are_not_built_again(tmp_path, build, same):
    for options in same:
        stored(tmp_path, "dots", build, options=options)
    assert build.call_count == 1


def test_writing_to_an_array_changes_nothing_but_itself(tmp_path, build):
    first = stored(tmp_path, "dots", build)
    before = content(folder_of(tmp_path))
    for array in first.values():
        assert array.flags.writeable
        array[:] = 99
    assert_right(stored(tmp_path, "dots", build))
    assert build.call_count == 1
    assert content(folder_of(tmp_path)) == before
    assert (first["images"] == 99).all()


def test_a_scalar_and_an_empty_array_can_be_kept(tmp_path):
    def make_odd(new):
        new("scalar", (), np.float32)[...] = 2.5
        new("empty", (0, 3), np.int64)

    for _ in range(2):
        arrays = stored(tmp_path, "odd", Mock(side_effect=make_odd))
        assert (arrays["scalar"].shape, float(arrays["scalar"])) == ((), 2.5)
        assert (arrays["empty"].shape, arrays["empty"].dtype) == ((0, 3), np.int64)


# Splits in arrays


def split(count, labels=True, factors=True):
    random = np.random.default_rng(count)
    return Split(
        random.integers(0, 256, (count, 1, 2, 2), np.uint8),
        random.integers(0, 10, count) if labels else None,
        random.integers(0, 10, (count, 3)) if factors else None,
    )


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("factors", [True, False])
def test_splits_come_back_as_they_were(tmp_path, labels, factors):
    splits = Splits(*(split(count, labels, factors) for count in (5, 3, 2)))
    for _ in range(2):
        found = splits_of(stored(tmp_path, "dots", lambda new: fill(new, splits)))
        for right, part in zip(splits, found):
            for values, read in zip(right, part):
                assert (values is None) == (read is None)
                if values is not None:
                    np.testing.assert_array_equal(read, values)
                    assert read.dtype == values.dtype


def test_size_is_what_the_arrays_take(tmp_path):
    assert size(tmp_path, "dots") == 0
    for options in ({"n": 1}, {"n": 2}):
        stored(tmp_path, "dots", lambda new: new("images", (1000,), np.uint8).fill(1), options=options)
    stored(tmp_path, "dots_60k", make)
    stored(tmp_path, "dots-0123456789ab", make)
    assert size(tmp_path, "dots") == 2 * (1000 + 128)  # an npy header takes 128 bytes
    assert size(tmp_path, "dots_60k") == IMAGES.nbytes + LABELS.nbytes + 2 * 128
