"""From bytes to what a model sees: the right values, the right probabilities, and draws that stay where they must."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from imagesets import PackedImages, Split
from imagesets.packed import pack
from study.spec import StudySpec, check
from study.spec.preprocessing import GREY, Preprocessing
from study.trial.images import Images, fixed_uniform
from study.trial.training import Training

STATIC, DYNAMIC = Preprocessing(binarise="static"), Preprocessing(binarise="dynamic")
THRESHOLD = Preprocessing(binarise="threshold")
DEQUANTISED = Preprocessing(dequantise=True)
EVERY = [GREY, STATIC, DYNAMIC, THRESHOLD, Preprocessing(binarise="threshold", threshold=0.2), DEQUANTISED]
PROJECT = Path(__file__).resolve().parents[3]
every = pytest.mark.parametrize("preprocessing", EVERY, ids=str)
all_of = torch.arange


@pytest.fixture(scope="module")
def levels() -> np.ndarray:
    """256 images, the one numbered v of bytes v only."""
    return np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None, None], (256, 1, 40, 50)).copy()


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 3, 5, 7), dtype=np.uint8)


@pytest.fixture(scope="module")
def pairs() -> Split:
    """Image i of stream s holds i and s; 40 of each of 3 labels, shuffled."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(3), 40))
    images = np.zeros((120, 2, 1, 2, 2), np.uint8)
    images[:, :, 0, 0, 0] = np.arange(120)[:, None]
    images[:, 1, 0, 1, 1] = 255
    return Split(images, labels)


# Values.


def test_grey_levels_are_shares_of_255(levels):
    images = Images(Split(levels))
    for x in (images.fixed(all_of(256)), images.fresh(all_of(256))):
        assert x.dtype == torch.float32
        np.testing.assert_allclose(x[:, 0, 0, 0], np.arange(256) / 255, rtol=1e-7)
        assert (x == x[:, :, :1, :1]).all()


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.9])
def test_a_threshold_is_exceeded_or_not(levels, threshold):
    x = Images(Split(levels), Preprocessing(binarise="threshold", threshold=threshold)).fixed(all_of(256))
    np.testing.assert_array_equal(x[:, 0, 0, 0], np.arange(256) / 255 > threshold)


@pytest.mark.parametrize("preprocessing", [STATIC, DYNAMIC], ids=str)
@pytest.mark.parametrize("draw", ["fixed", "fresh"])
def test_a_pixel_is_white_with_its_own_probability(levels, preprocessing, draw):
    torch.manual_seed(0)
    x = getattr(Images(Split(levels), preprocessing), draw)(all_of(256))
    assert x.unique().tolist() == [0, 1]
    share, p = x.mean((1, 2, 3)).numpy(), np.arange(256) / 255
    assert (share[0], share[255]) == (0, 1)
    error = np.sqrt(p * (1 - p) / 2000)[1:255]
    assert np.abs((share[1:255] - p[1:255]) / error).max() < 4.6  # 1 in 1,000 over 254 levels
    assert abs(((share[1:255] - p[1:255]) / error).var() - 1) < 0.45  # five standard errors of a variance over 254


@pytest.mark.parametrize("draw", ["fixed", "fresh"])
def test_dequantised_bytes_fill_their_interval_evenly(levels, draw):
    torch.manual_seed(0)
    x = getattr(Images(Split(levels), DEQUANTISED), draw)(all_of(256)).double()
    u = (x * 256 - all_of(256)[:, None, None, None]).flatten()
    assert 0 <= u.min() < 1e-4
    assert 1 - 1e-4 < u.max() <= 1
    assert abs(u.mean() - 0.5) < 5 / math.sqrt(12 * len(u))
    assert abs(u.square().mean() - 1 / 3) < 5 * math.sqrt(4 / 45 / len(u))


@every
def test_what_is_fixed_depends_on_the_image_alone(noise, preprocessing):
    images = Images(Split(noise), preprocessing)
    whole = images.fixed(all_of(60))
    torch.manual_seed(5)
    order = torch.randperm(60)
    assert torch.equal(images.fixed(order), whole[order])
    for size in (1, 7, 500):
        assert torch.equal(torch.cat(list(images.batches(size))), whole)
    assert torch.equal(torch.cat(list(images)), whole)
    assert torch.equal(torch.cat(list(images.batches(7, first=10))), whole[:10])
    assert torch.equal(Images(Split(noise), preprocessing).fixed(all_of(60)), whole)


