"""No command makes a damaged run worse: each says in a line what is wrong."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from damage import ASHA, BUDGET, digests, sql, study_of
from optuna.trial import TrialState

import analysis
import analysis.__main__
import imagesets
from analysis import figures
from study.record.folder import Run, RunError
from study.record.storage import open_run
from study.record.trials import reports, store_report
from study.spec import StudySpec
from study.spec.measures import METRICS
from study.trial.checkpoint import BEST
from study.trial.seeds import derived_seed
from study.trial.trial import Trial

COMMANDS = {
    "resume": ["resume", "tiny"],
    "dry run": ["run", "tiny", "--trials", "+1", "--dry-run"],
    "status": ["status", "tiny"],
    "confirm": ["confirm", "tiny"],
    "export": ["export", "tiny", "--out", "best"],
    "table": ["table", "tiny"],
    "figures": ["figures", "tiny"],
}


@pytest.fixture
def refused(run, command) -> Callable[[str], str]:
    """Calls a command that must be refused with nothing changed, and returns what it says."""

    def call(name: str, *arguments: str | Path) -> str:
        before = digests(run.path.parent.parent)
        app = {"app": analysis.__main__.app} if name in ("table", "figures") else {}
        code, out, err = command(*COMMANDS.get(name, []), *arguments, **app)
        assert code == 2, (out, err)
        assert "Traceback" not in out + err
        after = digests(run.path.parent.parent)
        assert {**after, "runs/tiny/.lock": ""} == {**before, "runs/tiny/.lock": ""}
        return err

    return call


@pytest.mark.parametrize("name", COMMANDS)
def test_a_damaged_specification_is_named_with_what_mends_it(run, refused, name):
    run.study_yaml.write_bytes(run.study_yaml.read_bytes()[:150] + b"\xff")
    os.utime(run.table("results"), (0, 0))  # a table that is not older than the study is read without it
    says = refused(name)
    assert f"{run.study_yaml} is not the specification of a run any more: " in says
    assert "`python -m study doctor tiny --fix` makes it again from the study" in says
    run.study_yaml.unlink()
    assert refused(name) == (
        f"{run.study_yaml} is gone; `python -m study doctor tiny --fix` makes it again from the study\n"
    )


def test_a_search_is_not_started_over_a_damaged_specification(run, refused, preset, tmp_path):
    path = preset(tmp_path, trials=4, budget=BUDGET, asha=ASHA)
    run.study_yaml.write_text("name: [")
    assert "exists already" in refused("run", "run", path)
    assert "is not the specification of a run any more" in refused("run", "run", path, "--trials", "+2")


OF_THE_STUDY = [name for name in COMMANDS if name != "table"]


@pytest.mark.parametrize("name", OF_THE_STUDY)
@pytest.mark.parametrize("empty", [False, True])
def test_a_study_that_is_gone_is_not_begun_anew(run, refused, name, empty):
    """A new study's trials would write their checkpoints over the old ones."""
    run.database.unlink()
    if empty:
        run.database.touch()
    what = "is empty" if empty else "is gone"
    assert re.search(rf"{run.database} {what}, and there are trials; bring .* back from a backup", refused(name))


@pytest.mark.parametrize("name", OF_THE_STUDY)
def test_a_damaged_study_is_named(run, refused, name):
    run.database.write_bytes(b"nothing of the kind" * 1000)
    assert re.search(r"cannot be opened \(file is not a database\); bring .* back from a backup", refused(name))


@pytest.mark.parametrize("gone", [False, True])
def test_of_a_study_that_is_lost_the_table_shows_what_was_kept(run, command, refused, gone):
    _, whole, _ = command("table", "tiny", app=analysis.__main__.app)
    run.database.unlink() if gone else run.database.write_bytes(b"nothing of the kind" * 1000)
    code, out, err = command("table", "tiny", app=analysis.__main__.app)
    assert (code, out, len(err.splitlines())) == (0, whole, 1)
    assert re.search(rf"{run.database} .*; its trials are shown as results.parquet has them, which was written", err)
    with pytest.raises(RunError, match="bring the file back from a backup"):
        analysis.trials("tiny")
    run.table("results").unlink()
    assert "left out are the trials of tiny: " in refused("table")


