import hashlib
import math

import numpy as np
import pytest

import imagesets
from imagesets import points


def digest(splits):
    return hashlib.sha256(b"".join(a.tobytes() for split in splits for a in (split.images, split.labels))).hexdigest()[
        :16
    ]


@pytest.mark.parametrize("n", [2, 4, 7, 256])
def test_every_split_has_copies_of_every_row_of_the_identity(tmp_path, n):
    for split in points.load(tmp_path, n=n, copies=3):
        assert split.images.shape == (3 * n, 1, 1, n)
        assert split.images.dtype == np.uint8
        np.testing.assert_array_equal(split.images[:, 0, 0], 255 * (split.labels[:, None] == np.arange(n)))
        assert np.bincount(split.labels).tolist() == [3] * n


def test_the_best_model_scores_minus_log_n(tmp_path):
    """The density that counts a split's own images, under which the mean log-likelihood of any split is highest."""
    for split in points.load(tmp_path, n=4):
        seen, counts = np.unique(split.images, axis=0, return_counts=True)
        frequency = {image.tobytes(): count / len(split.images) for image, count in zip(seen, counts)}
        scores = [math.log(frequency[image.tobytes()]) for image in split.images]
        assert np.mean(scores) == pytest.approx(-math.log(4))


def test_noise_moves_the_black_pixels_alone(tmp_path):
    for split in points.load(tmp_path, noise=True, n=8, copies=2_000):
        rows = split.images[:, 0, 0]
        is_white = split.labels[:, None] == np.arange(8)
        assert (rows[is_white] == 255).all()
        black = rows[~is_white] / 255
        error = 4 / math.sqrt(black.size)  # 4 standard errors, in standard deviations
        assert (black == 0).mean() == pytest.approx(0.0241, abs=0.155 * error)  # P(N < -1.961): clipped or rounded to 0
        assert np.median(black) == pytest.approx(0.2, abs=0.1 * 1.2533 * error + 0.5 / 255)
        # E max(0, 0.2 + 0.1 N) = 0.1 (2 Phi(2) + phi(2)) = 0.20085, and its standard deviation is 0.0973
        assert black.mean() == pytest.approx(0.20085, abs=0.0973 * error)


def test_noise_is_drawn_afresh_for_each_image_and_split(tmp_path):
    images = np.concatenate([split.images for split in points.load(tmp_path, noise=True, n=16)])
    assert len({image.tobytes() for image in images}) == len(images) == 3 * 1600


def test_chunks_leave_nothing_out(tmp_path, monkeypatch):
    monkeypatch.setattr(points, "CHUNK", 7)
    for split in points.load(tmp_path, n=5, copies=10, noise=True):
        assert split.images.reshape(50, 5).argmax(1).tolist() == split.labels.tolist()


def test_the_order_is_shuffled_and_each_splits_own(tmp_path):
    orders = [split.labels.tolist() for split in points.load(tmp_path, n=4)]
    for order in orders:
        assert np.mean(np.diff(order) != 0) > 0.6  # 0.75 in expectation; sorted labels have less than 0.01
    assert len({tuple(order) for order in orders}) == 3


def test_the_arrays_never_change(tmp_path):
    assert points.load(tmp_path).train.labels[:8].tolist() == [3, 2, 3, 2, 3, 1, 3, 2]
    assert digest(points.load(tmp_path)) == "b00b3b5fe8ee7e5d"
    assert digest(points.load(tmp_path, noise=True)) == "e72dcf8f92946bd4"
    assert digest(points.load(tmp_path, noise=True, seed=1)) != digest(points.load(tmp_path, noise=True))


def test_info_follows_the_options():
    assert points.info() == points.INFO
    info = imagesets.info("points", n=10, copies=3)
    assert (info.image_shape, info.train, info.valid, info.test) == ((1, 1, 10), 30, 30, 30)


def test_each_option_is_stored_apart(tmp_path):
    loads = [
        points.load(tmp_path, **options) for options in ({}, {"n": 3}, {"copies": 7}, {"noise": True}, {"seed": 1})
    ]
    assert [splits.train.images.shape for splits in loads[:3]] == [(400, 1, 1, 4), (300, 1, 1, 3), (28, 1, 1, 4)]
    assert len({digest(splits) for splits in loads}) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 1}, "n is 1, where a whole number from 2 to 256 is needed"),
        ({"n": 257}, "n is 257, where a whole number from 2 to 256 is needed"),
        ({"n": 4.0}, "n is 4.0, where a whole number from 2 to 256 is needed"),
        ({"noise": 0.1}, "noise is 0.1, where True or False is needed"),
        ({"copies": 0}, "copies is 0, where a whole number from 1 to"),
        ({"copies": "many"}, "copies is 'many', where a whole number from 1 to"),
        ({"seed": -1}, "seed is -1, where a whole number from 0 to"),
    ],
)
@pytest.mark.parametrize("ask", [imagesets.info, imagesets.load, lambda _, **options: points.load(None, **options)])
def test_a_wrong_option_is_refused(ask, options, message):
    with pytest.raises(imagesets.DataError, match=f"^points: {message}"):
        ask("points", **options)