@pytest.mark.parametrize("preprocessing", [STATIC, DYNAMIC, DEQUANTISED], ids=str)
def test_the_splits_have_draws_of_their_own(noise, preprocessing):
    train, valid, test = (
        Images(Split(noise), preprocessing, part=p).fixed(all_of(60)) for p in ("train", "valid", "test")
    )
    for one, other in ((train, valid), (valid, test), (train, test)):
        assert (one != other).float().mean() > 0.1


@every
def test_only_what_is_dynamic_is_drawn_afresh_and_from_torchs_generator(noise, preprocessing):
    images = Images(Split(noise), preprocessing)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, other = images.fresh(all_of(60)), images.fresh(all_of(60))
    drawn = preprocessing in (DYNAMIC, DEQUANTISED)
    assert torch.equal(before, torch.get_rng_state()) is not drawn
    assert torch.equal(one, other) is not drawn
    torch.manual_seed(1)
    assert torch.equal(images.fresh(all_of(60)), one)


@every
def test_whether_every_pixel_is_black_or_white(noise, preprocessing):
    black_and_white = (noise > 127) * np.uint8(255)
    assert (Images(Split(noise), preprocessing).pixels == "binary") is (preprocessing.binarise is not None)
    assert (Images(Split(black_and_white), preprocessing).pixels == "binary") is not preprocessing.dequantise
    almost = black_and_white.copy()
    almost[-1, -1, -1, -1] = 1
    assert Images(Split(almost)).pixels == "grey"


@every
def test_packed_images_are_seen_as_the_same_bytes_are(noise, preprocessing):
    black_and_white = (noise > 127) * np.uint8(255)
    order = np.random.default_rng(1).permutation(60)[:50]
    packed = Images(Split(PackedImages(pack(noise > 127), (3, 5, 7), order)), preprocessing)
    plain = Images(Split(black_and_white[order]), preprocessing)
    assert len(packed) == 50
    index = torch.tensor([3, 3, 49, 0])
    torch.manual_seed(0)
    one = packed.fresh(index)
    torch.manual_seed(0)
    assert torch.equal(one, plain.fresh(index))
    assert torch.equal(packed.fixed(index), plain.fixed(index))
    assert torch.equal(packed.bytes(index), plain.bytes(index))
    assert packed.pixels == plain.pixels
    whole = Images(Split(PackedImages(pack(noise > 127), (3, 5, 7))), preprocessing)
    assert torch.equal(whole.fixed(index), Images(Split(black_and_white), preprocessing).fixed(index))


# Fixed draws.


def test_fixed_draws_are_uniform_and_independent():
    u = torch.cat([fixed_uniform(all_of(500), 784, seed) for seed in range(4)]).double().numpy()
    n = u.size
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 5 / math.sqrt(12 * n)
    counts = np.bincount((u * 1000).astype(int).ravel(), minlength=1000)
    chi2 = ((counts - n / 1000) ** 2 / (n / 1000)).sum()
    assert abs(chi2 - 999) < 5 * math.sqrt(2 * 999)
    flat = u - 0.5
    shifts = [(0, 1), (0, 28), (1, 0), (1, 1), (500, 0), (7, 3)]  # neighbours, rows, images, seeds
    for rows, columns in shifts:
        a, b = flat[rows:, columns:], flat[: len(flat) - rows, : flat.shape[1] - columns]
        assert abs((a * b).mean() * 12) < 5 / math.sqrt(a.size)
    assert len(np.unique(u)) > 2**24 * -math.expm1(-n / 2**24) * 0.999  # as many values as chance has


def test_fixed_draws_never_change():
    found = fixed_uniform(torch.tensor([0, 1, 737_279]), 3, 1) * 2**24
    assert found.int().tolist() == [
        [11431808, 10517626, 16556915],
        [2295367, 8345846, 7161672],
        [2148352, 6347773, 10743843],
    ]


# Pairs.


