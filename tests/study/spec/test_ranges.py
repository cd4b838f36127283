"""Ranges that a preset gives: what is drawn then, what is recorded of them, and every way of being wrong."""

import optuna
import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from study import solo
from study.record.extension import differences, extended
from study.record.folder import Run, RunError
from study.record.storage import SPACE, open_run
from study.record.trials import reports
from study.record.words import plan
from study.spec import StudySpec, check, load, parse
from study.spec.preset import read
from study.spec.ranges import text

PINS = {"posterior": "gaussian", "prior": "standard", "hidden": 16, "latent": 4, "kl_warmup": 0.0, "beta": 1.0}


@pytest.fixture
def given(raw):
    """Makes a specification, as read from a file, of these ranges: all else is pinned but the rate."""

    def make(space, model="vae", **changes):
        pins = {name: value for name, value in PINS.items() if name not in space}
        return {**raw(**changes), "model": model, "fixed": changes.get("fixed", pins), "space": space}

    return make


# What is drawn.


@pytest.mark.parametrize(
    ("name", "space", "drawn"),
    [
        ("lr", {"high": 3e-3}, FloatDistribution(1e-4, 3e-3, log=True)),  # the rest as the model's space has it
        ("lr", {"low": 0.0001, "high": 1e-2, "log": False}, FloatDistribution(1e-4, 1e-2)),
        ("lr", {"low": 1e-3, "high": 5e-3, "step": 1e-3}, FloatDistribution(1e-3, 5e-3, step=1e-3)),
        ("lr", {"choices": [1e-3, 1e-2]}, CategoricalDistribution([1e-3, 1e-2])),
        ("hidden", {"low": 8, "high": 32}, IntDistribution(8, 32, log=True)),
        ("hidden", {"low": 8, "high": 32, "step": 8}, IntDistribution(8, 32, step=8)),
        ("hidden", {"choices": [8, 16]}, CategoricalDistribution([8, 16])),
        ("network", {"choices": ["mlp", "conv"]}, CategoricalDistribution(["mlp", "conv"])),  # the space has it not
        ("weight_decay", {"low": 1e-6, "high": 1e-3, "log": True}, FloatDistribution(1e-6, 1e-3, log=True)),
        ("weight_decay", {"low": 0, "high": 1}, FloatDistribution(0, 1)),
        ("decoder_hidden", {"low": 8, "high": 16}, IntDistribution(8, 16)),
        ("decoder_hidden", {"choices": [None, 8]}, CategoricalDistribution([None, 8])),
    ],
)
def test_a_range_narrows_what_is_drawn_replaces_it_or_adds_to_it(given, name, space, drawn):
    spec = StudySpec(**given({name: space}))
    assert spec.distributions() == {"lr": spec.distributions()["lr"], name: drawn}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    for _ in range(5):
        settings = spec.draw(trial := study.ask())
        assert trial.distributions[name] == drawn
        assert settings[name] == trial.params[name]
        assert spec.settings_of(trial.params) == settings


def test_the_papers_own_values_stay_the_defaults(given):
    spec = StudySpec(**given({"lr": {"high": 5e-4}, "weight_decay": {"low": 1e-6, "high": 1e-3, "log": True}}))
    assert (spec.defaults()["lr"], spec.defaults()["weight_decay"]) == (1e-3, 0.0)
    network = StudySpec(**given({"network": {"choices": ["conv"]}}))
    assert network.defaults()["network"] == "conv"  # there is no other


def test_choices_lead_through_the_space(given):
    names = {"posterior": {"choices": ["iaf", "laplace"]}}
    spec = StudySpec(**given(names, fixed={"hidden": 16}))
    assert spec.distributions()["posterior"].choices == ("iaf", "laplace")
    assert {"updates"} <= set(spec.distributions())
    assert "pseudo_inputs" not in spec.distributions()


def test_a_warm_up_that_is_narrowed_moves_the_rungs(given):
    asha = {"grace": 10, "reduction": 2}
    for space, longest in (({"high": 0.1}, 6.0), ({"choices": [0.0, 0.2]}, 12.0)):
        spec = StudySpec(**given({"kl_warmup": space}, asha=asha))
        assert spec.longest_warmup == pytest.approx(longest)
        assert spec.rungs == [rung for rung in (10, 20, 40) if rung >= longest]


