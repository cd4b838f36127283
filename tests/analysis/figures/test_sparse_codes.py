"""What is shown of sparse codes: the largest moved, one modified, most drawn anew, and a code in motion."""

import numpy as np
import pytest
import torch

from analysis.figures import animated_traversal, conditional_samples, largest_codes, modified_code, style
from imagesets import Split
from models.base import VAE
from study.trial.images import Images


class Model(torch.nn.Module):
    """Every image has the code [0, 0.2, -0.8, 0.4], and an image of a code has its coordinates as grey levels."""

    slices = VAE.slices

    def codes(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[0.0, 0.2, -0.8, 0.4]]).repeat(len(x), 1)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return (0.5 + z / 2).clamp(0, 1)[..., None, None, :]


@pytest.fixture
def images() -> Images:
    return Images(Split(np.zeros((9, 1, 1, 4), np.uint8)))


def levels(pixels: np.ndarray) -> np.ndarray:
    """The codes that images were decoded from, [..., 4]."""
    return np.round(2 * (pixels[..., 0, 0, :] / 255 - 0.5), 1)


def test_the_largest_codes_go_through_zero_to_their_negative(images):
    found = largest_codes.data(Model(), images)
    assert found.names == ["z 2", "z 3", "z 1"]
    np.testing.assert_allclose(found.values[:, [0, 4, 8]], [[-0.8, 0, 0.8], [0.4, 0, -0.4], [0.2, 0, -0.2]])
    assert found.zeros == [4, 4, 4]
    assert levels(found.pixels[0, 8]).tolist() == [0, 0.2, 0.8, 0.4]
    assert levels(found.pixels[1, 4]).tolist() == [0, 0.2, -0.8, 0]


def test_the_largest_coordinate_is_shrunk_and_turned_round(images):
    found = modified_code.data(Model(), images)
    assert found.latent == 2
    np.testing.assert_allclose(found.codes[:, 2], [-0.8, -0.008, 0.4])
    assert levels(found.pixels).tolist() == [[0, 0.2, -0.8, 0.4], [0, 0.2, 0, 0.4], [0, 0.2, 0.4, 0.4]]
    _, axes = style.panels(6, 3, 2.0)
    modified_code.draw(axes, found)
    assert [ax.get_title() for ax in axes[:3]] == ["as it is", "z 2 times 0.01", "z 2 times -0.5"]
    assert [bar.get_height() for bar in axes[2].patches] == pytest.approx([0, 0.2, 0.4, 0.4])


def test_most_of_what_is_on_is_drawn_anew_and_nothing_else():
    z = torch.zeros(400, 20)
    z[:, :10] = 100.0
    drawn = conditional_samples.redrawn(z, 5)
    assert drawn.shape == (400, 5, 20)
    new = drawn[..., :10] != 100
    assert (new.sum(-1) == 8).all()  # 80 % of ten
    assert not drawn[..., 10:].any()
    anew = drawn[..., :10][new]
    error = 4 / len(anew) ** 0.5  # standard errors of a mean of N(0, 1); of its square, another sqrt(2)
    assert abs(anew.mean()) < error
    assert abs(anew.square().mean() - 1) < 1.5 * error
    assert (new.float().mean((0, 1)) - 0.8).abs().max() < 0.06  # no coordinate is favoured


def test_images_stand_before_their_draws(images):
    pixels = conditional_samples.data(Model(), images)
    assert pixels.shape == (conditional_samples.ROWS, 2 + conditional_samples.DRAWS, 1, 1, 4)
    assert not pixels[:, 0].any()
    assert levels(pixels[3, 1]).tolist() == [0, 0.2, -0.8, 0.4]
    assert (levels(pixels[:, 2:])[..., 0] == 0).all()


def test_one_latent_after_the_other_moves_from_the_images_value_to_both_ends_and_back(images):
    codes = np.array([[0, 0.5, 0, 0.2], [-1, 0, 0, 0], [1, 0.8, 0, 1]])
    found = animated_traversal.data(Model(), images, codes)
    each = 4 * animated_traversal.STEPS
    assert found.moved == [j for j in range(4) for _ in range(each)]
    for j in range(4):
        moving = found.codes[j * each : (j + 1) * each]
        assert (moving[0, j], moving[:, j].min(), moving[:, j].max()) == (codes[0, j], *np.sort(codes[:, j])[[0, 2]])
        assert (np.delete(moving, j, 1) == np.delete(codes[0], j)).all()
    _, axes = style.panels(2, 2, 2.0)
    heights = []
    for _ in animated_traversal.draw(axes, found):
        heights.append([bar.get_height() for bar in axes[0].patches])
    np.testing.assert_allclose(heights, found.codes)
