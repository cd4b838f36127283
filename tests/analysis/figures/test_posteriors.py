"""Posteriors in a code of two: densities by draws and by Bayes' rule."""

import math

import numpy as np
import pytest
import torch

import models
from analysis.figures.posteriors import CELLS, MOST, chosen, data, draw, levels, names
from imagesets import Split
from study.trial.images import Images

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def images() -> Images:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)
    return Images(Split(pixels, np.array([4, 1, 4, 1, 7, 7, 1, 4, 7, 1, 4, 7])))


def middle(density: np.ndarray, axis: np.ndarray) -> tuple[float, float]:
    """Where a density's mean is, (first, second coordinate)."""
    return (density.sum(0) * axis).sum(), (density.sum(1) * axis).sum()


def test_the_first_image_of_each_label_is_shown(images):
    shown = chosen(images)
    assert torch.equal(shown, torch.cat([images.fixed(torch.tensor([row])) for row in (0, 1, 4)]))
    unlabelled = Images(Split(np.zeros((9, 1, 8, 8), np.uint8)))
    assert len(chosen(unlabelled)) == MOST
    assert names(unlabelled) == [f"image {row}" for row in range(MOST)]
    assert len(names(images)) == len(shown)
    assert all(f"label {label}" in name for label, name in zip(images.labels[:1], names(images)))


@pytest.mark.parametrize("name", ["vae", "avb"])
def test_densities_lie_where_the_draws_and_the_decoder_have_them(name, images):
    torch.manual_seed(0)
    model = models.build(name, (1, 8, 8), latent=2, hidden=8)
    found = data(model, images, draws=800)
    assert found.drawn.shape == found.exact.shape == (3, CELLS, CELLS)
    for densities in (found.drawn, found.exact):
        np.testing.assert_allclose(densities.sum((1, 2)), 1)
    x, cell = chosen(images), found.axis[1] - found.axis[0]
    torch.manual_seed(1)
    z = model.posterior(x).sample((20_000,))
    for density, of in zip(found.drawn, z.unbind(1)):
        slack = 5 * of.std(0).max() / math.sqrt(800) + cell  # the density's draws are fewer, and know their cell only
        np.testing.assert_allclose(middle(density, found.axis), of.mean(0), atol=slack)
    z = torch.cartesian_prod(*[torch.linspace(-6, 6, 121)] * 2)
    weights = (model.log_likelihood(x, z[:, None].expand(-1, 3, -1)) + model.prior().log_prob(z)[:, None]).softmax(0)
    for density, weight in zip(found.exact, weights.T.detach()):
        np.testing.assert_allclose(middle(density, found.axis), weight @ z, atol=cell)


def test_contours_hold_their_share():
    density = np.array([[0.4, 0.2, 0.1], [0.1, 0.1, 0.05], [0.05, 0.0, 0.0]])
    low, high = levels(density)
    assert density[density >= high].sum() == pytest.approx(0.6)
    assert density[density >= low].sum() >= 0.9
    assert density[density > low].sum() < 0.9


def test_it_is_drawn_with_a_colour_an_image(ax):
    axis = np.linspace(-3, 3, 40)
    square = np.exp(-0.5 * (axis[:, None] ** 2 + (axis - np.array([[[-1]], [[1]]])) ** 2))
    draw(ax, square / square.sum((1, 2), keepdims=True), axis, "Title")
    assert ax.get_title() == "Title"
    assert len(ax.collections) == 4  # areas and lines of each
