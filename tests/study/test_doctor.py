"""The doctor: it finds what is wrong, repairs what can be, and leaves the rest as it is."""

import os
import shutil
from collections.abc import Callable

import pytest
import torch
from damage import BUDGET, SOUND, digests, spoil, sql, study_of
from optuna.trial import TrialState

import analysis
import analysis.__main__
import imagesets
from study.record import tables
from study.record.folder import Run
from study.record.storage import open_run
from study.record.trials import best_trial, reports, store_report
from study.spec import StudySpec
from study.spec.measures import METRICS
from study.trial import checkpoint
from study.trial.checkpoint import BEST, LAST, PREVIOUS
from study.trial.seeds import derived_seed
from study.trial.trial import Trial


@pytest.mark.parametrize("kept", [None, "journal"])
def test_a_sound_run_is_sound_and_nothing_is_written(fresh, doctor, kept):
    run = fresh(kept)
    before = digests(run.path)
    assert doctor() == (0, [SOUND])
    assert digests(run.path) == before
    assert doctor("--fix") == (0, [SOUND])
    assert {**digests(run.path), ".lock": ""} == {**before, ".lock": ""}


def test_a_trial_that_drew_under_another_name_keeps_its_checkpoints(raw, tmp_path, doctor, monkeypatch):
    """With a sparse posterior the prior is drawn as `sparse_prior`, which no configuration has."""
    monkeypatch.chdir(tmp_path)
    made = raw(trials=1, budget=BUDGET, fixed={"pseudo_inputs": 8})
    del made["fixed"]["posterior"], made["fixed"]["prior"]
    spec = StudySpec(**made)
    run = Run(tmp_path / "runs" / "tiny")
    run.create(spec)
    study = open_run(run, spec, create=True).study
    study.enqueue_trial({"posterior": "spike_slab"})
    asked, splits = study.ask(), imagesets.load(spec.dataset)
    seed = derived_seed(spec.seed, 0)
    trial = Trial(spec, spec.draw(asked), splits, seed=seed, folder=run.trial(0))
    store_report(study, asked._trial_id, trial.report())
    trial.close()
    tables.write(run)
    assert "sparse_prior" in study.trials[0].params
    code, lines = doctor()
    assert (code, len(lines)) == (0, 1)
    assert "is sound" in lines[0]


@pytest.mark.parametrize("kept", [None, "journal"])
def test_a_run_that_a_driver_works_on_is_read_and_not_repaired(fresh, command, doctor, kept):
    run = fresh(kept)
    study, spec = study_of(run), run.spec()
    asked = study.ask()
    spec.draw(asked)  # tables are older than the study now, and a checkpoint and a table are half written
    run.trial(4).mkdir()
    (run.trial(4) / f".last.pt.{os.getpid()}").touch()
    with run.locked():
        before = digests(run.path)
        works = "tiny is sound: 1 complete, 1 pruned, 1 failed, 2 unfinished (a driver works on them), of 4 trials"
        assert doctor() == (0, [works])
        code, out, err = command("doctor", "tiny", "--fix")
        assert (code, out) == (2, "")
        assert err == f"{run.path} is in use by another process; wait for it, or stop it\n"
        assert digests(run.path) == before


