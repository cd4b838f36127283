"""Searches replayed from their stored curves: by hand, as the study itself decided, and on the command line."""

import math
import random
import shutil

import numpy as np
import pandas as pd
import pytest
from optuna.trial import TrialState

import analysis.__main__
from analysis import replay
from analysis.replay import FULL, Search, Setting, searched, settings, summary
from analysis.simulation import ENDED, Curve, own_decisions, simulate
from study import cli
from study.record.folder import Run, RunError
from study.record.pathologies import PATHOLOGY
from study.record.storage import open_run
from study.record.trials import fail, finish, store_report
from study.spec import SpecError, StudySpec
from study.spec.halving import Promotion, Stopping
from study.spec.measures import METRICS, PLACE

NAN = math.nan
BUDGET, EVERY = 80, 10


def curve(number: int, *values: float, state: str = "COMPLETE", pace: float = 1.0) -> Curve:
    """A report every ten steps, each after so many seconds."""
    reports = range(1, len(values) + 1)
    return Curve(number, state, tuple(10 * k for k in reports), tuple(values), tuple(pace * k for k in reports))


# By hand.


def test_one_worker_takes_one_trial_after_the_other():
    curves = [curve(0, 4.9, 6.0, 7.0), curve(1, 4.0, 9.0, 9.0), curve(2, 6.0, 6.5, 6.6)]
    found = simulate(curves, Stopping([10], 2))
    assert found == (70, 7.0, [0, 2], {1: 10}, {})
    assert simulate(curves[::-1], Stopping([10], 2)) == (50, 5.0, [2], {1: 10, 0: 10}, {})
    assert simulate(curves, FULL.rule()) == (90, 9.0, [0, 1, 2], {}, {})


def test_two_workers_report_in_the_order_of_their_times():
    """The slow trial is judged after the fast ones, which it would have stopped."""
    curves = [curve(0, 9.0, 9.0, pace=5.0), curve(1, 1.0, 1.0), curve(2, 2.0, 2.0)]
    assert simulate(curves, Stopping([10], 2)) == (40, 12.0, [0], {1: 10, 2: 10}, {})
    assert simulate(curves, Stopping([10], 2), workers=2) == (60, 10.0, [1, 2, 0], {}, {})
    assert simulate(curves, Stopping([10], 2), workers=9).seconds == 10.0


def test_a_paused_trial_goes_on_once_it_is_among_the_best():
    curves = [curve(0, 1.0, 1.0), curve(1, 2.0, 8.0), curve(2, 3.0, 3.0), curve(3, 0.0, 9.0)]
    found = simulate(curves, Promotion([10], 2))
    assert found == (60, 6.0, [1, 2], {0: 10, 3: 10}, {})  # 1 after two, 2 after four
    assert simulate(curves[::-1], Stopping([10], 2)).complete == [3, 2, 1]


def test_the_best_that_were_stopped_go_on_where_too_few_are_complete():
    """Once nobody else is at work: 1 and 3 at the same time, and they pause nowhere."""
    curves = [curve(n, value, value, value) for n, value in enumerate((9.0, 3.0, 1.0, 2.0))]
    found = simulate(curves, Stopping([10, 20], 2, complete=3), workers=2)
    assert found == (100, 5.0, [0, 1, 3], {2: 10}, {})
    found = simulate(curves, Promotion([10, 20], 2, complete=3), workers=2)
    assert (found.complete, found.stopped, found.steps) == ([0, 1, 3], {2: 10}, 100)
    failing = [curves[0], curve(1, 3.0, 3.0, state="FAIL"), *curves[2:]]
    assert simulate(failing, Promotion([10, 20], 2, complete=3)).complete == [0, 3, 2]
    cut = [curves[0], curve(1, 3.0, state="PRUNED"), *curves[2:]]
    found = simulate(cut, Stopping([10, 20], 2, complete=2))
    assert (found.complete, found.unknown) == ([0], {1: 10})  # whose end would have been the second


@pytest.mark.parametrize("rule", [Stopping, Promotion])
def test_what_is_not_stored_is_counted_and_not_made_up(rule):
    """Trial 0 was stopped at 20 in the study; here it is the best, and was to go on."""
    curves = [curve(0, 9.0, 9.0, state="PRUNED"), curve(1, 1.0, 1.0, 1.0, 1.0), curve(2, 0.0, 0.0, 0.0, 0.0)]
    found = simulate(curves, rule([10], 2))
    assert found == (40, 4.0, [], {1: 10, 2: 10}, {0: 20})
    assert simulate(curves[1:], rule([10], 2)).unknown == {}
    cut = [curves[0]._replace(steps=(10,), values=(9.0,), seconds=(1.0,)), *curves[1:]]
    assert simulate(cut, rule([10], 2)) == (30, 3.0, [], {1: 10, 2: 10}, {0: 10})


