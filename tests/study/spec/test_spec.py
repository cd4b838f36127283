"""A specification is checked whole before anything starts, and every mistake is named at once."""

import math
import re

import optuna
import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial, TrialState
from pydantic import ValidationError

import searchspaces
import study
from study import spec
from study.record import sampling
from study.spec import SpecError, StudySpec, check, load

every_preset = pytest.mark.parametrize("name", spec.presets())


@pytest.fixture
def write(tmp_path):
    """Writes a file of that text."""

    def make(text: str | bytes, name: str = "mine.yaml"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return make


# What is sound.


@every_preset
def test_every_preset_is_sound(name):
    found = load(name)
    assert found.name == name
    assert found.steps >= found.report_every > 0
    if found.asha is not None:
        assert found.rungs
        assert all(rung % found.report_every == 0 for rung in found.rungs)


def test_there_is_a_preset_to_begin_with():
    assert "quickstart" in spec.presets()
    assert study.load("quickstart").dataset == "mnist5k"  # needs no network


@every_preset
def test_a_dumped_specification_loads_to_the_same(name, write):
    found = load(name)
    assert load(write(spec.dump(found))) == found


def test_every_value_survives_the_dump(raw, write):
    given = StudySpec(
        **raw(
            name="1e5",
            likelihood="gaussian",
            sigma=1,
            objective=["elbo", "hoyer"],
            asha={"grace": 20, "reduction": 4},
            fixed={"hidden": [20, 30], "lr": 1e-7, "betas": [0.5, 0.9], "grad_clip": None, "network": "conv"},
            confirm={"top": 0},
            resources={"gpus": 0.25},
            storage="sqlite:////tmp/ä.db",
        )
    )
    text = spec.dump(given)
    assert load(write(text)) == given
    assert yaml.safe_load(text)["confirm"]["seeds"] == 5  # defaults are written out


def test_a_specification_survives_the_way_to_a_worker(raw):
    given = StudySpec(**raw(asha={"grace": 10}, fixed={"hidden": (20, 30)}))
    assert StudySpec(**given.model_dump()) == given


def test_numbers_may_be_written_as_people_write_them(write, raw):
    text = yaml.safe_dump(raw()) + "seed: 7\n"
    found = load(write(text), ["fixed.lr=1e-3", "fixed.beta=2", "fixed.weight_decay=1E-4", "confirm.top=2"])
    assert found.fixed["lr"] == 1e-3
    assert found.fixed["beta"] == 2
    assert found.fixed["weight_decay"] == 1e-4
    assert found.seed == 7


def test_overrides_replace_add_and_empty_keys():
    found = load(
        "quickstart",
        [
            "trials=3",
            "budget.steps=600",
            "asha=null",
            "fixed.lr=0.002",
            "objective=[elbo, zero_fraction]",
            "confirm={top: 2}",
            "name=other",
            "budget.steps=800",
        ],
    )
    assert (found.trials, found.steps, found.asha, found.name) == (3, 800, None, "other")
    assert found.fixed["lr"] == 0.002
    assert found.fixed["latent"] == 50
    assert found.objectives == ("elbo", "zero_fraction")
    assert found.confirm == spec.Confirm(top=2)


def test_a_group_that_a_preset_lacks_can_be_added(write, raw):
    assert load(write(yaml.safe_dump(raw())), ["asha.grace=20"]).rungs == [20]


def test_a_path_is_told_from_a_presets_name(write, raw, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").write_text("name: never read")
    assert load("quickstart").name == "quickstart"
    write(yaml.safe_dump(raw()))
    assert load("mine.yaml").name == "tiny"


def test_reports_are_a_twentieth_of_the_budget_unless_said_otherwise(raw):
    def every(**budget) -> int:
        return StudySpec(**raw(budget={"report_every": None, **budget})).report_every

    assert every(steps=2000) == 100
    assert every(steps=7) == 1
    assert every(steps=2000, report_every=300) == 300


# Rungs.


@pytest.mark.parametrize(
    ("steps", "grace", "reduction", "rungs"),
    [
        (20_000, 1000, 3, [1000, 3000, 9000]),
        (9000, 1000, 3, [1000, 3000]),
        (9001, 1000, 3, [1000, 3000, 9000]),
        (1000, 10, 10, [10, 100]),
        (60, 50, 2, [50]),
    ],
)
def test_rungs_lie_a_factor_apart_and_before_the_end(raw, steps, grace, reduction, rungs):
    given = raw(asha={"grace": grace, "reduction": reduction}, budget={"steps": steps, "report_every": 10})
    assert StudySpec(**given).rungs == rungs


def test_no_asha_no_rungs(raw):
    assert StudySpec(**raw(asha=None)).rungs == []


def test_rungs_before_the_end_of_the_longest_warm_up_are_left_out(raw):
    """The space of the VAE draws warm-ups of up to 0.3 of the budget."""

    given = raw(asha={"grace": 100, "reduction": 2}, budget={"steps": 1000, "report_every": 100})

    def rungs(**fixed) -> list[int]:
        return StudySpec(**{**given, "fixed": fixed}).rungs

    assert rungs() == [400, 800]
    assert rungs(kl_warmup=0.0) == [100, 200, 400, 800]
    assert rungs(kl_warmup=0.15) == [200, 400, 800]
    assert rungs(kl_warmup=0.2) == [200, 400, 800]
    assert rungs(kl_warmup=0.21) == [400, 800]


def test_a_specification_that_leaves_no_rung_is_refused(raw):
    (line,) = check(raw(asha={"grace": 10}, fixed={"kl_warmup": 1.0}))
    assert "no rung lies before the end of the budget (60 steps) and after the longest KL warm-up (60 steps)" in line
    assert check(raw(asha={"grace": 60})) != []
    assert check(raw(asha={"grace": 50})) == []


# Drawing.


@every_preset
def test_what_is_pinned_is_not_drawn(name):
    found = load(name)
    trial = FixedTrial(searchspaces.defaults(found.model))
    settings = found.space(trial)
    assert not set(trial.params) & set(found.fixed)
    assert set(settings) == {*searchspaces.defaults(found.model), *found.fixed}
    assert {key: settings[key] for key in found.fixed} == found.fixed
    assert found.default_draws() == trial.params
    assert set(trial.params) <= set(found.distributions())


@every_preset
def test_the_storage_holds_drawn_hyperparameters_only(name):
    found = load(name)
    optuna_study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    trial = optuna_study.ask()
    settings = found.space(trial)
    (stored,) = optuna_study.trials
    assert set(stored.params) <= set(found.distributions())
    assert {key: settings[key] for key in stored.params if key in settings}.items() <= stored.params.items()
    assert found.settings_of(stored.params) == settings


def test_a_pin_may_lie_outside_the_space_and_beside_it(raw):
    found = StudySpec(**raw(fixed={"latent": 1000, "network": "conv", "lr_drop": 0.5}))
    settings = found.space(FixedTrial(searchspaces.defaults("vae")))
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


# What is wrong. Each line names the key, what it got and what it takes.

MISTAKES = [
    ({"trails": 3}, "trails: there is no such key; there are: name, model", "Did you mean 'trials'?"),
    ({"budget": {"bacth": 3}}, "budget.bacth: there is no such key; there are: steps", "Did you mean 'batch'?"),
    ({"asha": {"grace": 10, "reductoin": 2}}, "asha.reductoin: there is no such key", "Did you mean 'reduction'?"),
    ({"model": "vcs"}, "model: model 'vcs' is not known; known: ", "Did you mean 'vsc'?"),
    ({"dataset": "mnist5"}, "dataset: data set 'mnist5' is not known; known: ", "Did you mean 'mnist5k'?"),
    ({"objective": "elbow"}, "objective: metric 'elbow' is not known; known: elbo, ", "Did you mean 'elbo'?"),
    ({"objective": ["elbo", "hoyr"]}, "objective: metric 'hoyr' is not known", "Did you mean 'hoyer'?"),
    ({"objective": ["kl", "kl"]}, "objective: must be a metric, or several different ones, got ['kl', 'kl']", ""),
    ({"objective": []}, "objective: must be a metric, or several different ones, got []", ""),
    ({"objective": 3}, "objective: input should be a valid string, got 3", "list"),
    ({"fixed": {"latnet": 3}}, "fixed.latnet: vae has no such setting; it has: latent, ", "Did you mean 'latent'?"),
    ({"fixed": {"latent": 0}}, "fixed.latent: input should be greater than or equal to 1, got 0", ""),
    ({"fixed": {"latent": 2.5}}, "fixed.latent: ", "got 2.5"),
    ({"fixed": {"latent": True}}, "fixed.latent: ", "got True"),
    ({"fixed": {"network": "resnet"}}, "fixed.network: input should be 'mlp' or 'conv', got 'resnet'", ""),
    ({"fixed": {"lr": 0}}, "fixed.lr: must be a positive number, got 0", ""),
    ({"fixed": {"betas": [0.9, 1.0]}}, "fixed.betas: must be two numbers in [0, 1), got [0.9, 1.0]", ""),
    ({"fixed": {"likelihood": "gaussian"}}, "fixed.likelihood: it is a key of the preset itself", "move it"),
    ({"fixed": {"steps": 5}}, "fixed.steps: the length of a training is budget.steps", ""),
    ({"fixed": {"kl_warmup": "long"}, "asha": {"grace": 10}}, "fixed.kl_warmup: ", "got 'long'"),
    ({"fixed": {"kl_warmup": [1]}, "asha": {"grace": 10}}, "fixed.kl_warmup: ", "got [1]"),
    ({"fixed": [1]}, "fixed: must be a group of keys, got [1]", ""),
    ({"budget": None}, "budget: must be a group of keys, got None", ""),
    ({"budget": {"epochs": 1}}, "budget: takes either steps or epochs, got both", ""),
    ({"budget": {"steps": None}}, "budget: takes either steps or epochs, got neither", ""),
    ({"budget": {"steps": 1.5}}, "budget.steps: input should be a valid integer, got 1.5", ""),
    ({"budget": {"steps": 0}}, "budget.steps: input should be greater than or equal to 1, got 0", ""),
    ({"budget": {"report_every": 61}}, "budget.report_every: 61 must not exceed the budget, which is 60 steps", ""),
    ({"asha": {"grace": 70}}, "asha.grace: 70 must not exceed budget.steps, which is 60", ""),
    ({"asha": {"grace": 15}}, "asha.grace: 15 must be a multiple of budget.report_every, which is 10", ""),
    ({"asha": {"reduction": 3}}, "asha.grace: is needed and not given", ""),
    ({"asha": {"grace": 10, "reduction": 1}}, "asha.reduction: input should be greater than or equal to 2, got 1", ""),
    ({"likelihood": "poisson"}, "likelihood: input should be 'bernoulli', 'gaussian' or 'logistic', got 'poisson'", ""),
    ({"sigma": 0.1}, "sigma: only the gaussian likelihood has one, this one is bernoulli", ""),
    ({"sigma": -1.0, "likelihood": "gaussian"}, "sigma: must be a positive number, ", "got -1.0"),
    ({"sigma": "fixed", "likelihood": "gaussian"}, "sigma: input should be a valid number, got 'fixed'", "'learned'"),
    ({"sampler": "bayes"}, "sampler: input should be 'tpe', 'random', 'grid' or 'nsga2', got 'bayes'", ""),
    ({"sampler": "nsga2"}, "sampler: nsga2 is for several objectives", "take tpe"),
    ({"trials": "8"}, "trials: input should be a valid integer, got '8'", ""),
    ({"trials": 0}, "trials: input should be greater than or equal to 1, got 0", ""),
    ({"trials": True}, "trials: input should be a valid integer, got True", ""),
    ({"seed": -1}, "seed: input should be greater than or equal to 0, got -1", ""),
    ({"name": "a/b"}, "name: must do for a folder: letters, digits, ", "got 'a/b'"),
    ({"name": ".."}, "name: must do for a folder", "got '..'"),
    ({"name": 5}, "name: input should be a valid string, got 5", ""),
    ({"resources": {"cpus": 0}}, "resources.cpus: input should be greater than or equal to 1, got 0", ""),
    ({"resources": {"gpus": 1.5}}, "resources.gpus: must be a share of one GPU, ", "got 1.5"),
    ({"resources": {"gpus": math.inf}}, "resources.gpus: input should be a finite number, got inf", ""),
    ({"confirm": {"seeds": 0}}, "confirm.seeds: input should be greater than or equal to 1, got 0", ""),
]


@pytest.mark.parametrize(("changes", "begins", "holds"), MISTAKES, ids=[m[1][:40] for m in MISTAKES])
def test_a_mistake_is_one_line_that_says_what_to_do(raw, changes, begins, holds):
    (line,) = check(raw(**changes))
    assert line.startswith(begins)
    assert holds in line
    with pytest.raises(ValidationError):
        StudySpec(**raw(**changes))


@pytest.mark.parametrize("key", ["name", "model", "dataset", "budget"])
def test_a_key_that_is_needed_is_missed(raw, key):
    given = raw()
    del given[key]
    assert check(given) == [f"{key}: is needed and not given"]


def test_a_pin_that_needs_no_memory_to_be_checked_takes_none(raw):
    """A hundred terabytes of weights are a sound wish until a trial asks a machine for them."""
    assert check(raw(fixed={"latent": 10**10})) == []


def test_a_model_that_cannot_be_built_for_the_images_is_refused(raw, monkeypatch):
    import dataclasses

    import imagesets

    info = dataclasses.replace(imagesets.info("mnist5k"), image_shape=(1, 4, 4))
    monkeypatch.setattr(imagesets, "info", lambda name: info)
    (line,) = check(raw(fixed={"network": "conv"}))
    assert line == "vae: network 'conv' needs images of at least 5x5 pixels, got 4x4"


def test_several_mistakes_are_all_reported_at_once(write, raw):
    path = write(
        yaml.safe_dump(
            raw(
                model="vcs",
                dataset="mnst5k",
                trails=3,
                trials="8",
                seed=-1,
                objective=["elbo", "hoyr"],
                budget={"bacth": 64, "log_every": "often"},
                asha={"grace": 600, "redution": 3},
            )
        )
    )
    with pytest.raises(SpecError) as caught:
        load(path, ["trials", "confirm.top=x"])
    lines = str(caught.value).splitlines()
    assert lines == [f"mine.yaml: {problem}" for problem in caught.value.problems]
    keys = ["model", "dataset", "trails", "trials", "seed", "objective", "budget.bacth", "budget.log_every"]
    keys += ["asha.grace", "asha.redution", "confirm.top", "--set 'trials'"]
    assert sorted(line.split(": ")[1] for line in lines) == sorted(keys)


def test_checks_of_several_keys_are_made_though_other_keys_are_wrong(raw):
    lines = check(
        raw(
            model="vsc",
            trials="8",
            fixed={"latent": -1, "lr": -1, "nonsense": 1},
            likelihood="logistic",
            sigma=0.1,
            sampler="nsga2",
            asha={"grace": 15},
            budget={"report_every": 10},
        )
    )
    begin = ["trials", "asha.grace", "sigma", "fixed.latent", "fixed.lr", "fixed.nonsense", "objective", "sampler"]
    assert sorted(line.split(":")[0] for line in lines) == sorted(begin)


def test_the_length_of_the_budget_is_checked_in_epochs_too(raw):
    budget = {"steps": None, "epochs": 1, "batch": 64, "report_every": 21}  # 63 steps
    assert check(raw(budget=budget, asha={"grace": 21})) == []
    (line,) = check(raw(budget=budget, asha={"grace": 84}))
    assert line == "asha.grace: 84 must not exceed budget.steps, which is 63"
    (line,) = check(raw(budget=budget, asha={"grace": 84}, dataset="nonsense"))  # the length is not known then
    assert line.startswith("dataset: ")


def test_sparsity_is_pinned_or_traded(raw):
    (line,) = check(raw(model="vsc"))
    assert line == (
        "objective: elbo alone would drive alpha to one end of its range; pin it (fixed: {alpha: ...}) "
        "or make it a trade-off (objective: [elbo, zero_fraction])"
    )
    assert check(raw(model="vsc", fixed={"alpha": 0.1})) == []
    assert check(raw(model="vsc", objective=["elbo", "zero_fraction"])) == []
    assert check(raw(model="vsc", objective=["elbo", "hoyer"])) != []


# Files and overrides.


@pytest.mark.parametrize(
    ("content", "holds"),
    [
        ("", "mine.yaml: holds nothing; a preset is a mapping of keys"),
        ("# only a remark\n", "mine.yaml: holds nothing"),
        ("- a\n- b\n", "mine.yaml: holds a list; a preset is a mapping of keys"),
        ("just text", "mine.yaml: holds a str; a preset is a mapping"),
        ("name: [1, 2\nmodel: vae\n", "mine.yaml: is not YAML (line "),
        ("name: tiny\n\tmodel: vae\n", "mine.yaml: is not YAML (line 2): "),
        ("name: \x07", "mine.yaml: is not YAML: unreadable characters"),
        ("seed: 2020-13-45", "mine.yaml: is not YAML"),
        (bytes(range(256)), "cannot be read: it is not a text file in UTF-8; a preset is a YAML file"),
        ("{[1]: 2}", "mine.yaml: is not YAML (line 1)"),
        ("1: 2", "mine.yaml: 1: there is no such key"),
    ],
)
def test_a_file_that_is_no_preset_is_refused(write, content, holds):
    with pytest.raises(SpecError) as caught:
        load(write(content))
    assert holds in str(caught.value)


def test_a_file_that_is_not_there_is_met_with_the_presets(tmp_path):
    with pytest.raises(SpecError, match=r"quickstrat: no such preset or file; presets: .*Did you mean 'quickstart'\?"):
        load("quickstrat")
    with pytest.raises(SpecError, match="no such preset or file"):
        load(tmp_path / "none" / "mine.yaml")
    with pytest.raises(SpecError, match="cannot be read: Is a directory; a preset is a YAML file"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trials", "--set 'trials': must be key=value, for example --set budget.steps=500"),
        ("=5", "--set '=5': must be key=value"),
        ("budget..steps=5", "--set 'budget..steps=5': must be key=value"),
        ("", "--set '': must be key=value"),
        ("fixed=[1", "--set 'fixed=[1': the value is not YAML"),
        ("seed=2020-13-45", "--set 'seed=2020-13-45': the value is not YAML"),
        ("name.first=x", "--set 'name.first=x': name is not a group of keys"),
        ("trails=4", "trails: there is no such key"),
        ("trials=", "trials: input should be a valid integer, got None"),
    ],
)
def test_an_override_that_cannot_be_is_refused(override, message):
    with pytest.raises(SpecError) as caught:
        load("quickstart", [override])
    assert message in str(caught.value)


# Samplers.


def points(found: StudySpec, stored: int, n: int = 3) -> list[dict]:
    optuna_study = optuna.create_study(
        directions=["maximize"] * len(found.objectives), sampler=sampling.sampler(found, stored)
    )
    return [found.space(optuna_study.ask()) for _ in range(n)]


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsga2"])
def test_a_sampler_follows_from_the_seed_and_the_number_of_stored_trials(raw, sampler):
    def draw(seed: int, stored: int) -> list[dict]:
        return points(StudySpec(**raw(sampler=sampler, seed=seed, objective=["elbo", "hoyer"])), stored)

    first = draw(0, 0)
    assert draw(0, 0) == first
    others = [point["lr"] for seed, stored in [(0, 3), (0, 4), (1, 0), (3, 0)] for point in draw(seed, stored)]
    lrs = [point["lr"] for point in first] + others
    assert len(set(lrs)) == len(lrs)


def test_each_sampler_is_optunas(raw):
    kinds = {"tpe": "TPESampler", "random": "RandomSampler", "nsga2": "NSGAIISampler", "grid": "Grid"}
    for sampler, kind in kinds.items():
        found = sampling.sampler(StudySpec(**raw(sampler=sampler, objective=["elbo", "hoyer"])), 0)
        assert type(found).__name__ == kind


@every_preset
@pytest.mark.parametrize("trials", [1, 7, 300])
def test_grid_points_lie_in_their_ranges(name, trials):
    distributions = load(name).distributions()
    grid = sampling.grid(distributions, trials)
    assert set(grid) == set(distributions)
    for key, values in grid.items():
        distribution = distributions[key]
        assert all(distribution._contains(distribution.to_internal_repr(value)) for value in values)
        if not isinstance(distribution, CategoricalDistribution):
            assert (values[0], values[-1]) == (distribution.low, distribution.high)
            whole = isinstance(distribution, IntDistribution)
            assert all(isinstance(value, int if whole else float) for value in values)


def test_a_grid_has_as_many_points_as_the_trials_allow():
    distributions = {
        "a": FloatDistribution(1e-4, 1.0, log=True),
        "b": FloatDistribution(0.0, 1.0),
        "c": CategoricalDistribution(["x", "y"]),
    }
    grid = sampling.grid(distributions, 18)
    assert grid == {"a": pytest.approx([1e-4, 1e-2, 1.0]), "b": [0, 0.5, 1], "c": ["x", "y"]}
    assert len(sampling.grid(distributions, 17)["a"]) == 2
    assert len(sampling.grid(distributions, 1)["a"]) == 2
    assert sampling.grid({"c": CategoricalDistribution(["x", "y"])}, 50) == {"c": ["x", "y"]}
    assert sampling.grid({"n": IntDistribution(1, 3)}, 10) == {"n": [1, 2, 3]}
    assert sampling.grid({"n": IntDistribution(0, 9, step=3)}, 3) == {"n": [0, 6, 9]}


def test_a_grid_search_visits_every_point_and_ends_without_complaint(raw, recwarn):
    """Optuna's own grid sampler raises when its last point is told: it means to stop a loop that is not there."""
    fixed = {"latent": 4, "hidden": 16, "beta": 1.0, "posterior": "gaussian", "prior": "standard"}
    found = StudySpec(**{**raw(sampler="grid", trials=4), "fixed": fixed})
    assert set(found.distributions()) == {"kl_warmup", "lr"}
    optuna_study = optuna.create_study(sampler=sampling.sampler(found, 0))
    seen = []
    for _ in range(2):
        seen.append(found.space(trial := optuna_study.ask()))
        optuna_study.tell(trial, state=TrialState.PRUNED)
    optuna_study.sampler = sampling.sampler(found, 2)  # as a process that goes on
    for _ in range(2):
        seen.append(found.space(trial := optuna_study.ask()))
        optuna_study.tell(trial, 1.0)
    corners = {(warmup, lr) for warmup in (0.0, 0.3) for lr in (1e-4, 1e-2)}
    assert {(s["kl_warmup"], s["lr"]) for s in seen} == corners
    assert [trial.state.name for trial in optuna_study.trials] == ["PRUNED", "PRUNED", "COMPLETE", "COMPLETE"]
    assert not recwarn


# Spaces in which some hyperparameters are drawn in some trials only.


def test_a_space_has_a_way_for_every_categorical_choice():
    ways = searchspaces.branches(searchspaces.space("vae"))
    pairs = {(way.settings["posterior"], way.settings["prior"]) for way in ways}
    assert len(ways) == len(pairs) == 9
    drawn = {way.settings["posterior"]: set(way.drawn) for way in ways}
    assert "updates" in drawn["laplace"]
    assert "updates" not in drawn["gaussian"]
    assert len(searchspaces.branches(searchspaces.space("vsc"))) == 6


@pytest.mark.parametrize("seed", range(5))
def test_what_any_trial_draws_is_among_the_distributions(raw, seed):
    found = StudySpec(**{**raw(), "fixed": {}})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    for _ in range(20):
        settings = found.space(trial := study.ask())
        assert trial.distributions.items() <= found.distributions().items()
        assert found.settings_of(trial.params) == settings
    assert found.settings_of({"lr": 1e-3}) == {"lr": 1e-3}  # died before it had drawn the rest


def test_one_part_may_be_pinned_and_the_other_drawn(raw):
    with_vamp = StudySpec(**{**raw(), "fixed": {"prior": "vamp"}})
    assert with_vamp.distributions()["posterior"].choices == ("gaussian", "householder", "spike_slab")
    assert with_vamp.default_draws()["posterior"] == "gaussian"
    sparse = StudySpec(**{**raw(), "fixed": {"posterior": "spike_slab"}})
    assert sparse.defaults()["prior"] == "spike_slab"
    assert sparse.default_draws()["sparse_prior"] == "spike_slab"
    drawn = {**sparse.default_draws(), "sparse_prior": "vamp", "pseudo_inputs": 50}
    assert sparse.settings_of(drawn)["prior"] == "vamp"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fixed": {"posterior": "laplace", "prior": "vamp"}}, "posterior: laplace is found through the prior"),
        (
            {"fixed": {}, "likelihood": "logistic"},
            "a Laplace posterior takes bernoulli.*the space draws that",
        ),
        ({"fixed": {}, "sampler": "grid"}, "a grid needs the same hyperparameters in every trial; flows, prior"),
        ({"fixed": {"posterior": "iaf", "prior": "vamp"}}, "posterior: iaf would have to be inverted"),
    ],
)
def test_what_only_some_trials_would_fail_at_is_told_before_any_starts(raw, changes, message):
    problems = check({**raw(), **changes})
    assert any(re.search(message, problem) for problem in problems)
    assert check({**raw(), **changes, "fixed": {"posterior": "gaussian", "prior": "standard"}}) == []
