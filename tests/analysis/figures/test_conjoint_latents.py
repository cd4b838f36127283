"""Parts of conjoint codes: which codes are shown, in which plane, and the factors beside them."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

import imagesets
import models
from analysis.figures.conjoint_latents import TITLES, data, draw, draw_key, plane, values
from study.spec import StudySpec
from study.spec.preprocessing import GREY
from study.trial.images import images_of

pytestmark = pytest.mark.filterwarnings("error")  # what matplotlib warns of is seen in the picture
NAMES = ("primary", "secondary_1", "secondary_2")


@pytest.mark.parametrize("posterior", ["gaussian", "adversarial"])
def test_the_points_are_the_parts_of_the_codes(posterior, tmp_path):
    torch.manual_seed(0)
    model = models.build("conjoint", (2, 1, 1, 8), posterior=posterior, hidden=8).eval()
    images = images_of(imagesets.load("conjoint_points", tmp_path, copies=2), "valid", GREY, "targets")
    found = data(model, images, NAMES)
    codes = torch.cat([model.codes(x) for x in images]).numpy()
    for part, at in model.slices.items():
        np.testing.assert_allclose(found.points[part], codes[:, at], rtol=1e-5, atol=1e-6)
    for j, name in enumerate(NAMES):
        assert np.array_equal(found.factors[name], images.factors[:, j])


def test_a_part_that_has_no_coordinate_is_left_out(tmp_path):
    model = models.build("conjoint", (2, 1, 1, 8), private=0, latent=3, hidden=8).eval()
    images = images_of(imagesets.load("conjoint_points", tmp_path, copies=1), "valid", GREY, "index")
    assert {part: points.shape for part, points in data(model, images, NAMES).points.items()} == {"zs": (16, 2)}


def test_more_coordinates_than_two_are_seen_along_the_two_that_vary_most():
    random = np.random.default_rng(0)
    codes = random.normal(size=(500, 4)) * [0.1, 5.0, 0.2, 2.0] + 3
    on = plane(codes)
    points = on.points(codes)
    assert np.abs(np.corrcoef(points[:, 0], codes[:, 1])[0, 1]) > 0.99
    assert np.abs(np.corrcoef(points[:, 1], codes[:, 3])[0, 1]) > 0.99
    np.testing.assert_allclose(on.shares, points.var(0) / codes.var(0).sum())
    one = plane(codes[:, :1]).points(codes[:, :1])
    assert np.array_equal(one[:, 0], codes[:, 0])
    assert not one[:, 1].any()


def test_a_dot_has_the_colour_of_its_factor(ax):
    factor = np.array([0, 1, 1, 9])
    assert [draw(ax, np.arange(8.0).reshape(4, 2), factor)] == [*ax.collections]
    [dots] = ax.collections
    assert np.array_equal(dots.get_offsets(), np.arange(8.0).reshape(4, 2))
    assert np.array_equal(dots.get_array(), factor)


def test_the_key_names_each_value_that_is_shown_in_the_colour_of_its_dots(ax):
    dots = draw(ax, np.arange(8.0).reshape(4, 2), np.array([3, 0, 3, 9]))
    draw_key(ax, dots, list("abcdefghij"))
    key = ax.get_legend()
    assert [text.get_text() for text in key.get_texts()] == ["a", "d", "j"]
    of_dots = [to_hex(dots.cmap(dots.norm(value))) for value in (0, 3, 9)]
    assert [handle.get_markerfacecolor() for handle in key.legend_handles] == of_dots


@pytest.mark.parametrize("dataset", ["conjoint_points", "mnist_backgrounds"])
def test_each_factor_of_pairs_has_a_title_and_a_name_for_each_value(dataset):
    options = {"styles": [["horizontal", "trippy"], ["black"]]} if dataset == "mnist_backgrounds" else {}
    spec = StudySpec(name="pairs", model="conjoint", dataset=dataset, dataset_options=options, budget={"steps": 1})
    for name, count in spec.images.factors.items():
        assert name in TITLES
        assert len(values(spec, name)) == count
    assert not options or values(spec, "style_1") == ["horizontal", "trippy"]
