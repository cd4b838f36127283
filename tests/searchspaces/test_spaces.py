"""Every search space of the folder, held against its model: the same names, the same defaults, the same domains."""

import pickle
import warnings
from pathlib import Path

import optuna
import pytest
from optuna.trial import FixedTrial
from shapes import shape_for

import models
import searchspaces
from models.vae import pairs

PAIRS = pairs()

TRAINING = ("lr", "betas")  # how the names of what training takes begin; `lr_drop` is among them
TRAINING_EXACTLY = {"weight_decay", "grad_clip", "normalise_gradients"}

names = pytest.mark.parametrize("name", models.names())


def is_of_training(key: str) -> bool:
    return key.startswith(TRAINING) or key in TRAINING_EXACTLY


def draw(name: str, seed: int) -> dict:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return searchspaces.space(name)(study.ask())


@pytest.fixture(autouse=True)
def quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


def test_there_is_a_space_for_every_model_and_none_besides():
    files = {path.stem for path in Path(searchspaces.__file__).parent.glob("*.py")}
    assert sorted(files - {"__init__"}) == models.names()


@names
def test_every_default_is_the_models_own_or_trainings(name):
    defaults, own = searchspaces.defaults(name), models.hyperparameters(name)
    of_model = {key: value for key, value in defaults.items() if key in own}
    assert of_model == {key: own[key] for key in of_model}
    assert [key for key in defaults if key not in own and not is_of_training(key)] == []
    assert [key for key in own if is_of_training(key)] == []  # so that no name has two readers
    assert "lr" in defaults