def test_a_trial_that_failed_fails_again():
    curves = [curve(0, 5.0, state="FAIL"), curve(1, state="FAIL"), curve(2, 6.0, NAN, 7.0)]
    assert simulate(curves, Stopping([20], 2)) == (40, 4.0, [2], {}, {})


@pytest.mark.parametrize("seed", range(5))
def test_no_trial_is_lost_or_twice_there(seed):
    numbers = random.Random(seed)
    states = ["COMPLETE"] * 20 + ["PRUNED"] * 8 + ["FAIL"] * 3
    curves = []
    for number, state in enumerate(states):
        length = 8 if state == "COMPLETE" else numbers.randint(1, 7)
        values = [numbers.gauss(number / 10, 1) for _ in range(length)]
        curves.append(curve(number, *values, state=state, pace=numbers.uniform(0.5, 2)))
    for rule in (Stopping([10, 20, 40], 2), Promotion([10, 20, 40], 2), Promotion([20], 3)):
        found = simulate(curves, rule, workers=3)
        ended = [*found.complete, *found.stopped, *found.unknown]
        assert len(ended) == len(set(ended))
        assert {*range(28)} <= {*ended}
        assert set(found.complete) <= {*range(20)}
        assert set(found.unknown) <= {*range(20, 28)}


def specification(name: str = "by-hand", **changes) -> StudySpec:
    given = {"model": "vae", "dataset": "mnist5k", "sampler": "random", "trials": 16, "storage": "journal"}
    fixed = {"posterior": "gaussian", "prior": "standard", "hidden": 16, "latent": 4, "beta": 1.0, "kl_warmup": 0.0}
    budget = {"steps": BUDGET, "batch": 32, "report_every": EVERY}
    return StudySpec(**{"name": name, **given, "fixed": fixed, "budget": budget, **changes})


def study(*curves: Curve) -> Search:
    """What is replayed of a study, without its folder."""
    return Search(Run("by-hand"), specification(budget={"steps": 30, "report_every": 10}), list(curves), None, 0)


def test_a_summary_has_means_over_orders_and_their_intervals():
    """Of two trials the one that comes second is stopped if it is worse; promotion takes neither of two at 1 in 3."""
    pair = study(curve(0, 1.0, 5.0, 9.0), curve(1, 2.0, 3.0, 4.0))  # a slow starter, which is the best
    ways = [FULL, Setting("stop", 10, 3, (10,)), Setting("promote", 10, 3, (10,))]
    made = replay.replay(pair, ways, orders=100)
    assert len(made) == 300
    found = summary("pair", made, 1).set_index("mode")
    first = made[(made["mode"] == "stop") & (made["best_lost"] == 0)]  # it came first: both went on
    share = len(first) / 100
    assert 0.35 < share < 0.65
    assert found.loc["full", ["steps", "steps_share", "best_lost", "best_lost_high", "regret"]].tolist() == [
        *(60, 1, 0, 0, 0),
    ]
    assert found.loc["stop", "best_lost"] == pytest.approx(1 - share)
    assert found.loc["stop", "steps"] == pytest.approx(60 * share + 40 * (1 - share))
    assert found.loc["stop", "regret"] == pytest.approx(5 * (1 - share))
    assert tuple(found.loc["stop", ["regret_low", "regret_high", "steps_low", "steps_high"]]) == (0, 5, 40, 60)
    low, high = found.loc["stop", ["best_lost_low", "best_lost_high"]]
    assert low < 1 - share < high < low + 0.17  # 2 * 1.64 * sqrt(0.25 / 100) wide
    assert found.loc["promote", ["complete", "best_lost", "none_complete", "steps"]].tolist() == [0, 1, 1, 20]
    assert math.isnan(found.loc["promote", "regret"])
    shown = replay.shown(found.reset_index(), "elbo").set_index("mode")
    assert shown.loc["full", "steps"] == "100%"
    assert shown.loc["promote", "regret"] == ""
    assert "unknown" not in shown


