"""The doctor: it finds what is wrong and repairs what can be; and no command makes a damaged run worse."""

import ctypes
import hashlib
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import optuna
import pandas as pd
import pytest
import torch
from optuna.trial import TrialState

import analysis
import analysis.__main__
import imagesets
from study.record import storage, tables
from study.record.folder import Run
from study.record.storage import describe_data, fail, finish, open_study, reports, store_report
from study.spec import StudySpec
from study.spec.measures import METRICS
from study.trial import checkpoint
from study.trial.checkpoint import BEST, LAST, PREVIOUS
from study.trial.training import derived_seed
from study.trial.trial import Trial

BUDGET = {"steps": 60, "report_every": 10, "batch": 8}
ASHA = {"grace": 20, "reduction": 2}
RATES = (1e-2, 1e-4, 1e-3, 1e-3)


def build(raw: Callable, folder: Path, **changes) -> Run:
    """A run of four trials, trained here: 0 COMPLETE and best, 1 PRUNED at 20, 2 FAIL, 3 RUNNING after 30 steps."""
    spec = StudySpec(**raw(trials=4, budget=BUDGET, asha=ASHA, **changes))
    run, splits = Run(folder / "runs" / "tiny"), imagesets.load(spec.dataset)
    run.create(spec)
    study = open_study(run, spec, create=True)
    describe_data(study, spec, splits)
    for number, (rate, until) in enumerate(zip(RATES, (60, 20, 10, 30))):
        study.enqueue_trial({"lr": rate})
        asked = study.ask()
        trial = Trial(
            spec, spec.space(asked), splits, seed=derived_seed(spec.seed, number), folder=run.trial(asked.number)
        )
        while trial.training.step < until:
            report = {**trial.report(), "cause": ""}
            store_report(study, asked._trial_id, {**report, "done": number == 1 and report["steps"] == until})
        trial.close()
        if number < 2:
            finish(study, number, report, spec)
    fail(study, 2, "lost: the worker's process ended")
    tables.write(run)
    return run


@pytest.fixture(scope="session")
def built(raw, data, tmp_path_factory) -> Callable[..., Path]:
    """Makes a run once for each storage; returns the folder that holds `runs`."""
    made: dict[str | None, Path] = {}

    def make(kept: str | None) -> Path:
        if kept not in made:
            made[kept] = tmp_path_factory.mktemp("built")
            build(raw, made[kept], storage=kept)
        return made[kept]

    return make


@pytest.fixture
def fresh(built, tmp_path, monkeypatch) -> Callable[..., Run]:
    """A sound run of one's own, in runs/."""
    monkeypatch.chdir(tmp_path)

    def copy(kept: str | None = None) -> Run:
        shutil.copytree(built(kept) / "runs", tmp_path / "runs", copy_function=shutil.copy2)
        return Run(tmp_path / "runs" / "tiny")

    return copy


@pytest.fixture
def run(fresh) -> Run:
    return fresh()


