"""The Gaussian with a full precision, against torch's own.

Seeds are fixed, so a test that passes once always passes; "4 standard errors" fails by chance once in 16,000
comparisons, should torch's stream of random numbers ever change.
"""

import math

import pytest
import torch
from draws import B, Z, gaussian, kl, precision_gaussian, standard_normal
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from models.distributions import PrecisionGaussian

pytestmark = pytest.mark.usefixtures("float64")


class LargestOutput(TorchDispatchMode):
    """How many numbers the largest tensor holds that any operation returns."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for t in result if isinstance(result, tuple | list) else [result]:
            if isinstance(t, Tensor):
                stored = t.untyped_storage().nbytes() // t.element_size()  # a view, expanded or not, is no memory
                self.numel = max(self.numel, stored)
        return result


def of_torch(q: PrecisionGaussian) -> MultivariateNormal:
    return MultivariateNormal(q.loc, precision_matrix=q.factor @ q.factor.mT)


def test_precision_gaussian_log_prob_equals_torch():
    q, z = precision_gaussian(B), torch.randn(3, 2, B, Z)
    assert_close(q.log_prob(z), of_torch(q).log_prob(z), rtol=1e-11, atol=1e-11)
    assert_close(q.log_prob(z[0, 0]), of_torch(q).log_prob(z[0, 0]), rtol=1e-11, atol=1e-11)
    points = torch.randn(7, 1, Z)  # one for all of the batch
    assert_close(q.log_prob(points), of_torch(q).log_prob(points), rtol=1e-11, atol=1e-11)


def test_precision_gaussian_draws_have_its_mean_and_covariance():
    n, q = 200_000, precision_gaussian(B)
    covariance = of_torch(q).covariance_matrix
    assert_close(q.covariance, covariance, rtol=1e-11, atol=1e-11)
    assert (covariance - torch.diag_embed(covariance.diagonal(dim1=-2, dim2=-1))).abs().max() > 0.1  # not diagonal
    centred = q.sample((n,)) - q.loc
    products = centred[..., :, None] * centred[..., None, :]
    assert (centred.mean(0).abs() <= 4 * centred.std(0) / math.sqrt(n)).all()
    assert ((products.mean(0) - covariance).abs() <= 4 * products.std(0) / math.sqrt(n)).all()


def test_precision_gaussian_draws_are_the_noise_through_the_transposed_factor():
    q = precision_gaussian(B)
    for shape in ((B, Z), (1, B, Z), (3, 2, B, Z)):
        noise = torch.randn(shape)
        z = q.rsample(noise=noise)
        assert z.shape == shape
        for b in range(B):
            expected = q.loc[b] + noise[..., b, :] @ q.factor[b].inverse()  # (L^-T e)^T = e^T L^-1
            assert_close(z[..., b, :], expected, rtol=1e-11, atol=1e-11)


def test_the_density_of_precision_gaussian_draws_is_that_of_their_noise():
    q, noise = precision_gaussian(B), torch.randn(3, B, Z)
    log_det = q.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    expected = standard_normal().log_prob(noise) + log_det
    assert_close(q.log_prob(q.rsample(noise=noise)), expected, rtol=1e-11, atol=1e-11)


def test_the_density_of_many_draws_copies_no_factor():
    q, draws = precision_gaussian(B), 1000
    z = q.sample((draws,))
    largest = LargestOutput()
    with largest:
        q.log_prob(z)
        q.rsample((draws,))
    assert largest.numel <= 2 * z.numel()  # L for every draw would be Z times as much


def test_precision_gaussian_kl_equals_torch():
    q, p = precision_gaussian(B), gaussian(B)
    normal = MultivariateNormal(p.loc, torch.diag_embed(p.scale**2))
    assert_close(kl(q, p), kl_divergence(of_torch(q), normal), rtol=1e-11, atol=1e-11)


def test_precision_gaussian_kl_is_gaussian_where_the_precision_is_diagonal():
    q, p = gaussian(B), gaussian()
    same = PrecisionGaussian(q.loc, torch.diag_embed(1 / q.scale))
    assert_close(kl(same, p), kl(q, p), rtol=1e-12, atol=1e-12)
    assert_close(kl(PrecisionGaussian(p.loc, torch.diag(1 / p.scale)), p), torch.tensor(0.0), rtol=0, atol=1e-12)
