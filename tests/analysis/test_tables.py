"""Tables from run folders made by hand, and the table that people read from frames made by hand."""

import math
import shutil
from pathlib import Path

import pandas as pd
import pytest

import analysis
from analysis.notes import cost, notes, saved
from analysis.summaries import studies
from analysis.tables import confirmation, names, ranking, text
from study.record import tables
from study.record.columns import COLUMNS
from study.record.folder import Run, RunError
from study.record.storage import open_run
from study.record.trials import fail, finish, store_report
from study.spec import StudySpec
from study.spec.measures import METRICS
from study.trial.seeds import derived_seed

NAN = math.nan


def frame(**columns) -> pd.DataFrame:
    """Trials as `analysis.trials` returns them; one value stands for all rows."""
    n = max(len(column) for column in columns.values() if isinstance(column, list))
    base = {
        "study": "one",
        "dataset": "mnist5k",
        "preprocessing": "grey",
        "likelihood": "bernoulli",
        "kind": "bound",
        "number": list(range(n)),
        "state": "COMPLETE",
        "cause": "",
        "steps": 100,
        "seconds": 1.5,
        "params.lr": [0.001 * (i + 1) for i in range(n)],
        "params.latent": 20,
        **{f"metrics.{metric}": -1.0 for metric in METRICS},
    }
    return pd.DataFrame({**base, **columns}, index=range(n))


# The table that people read.


def test_complete_trials_come_first_and_the_best_of_each_state(tmp_path):
    given = frame(
        state=["PRUNED", "COMPLETE", "FAIL", "RUNNING", "COMPLETE", "PRUNED", "WAITING"],
        cause=["", "", "nan: ...", "", "", "", ""],
        **{"metrics.elbo": [-90.0, -120.0, NAN, -80.0, -110.0, -85.0, NAN]},
    )
    shown = ranking(given)
    assert list(shown["number"]) == [4, 1, 5, 0, 3, 6, 2]
    assert list(shown["state"]) == ["COMPLETE"] * 2 + ["PRUNED"] * 2 + ["UNFINISHED"] * 2 + ["FAIL"]


def test_a_trial_without_a_number_comes_last_in_its_state():
    shown = ranking(frame(**{"metrics.elbo": [NAN, -2.0, -1.0]}))
    assert list(shown["number"]) == [2, 1, 0]


def test_what_does_not_vary_is_left_out():
    shown = ranking(frame(**{"metrics.elbo": [-1.0, -2.0]}))
    assert "lr" in shown
    for column in ("latent", "study", "kind", "cause"):
        assert column not in shown
    assert list(shown.columns) == [
        "number",
        "state",
        "steps",
        "seconds",
        "elbo",
        "reconstruction",
        "kl",
        "zero_fraction",
        "active_units",
        "lr",
    ]


@pytest.mark.parametrize("column", ["study", "kind", "dataset", "preprocessing", "likelihood"])
def test_what_tells_rows_apart_is_shown_where_it_differs(column):
    assert column in ranking(frame(**{column: ["one", "two"]}))


def test_a_cause_is_shown_where_there_is_one():
    shown = ranking(frame(state=["FAIL", "COMPLETE"], cause=["oom: not enough memory", ""]))
    assert list(shown["cause"]) == ["", "oom: not enough memory"]


def test_a_hyperparameter_that_one_of_two_models_has_is_shown():
    given = pd.concat([frame(study=["one"]), frame(study=["two"], **{"params.alpha": 0.1})], ignore_index=True)
    assert set(ranking(given)["alpha"].dropna()) == {0.1}


def test_the_frame_given_is_left_alone():
    given = frame(**{"metrics.elbo": [-3.0, -2.0, -1.0]})
    kept = given.copy()
    ranking(given)
    pd.testing.assert_frame_equal(given, kept)


def test_text_is_aligned_short_and_shows_nothing_for_nothing():
    lines = text(pd.DataFrame({"elbo": [-123.4567, NAN], "lr": [0.00012345, 0.0], "state": ["FAIL", ""]})).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "-123.46" in lines[1]
    assert "0.0001234" in lines[1]
    assert "nan" not in lines[2].lower()


def test_a_column_of_nothing_shows_nothing():
    assert "None" not in text(pd.DataFrame({"number": [0], "elbo": pd.Series([None], dtype=object)}))