def test_pairs_by_index_show_the_same_index(pairs):
    x = Images(pairs).fixed(all_of(120)) * 255
    assert x.shape == (120, 2, 1, 2, 2)
    for stream in (0, 1):
        np.testing.assert_array_equal(x[:, stream, 0, 0, 0].round(), np.arange(120))
        np.testing.assert_array_equal(x[:, stream, 0, 1, 1], 255 * stream)


def test_pairs_by_target_show_the_same_label_and_each_image_once(pairs):
    images = Images(pairs, pairing="targets")
    x = (images.fixed(all_of(120)) * 255).round().long()
    first, second = x[:, 0, 0, 0, 0].numpy(), x[:, 1, 0, 0, 0].numpy()
    np.testing.assert_array_equal(first, np.arange(120))
    np.testing.assert_array_equal(pairs.labels[first], pairs.labels[second])
    np.testing.assert_array_equal(np.sort(second), np.arange(120))
    assert (first == second).mean() < 0.15  # 1 in 40 by chance
    assert torch.equal(x, (images.fixed(all_of(120)) * 255).round().long())
    assert not torch.equal(images.partners(3), images.partners(4))


def test_the_second_images_own_factor_goes_with_it(pairs):
    """What is the first image's own stays, and what both share is the same."""
    numbers = np.arange(120)
    known = pairs._replace(factors=np.stack([pairs.labels, numbers, numbers], 1))
    for pairing in ("index", "targets"):
        images = Images(known, pairing=pairing)
        x = (images.fixed(all_of(120)) * 255).round().long()
        np.testing.assert_array_equal(images.factors, np.stack([pairs.labels, x[:, 0, 0, 0, 0], x[:, 1, 0, 0, 0]], 1))
    assert Images(pairs, pairing="targets").factors is None


def test_a_static_draw_stays_with_its_image_whoever_the_partner_is(pairs):
    grey = pairs._replace(images=np.random.default_rng(0).integers(0, 256, (120, 2, 1, 8, 8), dtype=np.uint8))
    images = Images(grey, STATIC)
    by_index, partners = images.fixed(all_of(120)), images.partners(9)
    paired = images.fixed(all_of(120), partners)
    assert torch.equal(paired[:, 0], by_index[:, 0])
    assert torch.equal(paired[:, 1], by_index[partners, 1])
    assert (by_index[:, 0] != by_index[:, 1]).any()


# In a specification.


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"binarise": "statc"}, "preprocessing.binarise: input should be 'static', 'dynamic' or 'threshold'"),
        ({"binarise": "static", "dequantise": True}, "preprocessing: takes either binarise or dequantise, got both"),
        ({"logit": 0.05}, "preprocessing: logit: 0.05 needs dequantise: true"),
        ({"logit": 0.5}, "preprocessing.logit: input should be less than 0.5, got 0.5"),
        ({"threshold": 0.3}, "preprocessing: threshold: 0.3 needs binarise: threshold"),
        ({"binarize": "static"}, "preprocessing.binarize: there is no such key.*Did you mean 'binarise'"),
        ({"dequantise": True}, "preprocessing.dequantise: is for the gaussian likelihood.*this one is bernoulli"),
    ],
)
def test_a_wrong_preprocessing_is_told_in_a_line(raw, given, message):
    (problem,) = check(raw(preprocessing=given))
    assert re.search(message, problem)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pairing": "targets"}, "pairing: targets is for data sets of pairs; an image of mnist5k is single"),
        ({"pairing": "labels"}, "pairing: input should be 'index' or 'targets', got 'labels'"),
        ({"dataset_options": {"size": 3}}, "dataset_options: mnist5k has no option 'size'; it takes none"),
        ({"fixed": {"logit": 0.1}}, "fixed.logit: it is preprocessing.logit in the preset itself"),
    ],
)
def test_wrong_data_is_told_in_a_line(raw, changes, message):
    (problem,) = check(raw(**changes))
    assert message in problem


def test_a_preprocessing_has_a_name_of_its_own():
    logit = Preprocessing(dequantise=True, logit=0.05)
    assert [str(p) for p in [*EVERY, logit]] == [
        "grey",
        "static binary",
        "dynamic binary",
        "binary > 0.5",
        "binary > 0.2",
        "dequantised",
        "dequantised, logit 0.05",
    ]
    with pytest.raises(ValidationError):
        Preprocessing(binarise=True)


# In a training.