def test_a_base_and_a_set_are_merged_into_it(given, write):
    write(yaml.safe_dump(given({"lr": {"low": 1e-3, "high": 5e-3}})), "base.yaml")
    mine = write("base: base.yaml\nspace: {lr: {high: 2e-3}}\n")
    spec = load(mine, ["space.lr.log=false"])
    assert spec.distributions()["lr"] == FloatDistribution(1e-3, 2e-3)


# What is recorded.


def test_it_is_in_the_plan_in_study_yaml_and_in_the_study(given, tmp_path):
    spec = StudySpec(**given({"lr": {"high": 3e-3}}))
    run = Run(tmp_path / "tiny")
    assert "draws lr (0.0001 to 0.003 (log))" in plan(spec, run)
    run.create(spec)
    assert parse(run.study_yaml.read_text())["space"] == {"lr": {"high": 3e-3}}
    assert run.spec() == spec
    opened = open_run(run, create=True)
    assert '"high": 0.003' in opened.study.user_attrs[SPACE]["lr"]


def test_more_trials_must_agree_with_it(given, tmp_path):
    run = Run(tmp_path / "tiny")
    run.create(StudySpec(**given({"lr": {"high": 3e-3}})))
    wider = StudySpec(**given({"lr": {"high": 5e-3}}))
    assert differences(run.spec(), wider) == ["space.lr.high was 0.003, is 0.005"]
    with pytest.raises(RunError, match=r"space\.lr\.high was 0\.003, is 0\.004"):
        extended("tiny", ["space.lr.high=0.004"], "+2", tmp_path)


def test_a_training_of_the_defaults_stands_outside_the_range(given, tmp_path, recwarn):
    spec = StudySpec(**given({"lr": {"low": 2e-3, "high": 3e-3}}, budget={"steps": 10, "report_every": 10}))
    solo.train(spec, Run(tmp_path / "tiny"))
    (trial,) = open_run(Run(tmp_path / "tiny")).study.trials
    assert trial.params == {"lr": 1e-3}
    assert list(reports(trial)) == [10]
    assert not recwarn.list


# What is wrong with one.

WRONG = [
    ({"lr": {}}, "space.lr: takes low and high, with log or step, or choices; got nothing"),
    (
        {"lr": {"lwo": 1e-3}},
        "space.lr.lwo: there is no such key; there are: low, high, log, step, choices. Did you mean",
    ),
    ({"lr": 3}, "space.lr: must be a group of keys, got 3"),
    ({"lr": {"low": "small", "high": 1}}, "space.lr.low: must be a number, got 'small'"),
    ({"lr": {"low": True, "high": 1}}, "space.lr.low: must be a number, got True"),
    ({"lr": {"low": 1e-2, "high": 1e-3}}, "space.lr: low must not exceed high, got 0.01 and 0.001"),
    ({"lr": {"low": 0.1}}, "space.lr: low must not exceed high, and the model's space draws 0.0001 to 0.01 (log)"),
    ({"lr": {"high": float("inf")}}, "space.lr.high: must be a number, got inf"),
    ({"lr": {"low": 1e-3, "high": 1e-2, "log": True, "step": 1e-3}}, "space.lr: takes log or step, not both"),
    ({"lr": {"low": 1e-3, "high": 1e-2, "step": 0}}, "space.lr: step must be above 0, got 0"),
    ({"lr": {"low": 1e-3, "high": 0.1, "step": 1e-30}}, "space.lr: step must make at most 9007199254740992 values"),
    ({"lr": {"low": 1e-3, "high": 0.1, "step": 5e-324}}, "space.lr: step must make at most 9007199254740992 values"),
    ({"lr": {"low": 1e-3, "high": 1e308, "step": 0.1}}, "space.lr: step must make at most 9007199254740992 values"),
    ({"lr": {"choices": []}}, "space.lr: choices must name at least one value, got []"),
    ({"lr": {"choices": [1e-3, 1e-3]}}, "space.lr: choices must be different"),
    ({"lr": {"choices": [1e-3], "high": 1}}, "space.lr: takes choices, or high, not both"),
    ({"lr": {"choices": [[1e-3]]}}, "space.lr: choices are numbers, texts, true, false or null, got [0.001]"),
    ({"lr": {"low": 0}}, "space.lr.low: must be a positive number, got 0"),
    ({"lr": {"choices": [1e-3, -1]}}, "space.lr.choices: must be a positive number, got -1"),
    ({"kl_warmup": {"log": True}}, "space.kl_warmup: low must be above 0 where log is true, got 0; the model's space"),
    ({"hidden": {"low": 0, "high": 8}}, "space.hidden.low: input should be greater than or equal to 1, got 0"),
    ({"hidden": {"low": 1, "high": 8.5}}, "space.hidden.high: input should be a valid integer"),
    ({"hidden": {"low": 1, "high": 9, "step": 0.5}}, "space.hidden: step must be a whole number, got 0.5"),
    ({"network": {"choices": ["mlp", "resnet"]}}, "space.network.choices: input should be 'mlp', 'conv', "),
    (
        {"weight_decay": {"high": 1e-3}},
        "space.weight_decay: needs low and high, or choices: the model's space does not",
    ),
    ({"lrr": {"low": 1, "high": 2}}, "space.lrr: vae has no such setting; it has: "),
    ({"likelihood": {"choices": ["gaussian"]}}, "space.likelihood: it is a key of the preset itself; move it out of"),
    ({"steps": {"low": 1, "high": 2}}, "space.steps: the length of a training is budget.steps"),
    ({"lr_nobody": {"low": 1e-3, "high": 1e-2}}, "vae: lr_nobody: no parameters have such a setting"),
    ({"flows": {"low": 1, "high": 4}}, "space.flows: no trial of this study draws it, only with posterior householder"),
]


