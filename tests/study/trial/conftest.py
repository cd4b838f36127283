"""What the tests of a trial share."""

import pytest
from shapes import splits_for
from trainings import sizes

from models.base import VAE, Update
from study.trial.training import Training


@pytest.fixture
def training(small, splits):
    """Makes a training of the little images."""

    def make(model="vae", *, seed=1, steps=20, batch=16, log=1, **config) -> Training:
        spec = small(model, budget={"steps": steps, "batch": batch, "log_every": log, "report_every": None})
        return Training(spec, {**sizes(model), "lr": 1e-3, **config}, splits_for(model, splits), seed=seed)

    return make


class Halves:
    """Two optimisers over a VAE's two networks, the encoder's rate of its own."""

    def parameter_groups(self):
        heads = [*self.encoder.parameters(), *self.posterior_part.parameters()]
        return {
            "decoder": {"lr": list(self.decoder.parameters())},
            "encoder": {"lr_encoder": heads},
        }

    def updates(self):
        return [
            Update("decoder", "nothing", lambda x, step: 0.0 * VAE.loss(self, x, step)),
            Update("encoder", "elbo", self.loss),
        ]


@pytest.fixture
def halves(monkeypatch):
    monkeypatch.setattr(VAE, "parameter_groups", Halves.parameter_groups)
    monkeypatch.setattr(VAE, "updates", Halves.updates)
