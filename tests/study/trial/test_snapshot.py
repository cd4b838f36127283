"""Snapshots: the right pictures, tile by tile, and a traversal that moves one coordinate through its range."""

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from PIL import Image
from shapes import shape_for, shown_to
from torch.distributions import Normal

import models
from imagesets import Split
from models.base import VAE
from study.trial import snapshot
from study.trial.images import Images
from study.trial.snapshot import (
    FRAMES,
    IMAGES,
    READ,
    ROWS,
    png,
    reconstruction_sheet,
    save,
    sheet,
    take,
    traversal_sheet,
)

every_model = pytest.mark.parametrize("name", models.names())


def build(name: str, latent: int = 10, shape: tuple[int, int, int] = (1, 8, 8), seed: int = 0) -> VAE:
    """A model with so many coordinates that matter: every parameter is moved a little."""
    torch.manual_seed(seed)
    model = models.build(name, shape_for(name, shape), hidden=12, **of_size(name, latent))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return model


def of_size(name: str, latent: int) -> dict[str, int]:
    """Settings with which a code has so many coordinates; those of a pair may all be shared."""
    return {"latent": latent, **({"private": 0} if name == "conjoint" else {})}


@pytest.fixture(scope="module")
def single() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(2).integers(0, 256, (300, 1, 8, 8), dtype=np.uint8))


@pytest.fixture
def images(single, request) -> torch.Tensor:
    """As the model under test takes them."""
    name = getattr(request.node, "callspec", SimpleNamespace(params={})).params.get("name", "vae")
    return shown_to(name, single)


def seen_of(images: torch.Tensor) -> Images:
    return Images(Split(images.numpy()))


# What is looked at.


@every_model
def test_shapes_and_types(images, name):
    seen = take(build(name), seen_of(images))
    assert {key: (value.shape, value.dtype.name) for key, value in seen.items()} == {
        "originals": ((IMAGES, *shape_for(name)), "uint8"),
        "reconstructions": ((IMAGES, *shape_for(name)), "uint8"),
        "traversal": ((ROWS, FRAMES, *shape_for(name)), "uint8"),
        "coordinates": ((ROWS,), "int64"),
        "values": ((ROWS, FRAMES), "float32"),
        "codes": ((IMAGES, 10), "float32"),
    }


@every_model
def test_images_codes_and_reconstructions_are_those_of_the_first_images(images, name):
    model = build(name)
    seen, x = take(model, seen_of(images)), images[:IMAGES].float() / 255
    assert np.array_equal(seen["originals"], images[:IMAGES].numpy())
    with torch.no_grad():
        np.testing.assert_allclose(seen["codes"], model.codes(x).numpy(), rtol=1e-4, atol=1e-5)
        expected = model.likelihood(model.codes(x)).mean.clamp(0, 1).numpy() * 255
    assert np.abs(seen["reconstructions"] - expected).max() < 0.51


@every_model
def test_the_traversal_moves_one_coordinate_from_the_smallest_to_the_largest_value(images, name):
    model = build(name)
    seen = take(model, seen_of(images))
    with torch.no_grad():
        codes = model.codes(images[:READ].float() / 255)
    variances = codes.var(0, correction=0)
    assert list(seen["coordinates"]) == variances.argsort(descending=True)[:ROWS].tolist()
    for row, coordinate in enumerate(seen["coordinates"]):
        low, high = codes[:, coordinate].min().item(), codes[:, coordinate].max().item()
        np.testing.assert_allclose(seen["values"][row], np.linspace(low, high, FRAMES), rtol=1e-4, atol=1e-5)
        for frame in range(FRAMES):
            z = codes[0].clone()
            z[coordinate] = float(seen["values"][row, frame])
            with torch.no_grad():
                expected = model.likelihood(z[None]).mean[0].clamp(0, 1).numpy() * 255
            assert np.abs(seen["traversal"][row, frame] - expected).max() < 0.51
    assert (seen["traversal"][:, 0] != seen["traversal"][:, -1]).reshape(ROWS, -1).any(axis=1).all()