def test_a_smaller_search_has_a_best_of_its_own():
    """Trial 0 leads from the start; without it, 1 and 2 are in an order in which the slow starter is lost or not."""
    three = study(curve(0, 9.0, 9.5, 9.9), curve(1, 1.0, 5.0, 9.0), curve(2, 2.0, 3.0, 4.0))
    stop = Setting("stop", 10, 2, (10,))
    assert not replay.replay(three, [stop], orders=50)["best_lost"].any()
    made = replay.replay(three, [FULL, stop], orders=300, trials=2)
    lost = made[(made["mode"] == "stop") & (made["best_lost"] == 1)]
    assert 0.1 < len(lost) / 300 < 0.24  # a third of the pairs, half of the orders
    assert set(lost["regret"]) == {5}
    assert set(made.loc[made["mode"] == "full", "steps"]) == {60}


def test_a_smaller_search_without_a_complete_trial_says_nothing_of_the_best():
    cut = study(curve(0, 9.0, 9.5, 9.9), curve(1, 1.0, state="PRUNED"))
    made = replay.replay(cut, [FULL], orders=40, trials=1)
    alone = made[made["complete"] == 0]
    assert 5 < len(alone) < 35
    assert alone[["best_lost", "regret"]].isna().all(axis=None)
    assert set(alone["unknown_steps"]) == {20}
    found = summary("cut", made, 1).iloc[0]
    assert (found["best_lost"], found["regret"], found["none_complete"]) == (0, 0, len(alone) / 40)


def test_seconds_that_were_not_kept_are_not_made_up():
    pair = study(curve(0, 1.0, 5.0, 9.0), curve(1, 2.0, 3.0, 4.0)._replace(seconds=(NAN, NAN, NAN)))
    found = summary("pair", replay.replay(pair, [FULL], orders=3), 1)
    assert found["seconds"].isna().all()
    assert "seconds" not in replay.shown(found, "elbo")


# As the study itself decided.


def value(number: int, step: int) -> float:
    """Trials of all qualities, in noise; a number that is not finite now and then."""
    numbers = random.Random(1000 * number + step)
    return NAN if numbers.random() < 0.02 else -200 + number % 7 + step / 10 + numbers.gauss(0, 2)


def report(number: int, step: int, place: int) -> dict:
    given = dict.fromkeys(METRICS, 0.5) | {"elbo": value(number, step) if step < BUDGET else 1.0 * (number % 7)}
    return {**given, "measures": list(METRICS), "steps": step, "seconds": step / 10.0, "train": [], PLACE: place}


