"""Background transfer in motion: which chains there are, where their codes lie, and what is on a frame."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

import models
from analysis.figures import background_transfer_pixels, style
from analysis.figures.transfers import COLOURS, Chains, data, draw, in_space
from imagesets import Split
from study.trial import snapshot
from study.trial.evaluation import evaluating
from study.trial.images import Images

pytestmark = pytest.mark.filterwarnings("error")  # what matplotlib warns of is seen in the picture
STEPS = 3
DIGITS = np.array([7, 2, 7, 4])
FIRST = [1, 3, 0]  # the first image of 2, of 4, of 7


@pytest.fixture
def pairs() -> Images:
    random = np.random.default_rng(0)
    factors = np.stack([DIGITS, np.zeros(4, int), [0, 1, 1, 0]], 1)
    return Images(Split(random.integers(0, 256, (4, 2, 1, 8, 8), dtype=np.uint8), DIGITS, factors))


@pytest.fixture
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return models.build("conjoint", (2, 1, 8, 8), latent=3, private=2, hidden=8).eval()


@pytest.fixture
def chains(model, pairs) -> Chains:
    return data(model, pairs, torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)]), STEPS)


def test_each_digit_goes_its_way_before_each_background(chains, model, pairs):
    assert chains.digits.tolist() == [2, 4, 7]
    first = pairs.fixed(torch.tensor(FIRST))[:, 0]
    np.testing.assert_array_equal(chains.first, snapshot.pixels(first))
    assert chains.second.shape == (STEPS + 1, 2, 3, 1, 8, 8)
    assert [np.unique(chains.second[0, k]).tolist() for k in (0, 1)] == [[0], [255]]
    with evaluating(model, pairs):
        way = model.transfer(first, torch.zeros_like(first), STEPS)
        codes = [model.codes(torch.stack([first, second], 1)).numpy() for second in way]
    np.testing.assert_array_equal(chains.second[:, 0], snapshot.pixels(way))
    np.testing.assert_allclose(chains.codes[:, 0], codes, rtol=1e-5, atol=1e-6)


def test_codes_are_told_apart_by_the_digit_where_they_are_shared_else_by_the_background(chains, model, pairs):
    codes = np.random.default_rng(1).normal(size=(4, 7)) * [1, 1, 1, 1, 3, 1, 0]
    shared = in_space(chains, codes, pairs.factors, "zs", model.slices["zs"])
    private = in_space(chains, codes, pairs.factors, "z2", model.slices["z2"])
    assert shared.factor.tolist() == DIGITS.tolist()
    assert shared.colours.tolist() == [[2, 4, 7]] * 2
    assert private.factor.tolist() == pairs.factors[:, -1].tolist()
    assert private.colours.tolist() == [[0] * 3, [1] * 3]
    assert private.axes == ("z2 0", "z2 1")
    np.testing.assert_array_equal(private.pairs, codes[:, 2:4])
    np.testing.assert_array_equal(private.chains, chains.codes[..., 2:4])
    variance = shared.pairs.var(0)  # in the plane of the two coordinates of zs that vary
    share, _ = variance / variance.sum()
    assert shared.axes == (f"principal axis 1 of zs, {share:.0%} of variance", f"principal axis 2, {1 - share:.0%}")
    again = in_space(chains, codes + 5, pairs.factors, "zs", model.slices["zs"])
    np.testing.assert_allclose(np.ptp(again.chains, 0), np.ptp(shared.chains, 0), atol=1e-9)


def test_a_frame_has_the_marks_where_the_codes_are_after_that_step(ax, chains, model, pairs):
    found = in_space(chains, np.zeros((4, 7)), pairs.factors, "z2", model.slices["z2"])
    dots = None
    for step, _ in enumerate(draw(ax, found, ["black", "white"])):
        assert ax.get_title() == f"step {step} of {STEPS}"
        dots, *marks = ax.collections
        assert len(marks) == 2
        for k, mark in enumerate(marks):
            np.testing.assert_allclose(mark.get_offsets(), found.chains[step, k])
        places = np.array([text.get_position() for text in ax.texts]).reshape(2, 3, 2)
        np.testing.assert_allclose(places, found.chains[step])
        assert [text.get_text() for text in ax.texts] == ["2", "4", "7"] * 2
        assert {len(line.get_xdata()) for line in ax.lines} == {step + 1}
    assert len(dots.get_offsets()) == 4
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["black", "white"]
    ax.figure.draw_without_rendering()
    for k, mark in enumerate(marks):
        assert {tuple(colour) for colour in mark.get_facecolors()} == {to_rgba(COLOURS(k))}


def test_a_frame_in_pixels_has_the_digits_above_the_backgrounds(chains):
    ax = Figure().add_subplot()
    for step, _ in enumerate(background_transfer_pixels.draw(ax, chains, ["black", "white"])):
        [shown] = ax.images
        rows = np.concatenate([chains.first[None], chains.second[step]])
        np.testing.assert_array_equal(shown.get_array(), snapshot.sheet(rows, gap=style.GAP))
        assert [label.get_text() for label in ax.get_yticklabels()] == ["digit", "black", "white"]
    assert step == STEPS