@pytest.mark.parametrize(("space", "begins"), WRONG, ids=[line[:50] for _, line in WRONG])
def test_a_mistake_is_one_line(given, space, begins):
    (line,) = check(given(space))
    assert line.startswith(begins)


@pytest.mark.parametrize("space", [{"lr": {"low": 0.1}}, {"hidden": {"low": 1, "high": 9, "step": 0.5}}])
def test_a_mistake_beside_asha_is_one_line_too(given, space):
    pins = {key: value for key, value in PINS.items() if key not in {"kl_warmup", *space}}
    raw = {**given(space, fixed=pins), "asha": {"grace": 10}, "budget": {"steps": 100, "report_every": 10}}
    (line,) = check(raw)
    assert line.startswith(f"space.{next(iter(space))}: ")


def test_what_is_pinned_is_not_drawn_as_well(given):
    (line,) = check(given({"lr": {"high": 3e-3}}, fixed={**PINS, "lr": 1e-3}))
    assert line == "space.lr: it is pinned too, to 0.001; take it out of `fixed` or `space`"


def test_all_mistakes_are_told_at_once_with_those_of_other_keys(given):
    space = {"lr": {"low": 0}, "hidden": {"choices": []}, "nonsense": {"low": 1, "high": 2}, "latent": {"high": 0}}
    lines = check({**given(space, fixed={"beta": -1}), "trials": "many"})
    assert sorted(line.split(": ")[0] for line in lines) == [
        "fixed.beta",
        "space.hidden",
        "space.latent.high",
        "space.lr.low",
        "space.nonsense",
        "trials",
    ]


@pytest.mark.parametrize(
    ("base", "own", "left"),
    [
        ("space: {lr: {high: 1e-3}}", "space: {lr: {choices: [1e-3]}}", {"space": {"lr": {"choices": [1e-3]}}}),
        ("space: {latent: {high: 9}}", "fixed: {latent: 4}", {"fixed": {"latent": 4}, "space": {}}),
        ("fixed: {latent: 4}", "space: {latent: {high: 9}}", {"fixed": {}, "space": {"latent": {"high": 9}}}),
        ("budget: {steps: 10}", "budget: {epochs: 2}", {"budget": {"epochs": 2}}),
    ],
)
def test_what_cannot_stand_beside_a_presets_own_gives_way(write, base, own, left):
    write(base, "base.yaml")
    _, raw = read(write(f"base: base.yaml\n{own}"))
    assert {key: raw[key] for key in left} == left


@pytest.mark.filterwarnings("error")
def test_a_step_that_does_not_divide_a_range_ends_at_the_last_value(given):
    spec = StudySpec(**given({"latent": {"low": 2, "high": 10, "step": 3}}))
    assert spec.distributions()["latent"] == IntDistribution(2, 8, step=3)
    assert text(spec.distributions()["latent"]) == "2 to 8 by 3"
    (line,) = check(given({"lr": {"step": 5}}))
    assert line.startswith("space.lr: step must fit between low and high, got 5, ")


def test_ranges_in_words():
    assert text(FloatDistribution(1e-4, 1e-2, log=True)) == "0.0001 to 0.01 (log)"
    assert text(CategoricalDistribution(["mlp", "conv"])) == "one of ['mlp', 'conv']"