def build(spec: StudySpec, run: Run, workers: int) -> Run:
    """A search as its ledger keeps it, of trials that nobody trains; so many report in turn."""
    run.create(spec)
    opened = open_run(run, spec, create=True)
    rule = Stopping(spec.rungs, spec.asha.reduction) if spec.asha else FULL.rule()
    at_work, place, pace = [], 0, random.Random(workers)
    while True:
        while len(at_work) < workers and len(opened.study.trials) < spec.trials:
            trial = opened.study.ask()
            spec.draw(trial)
            at_work.append([trial, 0])
        if not at_work:
            return run
        one = pace.choice(at_work)
        trial, step = one[0], one[1] + EVERY
        one[1] = step
        made = report(trial.number, step, place)
        goes_on = rule.goes_on(trial.number, step, made["elbo"])
        ends = step == BUDGET or not goes_on
        store_report(opened.study, trial._trial_id, {**made, "done": ends})
        place += 1
        if trial.number == 5 and step == 20:
            fail(opened, trial.number, "nan: by hand")
            at_work.remove(one)
        elif spec.stop_on and trial.number in (6, 9) and step == 20:
            trial.set_user_attr(PATHOLOGY, spec.stop_on[0])
            rule.end(trial.number)
            finish(opened, trial.number, {**made, "cause": "", "done": True, "ended": True})
            at_work.remove(one)
        elif ends:
            finish(opened, trial.number, {**made, "cause": ""})
            at_work.remove(one)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs by name: one worker, two, and one without ASHA; each is made once."""
    root, runs = tmp_path_factory.mktemp("replayed"), {}
    halving = {"grace": 20, "reduction": 2}
    ways = {"one": (1, {**halving, "grace": 10}), "two": (2, {**halving, "grace": 10}), "full": (1, None)}
    ways["ill"] = (2, halving)

    def make(name: str) -> Run:
        if name not in runs:
            workers, asha = ways[name]
            stop_on = ["collapsed"] if name == "ill" else []
            runs[name] = build(specification(name, asha=asha, stop_on=stop_on), Run(root / name), workers)
        return runs[name]

    return make


def pruned(run: Run) -> dict[int, int]:
    trials = open_run(run).study.get_trials(states=[TrialState.PRUNED])
    return {trial.number: trial.last_step for trial in trials}


@pytest.mark.parametrize("name", ["one", "two"])
def test_a_study_gives_its_own_decisions_back(made, name):
    run = made(name)
    found = searched(run)
    assert len(pruned(run)) > 4
    assert len({*pruned(run).values()}) > 1  # at several rungs
    assert own_decisions(found.spec, found.reports) == pruned(run)
    assert any("16 of 16 trials end where they did" in note for note in replay.notes(found, 1, 100))


def test_who_was_ended_for_a_pathology_is_ended_there_under_any_rule(made):
    """Where they are at a rung, and one of them is stopped there anyway."""
    run = made("ill")
    found = searched(run)
    ended = [curve.number for curve in found.curves if curve.state == ENDED]
    assert ended == [6, 9]
    assert own_decisions(found.spec, found.reports, ended=ended).keys() == pruned(run).keys() - {6, 9}
    assert any("16 of 16 trials end where they did" in note for note in replay.notes(found, 1, 100))
    whole = simulate(found.curves, FULL.rule())
    assert {6, 9}.isdisjoint({*whole.unknown, *whole.complete, *whole.stopped})
    assert replay.full_steps([c for c in found.curves if c.number in (6, 9)], BUDGET) == 40


def test_the_simulator_repeats_a_study_of_one_worker_trial_by_trial(made):
    run = made("one")
    found = searched(run)
    own = next(way for way in settings(run, found.spec, modes=["stop"]) if (way.grace, way.reduction) == (10, 2))
    outcome = simulate(found.curves, own.rule())
    assert outcome.stopped == pruned(run)
    assert outcome.unknown == {}
    assert outcome.steps == sum(curve.steps[-1] for curve in found.curves)
    longer = simulate(found.curves, Stopping([40], 2))
    assert longer.unknown  # who was stopped at 10 goes on to 40, which nobody knows


def test_an_older_study_without_the_order_is_judged_by_the_times_of_its_reports(made):
    found = searched(made("one"))
    when = pd.Timestamp("2026-01-02") + pd.to_timedelta(found.reports[PLACE], unit="min")
    older = found._replace(reports=found.reports.assign(reported=when, **{PLACE: NAN}))
    assert own_decisions(older.spec, older.reports) == pruned(made("one"))
    assert any("known to the second only" in note for note in replay.notes(older, 1, 100))


def test_settings_are_what_a_preset_may_have(made):
    run = made("one")
    spec = run.spec()
    usual = settings(run, spec)
    assert usual[0] == FULL
    assert {way.grace for way in usual[1:]} == {10, 20, 40}
    assert len(usual) == 1 + 2 * 3 * 3
    assert settings(run, spec, [20], [2], ["stop"])[1:] == [("stop", 20, 2, (20, 40), 0)]
    assert settings(run, spec, [20], [2], ["promote"])[1:] == [("promote", 20, 2, (20, 40), 3)]
    assert [way.least for way in settings(run, spec, [20], [2], complete=5)[1:]] == [5, 5]
    with pytest.raises(
        SpecError, match=r"one: --grace 90: must be a multiple of 10, at which trials report, and at most "
    ):
        settings(run, spec, [90])
    with pytest.raises(SpecError, match=r"one: --grace 15: must be a multiple of 10"):
        settings(run, spec, [15])


def test_a_run_without_a_complete_trial_or_a_report_is_refused(tmp_path):
    spec = specification()
    run = Run(tmp_path / "tiny")
    run.create(spec)
    opened = open_run(run, spec, create=True)
    with pytest.raises(RunError, match="no learning curves"):
        searched(run)
    trial = opened.study.ask()
    spec.draw(trial)
    store_report(opened.study, trial._trial_id, report(0, 10, 0))
    with pytest.raises(RunError, match="no complete trial yet"):
        searched(run)


# On the command line.


@pytest.fixture
def command(monkeypatch, capsys):
    def call(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["analysis", "replay", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main(analysis.__main__.app)
        return (ended.value.code or 0, *capsys.readouterr())

    return call


def test_the_table_the_figure_and_what_is_not_known(made, command):
    run = made("two")
    code, out, err = command(run.path, "--grace", 20, "--mode", "promote", "--workers", 2, "--orders", 10)
    assert code == 0
    assert err.splitlines() == [str(run.path / "figures" / f"replay.{suffix}") for suffix in ("png", "pdf")]
    assert all((run.path / "figures" / f"replay.{suffix}").stat().st_size > 1000 for suffix in ("png", "pdf"))
    assert [line.split()[0] for line in out.splitlines()[1:5]] == ["full", *["promote"] * 3]
    assert "10 random orders, 2 trials at a time" in out
    assert "trials that ended early would have gone on" in out
    assert "sampler, random, drew no trial by what others had reached" in out


def test_several_studies_as_markdown_and_as_files(made, command, tmp_path):
    both = (made("full").path, made("two").path, "--grace", 20, "--mode", "stop", "--orders", 4)
    both = (*both, "--figure", tmp_path / "both.svg")
    code, out, _ = command(*both, "--format", "md")
    assert code == 0
    assert out.splitlines()[0].startswith("| study | mode | grace | reduction | rungs | steps | seconds | complete |")
    assert out.count("| full | stop |") == out.count("| two | stop |") == 3
    code, out, _ = command(*both, "--format", "parquet", "--out", tmp_path / "all.parquet")
    frame = pd.read_parquet(tmp_path / "all.parquet")
    assert (code, out, len(frame)) == (0, "", 8)
    full = frame[frame["study"] == "full"]
    assert (full["unknown"] == 0).all()
    assert set(full["trials"]) == {16}
    np.testing.assert_array_equal(full.loc[full["mode"] == "full", "steps_share"], 1.0)
    assert (tmp_path / "both.svg").read_text().startswith("<?xml")


def test_beside_a_file_the_figure_has_its_name_and_the_run_is_left_alone(made, command, tmp_path):
    run = Run(shutil.copytree(made("two").path, tmp_path / "two", ignore=shutil.ignore_patterns("figures")))
    (run.path / "figures").touch()  # where no folder can be made
    short = (run.path, "--grace", 20, "--mode", "stop", "--orders", 4)
    code, _, err = command(*short)
    assert (code, err.splitlines()[0].endswith("name a file with --figure, or with --out")) == (2, True)
    code, out, err = command(*short, "--format", "csv", "--out", tmp_path / "rungs.csv")
    pictures = [tmp_path / "rungs.png", tmp_path / "rungs.pdf"]
    assert (code, out, err.splitlines()) == (0, "", [str(path) for path in pictures])
    assert all(path.stat().st_size > 1000 for path in pictures)
    assert len(pd.read_csv(tmp_path / "rungs.csv")) == 4
    code, _, err = command(*short, "--out", tmp_path / "rungs.pdf")
    assert (code, "the table goes there; name a file with --figure" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nothing",), "no run 'nothing'"),
        (
            ("RUN", "--grace", "90"),
            "--grace 90: must be a multiple of 10, at which trials report, and at most their 80",
        ),
        (("RUN", "--grace", "-10"), "full: --grace -10: must be a multiple of 10"),
        (("RUN", "--grace", "15"), "full: --grace 15: must be a multiple of 10"),
        (("RUN", "--reduction", "1"), "full: --reduction 1: must be 2 or more"),
        (("RUN", "--orders", "0"), "--orders: must be 1 or more, got 0"),
        (("RUN", "--orders", "1000000000"), "--orders: must be at most 10,000, got 1,000,000,000"),
        (("RUN", "--trials", "17"), "--trials: full has 16 to replay, got 17"),
        (("RUN", "--complete", "-1"), "--complete: must be 0 or more, got -1"),
        (("RUN", "--workers", "-2"), "--workers: must be 1 or more, got -2"),
        (("RUN", "--figure", "here.gif"), "--figure: must end in .png, .pdf or .svg"),
        (("RUN", "--format", "parquet"), "name a file with --out"),
    ],
)
def test_a_mistake_is_a_line_and_nothing_is_written(made, command, arguments, says):
    run = made("full")
    code, out, err = command(*(run.path if given == "RUN" else given for given in arguments))
    assert (code, out) == (2, "")
    assert says in err
    assert len(err.splitlines()) == 1
    assert not (run.path / "figures" / "replay.png").exists()
