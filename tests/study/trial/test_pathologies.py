"""Pathologies: planted ones get their name from a real training, healthy curves get none, and the rule is exact."""

import math

import pytest
import torch

import imagesets
import models
from models.pathologies import Symptom
from models.schedules import linear
from study.spec import StudySpec
from study.spec.build import build
from study.spec.measures import METRICS, PATHOLOGIES
from study.trial.pathologies import judged, verdicts
from study.trial.trial import LOG, Trial

SHORT = {"steps": 60, "batch": 32, "report_every": 20, "log_every": 20}


def reported(steps: int, **excess: float | None) -> dict:
    """What a report keeps of pathologies."""
    kept = {
        name: None if value is None else {"excess": value, "evidence": f"a number at {value}" if value > 0 else ""}
        for name, value in excess.items()
    }
    return {steps: {PATHOLOGIES: kept}}


@pytest.fixture
def trained(raw, tmp_path):
    """Trains a configuration to its end: what is said of it then, the trial, and its reports."""

    def train(**changes) -> tuple[dict[str, str], Trial, dict]:
        spec = StudySpec(**raw(validation={"images": 40, "samples": 2}, **changes))
        trial = Trial(spec, spec.defaults(), imagesets.load(spec.dataset), seed=1, folder=tmp_path / "trial")
        made = {}
        while not trial.done:
            report = trial.report()
            made[report["steps"]] = report
        trial.close()
        return {name: one.evidence for name, one in verdicts(made).items() if one.evidence}, trial, made

    return train


# Planted ones.


def test_a_kl_weight_of_a_thousand_collapses_the_code(trained):
    found, _, _ = trained(fixed={"beta": 1000.0, "lr": 1e-2}, budget=SHORT)
    assert list(found) == ["collapsed"]
    assert found["collapsed"].startswith("at step 40 active_units 0 below 1 and kl 0.00")
    assert found["collapsed"].endswith("below 0.6931")
    assert "at step 60" in found["collapsed"]


def test_gates_that_begin_closed_and_cost_much_stay_dead(trained):
    closed = {"alpha": 0.01, "gamma_init": 0.001, "beta": 20.0, "lr": 1e-3}
    found, _, _ = trained(model="vsc", fixed={**closed, "hidden": 16, "latent": 4}, budget=SHORT)
    assert found["dead"] == "at step 40 zero_fraction 1 above 0.9999, at step 60 zero_fraction 1 above 0.9999"


def test_a_discriminator_that_learns_alone_is_saturated(trained):
    fixed = {"latent": 64, "noise": 1, "adaptive_contrast": False, "hidden": 16, "discriminator_hidden": 64}
    rates = {"lr": 1e-7, "lr_discriminator": 1e-2, "discriminator_steps": 5}
    found, _, _ = trained(model="avb", objective="log_likelihood", fixed={**fixed, **rates}, budget=SHORT)
    assert list(found) == ["saturated"]
    assert "at step 60 discriminator_saturation" in found["saturated"]


# Healthy ones, as `quickstart` and `vae-mnist` had them: step, KL, active units, share of zeros.

LATE_GATES = [(100, 12.331, 1, 0.99996), (200, 10.321, 3, 0.99824), (300, 12.171, 5, 0.98772), (400, 12.29, 6, 0.98748)]
FEW_UNITS = [(100, 24.714, 15, 0.87944), (200, 14.518, 4, 0.93136), (300, 14.774, 7, 0.9276), (400, 14.879, 8, 0.92628)]
SMALL_KL = [(60, 1.82, 1, 0.9982), (120, 33.98, 19, 0.7565)]
BETA_4 = [(100, 2.269, 20, 0.0), (200, 4.754, 20, 0.0), (300, 5.584, 20, 0.0), (1500, 8.792, 20, 0.0)]
BETA_1 = [(100, 9.342, 20, 0.0), (200, 15.047, 20, 0.0), (1500, 24.648, 20, 0.0)]


@pytest.mark.parametrize(
    ("model", "curve"),
    [("vsc", LATE_GATES), ("vsc", FEW_UNITS), ("vsc", SMALL_KL), ("vae", BETA_4), ("vae", BETA_1)],
)
def test_a_healthy_curve_has_no_name_at_any_step(model, curve):
    own = {"kl_warmup": 0.0}
    with torch.device("meta"):
        built = models.build(model, (1, 28, 28), **own)
    names, made = ("kl", "active_units", "zero_fraction"), {}
    for step, *values in curve:
        made[step] = {PATHOLOGIES: judged(built, dict(zip(names, values)), step, None)}
        assert all(one is not None for one in made[step][PATHOLOGIES].values())
        assert {one.evidence for one in verdicts(made).values()} == {""}


# The rule.


def test_two_reports_in_a_row_must_be_judged_and_beyond_the_bound():
    def verdict(*excess: float | None) -> tuple[float, str]:
        made: dict = {}
        for step, value in enumerate(excess, 1):
            made |= reported(step, collapsed=value)
        return tuple(verdicts(made)["collapsed"])

    said = "at step {} a number at {}, at step {} a number at {}"
    assert verdict(0.5) == verdict(None, 0.5) == verdict(0.5, None) == (0, "")  # a single one proves nothing
    assert verdict(0.5, 0.25) == (0.25, said.format(1, 0.5, 2, 0.25))
    assert verdict(-1.0, 0.5, 1.0) == (0.5, said.format(2, 0.5, 3, 1.0))
    assert verdict(0.5, 0.5, -0.75) == (-0.75, "")  # it has recovered
    assert verdict(0.5, 0.0) == (0, "")  # at the bound all is well
    assert verdicts({}) == verdicts({1: {}, 2: {}}) == verdicts({1: {PATHOLOGIES: {}}}) == {}  # of earlier releases too