def test_a_column_has_one_format_that_of_its_unit():
    given = pd.DataFrame(
        {
            "elbo": [-9.5, -123.456, 0.0],
            "zero_fraction": [0.5, 1.0, 0.12345],
            "active_units": [7.0, 12.0, 0.0],
            "seconds": [0.04, 12.0, 1234.56],
            "latent": [20.0, 12345.0, NAN],  # of two models, of which one has it
            "lr": [1e-4, 0.00123456, 0.1],
        }
    )
    assert [line.split() for line in text(given).splitlines()[1:]] == [
        ["-9.50", "0.500", "7", "0.0", "20", "0.0001"],
        ["-123.46", "1.000", "12", "12.0", "12345", "0.001235"],
        ["0.00", "0.123", "0", "1234.6", "0.1"],
    ]


# What stands below a table.


def test_what_asha_saved_is_what_stopped_trials_did_not_train():
    given = frame(state=["COMPLETE", "PRUNED", "PRUNED", "FAIL", "RUNNING"], steps=[100, 20, 50, 30, 10], budget=100)
    assert saved(given) == (2, 130, 300)
    assert saved(given).share == pytest.approx(130 / 300)
    assert saved(given[given["state"] == "RUNNING"]).share == 0


def timed(**columns) -> pd.DataFrame:
    """Trials with times and a budget, as today's tables have them."""
    given = frame(**columns)
    begun = pd.Timestamp("2026-01-02 03:04:05")
    given["started"] = [begun + pd.Timedelta(minutes=i) for i in range(len(given))]
    given["ended"] = [begun + pd.Timedelta(minutes=i + 1) if i else pd.NaT for i in range(len(given))]
    return given.assign(budget=100, cpu_seconds=3.0)


def test_the_cost_of_a_study_in_a_line():
    given = timed(state=["RUNNING", "PRUNED", "COMPLETE"], steps=[10, 25, 100])
    assert cost(given) == (
        "3 trials, begun 2026-01-02 03:04:05, the last one ended 2026-01-02 03:07:05; 135 steps in 4 s of work by the "
        "clock and 9 CPU s; 1 stopped early, which saved 75 of 200 steps, 38%"
    )
    nothing = timed(state=["WAITING"], steps=[0]).assign(started=pd.NaT, cpu_seconds=NAN, seconds=NAN)
    assert cost(nothing) == "1 trial; 0 steps in 0 s of work by the clock"


def test_an_estimate_by_a_discriminator_is_called_no_bound():
    given = frame(number=[0], objective="log_likelihood", **{"metrics.adversarial_elbo": -1.2, "metrics.elbo": NAN})
    assert "adversarial_elbo is an estimate, no bound; log_likelihood is a bound of" in notes(given, pd.DataFrame())[0]
    assert "adversarial_elbo" in ranking(given)
    other = given.assign(**{"metrics.adversarial_elbo": NAN, "metrics.elbo": -1.3})  # in one table with such a study
    assert "; elbo is a bound of" in notes(other, pd.DataFrame())[0]


def test_what_holds_for_several_studies_is_said_once():
    given = pd.concat([timed(study=["one"]), timed(study=["two"]), timed(study=["three"], kind="soft cross-entropy")])
    found = notes(given, pd.DataFrame())
    assert [line.partition(":")[0] for line in found] == ["one, two", "three", "one", "two", "three"]
    assert found[0].endswith("elbo is a bound of binary images, bernoulli likelihood.")
    older = given.drop(columns=["budget", "started", "ended", "cpu_seconds"])  # the table of an earlier release
    assert notes(older, pd.DataFrame()) == found[:2]
    assert "cpu_seconds" in ranking(given)
    assert "cpu_seconds" not in ranking(older)


def test_confirmation_gives_mean_and_deviation_over_sound_seeds():
    metrics = ("elbo", "log_likelihood", "reconstruction", "kl", "zero_fraction", "active_units", "accuracy")
    rows = [("defaults", "", -10.0), ("defaults", "", -14.0), ("defaults", "nan: ...", NAN), ("trial-3", "", -20.0)]
    given = pd.DataFrame(
        [
            {"study": "one", "configuration": name, "cause": cause, **{f"metrics.{m}": value for m in metrics}}
            for name, cause, value in rows
        ]
    ).assign(**{"metrics.accuracy": NAN})
    found = confirmation(given).set_index("configuration")
    assert (found.loc["defaults", "seeds"], found.loc["defaults", "failed"]) == (2, 1)
    assert found.loc["defaults", "elbo"] == "-12.00 ± 2.83"  # sqrt(8), over n - 1
    assert (found.loc["trial-3", "seeds"], found.loc["trial-3", "failed"]) == (1, 0)
    assert "accuracy" not in found


