"""KL of each latent: a closed form by hand, and the picture."""

import numpy as np
import torch
from marks import legend

from analysis.figures.kl_by_latent import Shares, data, draw, draw_compared
from imagesets import Split
from models.base import VAE
from models.distributions import Gaussian
from study.trial.images import Images


class Model(torch.nn.Module):
    """q = N([0, x, 3], 1): of which the KLs to N(0, 1) are 0, x^2 / 2 and 4.5."""

    image_shape = (1, 1, 1)
    slices = VAE.slices

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def posterior(self, x: torch.Tensor) -> Gaussian:
        x = x.flatten(1)
        return Gaussian(torch.cat([0 * x, x, 0 * x + 3], 1), torch.ones(len(x), 3))

    def prior(self) -> Gaussian:
        return Gaussian(torch.zeros(3), torch.ones(3))


def test_latents_stand_by_their_mean_kl(ax):
    pixels = np.array([0, 51, 102, 204], np.uint8)[:, None, None, None]
    found = data(Model(), Images(Split(pixels)))
    assert found.names == ["2", "1", "0"]
    each = (pixels[:, 0, 0, 0] / 255) ** 2 / 2
    np.testing.assert_allclose(found.means, [4.5, each.mean(), 0], rtol=1e-6)
    np.testing.assert_allclose(found.quartiles[:, 1], np.quantile(each, [0.25, 0.75]), rtol=1e-5)
    draw(ax, found)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["2", "1", "0"]
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], found.means)


def test_runs_are_lines_with_their_sums(ax):
    one = Shares(["1", "0"], np.array([2.0, 0.5]), np.zeros((2, 2)))
    draw_compared(ax, [("vae", one), ("factor", one._replace(means=np.array([1.0, 0.0])))])
    assert legend(ax) == ["vae, 2.5 nats", "factor, 1.0 nats"]
