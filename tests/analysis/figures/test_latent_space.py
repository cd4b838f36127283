"""Codes by label: as they are, or by UMAP or t-SNE, which keep groups apart."""

import importlib.util

import numpy as np
import pytest
from matplotlib.colors import to_hex

from analysis.figures.latent_space import apart, data, draw, shown
from analysis.figures.style import CLASSES

pytestmark = pytest.mark.filterwarnings("error", "ignore:Tensorflow not installed:ImportWarning")


@pytest.fixture
def groups() -> tuple[np.ndarray, np.ndarray]:
    labels = np.tile([3, 5, 8], 20)
    codes = np.random.default_rng(0).normal(size=(60, 6)) + 20 * np.eye(6)[np.arange(60) % 3]
    return codes, labels


def test_a_code_of_two_is_shown_as_it_is(groups):
    codes, labels = groups
    found = data(codes[:, :2], labels)
    np.testing.assert_array_equal(found.points, codes[:, :2])
    assert found.axes == ("z 0", "z 1")


@pytest.mark.parametrize("way", [pytest.param("UMAP", marks=pytest.mark.long), "t-SNE"])
def test_more_latents_are_embedded_the_same_way_at_each_call(groups, ax, monkeypatch, way):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: way == "UMAP")
    found = data(*groups)
    assert found.axes == (f"{way} 1", f"{way} 2")
    np.testing.assert_array_equal(data(*groups).points, found.points)
    distances = np.linalg.norm(found.points[:, None] - found.points, axis=-1)
    np.fill_diagonal(distances, np.inf)
    assert (found.labels[distances.argmin(1)] == found.labels).all()
    draw(ax, found, "Title")
    assert [text.get_text() for text in ax.texts] == ["3", "5", "8"]
    colours = [to_hex(dots.get_facecolor()[0]).upper() for dots in ax.collections]
    assert colours == list(CLASSES[:3])
    assert len(ax.get_xticks()) == 0  # its scale means nothing


def test_codes_that_are_all_equal_are_no_obstacle():
    found = data(np.zeros((40, 3)), np.arange(40) % 2)
    assert np.isfinite(found.points).all()


def test_one_code_far_out_flattens_nothing(ax):
    codes = np.random.default_rng(0).normal(size=(1000, 2))
    codes[0] = 1e4
    draw(ax, data(codes, np.arange(1000) % 2), "Title")
    assert ax.get_xlim()[1] < 10
    assert ax.get_ylim()[1] < 10
    assert [text.get_text() for text in ax.texts] == ["0", "1", "1 further out"]
    assert sum(len(dots.get_offsets()) for dots in ax.collections) == shown(codes).sum() == 999


def test_names_of_classes_do_not_cover_each_other():
    places = np.array([[0.5, 0.5], [0.5, 0.5], [0.51, 0.5], [0.9, 0.1]])
    found = apart(places, gap=0.06)
    distances = np.linalg.norm(found[:, None] - found, axis=-1) + np.eye(4)
    assert distances.min() > 0.05
    np.testing.assert_allclose(found[3], places[3], atol=1e-5)
    assert np.abs(found - places).max() < 0.06