@every_model
def test_a_code_smaller_than_the_sheet_has_fewer_rows(images, name, tmp_path):
    for latent in (2, 3) if name == "hvae" else (1, 2):  # which has a coordinate for each level
        seen = take(build(name, latent), seen_of(images))
        assert sorted(seen["coordinates"]) == list(range(latent))
        assert seen["traversal"].shape == (latent, FRAMES, *shape_for(name))
        save(seen, tmp_path / "small")


def test_colours_stay_colours(tmp_path):
    images = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8))
    seen = take(build("vae", shape=(3, 8, 8)), seen_of(images))
    assert np.array_equal(reconstruction_sheet(seen)[1:9, 1:9], images[0].numpy().transpose(1, 2, 0))


class PairModel(torch.nn.Module):
    """As much of a model of pairs as a snapshot looks at: its code is the mean of each image, which it draws."""

    def codes(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3, 4))  # [B, 2]

    def likelihood(self, z: torch.Tensor) -> Normal:
        return Normal(z[..., None, None, None].expand(*z.shape, 3, 4, 5), 1.0)

    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        return self.likelihood(self.codes(x)).mean


def test_a_pair_is_seen_side_by_side(tmp_path):
    pairs = np.random.default_rng(2).integers(0, 256, (20, 2, 3, 4, 5), dtype=np.uint8)
    seen = take(PairModel(), Images(Split(pairs)))
    assert seen["originals"].shape == seen["reconstructions"].shape == (IMAGES, 2, 3, 4, 5)
    assert seen["traversal"].shape == (2, FRAMES, 2, 3, 4, 5)
    assert np.array_equal(seen["originals"], pairs[:IMAGES])
    above = reconstruction_sheet(seen)
    assert above.shape == (2 * 5 + 1, IMAGES * 11 + 1, 3)
    for second in (0, 1):
        left = 12 + 5 * second
        assert np.array_equal(above[1:5, left : left + 5], pairs[1, second].transpose(1, 2, 0))
        assert np.abs(above[6:10, left : left + 5] - pairs[1, second].mean()).max() <= 0.51
    save(seen, tmp_path / "pair")
    assert imread(tmp_path / "pair.png").shape[:2] == (11 + 11, IMAGES * 11 + 1)


@every_model
def test_equal_models_give_equal_snapshots_whatever_the_random_state(images, name):
    model = build(name)
    first = take(model, seen_of(images))
    torch.manual_seed(99)
    state = torch.get_rng_state()
    same = models.build(name, shape_for(name), hidden=12, **of_size(name, 10))
    same.load_state_dict(model.state_dict())
    torch.set_rng_state(state)
    second = take(same, seen_of(images))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(np.array_equal(first[key], second[key]) for key in first)
    assert not np.array_equal(first["reconstructions"], take(build(name, seed=1), seen_of(images))["reconstructions"])