def test_a_run_without_a_study_yet(raw, tmp_path, doctor, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Run(tmp_path / "runs" / "tiny").create(StudySpec(**raw()))
    assert doctor() == (0, ["tiny is sound: it has no study yet; go on with: python -m study resume tiny"])
    assert command("doctor", "tinny")[2] == "no run 'tinny'; runs in runs: tiny. Did you mean 'tiny'?\n"


# What is repaired. Each damages a sound run; then comes what is said of it.


REPAIRED: list[Callable[[Run], str]] = []


def repaired(damage: Callable[[Run], str]) -> Callable[[Run], str]:
    REPAIRED.append(damage)
    return damage


@repaired
def lose_specification(run: Run) -> str:
    run.study_yaml.unlink()
    return "study.yaml is missing; --fix makes it again from the study"


@repaired
def spoil_specification(run: Run) -> str:
    run.study_yaml.write_text(run.study_yaml.read_text()[:150] + "\x00")
    return "study.yaml is damaged (study.yaml: is not YAML: "


@repaired
def lose_environment(run: Run) -> str:
    run.environment.unlink()
    return (
        "environment.json is missing: the versions and the commit of the run are not known any more; --fix notes that"
    )


@repaired
def spoil_environment(run: Run) -> str:
    run.environment.write_text('{"python": "3.')
    return "environment.json is damaged: "


@repaired
def die_while_writing(run: Run) -> str:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    (run.trial(3) / f".last.pt.{pid}").write_bytes(b"half")
    (run.path / f".optuna.db.{pid}-journal").write_bytes(b"half")
    return f"trials/00003/.last.pt.{pid} was being written by a process that is gone; --fix removes it"


@repaired
def lose_metric_names(run: Run) -> str:
    sql(run, "DELETE FROM study_system_attributes WHERE key = 'study:metric_names'")
    return "the study lacks its metric names: its maker died; --fix writes what study.yaml says"


@repaired
def lose_attributes(run: Run) -> str:
    sql(run, "DELETE FROM study_user_attributes WHERE key IN ('space', 'spec')")
    return "the study lacks its space, spec: its maker died"


@repaired
def add_trials(run: Run) -> str:
    run.rewrite(run.spec().model_copy(update={"trials": 6}))
    return "the study's copy of study.yaml is an older one; --fix renews it"


@repaired
def die_before_the_end_was_told(run: Run) -> str:
    study = study_of(run)
    (running,) = study.get_trials(states=[TrialState.RUNNING])
    for steps in (40, 50, 60):
        report = {**reports(running)[30], "measures": list(METRICS), "steps": steps}
        store_report(study, running._trial_id, report)
    sql(run, "DELETE FROM trial_intermediate_values WHERE step = 60 AND trial_id = ?", running._trial_id)
    for name in (LAST, BEST):  # as they are at the end
        state = checkpoint.load(run.trial(3) / name)
        state["report"]["steps"] = 60
        checkpoint.save(run.trial(3) / name, state)
    return "trial 3 is RUNNING although its end was reported; --fix tells it"


@repaired
def spoil_last_of_a_running_trial(run: Run) -> str:
    spoil(run.trial(3) / LAST)
    return "--fix removes it, and the trial goes on from previous.pt"


@repaired
def spoil_both_of_a_running_trial(run: Run) -> str:
    spoil(run.trial(3) / LAST)
    spoil(run.trial(3) / PREVIOUS)
    return "--fix removes it, and the trial goes on from the start"


@repaired
def cut_previous_of_a_finished_trial(run: Run) -> str:
    path = run.trial(0) / PREVIOUS
    path.write_bytes(path.read_bytes()[:1000])
    return "trials/00000/previous.pt is damaged (File is not a zip file); --fix removes it"


@repaired
def spoil_best_that_is_the_last(run: Run) -> str:
    spoil(run.trial(0) / BEST)
    return "--fix copies last.pt, which is the same"


@repaired
def lose_best_that_is_the_last(run: Run) -> str:
    (run.trial(0) / BEST).unlink()
    return "trials/00000/best.pt is gone; --fix copies last.pt, which is the same"


@repaired
def write_something_else(run: Run) -> str:
    torch.save({"a": 1}, run.trial(1) / LAST)
    return "trials/00001/last.pt is not the checkpoint of a trial; --fix removes it"


@repaired
def swap_folders(run: Run) -> str:
    shutil.rmtree(run.trial(3))
    shutil.copytree(run.trial(0), run.trial(3))
    what = "trials/00003 holds checkpoints of another trial (last.pt, previous.pt, best.pt)"
    return f"{what}; --fix renames it to 00003.orphan"


@repaired
def bring_an_older_study_back(run: Run) -> str:
    trial_id = study_of(run).trials[3]._trial_id
    sql(run, "DELETE FROM trial_user_attributes WHERE trial_id = ? AND key IN ('report:20', 'report:30')", trial_id)
    sql(run, "DELETE FROM trial_intermediate_values WHERE trial_id = ? AND step > 10", trial_id)
    ahead = "trials/00003/last.pt is ahead of the study, which lacks the reports up to step 30"
    return f"{ahead}; --fix removes last.pt, and the trial does those steps again"


@repaired
def leave_a_folder_without_a_trial(run: Run) -> str:
    shutil.copytree(run.trial(1), run.trial(7))
    return "trials/00007 has no trial in the study; --fix renames it to 00007.orphan"


@repaired
def lose_tables(run: Run) -> str:
    run.table("results").unlink()
    run.table("curves").write_bytes(b"PAR1")
    os.utime(run.table("train"), (0, 0))
    wrong = "results.parquet is missing, curves.parquet cannot be read, train.parquet is older than the study"
    return f"{wrong}; --fix makes the tables again"


@repaired
def spoil_confirmation(run: Run) -> str:
    for name, text in (("defaults-0", "{"), ("defaults-1", "[]"), ("defaults-2", '{"cause": "", "steps": 60}')):
        result = run.confirmation(*name.split("-")) / "result.json"
        result.parent.mkdir(parents=True)
        result.write_text(text)
    return "confirm/defaults-1/result.json is damaged; --fix removes it, and `confirm` does it again"


@repaired
def spoil_confirmed(run: Run) -> str:
    run.table("confirm").write_bytes(b"PAR1")
    return "confirm.parquet cannot be read; --fix removes it, `confirm` makes it again from its results"


@pytest.mark.parametrize("damage", REPAIRED, ids=lambda damage: damage.__name__)
def test_what_can_be_repaired_is_named_and_then_repaired(run, doctor, damage):
    line = damage(run)
    before = digests(run.path)
    code, lines = doctor()
    assert code == 1
    assert any(line in said for said in lines), lines
    assert lines[-1].endswith("can be mended: python -m study doctor tiny --fix")
    assert digests(run.path) == before
    code, lines = doctor("--fix")
    assert code == 0, lines
    assert any(said.startswith("mended: ") and line in said for said in lines)
    assert lines[-1].startswith("tiny is sound: ")
    assert best_trial(study_of(run)).number == 0
    assert analysis.trials("tiny")["state"].tolist()[:3] == ["COMPLETE", "PRUNED", "FAIL"]


@pytest.mark.parametrize(
    ("damage", "aside"),
    [
        (lose_specification, []),
        (spoil_specification, ["study.yaml.damaged"]),
        (die_while_writing, []),
        (spoil_best_that_is_the_last, []),
        (lose_best_that_is_the_last, []),
    ],
)
def test_after_these_repairs_everything_is_as_it_was(run, doctor, damage, aside):
    sound = digests(run.path)
    damage(run)
    assert doctor("--fix")[0] == 0
    now = digests(run.path)
    assert {path: digest for path, digest in now.items() if path not in (".lock", *aside)} == sound
    assert set(aside) <= now.keys()


def test_what_is_being_written_is_kept_and_so_is_what_is_not_ours(run, doctor):
    written = run.trial(3) / f".last.pt.{os.getpid()}"
    written.write_bytes(b"half")
    (run.path / ".notes.99999999").write_text("mine")
    before = digests(run.path)
    assert doctor("--fix") == (0, [SOUND])
    assert {**digests(run.path), ".lock": ""} == {**before, ".lock": ""}


def test_what_is_put_aside_is_kept(run, doctor):
    sound = digests(run.trial(1))
    leave_a_folder_without_a_trial(run)
    assert doctor("--fix")[0] == 0
    assert not run.trial(7).exists()
    assert digests(run.path / "trials" / "00007.orphan") == sound
    leave_a_folder_without_a_trial(run)
    assert "renames it to 00007.orphan1" in doctor()[1][0]


def test_nothing_is_repaired_from_another_study_and_what_was_put_aside_comes_back(run, doctor, raw, tmp_path):
    right = tmp_path / "right.db"
    shutil.copy(run.database, right)
    other = Run(tmp_path / "other" / "tiny")
    other.create(spec := StudySpec(**raw(seed=9)))
    open_run(other, spec, create=True).study.ask()
    shutil.copy(other.database, run.database)
    with run.locked():
        before = digests(run.path)
    code, lines = doctor("--fix")
    assert code == 1
    assert any("study.yaml is not what the study was made with: " in line for line in lines), lines
    assert digests(run.path) == before
    os.rename(run.trial(1), run.path / "trials" / "00001.orphan")  # as an earlier release did
    shutil.copy(right, run.database)
    code, lines = doctor("--fix")
    assert any("trials/00001.orphan is the folder of trial 1, which lacks one" in line for line in lines)
    assert doctor() == (0, [SOUND])


def test_an_end_that_is_told_late_is_told_whole(run, doctor):
    die_before_the_end_was_told(run)
    assert doctor("--fix")[0] == 0
    trial = study_of(run).trials[3]
    assert trial.state == TrialState.COMPLETE
    assert trial.value == trial.intermediate_values[60] == reports(trial)[60]["elbo"]


def test_sound_results_of_confirmation_are_kept(run, doctor):
    spoil_confirmation(run)
    assert doctor("--fix")[0] == 0
    assert [path.parent.name for path in run.path.glob("confirm/*/result.json")] == ["defaults-2"]


def test_more_trials_are_in_the_specification_that_is_made_again(run, doctor):
    add_trials(run)
    assert doctor("--fix")[0] == 0
    lose_specification(run)
    assert doctor("--fix")[0] == 0
    assert run.spec().trials == 6
