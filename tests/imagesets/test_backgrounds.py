import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest

from imagesets import DataError, Info, Split, Splits, backgrounds

INFO = Info("pairs", (2, 1, 28, 28), 4, 2, 2, "", "")


@pytest.mark.parametrize(
    ("style", "white", "black"),
    [
        ("horizontal", [(0, 0), (0, 27), (2, 5), (26, 13)], [(1, 0), (3, 4), (27, 27), (13, 26)]),
        ("vertical", [(0, 0), (27, 0), (5, 2), (13, 26)], [(0, 1), (4, 3), (27, 27), (26, 13)]),
        ("checker", [(0, 0), (1, 1), (3, 5), (27, 27)], [(0, 1), (1, 0), (4, 5), (27, 26)]),
        ("black", [], [(0, 0), (0, 1), (1, 0), (27, 27)]),
    ],
)
def test_stripes(style, white, black):
    picture = backgrounds.picture(style)
    assert picture.shape == (28, 28)
    assert picture.dtype == np.uint8
    assert [picture[pixel] for pixel in white] == [255] * len(white)
    assert [picture[pixel] for pixel in black] == [0] * len(black)
    assert (picture == 255).mean() == (0 if style == "black" else 0.5)


@pytest.mark.parametrize(
    ("i", "j", "grey"),
    [
        # t is 0 at 14 and 2 pi / 7 a pixel; the waves' bytes by hand, and their grey
        (14, 14, 209),  # 127, 255 and 0, which would be 255, and the grey 228, if -1 wrapped around
        (14, 15, 174),  # 127, trunc(206.8), 0
        (14, 16, 97),  # 127, trunc(98.5), 0
        (15, 14, 209),  # as (14, 14): M is 0 on both axes
        (15, 15, 178),  # trunc(211.7), trunc(182.3), trunc(38.3)
    ],
)
def test_mosaic_by_hand(i, j, grey):
    assert backgrounds.picture("mosaic")[i, j] == grey


def test_mosaic_pixel_by_pixel():
    def grey(i, j):
        t_i, t_j = (i - 14) * 8 * math.pi / 28, (j - 14) * 8 * math.pi / 28
        waves = math.sin(t_i * t_j * t_j), math.cos(t_j) * math.cos(t_i * t_j), -math.cos(t_i * t_j)
        red, green, blue = (max(0, int(128 * wave + 127)) for wave in waves)
        return round(0.2125 * red + 0.7154 * green + 0.0721 * blue)

    expected = [[grey(i, j) for j in range(28)] for i in range(28)]
    np.testing.assert_array_equal(backgrounds.picture("mosaic"), expected)


def test_escape_counts_by_hand():
    real, imaginary = np.array([-1.5, -1, 0, 0.5]), np.array([0, 1, 1.5])
    expected = [
        [0, 1, 0],  # stays; c^2 + c = -0.25 - 2i leaves; |c| > 2
        [0, 2, 1],  # stays; -1+i, -1-i, then -1+3i; -1+1.5i, then -2.25-1.5i
        [0, 0, 1],  # stays; stays, at i, -1+i, -i, ...; 1.5i, then -2.25+1.5i
        [4, 1, 1],  # 0.5, 0.75, 1.06, 1.63, then 3.15; 0.5+i, then -0.25+2i; 0.5+1.5i, then -1.5+3i
    ]
    assert backgrounds.escape_counts(real, imaginary, iterations=1_000).tolist() == expected
    assert backgrounds.escape_counts(real, imaginary, iterations=4).tolist()[3] == [0, 1, 1]  # 4 is not reached: stays


