"""Trials of an earlier study are told to the sampler as they are, those that fit, and are no trials of the new one."""

import shutil

import optuna
import pytest
from ended import EVERY, FULL, SEARCH, searched
from optuna.trial import TrialState

from study.record import start, tables
from study.record.folder import OpenRun, Run, RunError
from study.record.sampling import sampler
from study.record.storage import check_goes_on, create, open_run, reopen
from study.record.trials import owed
from study.spec import SpecError, StudySpec

NARROW = {"lr": {"low": 1e-3, "high": 3e-3}}


@pytest.fixture
def earlier(make, tmp_path) -> OpenRun:
    """A search that ended, each trial at another rate."""
    return searched(make(name="before", asha={"grace": EVERY}), Run(tmp_path / "before"))


@pytest.fixture
def spec(raw) -> StudySpec:
    return StudySpec(**raw(sampler="tpe", startup=2, trials=4, budget={"steps": FULL, "report_every": EVERY}))


def begun(run: Run, spec: StudySpec, found: start.Start) -> OpenRun:
    create(run, spec, found.dump())
    return reopen(run)


def test_trials_are_told_as_they_are(earlier, spec, tmp_path):
    found = start.taken(earlier, spec)
    assert found.line == ("learns first of 4 trials of before (3 complete, 1 pruned); left out: 1 failed or not ended")
    opened = begun(Run(tmp_path / "after"), spec, found)
    told = start.read(opened.run)
    stored = [trial for trial in earlier.study.trials if trial.state != TrialState.FAIL]
    assert [trial.number for trial in told] == [-4, -3, -2, -1]
    for one, other in zip(told, stored, strict=True):
        for name in ("state", "values", "params", "distributions", "intermediate_values"):
            assert getattr(one, name) == getattr(other, name)


def test_they_are_no_trials_of_the_run_and_stay_when_the_other_run_goes(earlier, spec, tmp_path):
    run = Run(tmp_path / "after")
    begun(run, spec, start.taken(earlier, spec))
    shutil.rmtree(earlier.run.path)
    for _ in range(2):
        opened = reopen(run)
        assert opened.study.trials == []
        assert owed(opened) == spec.trials
        assert len(tables.results(opened)) == 0
        seen = opened.study.sampler._made(opened.study).get_trials()
        assert [trial.number for trial in seen] == [-4, -3, -2, -1]


@pytest.mark.parametrize("text", ["", "{}", '{"trials": [{}]}', '{"trials": [1]}'])
def test_what_is_damaged_is_named(earlier, spec, tmp_path, text):
    run = begun(Run(tmp_path / "after"), spec, start.taken(earlier, spec)).run
    run.start.write_text(text)
    for goes_on in (lambda: reopen(run), lambda: check_goes_on(run, spec)):
        with pytest.raises(RunError, match=r"start\.json is damaged \(.*\); bring it back from a backup"):
            goes_on()
    assert open_run(run).study.trials == []  # it can be read


def test_the_sampler_learns_of_them_as_if_they_were_its_own(earlier, spec, tmp_path):
    told = start.read(begun(Run(tmp_path / "after"), spec, start.taken(earlier, spec)).run)

    def drawn(earlier, own, seed: int) -> float:
        drawing = optuna.create_study(direction="maximize", sampler=sampler(spec, seed, earlier))
        drawing.add_trials(own)
        return spec.draw(drawing.ask())["lr"]

    for seed in range(5):
        assert drawn(told, [], seed) == drawn([], told, seed) != drawn([], [], seed)


def test_those_that_this_study_could_not_have_drawn_are_left_out_and_counted(earlier, spec, raw):
    narrow = start.taken(earlier, StudySpec(**{**spec.model_dump(), "space": NARROW}))
    assert narrow.left_out == {"failed or not ended": 1, "outside the ranges": 1}  # 4e-3
    assert {trial.params["lr"] for trial in narrow.trials} == {1e-3, 2e-3, 3e-3}
    assert all(trial.distributions["lr"].high == 3e-3 for trial in narrow.trials)
    pinned = {**spec.fixed, "lr": 2e-3}
    space = {"weight_decay": {"low": 0.0, "high": 1.0}}
    other = start.taken(earlier, StudySpec(**{**spec.model_dump(), "fixed": {**spec.fixed, "latent": 4}, "startup": 3}))
    assert len(other.trials) == 4
    with pytest.raises(SpecError, match="no trial of before can be taken: 1 failed or not ended, 4 with other"):
        start.taken(earlier, StudySpec(**{**spec.model_dump(), "fixed": {**spec.fixed, "latent": 5}}))
    with pytest.raises(SpecError, match="4 with other hyperparameters"):
        start.taken(earlier, StudySpec(**{**spec.model_dump(), "fixed": pinned, "space": space}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objective": "reconstruction"}, "objective was elbo, is reconstruction"),
        ({"preprocessing": {"binarise": "dynamic"}}, "preprocessing.binarise was None, is dynamic"),
        ({"budget": {"steps": 2 * FULL}}, f"budget.steps was {FULL}, is {2 * FULL}"),
        ({"sampler": "random", "startup": None}, "is for sampler tpe; this study's is random"),
    ],
    ids=str,
)
def test_another_study_is_refused(earlier, spec, raw, changes, said):
    given = {"sampler": "tpe", "budget": {"steps": FULL, "report_every": EVERY}, **changes}
    with pytest.raises(SpecError, match="--start-from") as refused:
        start.taken(earlier, StudySpec(**raw(**given)))
    assert said in str(refused.value)


def test_the_command_says_what_it_takes_and_refuses_in_a_line(earlier, command, preset, tmp_path, listing):
    given = {"sampler": "tpe", "budget": {"steps": FULL, "report_every": EVERY}}
    path = preset(tmp_path, **given)
    arguments = ("--root", tmp_path, "--start-from", "before", "--dry-run")
    before = listing()
    code, out, err = command("run", path, *arguments)
    assert (code, err) == (0, "")
    assert f"\n  learns first of {len(SEARCH) - 1} trials of before (" in out
    code, _, err = command("run", path, *arguments, "--trials", "+3")
    assert (code, err.partition(":")[0]) == (2, "--start-from")
    code, _, err = command("run", path, *arguments, "--set", "budget.batch=16")
    assert code == 2
    assert "before is no study of the same: budget.batch was 32, is 16" in err
    assert listing() == before
