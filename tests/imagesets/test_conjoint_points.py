import hashlib
import math
from collections import Counter

import numpy as np
import pytest

import imagesets
from imagesets import conjoint_points


def digest(splits):
    return hashlib.sha256(b"".join(values.tobytes() for split in splits for values in split)).hexdigest()[:16]


def test_combinations_by_hand():
    rows, a, b = conjoint_points.combinations(5)  # two primary pixels, three secondary
    assert (rows // 255).tolist() == [
        [1, 0, 1, 0, 0],
        [1, 0, 0, 1, 0],
        [1, 0, 0, 0, 1],
        [0, 1, 1, 0, 0],
        [0, 1, 0, 1, 0],
        [0, 1, 0, 0, 1],
    ]
    assert a.tolist() == [0, 0, 0, 1, 1, 1]
    assert b.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(("size", "p", "s"), [(4, 2, 2), (5, 2, 3), (8, 4, 4), (9, 4, 5), (64, 32, 32)])
def test_every_split_has_copies_of_every_pair(tmp_path, size, p, s):
    for split in conjoint_points.load(tmp_path, size=size, copies=2):
        n = 2 * p * s
        assert split.images.shape == (n, 2, 1, 1, size)
        assert split.images.dtype == np.uint8
        assert len(split.labels) == len(split.factors) == n
        np.testing.assert_array_equal(split.images[:, 0], split.images[:, 1])
        rows = split.images[:, 0, 0, 0]
        np.testing.assert_array_equal(rows[:, :p], 255 * (split.labels[:, None] == np.arange(p)))
        np.testing.assert_array_equal(rows[:, p:], 255 * (split.factors[:, 1:2] == np.arange(s)))
        np.testing.assert_array_equal(split.factors[:, 0], split.labels)
        np.testing.assert_array_equal(split.factors[:, 2], split.factors[:, 1])
        assert np.bincount(split.labels * s + split.factors[:, 1]).tolist() == [2] * (p * s)


@pytest.mark.parametrize("size", [8, 9])
def test_the_best_joint_log_likelihoods(tmp_path, size):
    """Minus the entropy of a pair, counted: by index, and by label, where all points of a label meet."""
    train = conjoint_points.load(tmp_path, size=size, copies=1).train
    rows = [image.tobytes() for image in train.images[:, 0]]
    by_index = Counter(zip(rows, [image.tobytes() for image in train.images[:, 1]]))
    by_label = Counter((x1, x2) for x1, a1 in zip(rows, train.labels) for x2, a2 in zip(rows, train.labels) if a1 == a2)

    def best(pairs):
        return sum(count * math.log(count / pairs.total()) for count in pairs.values()) / pairs.total()

    p, s = size // 2, size - size // 2
    assert best(by_index) == pytest.approx(-math.log(p * s))
    assert best(by_label) == pytest.approx(-math.log(p * s * s))


def test_the_order_is_shuffled_and_each_splits_own(tmp_path):
    splits = conjoint_points.load(tmp_path)
    for split in splits:
        assert np.mean(np.diff(split.labels) != 0) > 0.6  # 0.75 in expectation; sorted labels have less than 0.01
    assert len({split.images.tobytes() for split in splits}) == 3


def test_the_arrays_never_change(tmp_path):
    splits = conjoint_points.load(tmp_path)
    assert splits.train.factors[:6, :2].tolist() == [[2, 0], [3, 3], [2, 3], [3, 1], [1, 3], [1, 1]]
    assert digest(splits) == "881baa468bdd5bb0"


def test_info_follows_the_options():
    assert conjoint_points.info() == conjoint_points.INFO
    info = imagesets.info("conjoint_points", size=9, copies=3)
    assert (info.image_shape, info.train, info.valid, info.test) == ((2, 1, 1, 9), 60, 60, 60)
    assert info.factors == {"primary": 4, "secondary_1": 5, "secondary_2": 5}


def test_each_option_is_stored_apart(tmp_path):
    loads = [conjoint_points.load(tmp_path, **options) for options in ({}, {"size": 4}, {"copies": 3})]
    assert [splits.train.images.shape[::4] for splits in loads] == [(400, 8), (100, 4), (48, 8)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 3}, "size is 3, where a whole number from 4 to 256 is needed"),
        ({"size": 257}, "size is 257, where a whole number from 4 to 256 is needed"),
        ({"size": "8"}, "size is '8', where a whole number from 4 to 256 is needed"),
        ({"copies": 0}, "copies is 0, where a whole number from 1 to"),
        ({"copies": True}, "copies is True, where a whole number from 1 to"),
    ],
)
@pytest.mark.parametrize(
    "ask", [imagesets.info, imagesets.load, lambda _, **given: conjoint_points.load(None, **given)]
)
def test_a_wrong_option_is_refused(ask, options, message):
    with pytest.raises(imagesets.DataError, match=f"^conjoint_points: {message}"):
        ask("conjoint_points", **options)
