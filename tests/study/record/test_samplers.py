"""Gaussian processes and CMA-ES by name: they draw what follows from the seed and from what ended, without a word."""

import warnings

import optuna
import pytest
from optuna.trial import TrialState

from study.record import samplers, sampling
from study.record.folder import Run
from study.record.pathologies import CONSTRAINT
from study.record.words import plan
from study.spec import StudySpec


def value(drawn: dict) -> float:
    """The best is at lr 3e-3, as near as may be."""
    return -abs(drawn["lr"] - 3e-3)


def searched(spec: StudySpec, stored: int = 0, trials: int = 8, pruned: int = 0) -> optuna.Study:
    """A study of complete trials, of which every one in so many was stopped early."""
    study = optuna.create_study(direction="maximize", sampler=sampling.sampler(spec, stored))
    for number in range(trials):
        trial = study.ask()
        reached = value(spec.draw(trial))
        study._storage.set_trial_intermediate_value(trial._trial_id, 10, reached)
        if pruned and number % pruned:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, reached)
    return study


def drawn(study: optuna.Study) -> list[float]:
    return [trial.params["lr"] for trial in study.trials]


@pytest.mark.parametrize(
    ("changes", "startup"),
    [({"trials": 8}, 4), ({"trials": 32}, 8), ({"trials": 500}, 10), ({"first": "drawn"}, 10), ({"startup": 3}, 3)],
    ids=str,
)
def test_a_small_study_that_begins_with_the_defaults_learns_earlier(raw, changes, startup):
    spec = StudySpec(**raw(**{"sampler": "tpe", **changes}))
    assert spec.random_first == sampling.sampler(spec, 0)._n_startup_trials == startup


def learners(study: optuna.Study) -> list[int]:
    """The trials that a Gaussian process drew."""
    return [trial.number for trial in study.trials if any("relative_params" in key for key in trial.system_attrs)]


@pytest.fixture(params=["gp", "cmaes"])
def spec(request, raw) -> StudySpec:
    space = {"weight_decay": {"low": 1e-6, "high": 1e-2, "log": True}}
    return StudySpec(**raw(sampler=request.param, startup=4 if request.param == "gp" else None, space=space))


def test_what_is_drawn_follows_from_the_seed_and_a_run_that_goes_on_draws_other_points(spec):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is said while trials are drawn
        first = drawn(searched(spec))
    assert drawn(searched(spec)) == first
    assert {*drawn(searched(spec, stored=3))}.isdisjoint(first)
    assert {*drawn(searched(spec.model_copy(update={"seed": 1})))}.isdisjoint(first)


def test_gaussian_processes_draw_by_what_was_complete(raw):
    spec = StudySpec(**raw(sampler="gp", startup=4))
    study = searched(spec, trials=9)
    learned = [abs(lr - 3e-3) for lr in drawn(study)]
    assert min(learned[4:]) < min(learned[:4])
    assert learners(study) == [*range(4, 9)]
    assert learners(searched(spec, trials=9, pruned=9)) == []


def test_cmaes_does_not_warn_of_constraints_at_each_trial(raw, recwarn):
    spec = StudySpec(**raw(sampler="cmaes"))
    study = optuna.create_study(direction="maximize", sampler=sampling.sampler(spec, 0))
    for _ in range(3):
        trial = study.ask()
        spec.draw(trial)
        study._storage.set_trial_system_attr(trial._trial_id, CONSTRAINT, -1.0)
        study.tell(trial, 1.0)
    assert study.trials[0].constraints
    assert not [each for each in recwarn if "onstraint" in str(each.message)]


def test_cmaes_counts_what_was_stopped_and_goes_on_with_what_it_learned(raw):
    """Its state lies in the study: in the next process the generations go on."""
    space = {"weight_decay": {"low": 1e-6, "high": 1e-2, "log": True}}
    spec = StudySpec(**raw(sampler="cmaes", space=space))
    study = searched(spec, trials=16, pruned=2)
    generations = [trial.system_attrs.get("cma:generation") for trial in study.trials]
    assert max(filter(None, generations)) >= 1
    study.sampler = sampling.sampler(spec, len(study.trials))
    spec.draw(study.ask())
    assert study.trials[-1].system_attrs["cma:generation"] >= max(filter(None, generations))


def test_of_many_complete_trials_gaussian_processes_take_the_best_and_the_newest(raw, monkeypatch):
    study = searched(StudySpec(**raw()), trials=20)
    monkeypatch.setattr(samplers.Gp, "MOST", 8)
    seen = [trial.number for trial in samplers.gp(0, 4)._excerpt(study).get_trials(deepcopy=False)]
    best = sorted(study.trials, key=lambda trial: trial.value, reverse=True)[:4]
    others = [number for number in range(20) if number not in {trial.number for trial in best}]
    assert seen == sorted([*(trial.number for trial in best), *others[-4:]])


def test_the_plan_says_what_a_sampler_leaves_to_another_and_learns_nothing_from(raw, tmp_path):
    fixed = {"hidden": 16, "latent": 4, "beta": 1.0, "kl_warmup": 0.0}
    space = {"grad_clip": {"choices": [1.0, 2.0]}}
    lines = plan(StudySpec(**raw(sampler="cmaes", fixed=fixed, space=space)), Run(tmp_path / "tiny"))
    assert "  cmaes leaves grad_clip to tpe\n" in lines
    given = raw(sampler="gp", fixed=fixed, asha={"grace": 10})
    lines = plan(StudySpec(**given), Run(tmp_path / "tiny"))
    assert "  draws at random until 4 trials have ended\n" in lines
    assert "  gp learns of complete trials alone: of those that ASHA stops it learns nothing\n" in lines
    assert "leaves" not in lines
    given["fixed"] = {"kl_warmup": 0.0, "hidden": 16}  # the space of the posteriors and priors depends on their names
    (line,) = [line for line in plan(StudySpec(**given), Run(tmp_path / "tiny")).splitlines() if "gp leaves" in line]
    assert "posterior" not in line
    assert line.endswith(" to chance")
