import hashlib
import math
import re

import numpy as np
import pytest

import imagesets
from imagesets import backgrounds, cache, mnist5k, mnist_backgrounds

TWO_EACH = [["horizontal", "mosaic"], ["vertical", "black"]]


@pytest.fixture(scope="module")
def digits(root):
    return mnist5k.load(root)


@pytest.fixture(scope="module")
def pairs(root):
    return mnist_backgrounds.load(root)


@pytest.fixture(scope="module")
def two_each(root):
    return mnist_backgrounds.load(root, styles=TWO_EACH)


def digest(splits):
    return hashlib.sha256(b"".join(values.tobytes() for split in splits for values in split)).hexdigest()[:16]


def assert_composed(composed, digits, styles, threshold=0):
    """Every pixel is the digit's or the background's, by the factors that are told."""
    for stream in range(2):
        pictures = np.stack([backgrounds.picture(style) for style in styles[stream]])
        is_digit = digits.images[:, 0] > threshold
        found = composed.images[:, stream, 0]
        np.testing.assert_array_equal(found[is_digit], digits.images[:, 0][is_digit])
        np.testing.assert_array_equal(found[~is_digit], pictures[composed.factors[:, 1 + stream]][~is_digit])


def test_every_digit_pixel_is_kept(digits, pairs):
    for before, after in zip(digits, pairs):
        assert_composed(after, before, [["horizontal"], ["checker"]])


def test_two_styles_each(digits, two_each):
    for before, after in zip(digits, two_each):
        assert_composed(after, before, TWO_EACH)


def test_the_threshold_makes_the_mask_crisp(root, digits):
    for threshold in (0, 127):  # each is stored apart
        splits = mnist_backgrounds.load(root, styles=[["black"], ["black"]], threshold=threshold)
        for before, after in zip(digits, splits):
            assert_composed(after, before, [["black"], ["black"]], threshold)
            assert after.images[after.images > 0].min() == threshold + 1


@pytest.mark.parametrize("loaded", ["pairs", "two_each"])
def test_the_splits_are_those_of_the_digits(request, digits, loaded):
    for before, after in zip(digits, request.getfixturevalue(loaded)):
        np.testing.assert_array_equal(after.labels, before.labels)
        np.testing.assert_array_equal(after.factors[:, 0], before.labels)


def test_styles_are_uniform_and_the_streams_independent(two_each):
    for split in two_each:
        n = len(split.factors)
        joint = np.histogram2d(split.factors[:, 1], split.factors[:, 2], bins=2)[0] / n
        np.testing.assert_allclose(joint, 0.25, atol=4 * math.sqrt(0.25 * 0.75 / n))  # 4 standard errors


def test_one_style_each_is_style_0(pairs):
    assert all((split.factors[:, 1:] == 0).all() for split in pairs)


def test_the_arrays_never_change(pairs, two_each):
    assert digest(pairs) == "fe7af3c7aa5b29d1"
    assert digest(two_each) == "c4e7183a7fdef338"


def test_another_seed_draws_other_styles_for_the_same_digits(root, digits, two_each):
    other = mnist_backgrounds.load(root, styles=TWO_EACH, seed=1)
    for before, first, second in zip(digits, two_each, other):
        assert_composed(second, before, TWO_EACH)
        assert 0.4 < (first.factors[:, 1:] != second.factors[:, 1:]).mean() < 0.6  # 0.5 in expectation, n >= 1,000


def test_one_style_of_two_names_is_stored_once(root, two_each):
    stored = sorted(path.name for path in (root / cache.FOLDER).iterdir())
    again = mnist_backgrounds.load(root, styles=(("horizontal", "trippy"), ("vertical", "black")))
    assert sorted(path.name for path in (root / cache.FOLDER).iterdir()) == stored
    assert digest(again) == digest(two_each)


def test_info_tells_the_styles():
    assert mnist_backgrounds.info() == mnist_backgrounds.INFO
    assert imagesets.info("mnist_backgrounds", styles=TWO_EACH).factors == {"digit": 10, "style_1": 2, "style_2": 2}
    assert imagesets.options("mnist_backgrounds") == {
        "styles": [["horizontal"], ["checker"]],
        "threshold": 0,
        "seed": 0,
    }


@pytest.mark.parametrize("ask", [imagesets.info, imagesets.load])
def test_an_unknown_style_gets_the_nearest_one(ask):
    message = (
        "mnist_backgrounds: style 'mozaic' is not known; "
        "known: black, checker, horizontal, mandelbrot, mosaic, vertical. Did you mean 'mosaic'?"
    )
    with pytest.raises(imagesets.DataError, match=f"^{re.escape(message)}$"):
        ask("mnist_backgrounds", styles=[["mozaic"], ["black"]])
