"""What a specification draws and what it pins, also where some trials only draw a hyperparameter."""

import optuna
import pytest
from optuna.trial import FixedTrial
from shapes import every_preset

import searchspaces
from models import vae
from study.spec import StudySpec, load

some_presets = every_preset("name")


# Drawing.


@some_presets
def test_what_is_pinned_is_not_drawn(name):
    found = load(name)
    usual = {**searchspaces.defaults(found.model), **found.default_draws()}  # and what only its pins bring in
    trial = FixedTrial(usual)
    settings = found.draw(trial)
    assert not set(trial.params) & set(found.fixed)
    assert set(settings) == {*usual, *found.fixed}
    assert {key: settings[key] for key in found.fixed} == found.fixed
    assert found.default_draws() == trial.params
    assert set(trial.params) <= set(found.distributions())


@some_presets
def test_the_storage_holds_drawn_hyperparameters_only(name):
    found = load(name)
    optuna_study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    trial = optuna_study.ask()
    settings = found.draw(trial)
    (stored,) = optuna_study.trials
    assert set(stored.params) <= set(found.distributions())
    assert {key: settings[key] for key in stored.params if key in settings}.items() <= stored.params.items()
    assert found.settings_of(stored.params) == settings


def test_a_pin_may_lie_outside_the_space_and_beside_it(raw):
    found = StudySpec(**raw(fixed={"latent": 1000, "network": "conv", "lr_drop": 0.5}))
    settings = found.draw(FixedTrial(searchspaces.defaults("vae")))
    assert (settings["latent"], settings["network"], settings["lr_drop"]) == (1000, "conv", 0.5)
    assert found.defaults()["network"] == "conv"
    assert set(found.distributions()) == {"lr"}


def test_every_kind_of_hyperparameter_can_be_pinned():
    def space(trial):
        return {
            "a": trial.suggest_float("a", 0.0, 1.0),
            "b": trial.suggest_int("b", 1, 9, log=True),
            "c": trial.suggest_categorical("c", ["x", "y"]),
        }

    pins = {"a": 5.0, "b": 100, "c": None}
    assert space(searchspaces.Pinned(FixedTrial({}), pins)) == pins
    drawn = {"a": 0.5, "b": 2, "c": "x"}
    assert space(searchspaces.Pinned(FixedTrial(drawn), {})) == drawn


# Spaces in which some hyperparameters are drawn in some trials only.


def test_a_space_has_a_way_for_every_categorical_choice():
    ways = searchspaces.branches(searchspaces.space("vae"))
    pairs = {(way.settings["posterior"], way.settings["prior"]) for way in ways}
    assert pairs == {(posterior, prior) for posterior, priors in vae.pairs().items() for prior in priors}
    assert len(ways) == len(pairs)
    drawn = {way.settings["posterior"]: set(way.drawn) for way in ways}
    assert "updates" in drawn["laplace"]
    assert "updates" not in drawn["gaussian"]
    assert len(searchspaces.branches(searchspaces.space("vsc"))) == 6


@pytest.mark.parametrize("seed", range(5))
def test_what_any_trial_draws_is_among_the_distributions(raw, seed):
    found = StudySpec(**{**raw(), "fixed": {}})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    for _ in range(20):
        settings = found.draw(trial := study.ask())
        assert trial.distributions.items() <= found.distributions().items()
        assert found.settings_of(trial.params) == settings
    assert found.settings_of({"lr": 1e-3}) == {"lr": 1e-3}  # died before it had drawn the rest


def test_one_part_may_be_pinned_and_the_other_drawn(raw):
    with_vamp = StudySpec(**{**raw(), "fixed": {"prior": "vamp"}})
    expected = tuple(posterior for posterior, priors in vae.pairs().items() if "vamp" in priors)
    assert with_vamp.distributions()["posterior"].choices == expected
    assert {"gaussian", "householder", "spike_slab"} <= {*expected}
    assert with_vamp.default_draws()["posterior"] == "gaussian"
    sparse = StudySpec(**{**raw(), "fixed": {"posterior": "spike_slab"}})
    assert sparse.defaults()["prior"] == "spike_slab"
    assert sparse.default_draws()["sparse_prior"] == "spike_slab"
    drawn = {**sparse.default_draws(), "sparse_prior": "vamp", "pseudo_inputs": 50}
    assert sparse.settings_of(drawn)["prior"] == "vamp"
