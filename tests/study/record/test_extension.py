"""`run NAME --trials +N`: more trials for a run, and nothing else; what would change its numbers is refused."""

import shutil

import pytest
import yaml
from ended import searched
from optuna.trial import BaseTrial, TrialState

import analysis
import searchspaces.vae
from study.record.extension import FREE, differences, extended
from study.record.folder import Run, RunError
from study.record.storage import open_run
from study.record.trials import reports
from study.spec import SpecError, StudySpec
from study.spec import preset as files
from study.tune import runner


@pytest.fixture
def run(raw, tmp_path) -> Run:
    """A run of two trials that has begun."""
    spec = StudySpec(**raw())
    made = Run(tmp_path / "runs" / "tiny")
    made.create(spec)
    open_run(made, spec, create=True)
    return made


@pytest.fixture
def refused(command, listing):
    """Calls a command that must be refused, without a trace, and returns what it says."""

    def call(*arguments) -> str:
        before = listing()
        code, out, err = command(*arguments)
        assert code == 2, (out, err)
        assert "Traceback" not in out + err
        assert listing() == before
        return err

    return call


# What may be asked for.


def test_a_run_is_named_by_its_preset_its_name_or_its_folder(run, preset, tmp_path, monkeypatch):
    given = [str(preset(tmp_path, trials=7)), "tiny", str(run.path)]
    presets = tmp_path / "presets"
    presets.mkdir()
    shutil.copy(given[0], presets / "of-the-house.yaml")
    monkeypatch.setattr(files, "PRESETS", presets)
    for one in [*given, "of-the-house"]:
        found, spec = extended(one, [], "+5", run.path.parent)
        assert found.path == run.path
        assert spec == run.spec().model_copy(update={"trials": 7})


def test_what_no_number_depends_on_may_change(run, raw):
    changes = [
        "trials=50",
        "resources.cpus=2",
        "confirm.seeds=9",
        "max_failed=1.0",
        "storage=postgresql://me@host/studies",
    ]
    assert {change.split("=")[0].split(".")[0] for change in changes} == set(FREE)
    _, spec = extended("tiny", changes, "+1", run.path.parent)
    assert (spec.trials, spec.resources.cpus, spec.confirm.seeds, spec.max_failed) == (3, 2, 9, 1.0)
    assert spec.storage is None  # where the study is
    others = {"trials": 3, "resources": spec.resources, "confirm": spec.confirm, "max_failed": 1.0}
    assert spec == run.spec().model_copy(update=others)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("seed=1", "seed was 0, is 1"),
        ("budget.steps=80", "budget.steps was 60, is 80"),
        ("budget.batch=16", "budget.batch was 32, is 16"),
        ("fixed.latent=8", "fixed.latent was 4, is 8"),
        ("fixed.lr=0.001", "fixed.lr was not given, is 0.001"),
        ("sampler=tpe", "sampler was random, is tpe"),
        ("objective=[elbo, hoyer]", "objective was elbo, is ['elbo', 'hoyer']"),
        ("asha={grace: 20}", "asha.grace was not given, is 20; asha.reduction was not given, is 3"),
        ("preprocessing.binarise=threshold", "preprocessing.binarise was "),
    ],
)
@pytest.mark.parametrize("named", ["by file", "by folder"])
def test_what_numbers_depend_on_may_not(refused, run, preset, tmp_path, named, change, says):
    given = preset(tmp_path) if named == "by file" else run.path
    err = refused("run", given, "--trials", "+3", "--set", change, "--root", run.path.parent)
    assert err.startswith("tiny cannot go on as another study: ")
    assert says in err
    assert "start another run with --set name=..." in err


def test_every_difference_is_named_and_no_other(raw):
    own = StudySpec(**raw())
    assert differences(own, own) == []
    wanted = StudySpec(**raw(seed=3, trials=9, max_failed=0.1, budget={"batch": 8}, fixed={"hidden": 8}))
    assert differences(own, wanted) == ["fixed.hidden was 16, is 8", "budget.batch was 32, is 8", "seed was 0, is 3"]


@pytest.mark.parametrize("more", ["+x", "+0", "+", "+-3", "+1.5", "+ 3", "+00"])
def test_what_is_no_number_of_trials_is_refused(refused, run, more):
    err = refused("run", run.path, "--trials", more)
    assert err == f"--trials: must be a number, or + and how many more, such as +200, got {more!r}\n"


@pytest.mark.parametrize("given", ["quickstart", "nothing"])
def test_there_must_be_a_run(refused, tmp_path, given):
    assert "no run" in refused("run", given, "--trials", "+3", "--root", tmp_path / "runs")


def test_a_run_in_use_gets_no_more_trials(refused, run):
    with run.locked():
        assert "is in use by another process" in refused("run", run.path, "--trials", "+3")
    assert run.spec().trials == 2


