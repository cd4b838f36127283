"""Mean activations: the images of a grid, and the picture of means that are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import imagesets
import models
from analysis.figures.mean_activations import SHOWN, Activations, Grid, compare, data, figure, fits, grid, picture
from imagesets.factors import FACTORS
from models.base import VAE

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def on(data) -> Grid:
    splits = imagesets.load("sprites", data, scale=2, orientation=[0, 3, 7], pos_x=5, pos_y=[4, 30])
    return grid(splits.train, {**SHOWN, "orientation": 2, "pos_x": 3})


def test_a_grid_is_of_values_that_the_data_has(on):
    assert {name: numbers.tolist() for name, numbers in on.values.items()} == {
        "shape": [0, 1, 2],
        "scale": [0, 5],
        "orientation": [0, 7],
        "pos_x": [0, 16, 31],
        "pos_y": [4, 30],
    }
    assert len(on.images) == 3 * 2 * 2 * 3 * 2


def test_its_images_are_in_the_order_of_the_factors(on):
    places = on.images[:].reshape(3, 2, 2, 3, 2, 64, 64).astype(float)
    area = places.sum((-1, -2))
    assert (area[:, 1] > area[:, 0]).all()  # the larger scale
    columns = (places.sum(-2) * np.arange(64)).sum(-1) / area
    rows = (places.sum(-1) * np.arange(64)).sum(-1) / area
    np.testing.assert_allclose(np.diff(columns, axis=3)[..., 0, :], 16, atol=1e-6)
    np.testing.assert_allclose(np.diff(rows, axis=4), 26, atol=1e-6)


def test_means_have_an_axis_a_factor(on):
    class Model(torch.nn.Module):
        slices = VAE.slices

        def codes(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([x.sum((1, 2, 3)), x[:, 0].sum(1).argmax(1)], 1)

    found = data(Model(), on)
    assert found.means.shape == (3, 2, 2, 3, 2, 2)
    np.testing.assert_allclose(np.ptp(found.means[..., 0], axis=(3, 4)), 0, atol=1e-3)  # moving changes no area
    assert (np.diff(found.means[..., 1], axis=3) > 0).all()
    assert found.active == [0, 1]


def test_a_picture_has_a_row_for_each_active_latent_and_a_line_for_each_shape():
    values = {name: np.arange(count) for name, count in SHOWN.items()}
    means = np.random.default_rng(0).normal(size=(*SHOWN.values(), 4)) * [1, 0.01, 2, 0]
    means[1, :, 2, ..., 2] += 50  # the ellipse at the third angle
    figure = picture(Activations(values, means, ["z 0", "z 1", "z 2", "z 3"]), "Title")
    axes = figure.axes
    assert len(axes) == 2 * 3 + 1  # and the colours'
    assert [ax.get_ylabel() for ax in axes[:-1:3]] == ["z 2", "z 0"]
    angle = axes[2]
    assert [line.get_label() for line in angle.lines] == ["square", "ellipse", "heart"]
    assert angle.lines[1].get_ydata().argmax() == 2
    np.testing.assert_array_equal(angle.lines[0].get_xdata(), FACTORS["orientation"][: SHOWN["orientation"]])
    assert angle.get_ylim()[1] > angle.lines[1].get_ydata().max() > 40
    assert [image.get_clim() for image in (axes[0].images[0], axes[3].images[0])] == [axes[0].images[0].get_clim()] * 2
    assert figure.get_suptitle() == "Title"


def test_it_is_drawn_of_a_run_and_of_several_side_by_side():
    splits = imagesets.load("sprites", scale=2, orientation=2, pos_x=4, pos_y=4)

    def run(name: str, latent: int) -> SimpleNamespace:
        model = models.build("vae", (1, 64, 64), latent=latent, hidden=4)
        best, spec = SimpleNamespace(model=model), SimpleNamespace(images=imagesets.info("sprites"))
        return SimpleNamespace(best=best, splits=splits, spec=spec, name=name, which=f"trial 0 of {name}")

    several = [run("nonsyn", 2), run("factor", 3)]
    assert fits(several[0])
    assert figure(several[0]).get_suptitle() == "Mean activations of the active latents, trial 0 of nonsyn"
    assert [part.get_suptitle() for part in compare(several).subfigs] == ["nonsyn", "factor"]