def digests(folder: Path) -> dict[str, str]:
    """Every path below a folder, and what is in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


def spoil(path: Path) -> None:
    """Turns over some bytes in the middle of a file, as a bad disk does."""
    content, middle = path.read_bytes(), path.stat().st_size // 2
    turned = bytes(byte ^ 0xFF for byte in content[middle : middle + 256])
    path.write_bytes(content[:middle] + turned + content[middle + 256 :])


def study_of(run: Run) -> optuna.Study:
    return open_study(run, run.spec())


def sql(run: Run, statement: str, *values) -> None:
    """Changes the database as no part of the platform does."""
    with sqlite3.connect(run.database) as connection:
        connection.execute(statement, values)
    connection.close()


@pytest.fixture
def doctor(command) -> Callable[..., tuple[int, list[str]]]:
    """Calls the command: its exit code, and the lines that it prints."""

    def call(*arguments: str) -> tuple[int, list[str]]:
        code, out, err = command("doctor", "tiny", *arguments)
        assert err == ""
        return code, out.splitlines()

    return call


SOUND = "tiny is sound: 1 complete, 1 pruned, 1 failed, 1 unfinished (resume goes on with them), of 4 trials"


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
    study = open_study(run, spec, create=True)
    study.enqueue_trial({"posterior": "spike_slab"})
    asked, splits = study.ask(), imagesets.load(spec.dataset)
    seed = derived_seed(spec.seed, 0)
    trial = Trial(spec, spec.space(asked), splits, seed=seed, folder=run.trial(0))
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
    spec.space(asked)  # tables are older than the study now, and a checkpoint and a table are half written
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
        report = {**reports(running)[30], "steps": steps}
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
    for name, text in (("defaults-0", "{"), ("defaults-1", "[]"), ("defaults-2", '{"cause": ""}')):
        result = run.confirmation(*name.split("-")) / "result.json"
        result.parent.mkdir(parents=True)
        result.write_text(text)
    return "confirm/defaults-1/result.json is damaged; --fix removes it, and `confirm` does it again"


@repaired
def spoil_confirmed(run: Run) -> str:
    run.table("confirm").write_bytes(b"PAR1")
    return "confirm.parquet cannot be read; --fix removes it, `confirm` makes it again from its results"


by_name = {"ids": lambda damage: damage.__name__}


@pytest.mark.parametrize("damage", REPAIRED, **by_name)
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
    assert storage.best_trial(study_of(run)).number == 0
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


# A journal.


def test_a_journal_whose_writer_died_is_mended(fresh, doctor):
    run = fresh("journal")
    sound = run.journal.read_bytes()
    with open(run.journal, "ab") as file:
        file.write(b'{"op_code": 8, "worker')
    os.symlink(run.journal, f"{run.journal}.lock")
    code, lines = doctor()
    assert code == 1
    assert "optuna.journal.lock was left by a process that is gone; --fix removes it" in lines
    assert "the last line of optuna.journal is unfinished; --fix removes it" in lines
    assert doctor("--fix")[0] == 0
    assert run.journal.read_bytes() == sound
    assert not Path(f"{run.journal}.lock").is_symlink()


def test_the_specification_is_made_again_from_a_journal(fresh, doctor):
    run = fresh("journal")
    sound = run.study_yaml.read_bytes()
    run.study_yaml.unlink()
    assert doctor("--fix")[0] == 0
    assert run.study_yaml.read_bytes() == sound


def test_a_journal_that_is_damaged_in_the_middle_stays_as_it_is(fresh, doctor):
    run = fresh("journal")
    content = run.journal.read_bytes()
    run.journal.write_bytes(content[:2000] + b"}{" + content[2000:])
    before = digests(run.path)
    for arguments in ([], ["--fix"]):
        code, lines = doctor(*arguments)
        assert code == 1
        assert re.search(
            r"optuna\.journal cannot be opened \(.+\); only a backup brings it back; .*4 trials' f", lines[0]
        )
    assert {**digests(run.path), ".lock": ""} == {**before, ".lock": ""}


# What cannot be repaired: said, and left as it is.

LEFT: list[Callable[[Run], str]] = []


def left(damage: Callable[[Run], str]) -> Callable[[Run], str]:
    LEFT.append(damage)
    return damage


REMAINS = "only a backup brings it back; nothing writes over it, and there are still results.parquet, curves.parquet, "


@left
def lose_database(run: Run) -> str:
    run.database.unlink()
    return "optuna.db is gone; only a backup brings it back, and there are still results.parquet, curves.parquet, train"


@left
def lose_database_and_specification(run: Run) -> str:
    run.study_yaml.unlink()
    return lose_database(run)


@left
def write_over_the_database(run: Run) -> str:
    run.database.write_bytes(b"nothing of the kind" * 1000)
    return f"optuna.db cannot be opened (file is not a database); {REMAINS}"


@left
def cut_the_database(run: Run) -> str:
    run.database.write_bytes(run.database.read_bytes()[:20_000])
    return "optuna.db cannot be opened ("


@left
def empty_the_database(run: Run) -> str:
    run.database.write_bytes(b"")
    return f"optuna.db cannot be opened (it is no Optuna database); {REMAINS}"


@left
def put_another_study_in_the_place(run: Run) -> str:
    sql(run, "UPDATE studies SET study_name = 'another'")
    return f"optuna.db cannot be opened (it holds no study 'tiny', but another); {REMAINS}"


@left
def complete_below_the_full_budget(run: Run) -> str:
    sql(run, "DELETE FROM trial_user_attributes WHERE trial_id = 1 AND key = 'report:60'")
    sql(run, "DELETE FROM trial_intermediate_values WHERE trial_id = 1 AND step = 60")
    return "trial 0 is COMPLETE without a report at step 60; its last is at step 50"


@left
def lose_a_report(run: Run) -> str:
    sql(run, "DELETE FROM trial_user_attributes WHERE trial_id = 1 AND key IN ('report:20', 'report:30')")
    return "trial 0 has no report at steps 20, 30"


@left
def report_where_none_is_due(run: Run) -> str:
    sql(run, "UPDATE trial_user_attributes SET key = 'report:5' WHERE trial_id = 3 AND key = 'report:10'")
    return "trial 2 has reports at steps 5, where none is due"


@left
def prune_where_there_is_no_rung(run: Run) -> str:
    sql(run, "DELETE FROM trial_user_attributes WHERE trial_id = 2 AND key = 'report:20'")
    return "trial 1 is PRUNED at step 10, which is no rung; rungs: 20, 40"


@left
def lose_a_cause(run: Run) -> str:
    sql(run, "DELETE FROM trial_user_attributes WHERE trial_id = 3 AND key = 'cause'")
    return "trial 2 is FAIL without a cause"


@left
def change_a_value(run: Run) -> str:
    sql(run, "UPDATE trial_values SET value = -1.5 WHERE trial_id = 1")
    return "trial 0 has the values [-1.5], and its last report says [-"


@left
def change_an_intermediate_value(run: Run) -> str:
    sql(run, "UPDATE trial_intermediate_values SET intermediate_value = -1.5 WHERE trial_id = 2 AND step = 10")
    return "trial 1 has other intermediate values than its reports say, at steps 10"


@left
def ask_for_fewer_trials(run: Run) -> str:
    run.rewrite(run.spec().model_copy(update={"trials": 2}))
    sql(
        run,
        "UPDATE study_user_attributes SET value_json = ? WHERE key = 'spec'",
        json.dumps(run.study_yaml.read_text()),
    )
    return "3 trials are finished, and study.yaml asks for 2 only"


@left
def change_the_specification(run: Run) -> str:
    run.study_yaml.write_text(run.study_yaml.read_text().replace("batch: 8", "batch: 9"))
    return "study.yaml is not what the study was made with: budget.batch was 8, is 9; bring the old value back"


@left
def pin_what_was_drawn(run: Run) -> str:
    run.study_yaml.write_text(run.study_yaml.read_text().replace("fixed:", "fixed:\n  lr: 0.01"))
    return "the study was searched over another space: lr was "


@left
def lose_the_best_folder(run: Run) -> str:
    shutil.rmtree(run.trial(0))
    return "the best trial, 0, is among them: export and its pictures are not possible"


@left
def lose_a_folder(run: Run) -> str:
    shutil.rmtree(run.trial(1))
    lost = "checkpoints, snapshots and TensorBoard are lost, the study keeps the reports"
    return f"the folders of finished trials are gone: 1; their {lost}"


@left
def spoil_all_checkpoints(run: Run) -> str:
    for name in (LAST, PREVIOUS, BEST):
        spoil(run.trial(0) / name)
    return "; export and pictures of this trial are not possible"


@left
def spoil_a_best_that_is_not_the_last(run: Run) -> str:
    for name in (LAST, PREVIOUS):
        state = checkpoint.load(run.trial(0) / name)
        state["report"]["elbo"] -= 1.0
        checkpoint.save(run.trial(0) / name, state)
    spoil(run.trial(0) / BEST)
    return "; export and pictures of this trial are not possible"


@left
def swap_the_checkpoint_of_a_finished_trial(run: Run) -> str:
    shutil.copy(run.trial(1) / BEST, run.trial(0) / BEST)
    return "trials/00000 holds checkpoints of another trial (best.pt); bring the trial's own back"


@left
def keep_it_elsewhere_and_lose_the_specification(run: Run) -> str:
    os.rename(run.database, run.path.parent / "shared.db")
    shutil.rmtree(run.path / "trials")
    (run.path / "trials").mkdir()
    run.study_yaml.write_text("name: tiny\nstorage: [")
    return "and no study lies in the folder that could say what it was; bring it from a backup"


@pytest.mark.parametrize("damage", LEFT, **by_name)
def test_what_cannot_be_repaired_is_named_and_left_as_it_is(run, doctor, damage):
    written = run.database.stat().st_mtime_ns
    line = damage(run)
    if run.database.is_file():
        os.utime(run.database, ns=(written, written))  # else the tables were older, too
    before = digests(run.path)
    code, lines = doctor()
    assert code == 1
    assert any(line in said for said in lines), lines
    assert digests(run.path) == before
    code, lines = doctor("--fix")
    assert code == 1
    assert any(line in said for said in lines), lines
    assert not [said for said in lines if said.startswith("mended: ")]
    assert {**digests(run.path), ".lock": ""} == {**before, ".lock": ""}


def test_a_study_that_is_stored_elsewhere(raw, tmp_path, doctor, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    Run(tmp_path / "runs" / "tiny").create(StudySpec(**raw(storage=url)))
    assert doctor()[1][0].startswith("tiny is sound: it has no study yet; ")
    shutil.rmtree(tmp_path / "runs")
    run = build(raw, tmp_path, storage=url)
    assert doctor() == (0, [SOUND])
    shutil.rmtree(run.trial(1))
    assert doctor("--fix")[1][0].startswith("the folders of finished trials are gone: 1; ")


def test_a_server_that_cannot_be_reached_is_named(raw, tmp_path, doctor, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = StudySpec(**raw(storage="postgresql://user:secret@127.0.0.1:9/studies"))
    Run(tmp_path / "runs" / "tiny").create(spec)
    code, lines = doctor()
    assert code == 1
    assert lines[0].startswith("the study in postgresql://user@127.0.0.1:9/studies cannot be opened (")
    assert "set LATENTSWEEP_STORAGE to the whole URL" in lines[0]
    assert "secret" not in "".join(lines)


# Every other command: a clear line, and nothing is made worse.

COMMANDS = {
    "resume": ["resume", "tiny"],
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


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("empty", [False, True])
def test_a_study_that_is_gone_is_not_begun_anew(run, refused, name, empty):
    """A new study's trials would write their checkpoints over the old ones."""
    run.database.unlink()
    if empty:
        run.database.touch()
    assert re.search(rf"{run.database} is gone, and there are trials; bring .* back from a backup", refused(name))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_damaged_study_is_named(run, refused, name):
    run.database.write_bytes(b"nothing of the kind" * 1000)
    assert re.search(r"cannot be opened \(file is not a database\); bring .* back from a backup", refused(name))


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
    study = open_study(run, spec, create=True)
    asked = study.ask()
    trial = Trial(spec, spec.space(asked), imagesets.load(spec.dataset), seed=derived_seed(0, 0), folder=run.trial(0))
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


