"""Images by class: which are shown, beside their own reconstructions."""

import numpy as np
import torch

from analysis.figures.class_reconstructions import COLUMNS, chosen, data
from imagesets import Split
from study.trial.images import Images


class Model(torch.nn.Module):
    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        return 1 - x


def test_a_row_is_a_class_with_its_first_images():
    labels = np.array([2, 0, 2, 0, 2, 1, 1, 0])
    assert chosen(labels).tolist() == [[1, 3], [5, 6], [0, 2]]
    assert chosen(np.repeat([4, 7], 30)).shape == (2, COLUMNS)
    pixels = np.arange(8, dtype=np.uint8)[:, None, None, None] * np.ones((8, 1, 2, 2), np.uint8)
    found = data(Model(), Images(Split(pixels, labels)))
    assert found.shape == (2, 3, 2, 1, 2, 2)
    assert found[0, :, :, 0, 0, 0].tolist() == [[1, 3], [5, 6], [0, 2]]
    np.testing.assert_array_equal(found[1], 255 - found[0])