@pytest.mark.parametrize(("i", "j", "grey"), [(15, 8, 14), (8, 11, 10), (17, 12, 0), (26, 16, 7), (2, 14, 5)])
def test_mandelbrot_pixel_by_pixel(i, j, grey):
    """Bicubic weights and escape counts of one pixel's neighbourhood, a point at a time; the maximum is 896."""

    def weights(k):
        scale = 200 / 28
        centre = (k + 0.5) * scale
        near = range(max(0, int(centre - 2 * scale + 0.5)), min(200, int(centre + 2 * scale + 0.5)))
        cubic = {point: keys(abs(point + 0.5 - centre) / scale) for point in near}
        return {point: weight / sum(cubic.values()) for point, weight in cubic.items()}

    def keys(x):
        return 1.5 * x**3 - 2.5 * x**2 + 1 if x < 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0

    def count(c):
        z, k = c, 0
        while abs(z) < 2 and k < 999:
            z, k = z * z + c, k + 1
        return k if k < 999 else 0

    resized = sum(
        v * h * count(complex(-1.5 + 2 * row / 199, -1.5 + 3 * column / 199))
        for row, v in weights(i).items()
        for column, h in weights(j).items()
    )
    assert grey == round(max(0, 255 * resized / 896))
    assert backgrounds.picture("mandelbrot")[i, j] == grey


def test_mandelbrot_lies_on_its_side():
    picture = backgrounds.picture("mandelbrot")
    np.testing.assert_array_equal(picture, picture[:, ::-1])  # conjugate points: the imaginary axis runs along a row
    assert (picture != picture[::-1]).mean() > 0.3
    assert picture.max() == 14
    assert hashlib.sha256(picture.tobytes()).hexdigest()[:16] == "e1cd753580ccc4a7"


@pytest.mark.parametrize("style", backgrounds.STYLES)
def test_a_picture_is_made_once(style):
    picture = backgrounds.picture(style)
    assert backgrounds.picture(style) is picture
    with pytest.raises(ValueError, match="read-only"):
        picture[0, 0] = 1


def test_a_style_goes_by_its_first_name_too():
    np.testing.assert_array_equal(backgrounds.picture("trippy"), backgrounds.picture("mosaic"))


@pytest.mark.parametrize(("threshold", "expected"), [(0, [[9, 1, 100, 101, 255]]), (100, [[9, 8, 7, 101, 255]])])
def test_compose_keeps_what_exceeds_the_threshold(threshold, expected):
    digit, background = np.array([[0, 1, 100, 101, 255]], np.uint8), np.array([[9, 8, 7, 6, 5]], np.uint8)
    composed = backgrounds.compose(digit, background, threshold)
    assert composed.dtype == np.uint8
    assert composed.tolist() == expected


def test_styles_are_drawn_uniformly():
    frequencies = np.bincount(backgrounds.draw(0, 0, 0, 30_000, 3)) / 30_000
    np.testing.assert_allclose(frequencies, 1 / 3, atol=4 * math.sqrt(2 / 9 / 30_000))  # 4 standard errors


def test_splits_and_streams_have_draws_of_their_own():
    n = 10_000
    draws = [backgrounds.draw(7, part, stream, n, 2) for part in range(3) for stream in range(2)]
    draws += [backgrounds.draw(8, 0, 0, n, 2)]
    correlations = np.corrcoef(draws) - np.eye(len(draws))
    assert abs(correlations).max() < 4.5 / math.sqrt(n)  # of 21 pairs, by chance once in 7,000
    np.testing.assert_array_equal(draws[3], backgrounds.draw(7, 1, 1, n, 2))