@names
def test_the_defaults_lie_within_their_own_space(name):
    defaults = searchspaces.defaults(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a FixedTrial only warns of a value outside its range
        drawn = searchspaces.space(name)(FixedTrial(defaults))
    assert drawn == defaults
    assert {key: type(value) for key, value in drawn.items()} == {key: type(value) for key, value in defaults.items()}


@names
def test_a_default_outside_its_range_would_be_noticed(name):
    outside = {**searchspaces.defaults(name), "lr": 1e6}
    with pytest.warns(UserWarning, match="out of the range"):
        searchspaces.space(name)(FixedTrial(outside))


@names
def test_every_draw_lies_in_the_models_domains(name):
    own = models.hyperparameters(name)
    drawn = [draw(name, seed) for seed in range(200)]
    for settings in drawn:
        assert set(settings) == set(searchspaces.defaults(name))
        assert models.check(name, {key: value for key, value in settings.items() if key in own}) == []
    for key in searchspaces.defaults(name):
        assert len({repr(settings[key]) for settings in drawn}) > 1, f"{key} never varies"


@names
def test_draws_can_be_built(name):
    own = models.hyperparameters(name)
    for seed in range(5):
        settings = draw(name, seed)
        shape = shape_for(name)
        model = models.build(name, shape, **{key: value for key, value in settings.items() if key in own})
        assert model.hyperparameters["latent"] == settings["latent"]


@names
def test_nothing_is_drawn_that_a_pinned_network_does_not_read(name):
    pinned = {"network": "dsprites"}
    for way in searchspaces.branches(searchspaces.beside(name, pinned)):
        assert not models.idle(name, way.settings) & set(way.drawn)
        assert way.settings.keys() == {*searchspaces.defaults(name), "network"}


@names
def test_a_trial_that_takes_the_defaults_has_them_all(name):
    defaults = searchspaces.defaults(name)
    trial = searchspaces.Usual(defaults)
    assert searchspaces.space(name)(trial) == defaults
    assert trial.params.items() <= defaults.items()
    assert "lr" in trial.params


@names
def test_a_space_can_be_pickled(name):
    space = searchspaces.space(name)
    assert pickle.loads(pickle.dumps(space)) is space


@names
def test_defaults_are_a_copy(name):
    searchspaces.defaults(name)["latent"] = -1
    assert searchspaces.defaults(name)["latent"] > 0


@names
def test_trade_offs_name_drawn_hyperparameters(name):
    assert set(searchspaces.trade_offs(name)) <= set(searchspaces.defaults(name))


def test_sparsity_is_traded_against_the_elbo():
    assert searchspaces.trade_offs("vsc") == {"alpha": "zero_fraction"}
    assert searchspaces.trade_offs("vae") == {}


@pytest.mark.parametrize("ask", [searchspaces.space, searchspaces.defaults, searchspaces.trade_offs])
def test_an_unknown_space_is_refused_with_the_known_ones(ask):
    with pytest.raises(KeyError, match=r"no search space is named 'vcs'; there are: .*vsc"):
        ask("vcs")


# The posteriors and priors of vae.

PART_OF = {  # a setting -> the posteriors, or else the priors, that it is drawn with
    "updates": {"laplace"},
    "update_rate": {"laplace"},
    "svi_steps": {"svi"},
    "svi_rate": {"svi"},
    "flows": {"householder", "iaf"},
    "pseudo_inputs": {"vamp"},
}


@pytest.fixture(scope="module")
def asked() -> list[tuple[dict, set[str]]]:
    """200 draws of vae's space, each with the names that the sampler was asked for."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask() for _ in range(200)]
    return [(searchspaces.space("vae")(trial), set(trial.params)) for trial in trials]


def test_every_pair_that_goes_together_is_drawn_and_no_other(asked):
    drawn = {(settings["posterior"], settings["prior"]) for settings, _ in asked}
    assert drawn == {(posterior, prior) for posterior, priors in PAIRS.items() for prior in priors}


def test_a_parts_settings_are_drawn_with_the_part_only(asked):
    defaults = searchspaces.defaults("vae")
    for settings, names_asked in asked:
        chosen = {settings["posterior"], settings["prior"]}
        for key, parts in PART_OF.items():
            assert (key in names_asked) == bool(parts & chosen)
            assert key in names_asked or settings[key] == defaults[key]
    assert {key for _, names_asked in asked for key in names_asked} >= set(PART_OF)


@pytest.mark.parametrize("posterior", PAIRS)
def test_every_pair_can_be_drawn_and_built(posterior, asked):
    own = models.hyperparameters("vae")
    for prior in PAIRS[posterior]:
        settings = next(s for s, _ in asked if (s["posterior"], s["prior"]) == (posterior, prior))
        model = models.build("vae", (1, 8, 8), **{key: value for key, value in settings.items() if key in own})
        assert model.hyperparameters["posterior"] == posterior
        assert model.hyperparameters["prior"] == prior


def drawn_beside(fixed: dict) -> tuple[set[tuple[str, str]], set[str]]:
    """The pairs in 100 draws of vae's space beside pins, and the names that the sampler was asked for."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask() for _ in range(100)]
    settings = [searchspaces.beside("vae", fixed)(trial) for trial in trials]
    return {(s["posterior"], s["prior"]) for s in settings}, {key for trial in trials for key in trial.params}


@pytest.mark.parametrize("prior", ["standard", "vamp", "spike_slab"])
def test_beside_a_pinned_prior_the_posteriors_that_go_with_it_are_drawn(prior):
    pairs, names_asked = drawn_beside({"prior": prior})
    assert pairs == {(posterior, prior) for posterior, priors in PAIRS.items() if prior in priors}
    assert not {"prior", "sparse_prior"} & names_asked


@pytest.mark.parametrize("posterior", [name for name, priors in PAIRS.items() if priors])
def test_beside_a_pinned_posterior_the_priors_that_go_with_it_are_drawn(posterior):
    pairs, names_asked = drawn_beside({"posterior": posterior})
    assert pairs == {(posterior, prior) for prior in PAIRS[posterior]}
    assert len({"prior", "sparse_prior"} & names_asked) == (len(PAIRS[posterior]) > 1)


@pytest.mark.parametrize(
    ("fixed", "pair"),
    [
        ({}, ("gaussian", "standard")),
        ({"posterior": "iaf"}, ("iaf", "standard")),
        ({"posterior": "spike_slab"}, ("spike_slab", "spike_slab")),
        ({"prior": "vamp"}, ("gaussian", "vamp")),
        ({"prior": "spike_slab"}, ("spike_slab", "spike_slab")),
    ],
)
def test_the_defaults_beside_a_pinned_part_go_with_it(fixed, pair):
    settings = searchspaces.beside("vae", fixed)(searchspaces.Usual(searchspaces.defaults("vae")))
    assert (settings["posterior"], settings["prior"]) == pair
