"""Interpolation: the rows begin and end with images."""

import numpy as np

import models
from analysis.figures.interpolation import STEPS, data, draw
from imagesets import Split
from study.trial import snapshot
from study.trial.images import Images


def test_a_row_goes_from_an_image_to_another(ax):
    model = models.build("vae", (1, 8, 8), latent=3, hidden=8).eval()
    images = Images(Split(np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)))
    pixels = data(model, images, rows=3)
    assert pixels.shape == (3, STEPS + 2, 1, 8, 8)
    x = next(images.batches(6))
    made = snapshot.pixels(model.reconstruct(x)).astype(int)
    for row in range(3):
        np.testing.assert_array_equal(pixels[row, [0, -1]], snapshot.pixels(x[[row, row + 3]]))
        assert np.abs(pixels[row, [1, -2]] - made[[row, row + 3]]).max() <= 1
    draw(ax, pixels, "Title")
    words = [label.get_text() for label in ax.get_xticklabels()]
    assert words[:2] + words[-2:] == ["image", "0%", "100%", "image"]
