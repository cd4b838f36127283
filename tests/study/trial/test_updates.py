"""Updates by name, rates as functions of the step, and settings that no optimiser reads."""

import pytest
from shapes import data_set_for
from trainings import identical, weights

import models
from models.base import VAE, Update
from study.spec import StudySpec, check
from study.trial.training import Training

SIZES = {"latent": 4, "hidden": 12}


@pytest.fixture
def training(small, splits):
    def make(*, steps=20, **config) -> Training:
        spec = small("vae", budget={"steps": steps, "batch": 16, "log_every": 1, "report_every": None})
        return Training(spec, {**SIZES, "lr": 1e-3, **config}, splits, seed=1)

    return make


def test_repeats_of_an_update_are_averaged_and_two_on_one_optimiser_are_both_logged(training, monkeypatch):
    def updates(self):
        said = {"first": [2.0, 4.0], "second": [7.0]}
        return [
            Update("model", name, lambda x, step, value=value: VAE.loss(self, x, step) * 0 + value)
            for name, values in said.items()
            for value in values
        ]

    monkeypatch.setattr(VAE, "updates", updates)
    assert training().advance(1)[0].values == {"first": 3.0, "second": 7.0}


def test_a_rate_is_a_function_of_the_step_and_not_of_what_came_before(training):
    one, resumed = training(lr_drop=0.5), training(lr_drop=0.5)
    one.advance(15)
    resumed.load_state_dict(one.state_dict())
    for each in (one, resumed):
        each.advance(1)
        assert [group["lr"] for group in each.optimisers["model"].param_groups] == [1e-3 * 0.1]


def test_a_loss_of_exactly_0_moves_nothing_not_even_by_momentum(training, monkeypatch):
    plain, beside = training(weight_decay=0.1), training(weight_decay=0.1)
    plain.advance(5)
    nothing = Update("model", "nothing", lambda x, step: 0.0 * beside.model.posterior(x).loc.sum())
    monkeypatch.setattr(beside.model, "updates", lambda: [Update("model", "elbo", beside.model.loss), nothing])
    assert beside.advance(5)[-1].values["nothing"] == 0
    assert identical(weights(beside), weights(plain))


@pytest.mark.parametrize(
    ("key", "value"),
    [("lr_pseudo_inputs", 1e-3), ("lr_encoder", 1e-3), ("betas_encoder", [0.5, 0.9]), ("lr_dorp", 0.5)],
)
def test_a_setting_that_no_optimiser_reads_is_refused_from_a_space(training, key, value):
    with pytest.raises(models.ModelError, match=f"vae: {key}: no parameters have such a setting; there are: lr, betas"):
        training(**{key: value})


def test_and_likewise_as_a_pin(raw):
    (problem,) = check(raw(fixed={"lr_pseudo_inputs": 1e-3}))
    assert "lr_pseudo_inputs: no parameters have such a setting" in problem
    vamp = {"model": "vae", "fixed": {"prior": "vamp", "posterior": "gaussian", "lr_pseudo_inputs": 1e-3}}
    assert check(raw(**vamp)) == []


def test_pseudo_inputs_are_trained_at_their_own_rate(training):
    config = {"prior": "vamp", "pseudo_inputs": 4}
    still, moving = training(**config, lr_pseudo_inputs=1e-9), training(**config)
    before = still.model.prior_part.pseudo_inputs.detach().clone()
    still.advance(3)
    moving.advance(3)
    assert (still.model.prior_part.pseudo_inputs - before).abs().max() < 1e-7
    assert (moving.model.prior_part.pseudo_inputs - before).abs().max() > 1e-4


def test_an_update_of_nobodys_optimiser_is_refused_before_a_training(raw, monkeypatch):
    monkeypatch.setattr(VAE, "updates", lambda self: [Update("critic", "elbo", self.loss)])
    assert check(raw()) == ["vae: an update names the optimiser 'critic'; there are: model"]


def test_no_parameter_is_in_two_groups(raw, monkeypatch):
    grouped = VAE.parameter_groups

    def twice(self):
        (first, *_) = groups = grouped(self)["model"]["lr"]
        return {"model": {"lr": groups, "lr_first": [first]}}

    monkeypatch.setattr(VAE, "parameter_groups", twice)
    (problem,) = check(raw())
    assert problem == "vae: the parameter encoder.1.weight is in 2 groups, where one at most is possible"


TWO = """
from models.base import VAE, assemble
from models.gaussian import GaussianPosterior, StandardPrior


class Two(VAE):
    batches = 2


def build(image_shape, *, latent=4, **shared):
    posterior = lambda features: GaussianPosterior(features, latent)
    return assemble(image_shape, latent=latent, posterior=posterior, prior=StandardPrior(latent), kind=Two, **shared)
"""


def test_epochs_count_all_the_batches_of_a_step(raw, tmp_path):
    given = raw(budget={"steps": None, "epochs": 2, "batch": 64})
    assert StudySpec(**given).steps == 125  # mnist5k has 4000
    (tmp_path / "two.py").write_text(TWO, encoding="utf-8")
    assert StudySpec(**{**given, "model": str(tmp_path / "two.py"), "fixed": {}}).steps == 63


@pytest.mark.parametrize("model", models.names())
def test_a_preset_without_a_likelihood_takes_the_models_own(raw, model):
    given = raw(model=model, dataset=data_set_for(model), fixed={"alpha": 0.1} if model == "vsc" else {})
    given.pop("likelihood", None)
    assert StudySpec(**given).likelihood == models.hyperparameters(model)["likelihood"]


def of_model(small, splits, model: str, **config) -> Training:
    spec = small(model, budget={"steps": 20, "batch": 16, "log_every": 1, "report_every": None})
    return Training(spec, {**SIZES, "lr": 1e-3, **config}, splits, seed=1)


@pytest.mark.parametrize("neutral", [{"alpha": 0.0}, {"omega": 1.0}, {"omega": 0.95}], ids=str)
@pytest.mark.parametrize("update", ["joint", "two_step"])
def test_where_no_latent_is_penalised_non_synergistic_training_is_the_vaes_to_the_bit(small, splits, neutral, update):
    ours, plain = of_model(small, splits, "nonsyn", update=update, **neutral), of_model(small, splits, "vae")
    first, second = ours.advance(20), plain.advance(20)
    assert identical(weights(ours), weights(plain))
    assert all(losses.values.get("synergy", 0) == 0 for losses in first)
    assert len(second) == 20


@pytest.mark.parametrize(
    ("config", "lr", "betas"),
    [
        ({}, 1e-4, (0.5, 0.9)),
        ({"lr_discriminator": 2e-5, "betas_discriminator": [0.3, 0.8]}, 2e-5, (0.3, 0.8)),
    ],
    ids=["own", "told"],
)
def test_a_part_may_have_a_rate_and_betas_of_its_own_and_a_configuration_goes_before(small, splits, config, lr, betas):
    adam = of_model(small, splits, "factor", discriminator_hidden=8, betas=[0.8, 0.99], **config).optimisers
    found = {name: [(group["lr"], group["betas"]) for group in each.param_groups] for name, each in adam.items()}
    assert found == {"model": [(1e-3, (0.8, 0.99))], "discriminator": [(lr, betas)]}