# A folder that cannot be written.

CAPABILITIES, DAC_OVERRIDE, DAC_READ_SEARCH = 0x20080522, 1, 2


@contextmanager
def without_roots_privilege() -> Iterator[None]:
    """For root no file is read-only, until it lays this privilege down; for others nothing changes."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    effective = sets[0]
    sets[0] &= ~(1 << DAC_OVERRIDE | 1 << DAC_READ_SEARCH)
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = effective
        assert libc.capset(header, sets) == 0


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    paths = [folder, *folder.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(modes[path] & ~0o222)
    try:
        with without_roots_privilege():
            with pytest.raises(PermissionError):
                (folder / "new").touch()
            yield
    finally:
        for path in paths:
            path.chmod(modes[path])


@pytest.mark.parametrize("locked_before", [False, True])
@pytest.mark.parametrize(
    "arguments", [["resume"], ["confirm"], ["doctor", "--fix"]], ids=lambda arguments: arguments[0]
)
def test_what_must_write_into_a_read_only_run_says_so(run, command, arguments, locked_before):
    with run.locked() if locked_before else nullcontext():
        pass
    before = digests(run.path)
    with read_only(run.path):
        code, out, err = command(*arguments, "tiny")
    assert (code, out) == (2, "")
    assert err == f"{run.path} cannot be written (Permission denied); nothing was changed\n"
    assert digests(run.path) == before


@pytest.mark.parametrize("kept", [None, "journal"])
def test_a_read_only_run_can_still_be_read(fresh, command, doctor, kept, tmp_path):
    run = fresh(kept)
    expected = analysis.trials("tiny")
    for name in tables.TABLES:
        os.utime(run.table(name), (0, 0))  # older than the study
    (run.table("curves")).unlink()
    before = digests(run.path)
    with read_only(run.path):
        code, out, err = command("status", "tiny")
        assert (code, err) == (0, "")
        assert "1 complete, 1 pruned, 1 failed, 1 unfinished, of 4 trials" in out
        code, out, err = command("table", "tiny", app=analysis.__main__.app)
        assert (code, err) == (0, "")
        assert [line.split()[1] for line in out.splitlines()[1:5]] == ["COMPLETE", "PRUNED", "RUNNING", "FAIL"]
        pd.testing.assert_frame_equal(analysis.trials("tiny"), expected)
        assert len(analysis.curves("tiny")) == 6 + 2 + 1 + 3
        code, _, err = command("export", "tiny", "--out", tmp_path / "best")
        assert (code, err) == (0, "")
        code, lines = doctor()
        assert code == 1
        assert lines[0].startswith("results.parquet is older than the study, curves.parquet is missing, train.parquet ")
        code, _, err = command("export", "tiny", "--out", run.path / "best")
        assert code == 2
        assert f"cannot write {run.path / 'best'}: Permission denied; name another folder with --out" in err
    assert digests(run.path) == before