@pytest.fixture
def beside(run) -> Run:
    """Another run, of whose study nothing can be read, beside the sound one."""
    other = Run(shutil.copytree(run.path, run.path.parent / "bad", copy_function=shutil.copy2))
    other.database.write_bytes(b"nothing of the kind" * 1000)
    other.table("results").unlink()
    return other


@pytest.mark.parametrize("specification", [False, True])
def test_a_damaged_run_takes_nothing_away_from_those_beside_it(run, beside, command, monkeypatch, specification):
    drawn = {"learning_curves": figures.module("learning_curves")}
    monkeypatch.setattr(figures, "_modules", lambda: drawn)
    if specification:
        beside.study_yaml.write_text("name: [")
    for arguments, shown in (
        (["table", "--only", "best"], "vae"),
        (["figures", "--out", "drawn", "--format", "png"], "learning_curves.png"),
        (["report", "--out", "both.html"], "both.html"),
    ):
        code, out, err = command(*arguments, beside.path, run.path, app=analysis.__main__.app)
        assert (code, shown in out) == (0, True)
        assert re.match("left out (are the trials of|is) bad: |bad: what needs its study is not drawn: ", err)
        code, out, err = command(*arguments, beside.path, app=analysis.__main__.app)
        assert (code, out) == (2, "")
        assert "bad" in err


def test_an_export_without_its_trial_folder_is_refused(run, refused):
    shutil.rmtree(run.trial(0))
    assert refused("export") == f"the checkpoint of the best trial, {run.trial(0) / BEST}, is gone\n"


@pytest.fixture
def halted(raw, tmp_path, monkeypatch) -> Run:
    """A run of a single trial that stopped after 40 of 60 steps."""
    monkeypatch.chdir(tmp_path)
    spec = StudySpec(**raw(trials=1, budget=BUDGET))
    run = Run(tmp_path / "runs" / "tiny")
    run.create(spec)
    study = open_run(run, spec, create=True).study
    asked = study.ask()
    trial = Trial(spec, spec.draw(asked), imagesets.load(spec.dataset), seed=derived_seed(0, 0), folder=run.trial(0))
    while trial.training.step < 40:
        store_report(study, asked._trial_id, trial.report())
    trial.close()
    return run


def assert_undisturbed(run: Run, folder: Path) -> None:
    """The run's only trial is complete, and its reports are those of a training that nothing disturbed."""
    (found,) = study_of(run).trials
    assert found.state == TrialState.COMPLETE
    spec = run.spec()
    settings = {**spec.fixed, **found.params}
    trial = Trial(spec, settings, imagesets.load(spec.dataset), seed=derived_seed(spec.seed, 0), folder=folder)
    expected = {}
    while not trial.done:
        report = trial.report()
        expected[report["steps"]] = {key: report[key] for key in METRICS}
    trial.close()
    assert {step: {key: report[key] for key in METRICS} for step, report in reports(found).items()} == expected
    assert found.intermediate_values == {step: report["elbo"] for step, report in expected.items()}


def test_a_trial_whose_folder_is_deleted_starts_again(halted, command, tmp_path):
    shutil.rmtree(halted.trial(0))
    code, out, err = command("resume", "tiny")
    assert (code, err) == (0, "")
    assert "goes on from" not in out
    assert_undisturbed(halted, tmp_path / "undisturbed")


def test_a_study_from_a_backup_is_gone_on_with_after_the_doctor(halted, command, doctor, tmp_path):
    trial_id = study_of(halted).trials[0]._trial_id
    sql(halted, "DELETE FROM trial_user_attributes WHERE trial_id = ? AND key != 'report:10'", trial_id)
    sql(halted, "DELETE FROM trial_intermediate_values WHERE trial_id = ? AND step > 10", trial_id)
    code, lines = doctor("--fix")
    assert code == 0
    assert "--fix removes last.pt and previous.pt, and the trial does those steps again" in lines[0]
    assert command("resume", "tiny")[0] == 0
    assert_undisturbed(halted, tmp_path / "undisturbed")
