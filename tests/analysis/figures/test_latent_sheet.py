"""The sheet of latents: which rows there are, and what each shows."""

import numpy as np
import torch

import models
from analysis.figures.latent_sheet import COLUMNS, DEVIATIONS, MOST, data, draw
from imagesets import Split
from study.trial import snapshot
from study.trial.images import Images


def test_a_latent_a_row_is_moved_over_the_priors_deviations_from_the_first_images_code(ax):
    model = models.build("vae", (1, 8, 8), latent=3, hidden=8).eval()
    images = Images(Split(np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)))
    x = next(images.batches(COLUMNS))
    codes = np.array([[0.0, 0, 0], [1, 3, 2]])  # that say the order: 1, 2, 0
    sheet = data(model, images, codes)
    assert sheet.names == ["image", "model", "z 1", "z 2", "z 0"]
    np.testing.assert_array_equal(sheet.pixels[0], snapshot.pixels(x))
    np.testing.assert_array_equal(sheet.pixels[1], snapshot.pixels(model.reconstruct(x)))
    z = model.codes(x)[0].clone()
    for row, latent, column in ((2, 1, 0), (4, 0, 4), (3, 2, COLUMNS - 1)):
        moved = z.clone()
        moved[latent] = DEVIATIONS * (column / (COLUMNS - 1) * 2 - 1)
        np.testing.assert_array_equal(sheet.pixels[row, column], snapshot.pixels(model.decode(moved)))
    draw(ax, sheet, "Title")
    words = [label.get_text() for label in ax.get_xticklabels()]
    assert (words[0], words[4], words[-1], words[1]) == ("-3 sd", "mean", "+3 sd", "")


def test_there_is_room_for_some_latents_only():
    model = models.build("vae", (1, 8, 8), latent=MOST + 4, hidden=8).eval()
    images = Images(Split(np.zeros((COLUMNS, 1, 8, 8), np.uint8)))
    codes = torch.randn(50, MOST + 4).numpy() * np.arange(MOST + 4)
    names = data(model, images, codes).names
    assert len(names) == 2 + MOST
    assert "z 0" not in names