@every_model
def test_looking_leaves_no_trace_in_the_model(images, name):
    model = build(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    take(model, seen_of(images))
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_pixels_are_rounded_to_the_nearest():
    grey = torch.tensor([0.0, 0.4, 0.6, 127.4, 127.6, 254.6, 255.0]) / 255
    assert snapshot.pixels(grey).tolist() == [0, 0, 1, 127, 128, 255, 255]


# Sheets, on arrays made by hand.


def test_a_grey_sheet_tile_by_tile():
    tiles = np.array([[[[[1, 2]]], [[[3, 4]]], [[[5, 6]]]], [[[[7, 8]]], [[[9, 10]]], [[[11, 12]]]]], np.uint8)
    assert tiles.shape == (2, 3, 1, 1, 2)
    w = 255
    expected = [
        [w, w, w, w, w, w, w, w, w, w],
        [w, 1, 2, w, 3, 4, w, 5, 6, w],
        [w, w, w, w, w, w, w, w, w, w],
        [w, 7, 8, w, 9, 10, w, 11, 12, w],
        [w, w, w, w, w, w, w, w, w, w],
    ]
    found = sheet(tiles)
    assert found.shape == (5, 10, 3)
    assert found.dtype == np.uint8
    assert all(np.array_equal(found[..., channel], expected) for channel in range(3))


@pytest.mark.parametrize("gap", [0, 1, 2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_tile_is_where_it_belongs_and_the_rest_is_white(gap, channels):
    rows, columns, height, width = 2, 4, 5, 3
    tiles = np.random.default_rng(0).integers(0, 255, (rows, columns, channels, height, width), dtype=np.uint8)
    found = sheet(tiles, gap)
    assert found.shape == (rows * (height + gap) + gap, columns * (width + gap) + gap, 3)
    for row in range(rows):
        for column in range(columns):
            top, left = gap + row * (height + gap), gap + column * (width + gap)
            tile = found[top : top + height, left : left + width]
            assert np.array_equal(tile, np.broadcast_to(tiles[row, column].transpose(1, 2, 0), tile.shape))
            tile[:] = 255
    assert (found == 255).all()


def test_the_two_sheets_of_a_snapshot(images):
    seen = take(build("vae"), seen_of(images))
    above = reconstruction_sheet(seen)
    assert above.shape == (2 * 9 + 1, IMAGES * 9 + 1, 3)
    assert np.array_equal(above[1:9, 10:18, 0], seen["originals"][1, 0])
    assert np.array_equal(above[10:18, 10:18, 0], seen["reconstructions"][1, 0])
    below = traversal_sheet(seen)
    assert below.shape == (ROWS * 9 + 1, FRAMES * 9 + 1, 3)
    assert np.array_equal(below[19:27, 28:36, 2], seen["traversal"][2, 3, 0])


# Files.


def test_both_files_hold_the_whole_snapshot(images, tmp_path):
    seen = take(build("vsc"), seen_of(images))
    save(seen, tmp_path / "deep" / "0000050")
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["0000050.npz", "0000050.png"]
    with np.load(tmp_path / "deep" / "0000050.npz") as kept:
        assert sorted(kept) == sorted(seen)
        assert all(np.array_equal(kept[key], seen[key]) for key in seen)
    picture = np.asarray(Image.open(tmp_path / "deep" / "0000050.png").convert("RGB"))
    assert np.array_equal(picture, np.concatenate([reconstruction_sheet(seen), traversal_sheet(seen)]))


def test_a_grey_picture_is_a_grey_file_and_one_in_colour_is_not():
    grey = np.repeat(np.random.default_rng(0).integers(256, size=(5, 7, 1), dtype=np.uint8), 3, axis=2)
    colour = grey.copy()
    colour[2, 3, 1] ^= 1
    for picture, mode in ((grey, "L"), (colour, "RGB")):
        read = Image.open(io.BytesIO(png(picture)))
        assert read.mode == mode
        assert np.array_equal(np.asarray(read.convert("RGB")), picture)


def test_a_file_is_written_whole_or_not_at_all(images, tmp_path, monkeypatch):
    stem = tmp_path / "0000050"
    save(take(build("vae"), seen_of(images)), stem)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def half(path: Path, *_: object, **__: object) -> None:
        target = path if hasattr(path, "write") else open(path, "wb")  # noqa: SIM115
        target.write(b"half")
        target.flush()
        raise OSError("the disk is full")

    for name in ("numpy.lib.format.write_array", "pathlib.Path.write_bytes"):
        with monkeypatch.context() as patch:
            patch.setattr(name, half)
            with pytest.raises(OSError, match="disk is full"):
                save(take(build("vae", seed=3), seen_of(images)), stem)
        after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert after.keys() == before.keys()
        assert after[f"{stem.name}.png"] == before[f"{stem.name}.png"]
        if name.startswith("numpy"):
            assert after == before
