"""Models of five papers as somebody would write them from the paper, with the loop that trains them and its two ways
of coming by images: what a training of the project is measured against.

Nothing is shared but the layers, two of 500 units to each side of a code of 50. Pixels are Bernoulli in `vae` and
`vsc`, else Gaussian with one learned deviation. A loss is what `models.build` of that name has with beta = 1, which a
test holds equal; in nats an image. What is imported is what a script of one's own would import: the memory of its
process is measured, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.func import jacfwd, vmap
from torch.nn.functional import binary_cross_entropy_with_logits, linear
from torch.utils.data import DataLoader, Dataset

PIXELS, HIDDEN, LATENT, BATCH = 784, 500, 50, 128


class Bare(nn.Module):
    """An encoder and a decoder; `loss` takes images [B, 1, 28, 28], floats in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()
        )
        self.decoder = nn.Sequential(
            nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS)
        )
        self.mu = nn.Linear(HIDDEN, LATENT)

    def see(self, images: Tensor) -> None:
        """Takes what the model needs of the training images. Here: nothing."""

    def loss(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Vae(Bare):
    """Kingma & Welling (2014)."""

    def __init__(self) -> None:
        super().__init__()
        self.log_var = nn.Linear(HIDDEN, LATENT)

    def loss(self, x: Tensor) -> Tensor:
        h = self.encoder(x)
        mu, log_var = self.mu(h), self.log_var(h)
        z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
        kl = -0.5 * (1 + log_var - mu**2 - log_var.exp()).sum(1)
        cross_entropy = binary_cross_entropy_with_logits(self.decoder(z), x.flatten(1), reduction="none").sum(1)
        return (cross_entropy + kl).mean()


class Vsc(Bare):
    """Tonolini, Jensen & Murray-Smith (2019), its gate hard forwards and relaxed backwards, as the default here."""

    alpha, steepness = 0.01, 10.0

    def __init__(self) -> None:
        super().__init__()
        self.log_var, self.v = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)

    def loss(self, x: Tensor) -> Tensor:
        h = self.encoder(x)
        mu, log_var, gamma = self.mu(h), self.log_var(h), torch.sigmoid(self.v(h))
        slab = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
        eta = torch.rand_like(mu)
        soft = torch.sigmoid(self.steepness * (eta - 1 + gamma))
        hard = (eta >= 1 - gamma).float()
        z = (hard + soft - soft.detach()) * slab
        gamma = gamma.clamp(1e-6, 1 - 1e-6)
        of_slab = -0.5 * (1 + log_var - mu**2 - log_var.exp()) + torch.log(gamma / self.alpha)
        of_spike = torch.log((1 - gamma) / (1 - self.alpha))
        kl = (gamma * of_slab + (1 - gamma) * of_spike).sum(1)
        cross_entropy = binary_cross_entropy_with_logits(self.decoder(z), x.flatten(1), reduction="none").sum(1)
        return (cross_entropy + kl).mean()


class GaussianPixels(Bare):
    """The setting of Park, Kim & Kim (2019): pixels less the mean image are Gaussian, with one variance for all."""

    def __init__(self) -> None:
        super().__init__()
        self.mean_image: Tensor
        self.register_buffer("mean_image", torch.zeros(1, 28, 28))
        self.log_noise = nn.Parameter(torch.zeros(1))

    def see(self, images: Tensor) -> None:
        self.mean_image.copy_(images.mean(0))
        self.log_noise.data = (images - self.mean_image).var(correction=0).log()[None]

    def reconstruction(self, x: Tensor, z: Tensor) -> Tensor:
        error = (x - self.mean_image).flatten(1) - self.decoder(z)
        return 0.5 * (error**2 / self.log_noise.exp() + self.log_noise + math.log(2 * math.pi)).sum(1)


class Householder(GaussianPixels):
    """Tomczak & Welling (2016), whose reflections are products with v v^T."""

    def __init__(self) -> None:
        super().__init__()
        self.log_var = nn.Linear(HIDDEN, LATENT)
        self.normals = nn.ModuleList(nn.Linear(HIDDEN if t == 0 else LATENT, LATENT) for t in range(4))

    def loss(self, x: Tensor) -> Tensor:
        h = self.encoder(x - self.mean_image)
        mu, log_var = self.mu(h), self.log_var(h)
        z0 = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
        z, v = z0, h
        for layer in self.normals:
            v = layer(v)
            product = torch.bmm(torch.bmm(v[:, :, None], v[:, None, :]), z[:, :, None])[:, :, 0]
            z = z - 2 * product / (v**2).sum(1, keepdim=True)
        log_q = -0.5 * (log_var + (z0 - mu) ** 2 / log_var.exp()).sum(1)
        log_p = -0.5 * (z**2).sum(1)
        return (self.reconstruction(x, z) + log_q - log_p).mean()


