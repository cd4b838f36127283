"""A specification is checked whole before anything starts, and every mistake is named at once: a line with the key,
what it got and what it takes.
"""

import math
import re

import pytest
import yaml
from pydantic import ValidationError

from study.spec import SpecError, StudySpec, check, load

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
    ({"fixed": {"network": "resnet"}}, "fixed.network: input should be 'mlp', 'conv', ", "got 'resnet'"),
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
    ({"precision": "fp16"}, "precision: input should be 'full', 'tf32' or 'bf16', got 'fp16'", ""),
    ({"precision": "tf32"}, "precision: tf32 is of GPUs, and with resources.gpus 0 trials are on CPUs; take full", ""),
    ({"deterministic": "yes"}, "deterministic: input should be a valid boolean, got 'yes'", ""),
    ({"compiled": "yes"}, "compiled: input should be a valid boolean, got 'yes'", ""),
    (
        {"pathologies": ["colapsed"]},
        "pathologies: vae has no pathology 'colapsed'; it may be collapsed",
        "Did you mean 'c",
    ),
    ({"pathologies": ["dead"]}, "pathologies: vae has no pathology 'dead'; it may be collapsed", ""),
    ({"pathologies": "collapsed"}, "pathologies: input should be a valid list, got 'collapsed'", ""),
    ({"stop_on": ["dead"]}, "stop_on: vae has no pathology 'dead'; it may be collapsed", ""),
    ({"pathologies": [], "stop_on": ["collapsed"]}, "stop_on: trials are not watched for collapsed; name it in", ""),
    ({"sampler": "bayes"}, "sampler: input should be 'tpe', 'gp', 'cmaes', 'random', 'grid' or 'nsga2', got", ""),
    ({"sampler": "nsga2"}, "sampler: nsga2 is for several objectives", "take tpe"),
    ({"sampler": "cmaes", "objective": ["elbo", "hoyer"]}, "sampler: cmaes is for a single objective", "take tpe"),
    ({"sampler": "grid", "startup": 4}, "startup: is for tpe and gp; sampler grid has none", "take it out"),
    ({"trials": "8"}, "trials: input should be a valid integer, got '8'", ""),
    ({"trials": -1}, "trials: input should be greater than or equal to 0, got -1", ""),
    ({"trials": True}, "trials: input should be a valid integer, got True", ""),
    ({"seed": -1}, "seed: input should be greater than or equal to 0, got -1", ""),
    ({"name": "a/b"}, "name: must do for a folder: letters, digits, ", "got 'a/b'"),
    ({"name": ".."}, "name: must do for a folder", "got '..'"),
    ({"name": 5}, "name: input should be a valid string, got 5", ""),
    ({"resources": {"cpus": 0}}, "resources.cpus: input should be greater than or equal to 1, got 0", ""),
    ({"resources": {"gpus": 1.5}}, "resources.gpus: must be a share of one GPU, ", "got 1.5"),
    ({"resources": {"gpus": math.inf}}, "resources.gpus: input should be a finite number, got inf", "'auto'"),
    ({"resources": {"gpus": "all"}}, "resources.gpus: input should be a valid number, got 'all', or: ", "'auto'"),
    ({"trials": 10**20}, "trials: input should be less than or equal to 1000000, got 1", ""),
    ({"seed": 2**63}, "seed: input should be less than 9223372036854775808, got 9", ""),
    ({"budget": {"steps": 2**31}}, "budget.steps: input should be less than or equal to 2147483647, got 2", ""),
    ({"budget": {"batch": 10**13}}, "budget.batch: input should be less than or equal to 2147483647, got 1", ""),
    (
        {"budget": {"batch": 4001}},
        "budget.batch: 4001 must not exceed the training set of mnist5k, which is of 4000",
        "",
    ),
    (
        {"budget": {"steps": None, "epochs": 10**8}},
        "budget.epochs: 100000000 are 12500000000 steps; at most 2147483647 are possible",
        "",
    ),
    ({"resources": {"cpus": 10**21}}, "resources.cpus: input should be less than or equal to 1000000, got 1", ""),
    ({"confirm": {"samples": 10**20}}, "confirm.samples: input should be less than or equal to 1000000, got 1", ""),
    ({"confirm": {"seeds": 10**20}}, "confirm.seeds: input should be less than or equal to 1000000, got 1", ""),
    ({"validation": {"images": 10**20}}, "validation.images: input should be less than or equal to 2147483647", ""),
    (
        {"validation": {"images": 501}},
        "validation.images: 501 must not exceed the validation set of mnist5k, which is of 500 images",
        "",
    ),
    (
        {"confirm": {"images": 501}},
        "confirm.images: 501 must not exceed the test set of mnist5k, which is of 500 images",
        "",
    ),
    ({"fixed": {"latent": 10**20}}, "fixed.latent: input should be less than or equal to 1000000000, got 1", ""),
    ({"fixed": {"hidden": [16] * 1001}}, "fixed.hidden: ", "1000"),
    ({"fixed": {"posterior": "iaf", "flows": 10**9}}, "fixed.flows: input should be less than or equal to 1000", ""),
    ({"fixed": {"posterior": "iaf", "gate_bias": math.nan}}, "fixed.gate_bias: input should be a finite number", ""),
    ({"space": {"lr": {"high": 10**30}}}, "space.lr.high: must be a number of 64 bits, got 1", ""),
    ({"fixed": {"flows": 8}}, "fixed.flows: it does nothing beside posterior gaussian; take it out", ""),
    ({"fixed": {"pseudo_inputs": 9}}, "fixed.pseudo_inputs: it does nothing beside prior standard; take it out", ""),
    (
        {"space": {"flow_hidden": {"choices": [8, 16]}}},
        "space.flow_hidden: it does nothing beside posterior gaussian; take it out",
        "",
    ),
    (
        {"dataset": "sprites", "fixed": {"network": "dsprites"}},  # which has widths of its own
        "fixed.hidden: it does nothing beside network dsprites; take it out",
        "",
    ),
    (
        {"model": "vampprior", "fixed": {"network": "vamp_conv", "network_size": 0}},
        "fixed.network_size: input should be greater than 0, got 0",
        "",
    ),
    ({"preprocessing": {"threshold": 0.3}}, "preprocessing: threshold: 0.3 needs binarise: threshold", ""),
    ({"confirm": {"seeds": 0}}, "confirm.seeds: input should be greater than or equal to 1, got 0", ""),
]