def test_a_report_is_judged_when_the_last_ramp_is_over_and_what_is_not_finite_never_is():
    with torch.device("meta"):
        model = models.build("vsc", (1, 28, 28), kl_warmup=0.2, steepness_final=50.0, steepness_ramp=0.5)
    model.budget = 100
    sick = {"kl": 0.1, "active_units": 0.0, "zero_fraction": 1.0}
    assert model.settled == 0.5
    assert judged(model, sick, 49, None) == {"collapsed": None, "dead": None}
    found = judged(model, sick, 50, None)
    assert found["collapsed"] == {"excess": 1.0, "evidence": "active_units 0 below 1 and kl 0.1 below 0.6931"}
    assert found["dead"] == {"excess": pytest.approx(1), "evidence": "zero_fraction 1 above 0.9999"}
    assert judged(model, sick, 50, ["dead"]).keys() == {"dead"}
    assert judged(model, sick, 50, []) == {}
    assert judged(model, {**sick, "zero_fraction": math.nan}, 50, None)["dead"] is None


@pytest.mark.parametrize(
    ("model", "given", "share"),
    [
        ("vae", {}, 0.0),
        ("vae", {"kl_warmup": 0.3}, 0.3),
        ("vsc", {"kl_warmup": 0.0}, 0.0),  # whose steepness does not change
        ("nonsyn", {"alpha_warmup": 0.25}, 0.25),
        ("disentangled", {"penalty": "capacity", "capacity_ramp": 0.4}, 0.4),
        ("disentangled", {"penalty": "dip_i", "capacity_ramp": 0.4}, 0.0),
    ],
)
def test_a_model_knows_when_its_ramps_are_over(model, given, share):
    with torch.device("meta"):
        assert models.build(model, (1, 28, 28), **given).settled == share
    assert linear(0.0, 1.0, 0.3).length == 0.3


@pytest.mark.parametrize("model", models.names())
def test_every_symptom_is_of_a_number_that_reports_have(small, model):
    spec = small(model)
    with torch.device("meta"):
        built = build(spec, spec.defaults())
    known = {*METRICS, *(measure.name for measure in built.measures())}
    assert {symptom.measure for symptom in built.symptoms()} <= known
    more = {"vsc": {"dead"}, "avb": {"saturated"}}.get(model, set())
    assert {symptom.pathology for symptom in built.symptoms()} == {"collapsed", *more}


def test_an_excess_is_a_share_of_the_way_to_the_worst():
    low, high = Symptom("collapsed", "kl", 0.5, 0.0), Symptom("dead", "zero_fraction", 0.75, 1.0)
    assert [low.excess(value) for value in (0.0, 0.125, 0.5, 0.75, 20.0)] == [1.0, 0.75, 0.0, -0.5, -1.0]
    assert [high.excess(value) for value in (1.0, 0.875, 0.75, 0.5, 0.0)] == [1.0, 0.5, 0.0, -1.0, -1.0]
    assert (low.evidence(0.125), high.evidence(1.0)) == ("kl 0.125 below 0.5", "zero_fraction 1 above 0.75")
    assert Symptom("dead", "zero_fraction", 0.9999, 1.0).evidence(0.99992) == "zero_fraction 0.99992 above 0.9999"


# An early end.


def test_a_trial_is_ended_where_the_preset_says_so_and_stays_ended(trained, raw, tmp_path):
    changes = {"fixed": {"beta": 1000.0, "lr": 1e-2}, "budget": SHORT, "stop_on": ["collapsed"]}
    found, trial, made = trained(**changes)
    assert list(made) == [20, 40]
    assert trial.take_notes()[-1] == f"ends at step 40, collapsed: {found['collapsed']}"
    spec = StudySpec(**raw(validation={"images": 40, "samples": 2}, **changes))
    again = Trial(spec, spec.defaults(), imagesets.load(spec.dataset), seed=1, folder=tmp_path / "trial")
    assert not again.done  # whose last report may not have been kept
    assert again.report()[PATHOLOGIES] == made[40][PATHOLOGIES]
    assert again.done
    assert "goes on from step 40" in (tmp_path / "trial" / LOG).read_text()


def test_a_trial_that_is_gone_on_with_is_judged_by_the_report_before_its_death(raw, tmp_path):
    spec = StudySpec(
        **raw(fixed={"beta": 1000.0, "lr": 1e-2}, budget=SHORT, stop_on=["collapsed"], validation={"images": 40})
    )

    def trial() -> Trial:
        return Trial(spec, spec.defaults(), imagesets.load(spec.dataset), seed=1, folder=tmp_path)

    first = trial()
    first.report()
    first.close()
    second = trial()
    assert [second.report()["steps"], second.done, second.report()["steps"], second.done] == [20, False, 40, True]
    second.close()
