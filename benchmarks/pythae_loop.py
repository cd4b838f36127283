"""pythae's VAE in the loop of its own trainer, two threads; run in an environment of its own, see `training_speed`:

    echo 50 | PYTHAE/bin/python -m benchmarks.pythae_loop IMAGES.npy

The sizes are the others': layers of 500 and 500, a code of 50, batches of 128, images in memory as floats.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.serving import serve

THREADS = 2
PIXELS, HIDDEN, LATENT, BATCH = 784, 500, 50, 128


class Encoder(BaseEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU())
        self.mu, self.log_var = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)

    def forward(self, x: Tensor) -> ModelOutput:
        h = self.layers(x.flatten(1))
        return ModelOutput(embedding=self.mu(h), log_covariance=self.log_var(h))


class Decoder(BaseDecoder):
    def __init__(self) -> None:
        super().__init__()
        sizes = [nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS)]
        self.layers = nn.Sequential(*sizes, nn.Sigmoid())

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.layers(z).reshape(-1, 1, 28, 28))


def main() -> None:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    images = torch.from_numpy(np.load(sys.argv[1])).float() / 255
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT, reconstruction_loss="bce")
    model = VAE(config, Encoder(), Decoder())
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(BaseDataset(images, torch.zeros(len(images))), batch_size=BATCH, shuffle=True, drop_last=True)
    batches = iter(loader)

    def advance(steps: int) -> None:
        nonlocal batches
        total = 0.0
        for _ in range(steps):
            try:
                inputs = next(batches)
            except StopIteration:
                batches = iter(loader)
                inputs = next(batches)
            loss = model(inputs, dataset_size=len(images)).loss
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item()

    serve(advance)


if __name__ == "__main__":
    main()
