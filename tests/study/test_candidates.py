"""Which configurations are confirmed, and with which seeds."""

from ended import SEARCH, searched

import searchspaces
from study.confirm import candidates, jobs
from study.record.folder import Run
from study.record.storage import open_run
from study.trial.seeds import derived_seed


def test_the_defaults_come_first_though_they_were_stopped_then_the_best(make, tmp_path):
    spec = make()
    found = candidates(searched(spec, Run(tmp_path / "tiny")))
    assert [candidate.name for candidate in found] == ["defaults", "trial-2", "trial-1"]
    default = {**searchspaces.defaults("vae"), **spec.fixed}
    assert [candidate.settings for candidate in found] == [default, {**default, "lr": 2e-3}, {**default, "lr": 4e-3}]


def test_the_defaults_are_confirmed_though_the_search_never_tried_them(make, tmp_path):
    spec = make(trials=1, confirm={"top": 3, "seeds": 1})
    opened = searched(spec, Run(tmp_path / "tiny"), SEARCH[1:2])
    assert searchspaces.defaults("vae")["lr"] not in {trial.params["lr"] for trial in opened.study.trials}
    assert [candidate.name for candidate in candidates(opened)] == ["defaults", "trial-0"]


def test_without_a_complete_trial_the_defaults_are_left(make, tmp_path):
    spec = make(trials=2)
    assert len(candidates(searched(spec, Run(tmp_path / "tiny"), (SEARCH[0], SEARCH[3])))) == 1


def test_of_several_objectives_the_front_is_confirmed_by_the_first_one(make, tmp_path):
    spec = make(objective=["elbo", "zero_fraction"], confirm={"top": 5, "seeds": 1})
    opened = open_run(Run(tmp_path), spec, create=True)
    for values in ([-100.0, 0.2], [-90.0, 0.1], [-95.0, 0.05], [-120.0, 0.9]):  # the third is beaten by the second
        trial = opened.study.ask()
        spec.draw(trial)
        opened.study.tell(trial, values)
    assert [candidate.name for candidate in candidates(opened)] == ["defaults", "trial-1", "trial-0", "trial-3"]


def test_every_configuration_has_the_same_seeds_and_no_trial_had_them(make, tmp_path):
    spec = make(confirm={"top": 2, "seeds": 50})
    made = jobs(searched(spec, Run(tmp_path / "tiny")))
    seeds = {name: [job.seed for job in made if job.candidate.name == name] for name in ("defaults", "trial-2")}
    assert len(made) == 3 * 50
    assert seeds["defaults"] == seeds["trial-2"]
    assert len(set(seeds["defaults"])) == 50
    assert not set(seeds["defaults"]) & {derived_seed(spec.seed, number) for number in range(10_000)}
    other = jobs(open_run(Run(tmp_path / "tiny"), spec.model_copy(update={"seed": 12})))
    assert not {job.seed for job in other} & set(seeds["defaults"])
