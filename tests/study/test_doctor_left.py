"""What the doctor cannot repair: it names it and leaves it as it is."""

import json
import os
import shutil
from collections.abc import Callable

import pytest
from damage import SOUND, build, digests, spoil, sql

from study.record.folder import Run
from study.spec import StudySpec
from study.trial import checkpoint
from study.trial.checkpoint import BEST, LAST, PREVIOUS

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
    return "study.yaml asks for 2 trials, and 3 are finished"


@left
def change_the_specification(run: Run) -> str:
    run.study_yaml.write_text(run.study_yaml.read_text().replace("batch: 8", "batch: 9"))
    return "study.yaml is not what the study was made with: budget.batch was 8, is 9; bring the old value back"


@left
def pin_what_was_drawn(run: Run) -> str:
    run.study_yaml.write_text(run.study_yaml.read_text().replace("fixed:", "fixed:\n  lr: 0.01"))
    return "the study was searched over another space: lr was "


@left
def damage_what_it_learns_first_of(run: Run) -> str:
    run.start.write_text('{"run": "earlier"}')
    return "start.json is damaged ('trials'); bring it back from a backup"


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


@pytest.mark.parametrize("damage", LEFT, ids=lambda damage: damage.__name__)
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