@every
def test_a_resumed_training_draws_what_the_uninterrupted_one_does(raw, splits, preprocessing):
    given = {key: value for key, value in preprocessing.model_dump().items() if value is not None}
    likelihood = "gaussian" if preprocessing.dequantise else "bernoulli"
    spec = StudySpec(**raw(preprocessing=given, likelihood=likelihood))
    settings = {"latent": 4, "hidden": 12, "lr": 1e-3}

    def new() -> Training:
        return Training(spec, settings, splits, seed=3)

    whole, first = new(), new()
    whole.advance(12)
    first.advance(5)
    second = new()
    second.load_state_dict(first.state_dict())
    second.advance(7)
    assert second.evaluate() == whole.evaluate()
    one, other = second.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_under_the_logit_transform_numbers_are_those_of_the_images(raw, splits):
    """log p(x) = log p(y) + log |dy/dx|, computed here by hand; images of the model lie in [0, 1]."""
    margin = 0.05
    given = {"dequantise": True, "logit": margin}
    spec = StudySpec(**raw(preprocessing=given, likelihood="gaussian"))
    training = Training(spec, {"latent": 4, "hidden": 12, "lr": 1e-3}, splits, seed=0)
    model, train = training.model, torch.cat(list(training.train_images)).double()
    y = torch.logit(margin + (1 - 2 * margin) * train)
    over_logits = model.likelihood_part.over_logits
    np.testing.assert_allclose(over_logits.mean_image, y.mean(0), rtol=1e-5, atol=1e-5)
    assert over_logits.log_var.exp().item() == pytest.approx(((y - y.mean(0)) ** 2).mean().item(), rel=1e-5)

    training.advance(3)
    x = training.valid_images.fixed(all_of(20))
    with torch.no_grad():
        z = torch.randn(20, 4)
        found = model.likelihood(z).log_prob(x)
        s = margin + (1 - 2 * margin) * x.double()
        density = over_logits(model.decoder(z)).log_prob(torch.logit(s).float())
    slope = (math.log(1 - 2 * margin) - s.log() - (1 - s).log()).sum((1, 2, 3))
    np.testing.assert_allclose(found, density + slope, rtol=1e-4)
    assert slope.abs().min() > 1
    for images in (model.reconstruct(x), model.sample(9), model.likelihood(z).mean):
        assert 0 <= images.min() <= images.max() <= 1


def test_by_target_the_partners_change_from_epoch_to_epoch_and_follow_from_the_seed(pairs):

    class Pairs(Training):
        """Only what hands out images; there is a model of pairs in no file yet."""

        def __init__(self, seed: int):
            self.train_images, self.device = Images(pairs, pairing="targets"), torch.device("cpu")
            self.seed, self.batch, self.pairing, self._order = seed, 60, "targets", None
            self.model = SimpleNamespace(batches=1)

    def epoch(seed: int, number: int) -> dict[int, int]:
        training = Pairs(seed)
        x = torch.cat([training.images_of(step) for step in (2 * number, 2 * number + 1)])
        shown = (x[..., 0, 0, 0] * 255).round().int()
        return dict(shown.tolist())

    first, again, second, other = epoch(1, 0), epoch(1, 0), epoch(1, 1), epoch(2, 0)
    assert first == again
    assert sorted(first) == sorted(first.values()) == list(range(120))
    assert all(pairs.labels[i] == pairs.labels[j] for i, j in first.items())
    for changed in (second, other):
        assert sum(changed[i] == first[i] for i in first) < 15  # 3 of 120 by chance


# Memory.

MEMORY = """
import re, sys
import torch, imagesets
from study.trial.images import Images

def private():
    return int(re.search(r"Anonymous: +([0-9]+) kB", open("/proc/self/smaps_rollup").read())[1]) / 1024

imagesets.load("mnist5k", sys.argv[1])
torch.rand(1000, 1000) @ torch.rand(1000, 1000)
before = private()
splits = imagesets.load("mnist5k", sys.argv[1])
kept = [Images(split) for split in splits]
total = sum(x.sum() for images in kept for x in images)
assert total > 0
print(private() - before)
"""


def test_a_process_keeps_no_copy_of_the_images():
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, os.environ["LATENTSWEEP_DATA"]],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 20  # MiB; two chunks of 500 images as floats are 3
