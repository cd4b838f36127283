"""`sample`: images drawn from the prior, as tiles of one picture."""

import numpy as np
import pytest
import torch
from PIL import Image

import models
from study.sample import drawn, tiled


@pytest.fixture
def exported(write_export, tmp_path):
    torch.manual_seed(0)
    return write_export(tmp_path / "best", models.build("vae", (1, 8, 6), latent=3, hidden=8))


def test_the_picture_shows_what_the_seed_draws(command, exported, tmp_path):
    def picture(seed: int) -> np.ndarray:
        out = tmp_path / f"{seed}.png"
        code, said, err = command("sample", exported, "--n", 5, "--seed", seed, "--out", out)
        assert (code, said, err) == (0, f"{out}: 5 images drawn from the prior, seed {seed}\n", "")
        return np.asarray(Image.open(out))

    first, again, other = picture(1), picture(1), picture(2)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    model = models.load(exported)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        expected = (model.sample(5) * 255).round().byte().numpy()
    width = 3 * (6 + 1) + 1
    times = first.shape[1] // width
    small = first[::times, ::times, 0]
    assert small.shape == (2 * (8 + 1) + 1, width)
    tiles = [small[1 + 9 * row : 9 + 9 * row, 1 + 7 * column : 7 + 7 * column] for row in (0, 1) for column in range(3)]
    assert np.array_equal(tiles[:5], expected[:, 0])
    assert (tiles[5] == 255).all()  # nothing


def test_it_leaves_the_random_state_alone(exported):
    model, before = models.load(exported), torch.random.get_rng_state()
    drawn(model, 3, seed=9)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_more_than_are_decoded_at_once(exported, monkeypatch):
    monkeypatch.setattr("study.sample.AT_ONCE", 4)
    images = drawn(models.load(exported), 10, seed=0)
    assert images.shape == (10, 1, 8, 6)
    assert len(np.unique(images.reshape(10, -1), axis=0)) == 10


@pytest.mark.parametrize(("shape", "columns"), [((3, 8, 6), 1), ((2, 1, 8, 6), 2)])
def test_images_in_colour_and_pairs_are_tiles_too(shape, columns):
    images = np.random.default_rng(0).integers(0, 256, (4, *shape), np.uint8)
    height, width, channels = tiled(images).shape
    times = height // (2 * 9 + 1)
    assert (height, width, channels) == (19 * times, (2 * (6 * columns + 1) + 1) * times, 3)


@pytest.mark.parametrize("n", ["0", "-1", "x", "10001"])
def test_how_many_are_drawn_is_a_number(command, exported, tmp_path, n):
    code, _, err = command("sample", exported, "--n", n, "--out", tmp_path / "x.png")
    assert code == 2
    assert "--n" in err
