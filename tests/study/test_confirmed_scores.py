"""Scores of codes in a confirmation: of which codes, only what is missing, and versions apart."""

import json
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from here import CPU, all_done, flat

import analysis
import imagesets
import metrics
from analysis.tables import confirmation
from models.latents import kl_by_latent
from study import confirm as confirming
from study import tasks
from study.agenda import Agenda
from study.confirm import confirm, jobs
from study.record.confirmation import RESULT, Result, result
from study.record.extension import confirmed_otherwise
from study.record.folder import Run
from study.record.storage import open_run
from study.spec import StudySpec
from study.trial import evaluation
from study.trial.evaluation import evaluating
from study.trial.images import Images
from study.trial.training import Training

SCORES = ["mig", "factor_vae", "gaussian_total_correlation", "udr"]
HOW = {"top": 0, "seeds": 2, "samples": 2, "images": 25, "scores": SCORES, "votes": 40, "examples": 60}


@pytest.fixture(scope="module")
def spec(raw, data) -> StudySpec:
    """Seeds of a small model, on 576 sprites of five factors."""
    options = {"scale": 2, "orientation": 6, "pos_x": 4, "pos_y": 4}
    budget = {"steps": 4, "report_every": 2, "batch": 8}
    fixed = {"hidden": 8, "latent": 3}
    return StudySpec(
        **raw(dataset="sprites", dataset_options=options, fixed=fixed, budget=budget, trials=0, confirm=HOW)
    )


@pytest.fixture(scope="module")
def whole(spec, tmp_path_factory) -> Run:
    """A confirmation, done in this process."""
    run = Run(tmp_path_factory.mktemp("scores") / "tiny")
    run.create(spec)
    open_run(run, spec, create=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confirming, "_work_all", all_done)
        confirm(run)
    return run


@pytest.fixture
def run(whole, tmp_path) -> Run:
    """A copy of it to change."""
    return Run(shutil.copytree(whole.path, tmp_path / "tiny"))


@pytest.fixture
def again(run, monkeypatch, no_ray) -> Callable[..., list[tuple]]:
    """Confirms with other settings, without a step of training: which tasks were done, for which seeds and measures."""

    def call(**changes: Any) -> list[tuple]:
        done = []

        def noted(agenda: Agenda, *_: Any) -> None:
            while ready := list(agenda.ready()):
                for task in ready:
                    found = confirming.do(task, run, agenda.spec, None, CPU)
                    repeats = [job.repeat for job in task.jobs]
                    done.append((task.kind, repeats, [measure.name for measure in task.measures]))
                    agenda.take(task, found)

        monkeypatch.setattr(confirming, "_work_all", noted)
        monkeypatch.setattr(Training, "advance", None)
        overrides = [f"confirm.{key}={json.dumps(value)}" for key, value in changes.items()]
        confirm(run, spec=confirmed_otherwise(run, overrides))
        return done

    return call


def table(run: Run) -> pd.DataFrame:
    return pd.read_parquet(run.table("confirm"))