def test_the_draws_never_change():
    assert backgrounds.draw(0, 0, 0, 10, 2).tolist() == [0, 1, 1, 1, 1, 0, 0, 1, 1, 1]
    assert backgrounds.draw(0, 2, 1, 10, 3).tolist() == [0, 0, 1, 0, 1, 0, 2, 2, 2, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"styles": [["horizontal"], ["cheker"]]},
            "pairs: style 'cheker' is not known; known: black, checker, horizontal, mandelbrot, mosaic, vertical. "
            "Did you mean 'checker'?",
        ),
        ({"styles": [["checkerboard"], ["black"]]}, "pairs: style 'checkerboard' .* Did you mean 'checker'?"),
        ({"styles": [["Tripy"], ["black"]]}, "pairs: style 'Tripy' .* Did you mean 'trippy'?"),
        ({"styles": [[3], ["black"]]}, "pairs: style 3 is not known; known: .* vertical"),
        ({"styles": ["horizontal", "checker"]}, r"pairs: styles is \['horizontal', 'checker'\], where two lists are"),
        ({"styles": [["horizontal"]]}, r"pairs: styles is \[\['horizontal'\]\], where two lists are needed"),
        ({"styles": [["horizontal"], []]}, r"pairs: styles is \[\['horizontal'\], \[\]\], where two lists are needed"),
        ({"styles": [["black"]] * 3}, "pairs: styles is .*, where two lists are needed, the styles of each stream, as"),
        ({"styles": None}, "pairs: styles is None, where two lists are needed"),
        (
            {"styles": [["black"], ["mosaic", "trippy"]]},
            "pairs: the styles of stream 2 are .*, where each is needed on",
        ),
        ({"threshold": 255}, "pairs: threshold is 255, where a whole number from 0 to 254 is needed"),
        ({"threshold": 0.5}, "pairs: threshold is 0.5, where a whole number from 0 to 254 is needed"),
        ({"seed": -1}, "pairs: seed is -1, where a whole number from 0 to"),
        ({"seed": True}, "pairs: seed is True, where a whole number from 0 to"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(tmp_path, options, message):
    options = {"styles": backgrounds.PAIR, "threshold": 0, "seed": 0, **options}
    with pytest.raises(DataError, match=f"^{message}") as caught:
        backgrounds.check(INFO, **options)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=f"^{message}"):
        backgrounds.load(INFO, tmp_path, lambda: pytest.fail("loads the digits"), **options)
    assert list(tmp_path.iterdir()) == []


def test_check_tells_the_styles():
    info = backgrounds.check(INFO, [["horizontal", "mosaic", "black"], ["vertical", "trippy"]], threshold=254, seed=3)
    assert info == replace(INFO, factors={"digit": 10, "style_1": 3, "style_2": 2})


def test_digits_styles_and_labels_land_where_they_should(tmp_path):
    def digits(*labels):
        images = np.zeros((len(labels), 1, 28, 28), np.uint8)
        images[:, 0, 3, 5] = 10 + np.array(labels)
        return Split(images, np.array(labels))

    source = Splits(digits(*range(7)), digits(8, 3), digits(9))
    styles = [["vertical", "trippy"], ["black", "horizontal", "checker"]]
    pairs = backgrounds.load(INFO, tmp_path, lambda: source, styles, 0, 5)
    for part, (before, after) in enumerate(zip(source, pairs)):
        assert after.images.shape == (len(before.labels), 2, 1, 28, 28)
        assert after.labels.tolist() == after.factors[:, 0].tolist() == before.labels.tolist()
        for stream in range(2):
            drawn = backgrounds.draw(5, part, stream, len(before.labels), len(styles[stream]))
            assert after.factors[:, 1 + stream].tolist() == drawn.tolist()
            for label, style, image in zip(before.labels, drawn, after.images[:, stream, 0]):
                expected = backgrounds.picture(styles[stream][style]).copy()
                expected[3, 5] = 10 + label
                np.testing.assert_array_equal(image, expected)


def test_chunks_leave_nothing_out(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(256, size=(7, 1, 28, 28), dtype=np.uint8)
    source = Splits(*[Split(images, np.arange(7))] * 3)
    at_once = backgrounds.load(INFO, tmp_path / "a", lambda: source, [["mosaic", "black"]] * 2, 99, 0)
    monkeypatch.setattr(backgrounds, "CHUNK", 3)
    in_chunks = backgrounds.load(INFO, tmp_path / "b", lambda: source, [["mosaic", "black"]] * 2, 99, 0)
    for a, b in zip(at_once, in_chunks):
        np.testing.assert_array_equal(a.images, b.images)
