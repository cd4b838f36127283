"""Background transfer: the grid row by row, and what counts as accepted, with models that transfer in a known way."""

import numpy as np
import pytest
import torch
from torch import Tensor

from analysis.figures.background_transfer import ROWS, STEPS, Accepted, Transfer, data, draw, pictures
from imagesets import Split, backgrounds
from study.trial.images import Images

pytestmark = pytest.mark.filterwarnings("error")  # what matplotlib warns of is seen in the picture
STYLES = ["vertical", "black"]
BARS = 10  # rows that a digit of this test is white in


@pytest.fixture
def pairs() -> Images:
    """300 pairs: a bar whose place says the digit, before nothing and before one of the styles."""
    random = np.random.default_rng(0)
    digits, styles = random.integers(3, size=300), random.integers(2, size=300)
    bars = np.zeros((300, 28, 28), np.uint8)
    for i, digit in enumerate(digits):
        bars[i, 9 * digit : 9 * digit + BARS] = 255
    behind = np.stack([backgrounds.picture(name) for name in STYLES])[styles]
    images = np.stack([bars, backgrounds.compose(bars, behind)], 1)[:, :, None]
    return Images(Split(images, digits, np.stack([digits, np.zeros_like(digits), styles], 1)))


class Transferring(torch.nn.Module):
    """As much of a model as is asked: its steps are all the same, made of the digit and the background."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def transfer(self, first: Tensor, second: Tensor, steps: int) -> Tensor:
        return torch.stack([second, *[self.step(first, second)] * steps])


def test_an_empty_background_is_seen_as_the_model_sees_images(pairs):
    seen = pictures(STYLES, pairs)
    assert seen.shape == (2, 1, 28, 28)
    assert torch.equal(seen[0, 0] * 255, torch.from_numpy(backgrounds.picture("vertical").copy()).float())
    assert not seen[1].any()


@pytest.mark.parametrize(
    ("step", "digit", "background", "both"),
    [
        (lambda first, second: torch.maximum(first, second), 1.0, 1.0, 1.0),
        (lambda first, second: first, 1.0, 0.5, 0.5),  # before black, which is the second style
        (lambda first, second: torch.maximum(first.roll(1, 0), second), None, 1.0, None),  # another digit
    ],
    ids=["kept", "the background is lost", "the digit is lost"],
)
def test_what_is_kept_is_counted(pairs, step, digit, background, both):
    found = data(Transferring(step), pairs, pictures(STYLES, pairs)).accepted
    assert found.background.tolist() == [background] * STEPS
    by_chance = (pairs.factors[:200, 0] == np.roll(pairs.factors[:200, 0], 1)).mean()
    assert found.digit == pytest.approx([by_chance if digit is None else digit] * STEPS)
    assert found.both == pytest.approx([by_chance if both is None else both] * STEPS)


def test_a_row_is_a_digit_a_background_and_the_steps(pairs):
    found = data(Transferring(lambda first, second: 0.5 * (first + second)), pairs, pictures(STYLES, pairs))
    assert found.pixels.shape == (ROWS, 2 + STEPS, 1, 28, 28)
    x, empty = pairs.fixed(torch.arange(ROWS)), pictures(STYLES, pairs)
    for row in range(ROWS):
        expected = [x[row, 0], empty[row % 2], *[0.5 * (x[row, 0] + empty[row % 2])] * STEPS]
        assert np.abs(found.pixels[row] - 255 * torch.stack(expected).numpy()).max() <= 0.51


def test_the_share_that_is_accepted_stands_below_its_step(ax):
    shares = np.array([0.9, 0.8, 0.7, 0.65, 0.5])
    draw(ax, Transfer(np.zeros((2, 7, 1, 28, 28), np.uint8), Accepted(shares, shares, shares)), "Title")
    assert ax.get_title() == "Title"
    words = [label.get_text() for label in ax.get_xticklabels()]
    assert words == ["digit", "background", "1\n90%", "2\n80%", "3\n70%", "4\n65%", "5\n50%"]