def means_of(run: Run, repeat: int, first: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means of the first test images by the best checkpoint of a seed, and each latent's mean KL."""
    spec, splits = run.spec(), imagesets.load(**_data(run.spec()))
    model = tasks.best_model(run, spec, jobs(open_run(run))[repeat], splits, CPU)
    images = Images(splits.test, part="test")
    with evaluating(model, images):
        x = torch.cat(list(images))[:first]
        return model.posterior(x).mean.numpy(), kl_by_latent(model, x).double().mean(0).numpy()


def _data(spec: StudySpec) -> dict[str, Any]:
    return {"name": spec.dataset, **spec.dataset_options}


def test_scores_are_of_the_means_of_the_test_images_and_of_draws_beside_them(whole):
    spec, frame = whole.spec(), table(whole)
    test = imagesets.load(**_data(spec)).test
    assert len(test.images) == 28
    codes, _ = means_of(whole, 1)
    order = np.random.default_rng(0).permutation(28)
    fitted = order[:19]  # of fewer than 60 and half as many, two thirds
    row = frame.iloc[1]
    assert row["metrics.mig"] == metrics.mig(codes[fitted], test.factors[fitted])
    assert row["metrics.factor_vae"] == metrics.factor_vae(codes, test.factors, np.random.default_rng(0), votes=40)
    for name in ("mig", "factor_vae", "gaussian_total_correlation"):
        assert (frame[f"metrics.{name}_sampled"] != frame[f"metrics.{name}"]).all()
    assert "metrics.sap" not in frame
    assert frame[["votes", "examples", "trees", "codes_of"]].drop_duplicates().to_numpy().tolist() == [
        [40, 60, "lightgbm", "test"]
    ]


def test_udr_compares_the_seeds_of_a_configuration(whole):
    codes, kl = zip(*(means_of(whole, repeat, 25) for repeat in (0, 1)))
    assert table(whole)["metrics.udr"].tolist() == metrics.udr(codes, kl).tolist()
    shown = confirmation(analysis.confirmed(whole.path))
    assert {"mig", "factor_vae", "udr"} <= {*shown}
    assert not any(column.endswith("_sampled") for column in shown)


def test_a_score_that_is_asked_for_later_trains_nothing_and_takes_only_itself(run, again):
    before = table(run)
    assert again() == []
    assert again(scores=[*SCORES, "modularity"]) == [
        ("score", [repeat], ["modularity", "modularity_sampled"]) for repeat in (0, 1)
    ]
    after = table(run)
    pd.testing.assert_frame_equal(after[before.columns], before)
    assert after["metrics.modularity"].between(0, 1).all()


def test_other_settings_take_what_depends_on_them_and_come_back_for_nothing(run, again):
    before = table(run)
    votes = ["factor_vae", "factor_vae_sampled"]
    assert again(votes=20) == [("score", [repeat], votes) for repeat in (0, 1)]
    assert again(images=20)[2:] == [("rank", [0, 1], ["udr"])]
    weighted = ["log_likelihood", "log_likelihood_error", "effective_samples", "bits"]
    assert again(images=25, samples=3) == [("work", [repeat], weighted) for repeat in (0, 1)]
    assert (table(run)["metrics.log_likelihood"] != before["metrics.log_likelihood"]).all()
    assert again(votes=40, samples=2) == []
    pd.testing.assert_frame_equal(table(run), before)
    kept = analysis.values(run.path)
    assert sorted(kept[kept.measure == "factor_vae"]["votes"]) == [20, 20, 40, 40]
    assert set(kept[kept.measure == "elbo"]["kind"]) == {"bound"}
    assert set(kept[kept.measure == "log_likelihood"]["kind"]) == {"importance-weighted bound"}


def test_the_codes_of_the_whole_data_set_can_be_scored(run, again, monkeypatch):
    read, load = [], evaluation.coded
    monkeypatch.setattr(
        evaluation, "coded", lambda model, parts, **_: read.append([*map(len, parts)]) or load(model, parts)
    )
    assert len(again(codes_of="all")) == 2
    assert read == [[520, 28, 28]] * 2


def test_another_seed_is_trained_alone_and_the_ranking_done_anew(whole, run, monkeypatch):
    done = []
    monkeypatch.setattr(confirming, "_work_all", lambda agenda, *_: done.extend(agenda.left()) or all_done(agenda))
    confirm(run, spec=confirmed_otherwise(run, ["confirm.seeds=3"]))
    assert [(task.kind, [job.repeat for job in task.jobs]) for task in done] == [
        ("work", [2]),
        ("score", [2]),
        ("rank", [0, 1, 2]),
    ]
    after, before = table(run), table(whole)
    assert (after["metrics.udr"][:2] != before["metrics.udr"]).all()
    same = before.columns.drop("metrics.udr")
    pd.testing.assert_frame_equal(after[same][:2], before[same])


def test_killed_between_it_goes_on_to_the_same_numbers(whole, spec, tmp_path, monkeypatch):
    run, done, after = Run(tmp_path / "tiny"), [], 3
    run.create(spec)
    open_run(run, spec, create=True)

    class Killed(BaseException):
        pass

    def until(agenda: Agenda, *_: Any) -> None:
        while ready := list(agenda.ready()):
            for task in ready:
                if len(done) == after:
                    raise Killed
                found = confirming.do(task, run, agenda.spec, None, CPU)
                agenda.take(task, found)
                done.append(task.key)

    monkeypatch.setattr(confirming, "_work_all", until)
    with pytest.raises(Killed):
        confirm(run)
    after = 99
    confirm(run)
    assert len(done) == len(set(done)) == 5  # two trainings, their scores, and the ranking
    times = ["seconds", "cpu_seconds"]
    pd.testing.assert_frame_equal(table(run).drop(columns=times), table(whole).drop(columns=times))


def test_two_versions_never_stand_in_one_column(run, again):
    today = table(run)["metrics.mig"]
    for path in run.path.glob(f"confirm/*/{RESULT}"):
        found = json.loads(path.read_text())
        for value in found["values"]:
            if value["measure"] in ("mig", "active_units"):
                value |= {"version": value["version"] - 1, "value": 7.0}
        path.write_text(json.dumps(found))
    assert again() == [
        *(("work", [repeat], ["active_units"]) for repeat in (0, 1)),
        *(("score", [repeat], ["mig"]) for repeat in (0, 1)),
    ]
    frame = analysis.confirmed(run.path)
    assert frame["metrics.mig"].tolist() == today.tolist()
    assert frame["metrics.mig_v0"].tolist() == frame["metrics.active_codes"].tolist() == [7.0, 7.0]
    assert (frame["metrics.active_units"] <= 3).all()


def test_a_result_of_an_earlier_release_lacks_only_what_came_since(whole, run, again):
    spec, before = run.spec(), table(whole)
    for repeat in (0, 1):
        path = run.confirmation("defaults", repeat) / RESULT
        then = flat(result(run, "defaults", repeat), spec)
        measured = {key: value for key, value in then.items() if key.removesuffix("_sampled") not in SCORES}
        settings = {"samples": 2, "images": 25, "budget": 4, "edition": 2}
        path.write_text(json.dumps({**measured, **settings, "seconds": 1.0, "cpu_seconds": 1.0}))
    names = [name for score in SCORES[:-1] for name in (score, f"{score}_sampled")]
    found = again()
    assert [(kind, repeats) for kind, repeats, _ in found] == [("score", [0]), ("score", [1]), ("rank", [0, 1])]
    assert found[0][2] == names
    times, since = ["seconds", "cpu_seconds"], [column for column in before if column.startswith("latents.")]
    pd.testing.assert_frame_equal(table(run).drop(columns=times), before.drop(columns=times + since))


def test_what_fails_is_told_and_done_the_next_time(spec, run, again, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "coded", lambda *_, **__: (_ for _ in ()).throw(MemoryError("not enough memory")))
        other = spec.model_copy(update={"confirm": spec.confirm.model_copy(update={"votes": 9})})
        agenda = Agenda(run, other, jobs(open_run(run)))
        task = next(agenda.ready())
        found = confirming.do(task, run, agenda.spec, None, CPU)
        assert found == "oom: not enough memory"
        agenda.take(task, found)
        assert confirming._outcome(agenda, task, found) == "defaults, seed 1 of 2: no score, oom: not enough memory"
        assert [left.key for left in agenda.left()] == [("score", "defaults", (1,))]
    assert [repeats for _, repeats, _ in again(votes=9)] == [[0], [1]]


def test_a_seed_that_failed_has_no_scores_and_is_compared_with_nobody(spec, tmp_path):
    run = Run(tmp_path / "tiny")
    run.create(spec)
    agenda = Agenda(run, spec, jobs(open_run(run, spec, create=True)))
    first, second = agenda.ready()
    agenda.take(first, Result("nan: the loss of 'elbo' was not finite at step 3", 3, 4))
    assert [task.kind for task in agenda.left()] == ["work", "score"]
    agenda.take(second, Result("lost: WorkerCrashedError", 0, 4))
    assert agenda.left() == []  # until the next time
    assert [task.kind for task in Agenda(run, spec, agenda.jobs).left()] == ["work", "score"]


def test_without_factors_only_seeds_are_compared(raw):
    assert StudySpec(**raw()).scores == ("udr",)


def test_the_command_takes_other_settings_of_the_confirmation_alone(run, command, monkeypatch, no_ray):
    before = table(run)
    monkeypatch.setattr(confirming, "_work_all", all_done)
    code, out, err = command("confirm", run.path, "--set", "confirm.votes=10", "--set", "confirm.scores=[factor_vae]")
    assert (code, err) == (0, "")
    assert run.spec().confirm.votes == 10
    assert (table(run)["metrics.factor_vae"] != before["metrics.factor_vae"]).any()
    assert table(run)["metrics.mig"].tolist() == before["metrics.mig"].tolist()  # which is there
    assert command("doctor", run.path)[0] == 0
    kept = run.study_yaml.read_text()
    code, out, err = command("confirm", run.path, "--set", "budget.steps=9", "--set", "confirm.votes=9")
    assert (code, out, err) == (2, "", "--set: budget.steps: only what is below `confirm` can be set here\n")
    code, _, err = command("confirm", run.path, "--set", "confirm.scores=[migg]")
    assert code == 2
    assert "score 'migg' is not known; known: mig" in err
    assert run.study_yaml.read_text() == kept