@pytest.mark.parametrize(("changes", "begins", "holds"), MISTAKES, ids=[m[1][:40] for m in MISTAKES])
def test_a_mistake_is_one_line_that_says_what_to_do(raw, changes, begins, holds):
    (line,) = check(raw(**changes))
    assert line.startswith(begins)
    assert holds in line
    with pytest.raises(ValidationError):
        StudySpec(**raw(**changes))


def test_what_holds_a_line_break_is_quoted_in_one_line(raw, write):
    broken = {"tr\nails": 3, "fixed": {"a\r\nb": 3}, "space": {"c\u2028d": {"low": 1}}, "budget": {"e\nf": 3}}
    with pytest.raises(SpecError) as caught:
        load(write(yaml.safe_dump(raw(**broken)), "mi\nne.yaml"))
    lines = str(caught.value).splitlines()
    assert len(lines) == len(broken)
    assert all(line.startswith("mi\\nne.yaml: ") for line in lines)
    for key in ("tr\\nails", "fixed.a\\r\\nb", "space.c\\u2028d", "budget.e\\nf"):
        assert any(line.startswith(f"mi\\nne.yaml: {key}: ") for line in lines), key


def test_a_pin_may_do_nothing_where_it_says_nothing_or_where_some_trials_use_it(raw):
    assert check(raw(fixed={"flows": 4, "svi_steps": 4})) == []
    assert check({**raw(), "fixed": {"flows": 8}}) == []


@pytest.mark.parametrize("key", ["name", "model", "dataset", "budget"])
def test_a_key_that_is_needed_is_missed(raw, key):
    given = raw()
    del given[key]
    assert check(given) == [f"{key}: is needed and not given"]


def test_a_pin_that_needs_no_memory_to_be_checked_takes_none(raw):
    """A hundred terabytes of weights are a sound wish until a trial asks a machine for them."""
    assert check(raw(fixed={"latent": 10**9})) == []


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fixed": {"posterior": "laplace", "prior": "vamp"}}, "posterior: laplace is found through the prior"),
        (
            {"fixed": {}, "likelihood": "logistic"},
            "a Laplace posterior takes bernoulli.*the space draws that",
        ),
        ({"fixed": {}, "sampler": "grid"}, "a grid needs the same hyperparameters in every trial; .*flows, .*prior"),
        ({"fixed": {"posterior": "iaf", "prior": "vamp"}}, "posterior: iaf would have to be inverted"),
    ],
)
def test_what_only_some_trials_would_fail_at_is_told_before_any_starts(raw, changes, message):
    problems = check({**raw(), **changes})
    assert any(re.search(message, problem) for problem in problems)
    assert check({**raw(), **changes, "fixed": {"posterior": "gaussian", "prior": "standard"}}) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("k: " + "[" * 5000, "is not YAML: it is nested too deeply"),
        ("k: 0x" + "f" * 5000, "is not YAML (line 1): a number of over 100 digits"),
        ("k: " + "9" * 5000, "is not YAML (line 1): a number of over 100 digits"),
        ("k: !!timestamp x", "is not YAML: a value does not go with its tag"),
        ("k: &a 1\nl: *a", "is not YAML (line 2): aliases are not taken"),
        ("k: 1\nk: 2", "is not YAML (line 2): 'k' stands twice"),
        ("#" * 2**20 + "#", "cannot be read: it is larger than 1048576 bytes"),
    ],
    ids=lambda text: text[:12],
)
def test_a_file_without_bound_is_a_line(write, text, says):
    with pytest.raises(SpecError) as caught:
        load(write(text))
    assert says in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_device_has_no_end_and_a_path_no_null():
    with pytest.raises(SpecError, match="larger than"):
        load("/dev/zero")
    with pytest.raises(SpecError, match="cannot be read: embedded null"):
        load("a\0b")


def test_what_is_given_may_be_long_its_line_is_not(raw):
    hidden = [5] * 10**5
    with pytest.raises(SpecError) as caught:
        raise SpecError("a", check({**raw(), "model": "v" * 10**6}) + check({**raw(), "fixed": {"hidden": hidden}}))
    lines = str(caught.value).splitlines()
    assert all(len(line) < 2100 for line in lines)
    assert lines[0].endswith("(a file of yours is named by its path, ending in .py)")


def test_the_half_of_a_long_line_shows_no_password():
    url = "postgresql://user:" + "s3cret" * 500 + "@host/db"
    assert "s3cret" not in str(SpecError("a", [f"name: got {url!r}, {'x' * 2000}"]))