# From run folders.


def report(steps: int, elbo: float, train=()) -> dict:
    metrics = {**dict.fromkeys(METRICS, 0.5), "measures": list(METRICS), "elbo": elbo}
    return {**metrics, "steps": steps, "seconds": steps / 10, "train": list(train), "cause": ""}


@pytest.fixture
def make(tmp_path):
    """Makes a run of a name, without Ray, in which trial 0 was pruned, 1 completed, 2 failed, 3 is half drawn."""

    def run(name: str, **changes) -> Run:
        spec = StudySpec(
            **{
                "name": name,
                "model": "vae",
                "dataset": "mnist5k",
                "fixed": {"latent": 4, "beta": 1.0, "kl_warmup": 0.0, "betas": [0.5, 0.9]},
                "trials": 6,
                "budget": {"steps": 100, "report_every": 50},
                **changes,
            }
        )
        run = Run(tmp_path / "runs" / name)
        run.create(spec)
        opened = open_run(run, spec, create=True)
        study = opened.study
        study.set_user_attr("kind", "bound")
        trials = [study.ask() for _ in range(4)]
        for trial in trials[:3]:
            spec.draw(trial)
        trials[3].suggest_int("hidden", 100, 1000, log=True)
        store_report(study, trials[0]._trial_id, report(50, -2.0, [[0, {"model": 3.0}], [25, {"model": 2.5}]]))
        finish(opened, 0, report(50, -2.0))
        store_report(study, trials[1]._trial_id, report(50, -1.5, [[0, {"model": 4.0}]]))
        store_report(study, trials[1]._trial_id, {**report(100, -1.0, [[50, {"model": 1.0}]]), "hoyer": NAN})
        finish(opened, 1, report(100, -1.0))
        store_report(study, trials[2]._trial_id, report(50, -9.0))
        fail(opened, 2, "nan: the loss of 'elbo' was not finite at step 77")
        return run

    return run


def test_a_row_says_what_a_trial_was_and_how_it_ended(make):
    run = make("one")
    rows = analysis.trials(run.path).set_index("number")
    assert list(rows["state"]) == ["PRUNED", "COMPLETE", "FAIL", "RUNNING"]
    assert list(rows["steps"]) == [50, 100, 50, 0]
    assert list(rows["cause"]) == ["", "", "nan: the loss of 'elbo' was not finite at step 77", ""]
    assert list(rows["metrics.elbo"])[:3] == [-2.0, -1.0, -9.0]
    assert math.isnan(rows.loc[3, "metrics.elbo"])
    assert math.isnan(rows.loc[1, "metrics.hoyer"])
    assert list(rows["seconds"])[:3] == [5.0, 10.0, 5.0]
    assert list(rows["seed"]) == [derived_seed(0, n) for n in range(4)]
    assert set(rows["kind"]) == {"bound"}
    assert set(rows["params.latent"]) == {4}
    assert set(rows["params.betas"]) == {"[0.5, 0.9]"}
    assert rows["params.lr"].notna().tolist() == [True, True, True, False]  # a default is no draw
    assert rows["params.hidden"].notna().all()


def test_curves_and_train_hold_what_was_reported(make):
    run = make("one")
    curves = analysis.curves(run.path)
    assert curves[["study", "number", "steps", "elbo"]].to_numpy().tolist() == [
        ["one", 0, 50, -2.0],
        ["one", 1, 50, -1.5],
        ["one", 1, 100, -1.0],
        ["one", 2, 50, -9.0],
    ]
    train = analysis.train(run.path)
    assert train.to_numpy().tolist() == [
        ["one", 0, 0, 3.0],
        ["one", 0, 25, 2.5],
        ["one", 1, 0, 4.0],
        ["one", 1, 50, 1.0],
    ]