class Made(nn.Module):
    """Germain et al. (2015), with the encoder's features as context."""

    def __init__(self) -> None:
        super().__init__()
        self.see: Tensor
        self.shown: Tensor
        self.inputs, self.context = nn.Linear(LATENT, HIDDEN, bias=False), nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.bias, self.slope = nn.Parameter(torch.randn(HIDDEN)), nn.PReLU()
        self.m, self.logit_s = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)
        degrees, coordinates = torch.randint(0, LATENT, (HIDDEN,)), torch.arange(1, LATENT + 1)
        self.register_buffer("see", (degrees[:, None] >= coordinates).float())
        self.register_buffer("shown", (coordinates[:, None] > degrees).float())

    def forward(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.slope(linear(z, self.inputs.weight * self.see) + self.context(h) + self.bias)
        m = linear(hidden, self.m.weight * self.shown, self.m.bias)
        return m, linear(hidden, self.logit_s.weight * self.shown, self.logit_s.bias)


class Iaf(GaussianPixels):
    """Kingma et al. (2016), four steps."""

    def __init__(self) -> None:
        super().__init__()
        self.log_var = nn.Linear(HIDDEN, LATENT)
        self.steps = nn.ModuleList(Made() for _ in range(4))

    def loss(self, x: Tensor) -> Tensor:
        h = self.encoder(x - self.mean_image)
        mu, log_var = self.mu(h), self.log_var(h)
        z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
        log_q = -0.5 * (log_var + (z - mu) ** 2 / log_var.exp()).sum(1)
        for made in self.steps:
            m, logit_s = made(z, h)
            s = torch.sigmoid(logit_s)
            z = (s * z + (1 - s) * m).flip(1)
            log_q = log_q - torch.log(s).sum(1)
        log_p = -0.5 * (z**2).sum(1)
        return (self.reconstruction(x, z) + log_q - log_p).mean()


class Vlae(GaussianPixels):
    """Park, Kim & Kim (2019), four updates, each with the full Jacobian of the decoder."""

    rates = (0.5, 0.5 / 2, 0.5 / 3, 0.5 / 4)

    def around(self, x: Tensor, mu: Tensor) -> tuple[Tensor, Tensor]:
        """Lambda = J^T J / sigma^2 + I, and J^T (x - a(mu)) / sigma^2."""
        jacobian = vmap(jacfwd(self.decoder))(mu)  # [B, D, Z]
        error = (x - self.mean_image).flatten(1) - self.decoder(mu)
        noise = self.log_noise.exp()
        precision = jacobian.mT @ jacobian / noise + torch.eye(LATENT, dtype=mu.dtype)
        return precision, (jacobian.mT @ error[:, :, None])[:, :, 0] / noise

    def loss(self, x: Tensor) -> Tensor:
        mu = self.mu(self.encoder(x - self.mean_image))
        for rate in self.rates:
            precision, gradient = self.around(x, mu)
            mu = mu + rate * torch.linalg.solve(precision, gradient - mu)
        precision, _ = self.around(x, mu)
        factor = torch.linalg.cholesky(precision)
        eps = torch.randn_like(mu)
        z = mu + torch.linalg.solve_triangular(factor.mT, eps[:, :, None], upper=True)[:, :, 0]
        covariance = torch.linalg.inv(precision)
        trace, log_det = covariance.diagonal(dim1=1, dim2=2).sum(1), torch.logdet(precision)
        kl = 0.5 * (trace + (mu**2).sum(1) - LATENT + log_det)
        return (self.reconstruction(x, z) + kl).mean()


MODELS: dict[str, type[Bare]] = {"vae": Vae, "vsc": Vsc, "householder": Householder, "iaf": Iaf, "vlae": Vlae}


def in_memory(images: Tensor) -> Iterator[Tensor]:
    """Batches of images that lie in memory as floats, without end."""
    while True:
        order = torch.randperm(len(images))
        for index in order[: len(images) // BATCH * BATCH].split(BATCH):
            yield images[index]


class PerImage(Dataset):
    """Images as `torchvision.datasets.MNIST` hands them out: each made a picture of Pillow's, then transformed.

    Args:
        images: uint8, [N, 28, 28].
        transform: such as torchvision's `ToTensor`.
    """

    def __init__(self, images: NDArray[np.uint8], transform: Callable[[Image.Image], Tensor]):
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), 0


def loaded(dataset: Dataset) -> Iterator[Tensor]:
    """Batches of a data set by way of a DataLoader, without end."""
    loader = DataLoader(dataset, batch_size=BATCH, shuffle=True, drop_last=True)
    while True:
        for x, _ in loader:
            yield x


def loop(model: Bare, batches: Iterator[Tensor]) -> Callable[[int], None]:
    """What trains a model for so many steps."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)

    def advance(steps: int) -> None:
        total = 0.0
        for _ in range(steps):
            optimiser.zero_grad()
            loss = model.loss(next(batches))
            loss.backward()
            optimiser.step()
            total += loss.item()

    return advance
