"""What a script may give a model as images and codes, and the lines that refuse the rest."""

import re

import numpy as np
import pytest
import torch

import models
from models import ModelError
from models.inputs import images_from

SHAPE = (1, 8, 8)
BYTES = np.random.default_rng(0).integers(0, 256, (4, *SHAPE), dtype=np.uint8)


@pytest.fixture
def model():
    return models.build("vae", SHAPE, latent=3, hidden=8)


@pytest.fixture
def expected(model):
    return model.codes(torch.from_numpy(BYTES).float() / 255)


def read_only() -> np.ndarray:
    images = BYTES.copy()
    images.flags.writeable = False
    return images


@pytest.mark.parametrize(
    "given",
    [
        torch.from_numpy(BYTES),
        BYTES,
        read_only(),
        np.ascontiguousarray(BYTES[::-1])[::-1],
        BYTES / 255,
        (BYTES / 255).astype(np.float32),
        torch.from_numpy(BYTES / 255),
    ],
    ids=["bytes", "array of bytes", "read-only", "backwards", "float64 array", "float32 array", "float64"],
)
@pytest.mark.filterwarnings("error")
def test_bytes_and_floats_arrays_and_tensors_are_the_same_images(model, expected, given):
    torch.testing.assert_close(model.codes(given), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(model.reconstruct(given), model.decode(expected), rtol=1e-6, atol=1e-6)


def test_images_come_in_the_models_type_and_on_its_device(model):
    assert images_from(torch.rand(2, *SHAPE), model.double()).dtype == torch.float64
    assert images_from(BYTES, model.to("meta")).device.type == "meta"
    assert images_from(torch.rand(2, *SHAPE), model).device.type == "meta"


def test_a_float_tensor_of_the_models_type_is_taken_as_it_is(model):
    x = torch.rand(2, *SHAPE)
    assert images_from(x, model) is x


def test_no_images_have_no_codes(model):
    assert model.codes(torch.empty(0, *SHAPE)).shape == (0, 3)


def one_at(value: float) -> torch.Tensor:
    x = torch.zeros(2, *SHAPE)
    x[1, 0, 3, 4] = value
    return x


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (one_at(255.0), "images must lie in [0, 1], got floats from 0 to 255; bytes are taken as uint8"),
        (one_at(1.0000001), "images must lie in [0, 1], got floats from 0 to 1.0000001; bytes are taken as uint8"),
        (one_at(-0.5).numpy(), "images must lie in [0, 1], got floats from -0.5 to 0; bytes are taken as uint8"),
        (one_at(np.inf), "images must lie in [0, 1], got floats from 0 to inf; bytes are taken as uint8"),
        (one_at(np.nan), "images must lie in [0, 1], but 1 of 128 values are NaN"),
        (torch.zeros(2, *SHAPE).long(), "images must be uint8, or floats in [0, 1], got torch.int64"),
        (torch.zeros(2, *SHAPE).bool(), "images must be uint8, or floats in [0, 1], got torch.bool"),
        (BYTES.astype(np.int32), "images must be uint8, or floats in [0, 1], got int32"),
        (BYTES.astype(str), "images must be uint8, or floats in [0, 1], got <U3"),
        (BYTES[0], "batches of images [1, 8, 8], got [1, 8, 8]; give one image as x[None]"),
        (BYTES[0, 0], "batches of images [1, 8, 8], got [8, 8]; give one image as x[None, None]"),
        (BYTES[:, 0], "batches of images [1, 8, 8], got [4, 8, 8]; give images without a channel's axis as x[:, None]"),
        (torch.rand(2, 3, 8, 8), "batches of images [1, 8, 8], got [2, 3, 8, 8]"),
        (0.5, "batches of images [1, 8, 8], got []"),
    ],
)
def test_other_images_are_refused_with_what_was_found(model, given, line):
    for use in (model.codes, model.reconstruct):
        with pytest.raises(ModelError, match=re.escape(line) + "$"):
            use(given)


def test_one_pair_is_refused_as_no_batch_of_pairs(model):
    model.image_shape = (2, 1, 8, 8)
    with pytest.raises(ModelError, match=re.escape("[2, 1, 8, 8], got [2, 1, 8, 8]; give one image as x[None]")):
        model.codes(BYTES[:2])
    with pytest.raises(ModelError, match=re.escape("[2, 1, 8, 8], got [1, 8, 8]") + "$"):
        model.codes(BYTES[0])


def test_images_as_a_measure_sees_them_are_not_looked_at(model):
    """Training and evaluation do not pay for the look, and a density has its values outside [0, 1] too."""
    gaussian = models.build("vae", SHAPE, latent=3, hidden=8, likelihood="gaussian")
    x = one_at(2.0)
    assert torch.isfinite(gaussian.elbo(x).log_lik).all()
    assert torch.isfinite(gaussian.log_weights(x, 2)).all()
    assert torch.isfinite(gaussian.look(x).codes).all()


def test_codes_of_any_batch_are_decoded(model):
    z = torch.randn(2, 5, 3)
    images = model.decode(z)
    assert images.shape == (2, 5, *SHAPE)
    torch.testing.assert_close(model.decode(z[1, 2]), images[1, 2])
    torch.testing.assert_close(model.decode(z[1].double().numpy()), images[1])


@pytest.mark.parametrize(("given", "found"), [(torch.zeros(2, 4), "[2, 4]"), (np.zeros((3, 1)), "[3, 1]")])
def test_codes_of_another_size_are_refused(model, given, found):
    with pytest.raises(ModelError, match=re.escape(f"the model's codes are [..., 3], got {found}")):
        model.decode(given)


@pytest.mark.parametrize("n", [-1, 10**20, 10**7, 1.5, True, "3", None])
def test_what_is_no_number_of_images_is_not_drawn(model, n):
    with pytest.raises(ModelError, match=r"images are drawn by a whole number from 0 to 1000000, got "):
        model.sample(n)


def test_any_whole_number_is(model):
    assert [len(model.sample(n)) for n in (0, 1, np.int64(3))] == [0, 1, 3]