def test_several_runs_are_one_table(make, tmp_path):
    make("one")
    make("two", seed=5)
    for read in (analysis.trials, analysis.curves, analysis.train):
        together = read("one", "two", root=tmp_path / "runs")
        assert list(together["study"].unique()) == ["one", "two"]
        assert list(together.index) == list(range(len(together)))
    assert len(ranking(analysis.trials("one", "two", root=tmp_path / "runs"))) == 8


def test_a_run_is_its_folder_though_another_holds_a_study_of_its_name(make, tmp_path):
    run = make("one")
    other = Run(shutil.copytree(run.path, tmp_path / "other" / "one"))
    for each, repeats in ((run, [0, 1]), (other, [0])):
        values = {"metrics.elbo": [-8.0, -10.0][: len(repeats)], "samples": 5, "images": 5}
        about = {"study": "one", "configuration": "defaults", "repeat": repeats, "cause": ""}
        pd.DataFrame({**about, **values}).to_parquet(each.table("confirm"))
    together, confirmed = (read(run.path, other.path) for read in (analysis.trials, analysis.confirmed))
    both = ["runs/one", "other/one"]
    assert list(together["study"].unique()) == list(analysis.curves(run.path, other.path)["study"].unique()) == both
    rows = confirmation(confirmed)[["study", "seeds", "elbo"]].to_numpy().tolist()
    assert rows == [["runs/one", 2, "-9.00 ± 1.41"], ["other/one", 1, "-8.00"]]
    ended = studies(together, confirmed)[["study", "trials", "confirmed"]].to_numpy().tolist()
    assert ended == [["runs/one", 4, 2], ["other/one", 4, 1]]
    assert list(analysis.trials(other.path)["study"].unique()) == ["one"]


def test_runs_of_one_folder_name_have_those_above_it_as_far_as_needed():
    paths = ["/a/x/one", "/b/x/one", "/a/x/two", "/one"]
    assert names([Run(path) for path in paths]) == ["a/x/one", "b/x/one", "two", "one"]


def test_a_run_without_trials_is_an_empty_table(make, tmp_path):
    spec = StudySpec(name="none", model="vae", dataset="mnist5k", budget={"steps": 10})
    run = Run(tmp_path / "runs" / "none")
    run.create(spec)
    open_run(run, spec, create=True)
    for read in (analysis.trials, analysis.curves, analysis.train):
        assert len(read(run.path)) == 0
    assert len(ranking(analysis.trials(run.path))) == 0
    text(ranking(analysis.trials(run.path)))
    make("one")
    assert len(analysis.trials("none", "one", root=tmp_path / "runs")) == 4


def test_a_table_follows_the_study(make):
    run = make("one")
    assert len(analysis.trials(run.path)) == 4
    written = run.table("results").stat().st_mtime_ns
    analysis.trials(run.path)
    assert run.table("results").stat().st_mtime_ns == written
    open_run(run).study.ask()
    assert not tables.fresh(run, "results")
    assert len(analysis.trials(run.path)) == 5


def test_a_study_that_is_stored_elsewhere_is_always_read(make, tmp_path):
    run = make("one", storage=f"sqlite:///{tmp_path / 'elsewhere.db'}")
    assert not run.database.exists()
    assert len(analysis.trials(run.path)) == 4
    open_run(run).study.ask()
    assert len(analysis.trials(run.path)) == 5


def test_a_run_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"no run 'one'; there is none in .* yet"):
        analysis.trials("one", root=tmp_path)
    (tmp_path / "one").mkdir()
    for given in ("one", tmp_path / "one"):
        with pytest.raises(RunError, match=rf"no run '.*one'; the folder {tmp_path}/one holds no study; there is none"):
            analysis.trials(given, root=tmp_path)


@pytest.mark.parametrize(
    ("read", "name"), [("trials", "results"), ("curves", "curves"), ("train", "train"), ("confirmed", "confirm")]
)
def test_of_no_run_there_are_no_rows_but_the_columns(read, name):
    frame = getattr(analysis, read)()
    assert len(frame) == 0
    assert {*frame} == {"study"} | {column for column in COLUMNS[name] if "*" not in column}


def test_reading_leaves_no_other_files(make):
    run = make("one")
    before = {path.name for path in run.path.iterdir()}
    analysis.trials(run.path)
    after = {path.name for path in Path(run.path).iterdir()}
    assert after - before == {"results.parquet", "curves.parquet", "train.parquet"}
