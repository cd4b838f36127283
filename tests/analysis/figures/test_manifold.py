"""The manifold of a code of two: which codes are decoded where."""

import numpy as np
import torch

from analysis.figures.manifold import CELLS, data, draw


class Model:
    """Its images are its codes: in two pixels, from -1 to 3 for the first and 0 to 10 for the second."""

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return torch.stack([(z[:, 0] + 1) / 4, z[:, 1] / 10], 1)[:, None, None]


def test_the_first_coordinate_runs_to_the_right_and_the_second_upwards(ax):
    codes = np.stack([np.linspace(-1, 3, 1001), np.linspace(0, 10, 1001)[::-1]], 1)
    found = data(Model(), codes)
    assert found.pixels.shape == (CELLS, CELLS, 1, 1, 2)
    np.testing.assert_allclose(found.axes[:, [0, -1]], [[-0.96, 2.96], [0.1, 9.9]])  # 98 of 100 codes
    first, second = found.pixels[:, :, 0, 0].astype(int).transpose(2, 0, 1)
    assert (np.diff(first, axis=1) > 0).all()
    assert (np.diff(first, axis=0) == 0).all()
    assert (np.diff(second, axis=0) < 0).all()
    draw(ax, found, "Title")
    across, up = ([label.get_text() for label in labels] for labels in (ax.get_xticklabels(), ax.get_yticklabels()))
    assert (across[0], across[-1], across[1]) == ("-0.96", "3", "")
    assert (up[0], up[-1]) == ("9.9", "0.1")
    draw(ax, found._replace(axes=found.axes - found.axes[:, [CELLS // 2]] + 0.004), "Title")
    assert [label.get_text() for label in ax.get_xticklabels()][CELLS // 2] == "0"