def test_a_dry_run_says_what_would_be_and_writes_nothing(command, run, listing):
    before = listing()
    code, out, err = command("run", run.path, "--trials", "+3", "--dry-run")
    assert (code, err) == (0, "")
    assert "  5 trials of 60 steps" in out
    assert out.endswith("where 2 of these trials are there\n")
    assert listing() == before


def test_mistakes_of_the_specification_are_told_first(run):
    with pytest.raises(SpecError, match=r"fixed\.latent: input should be greater than or equal to 1"):
        extended("tiny", ["fixed.latent=0"], "+1", run.path.parent)
    run.study_yaml.write_text(yaml.safe_dump({"name": "tiny"}))
    with pytest.raises((SpecError, RunError), match="model: is needed and not given"):
        extended("tiny", [], "+1", run.path.parent)


# On Ray.


@pytest.fixture(scope="module")
def finished(raw, ray_up, tmp_path_factory) -> Run:
    """A finished run of three trials with ASHA."""
    asha = {"grace": 10, "reduction": 2}
    spec = StudySpec(**raw(trials=3, asha=asha, budget={"steps": 30}))
    run = Run(tmp_path_factory.mktemp("finished") / "tiny")
    runner.run(spec, run)
    return run


@pytest.mark.long
def test_a_finished_run_gets_exactly_so_many_more(finished, command, tmp_path):
    run = Run(shutil.copytree(finished.path, tmp_path / "tiny"))
    before = open_run(run).study.get_trials()
    code, out, err = command("run", run.path, "--trials", "+2")
    assert (code, err) == (0, "")
    assert "where 3 of these trials are there" in out
    assert run.spec() == finished.spec().model_copy(update={"trials": 5})
    trials = open_run(run).study.get_trials()
    assert [trial.number for trial in trials] == list(range(5))
    assert trials[:3] == before
    assert {trial.state for trial in trials[3:]} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert len({trial.params["lr"] for trial in trials}) == 5
    assert len(analysis.trials(run.path)) == 5
    assert "tiny is finished" in command("resume", run.path)[1]
    for trial in trials[3:]:  # judged with the rungs of the first three
        last = max(reports(trial))
        assert last == 30 or any(reports(old)[last]["elbo"] > trial.value for old in trials if last in reports(old))


@pytest.mark.long
def test_a_run_that_was_interrupted_gets_its_own_and_more(run, ray_up):
    spec = run.spec()
    spec.draw(open_run(run, spec).study.ask())  # left running
    _, more = extended(str(run.path), [], "+1", run.path.parent)
    outcome = runner.resume(run, spec=more)
    assert outcome == (3, 0, 0, None, "")
    assert [trial.number for trial in open_run(run, spec).study.get_trials()] == [0, 1, 2]


# A space that has changed in the code.


def wider(trial: BaseTrial) -> dict:
    return {**searchspaces.vae.DEFAULTS, "lr": trial.suggest_float("lr", 1e-5, 1e-2, log=True)}


def renamed(trial: BaseTrial) -> dict:
    return {**searchspaces.vae.DEFAULTS, "lr": 1e-3, "grad_clip": trial.suggest_float("grad_clip", 1.0, 2.0)}


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (wider, "lr was 0.0001 to 0.01 (log), is 1e-05 to 0.01 (log)"),
        (renamed, "lr was 0.0001 to 0.01 (log), is not drawn; grad_clip was not drawn, is 1 to 2"),
    ],
)
@pytest.mark.parametrize("how", [("resume",), ("confirm",), ("run", "--trials", "+2")], ids=lambda how: how[0])
def test_a_changed_space_is_refused_under_the_old_name(make, command, monkeypatch, tmp_path, how, space, says):
    run = Run(tmp_path / "tiny")
    searched(make(), run)
    before = open_run(run).study.get_trials()
    written = run.study_yaml.read_bytes()
    monkeypatch.setattr(searchspaces.vae, "DEFAULTS", {**searchspaces.vae.DEFAULTS, "grad_clip": 1.0})
    with monkeypatch.context() as patch:
        patch.setattr(searchspaces.vae, "space", space)
        code, out, err = command(how[0], run.path, *how[1:])
    assert code == 2
    assert err.startswith(f"tiny was searched over another space: {says}; name another run with --set name=")
    assert "Traceback" not in out + err
    assert run.study_yaml.read_bytes() == written
    assert open_run(run).study.get_trials() == before


def test_of_a_changed_space_a_run_can_still_be_read(fresh, command, monkeypatch, tmp_path):
    run = fresh()
    with monkeypatch.context() as patch:
        patch.setattr(searchspaces.vae, "space", wider)
        assert command("status", run.path)[0] == 0
        assert command("export", run.path, "--out", tmp_path / "best")[0] == 0
        code, out, _ = command("doctor", run.path)
    assert (code, "the study was searched over another space: lr was" in out) == (1, True)
