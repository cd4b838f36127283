"""`python -m study seeds`: one configuration over fresh seeds, without a search."""

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from here import TEST, defined, flat
from matplotlib.figure import Figure

import analysis
import analysis.__main__
import models
import searchspaces.vae
from study import confirm as confirming
from study.agenda import Agenda
from study.confirm import jobs
from study.export import best, export
from study.record import tables
from study.record.confirmation import result
from study.record.folder import Run, RunError
from study.record.seeds import without_search
from study.record.storage import KIND, open_run
from study.signals import Stop
from study.spec import SpecError, StudySpec, load
from study.tasks import work
from study.trial import checkpoint
from study.tune import runner

CPU = torch.device("cpu")
SMALL = {
    "trials": 4,
    "asha": {"grace": 10},
    "budget": {"steps": 20, "report_every": 10},
    "confirm": {"top": 2, "seeds": 9, "samples": 4, "images": 20, "scores": []},
}


@pytest.fixture
def given(preset, tmp_path) -> Path:
    """A preset of a search, as a file."""
    return preset(tmp_path, **SMALL)


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    """Where `seeds` puts that preset's run, in runs/."""
    monkeypatch.chdir(tmp_path)
    return Run(tmp_path / "runs" / "tiny-seeds")


class Here:
    """Does jobs in this process instead of Ray's."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.most = 99  # of jobs; a signal comes then
        self.fails: set[int] = set()

    def work_all(self, agenda: Agenda, *_: Any) -> int | None:
        for i, task in enumerate(agenda.ready()):
            if i == self.most:
                return 15
            [job] = task.jobs
            settings = {"lr": 1e18} if job.repeat in self.fails else {}
            made = job._replace(candidate=job.candidate._replace(settings={**job.candidate.settings, **settings}))
            agenda.take(task, work(agenda.run, agenda.spec, made, None, CPU))
            self.done.append(job.repeat)
        return None


@pytest.fixture
def here(monkeypatch, no_ray) -> Here:
    @contextmanager
    def at_work(*_: Any) -> Iterator[Stop]:
        yield Stop()

    made = Here()
    monkeypatch.setattr(confirming, "_at_work", at_work)
    monkeypatch.setattr(confirming, "_work_all", made.work_all)
    return made


@pytest.fixture
def seeded(command, given, run, here) -> Callable[..., Run]:
    """Calls the command, which must end well."""

    def call(*arguments: str) -> Run:
        code, _, err = command("seeds", given, *arguments)
        assert (code, err) == (0, "")
        return run

    return call


def rows(run: Run) -> list[dict[str, Any]]:
    """The table without times and what each latent does, NaN as None."""
    frame = pd.read_parquet(run.table("confirm")).drop(columns=["seconds", "cpu_seconds"])
    frame = frame[[column for column in frame if not column.startswith("latents.")]]
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


# What is asked for.


def test_the_specification_is_the_presets_without_its_search(given):
    spec = without_search(str(given), ["fixed.lr=0.01"], "3")
    changed = {"name": "tiny-seeds", "trials": 0, "asha": None}
    expected = load(given, ["fixed.lr=0.01", "confirm.top=0", "confirm.seeds=3"]).model_copy(update=changed)
    assert spec == expected
    assert without_search(str(given), ["name=mine"], "3").name == "mine"


@pytest.mark.parametrize("number", ["0", "-1", "x", "1.5", "null"])
def test_what_is_no_number_of_seeds_is_refused(command, given, run, listing, number):
    before = listing()
    code, out, err = command("seeds", given, "--seeds", number)
    assert (code, out) == (2, "")
    assert err.startswith("tiny.yaml: confirm.seeds: input should be ")
    assert err.count("\n") == 1
    assert listing() == before


@pytest.mark.parametrize("key", ["trials", "asha", "asha.grace", "confirm.top", "confirm.seeds"])
def test_what_belongs_to_a_search_is_refused(given, key):
    with pytest.raises(SpecError) as refused:
        without_search(str(given), [f"{key}=10"], "3")
    assert str(refused.value) == f"--set: {key}: `seeds` searches nothing, and --seeds says how many"


def test_a_search_of_nothing_is_refused(command, given, run, listing):
    before = listing()
    for options in ([], ["--dry-run"]):
        code, out, err = command("run", given, "--set", "trials=0", *options)
        assert (code, out) == (2, "")
        assert err == "tiny: trials: 0 is a search of nothing; `seeds` trains the defaults without a search\n"
    with pytest.raises(SpecError, match="a search of nothing"):
        runner.run(load(given, ["trials=0", "asha=null"]), run)
    assert listing() == before


def test_a_dry_run_says_what_would_be_and_writes_nothing(command, given, run, listing):
    before = listing()
    code, out, err = command("seeds", given, "--seeds", "3", "--dry-run")
    assert (code, err) == (0, "")
    assert out.startswith("tiny-seeds: vae on mnist5k")
    assert "  no search: the defaults over 3 fresh seeds, trainings of 20 steps (batch 32, " in out
    assert "  pins " in out
    assert "hidden=16, " in out
    assert out.endswith(f"  writes {run.path}\n")
    assert not [word for word in ("trials", "sampler", "draws", "ASHA") if word in out]
    assert listing() == before


def test_data_that_is_not_there_is_told_before_a_folder_is_made(command, given, run):
    code, _, err = command("seeds", given, "--set", "dataset=svhn", "--data", "nowhere")
    assert code == 2
    assert "nowhere" in err
    assert not run.path.parent.exists()


# What comes out.


def test_it_is_the_confirmation_of_the_defaults(seeded, raw, tmp_path):
    run = seeded("--seeds", "2")
    spec, frame = run.spec(), analysis.confirmed(run.path)
    assert (spec.trials, spec.asha, spec.confirm.seeds) == (0, None, 2)
    assert list(zip(frame.study, frame.configuration, frame.repeat)) == [("tiny-seeds", "defaults", i) for i in (0, 1)]
    assert frame.kind.tolist() == ["soft cross-entropy"] * 2
    searched = StudySpec(**raw(**{**SMALL, "trials": 1}))  # whose defaults have the same seeds
    other = Run(tmp_path / "searched")
    other.create(searched)
    made = jobs(open_run(other, searched, create=True))[:2]
    assert frame.seed.tolist() == [job.seed for job in made]
    for job, row in zip(made, rows(run)):
        found, row = flat(work(Run(tmp_path / "afresh"), searched, job, None, CPU), searched), defined(row)
        assert {key: row[f"metrics.{key}"] for key in TEST} == {key: found[key] for key in TEST}


def test_the_command_line_says_where_it_stands_and_what_it_writes(command, given, run, here):
    code, out, err = command("seeds", given, "--seeds", "2")
    assert (code, err) == (0, "")
    assert out.endswith("tiny-seeds: no search; 2 of 2 seeds\ntable: python -m analysis table tiny-seeds\n")
    assert command("status", "tiny-seeds") == (0, "tiny-seeds: no search; 2 of 2 seeds\n", "")
    assert command("doctor", "tiny-seeds") == (0, "tiny-seeds is sound: no search; 2 of 2 seeds\n", "")


@pytest.mark.parametrize(("fails", "code"), [({1}, 3), ({0, 1}, 1)])
def test_failed_seeds_are_counted_and_told_by_the_exit_code(command, given, run, here, fails, code):
    here.fails = fails
    sound = 2 - len(fails)
    assert command("seeds", given, "--seeds", "2")[0] == code
    standing = f"no search; {sound} of 2 seeds, {len(fails)} failed"
    assert command("status", "tiny-seeds")[1] == f"tiny-seeds: {standing}\n"
    assert command("doctor", "tiny-seeds")[:2] == (0, f"tiny-seeds is sound: {standing}\n")
    assert command("confirm", "tiny-seeds")[0] == 0
    assert len(here.done) == 2  # a failure is a result
    exported, _, err = command("export", "tiny-seeds", "--out", "best")
    assert exported == (0 if sound else 2)
    if not sound:
        assert err == "all seeds of tiny-seeds failed\n"


def test_there_is_no_search_to_go_on_with_or_to_add_to(command, seeded):
    seeded("--seeds", "1")
    code, out, err = command("resume", "tiny-seeds")
    assert (code, out) == (2, "")
    assert err == "tiny-seeds has no search to go on with; its seeds go on with `python -m study confirm tiny-seeds`\n"
    code, out, err = command("run", "tiny-seeds", "--trials", "+3")
    assert (code, out) == (2, "")
    assert err.startswith("tiny-seeds has no search to add trials to; ")


def test_the_tables_of_trials_are_empty_and_have_their_columns(seeded):
    run = seeded("--seeds", "1")
    for _ in range(2):  # from the study, then from the file
        frame = analysis.trials(run.path)
        assert len(frame) == 0
        assert {"study", "number", "state", "metrics.elbo"} <= set(frame)
    assert len(analysis.curves(run.path)) == len(analysis.train(run.path)) == 0
    tables.write(run)
    assert all(run.table(name).is_file() for name in tables.TABLES)


def test_several_are_rows_of_one_table(command, seeded, run):
    seeded("--seeds", "2")
    seeded("--seeds", "3", "--set", "name=ablation", "--set", "fixed.latent=2")
    code, out, err = command("table", "tiny-seeds", "ablation", app=analysis.__main__.app)
    assert (code, err) == (0, "")
    assert "Empty" not in out
    found = [line.split()[:4] for line in out.splitlines() if "defaults" in line]
    assert found == [["tiny-seeds", "defaults", "2", "0"], ["ablation", "defaults", "3", "0"]]
    assert out.count("elbo is a soft cross-entropy of grey images, bernoulli likelihood; ") == 1
    assert "\ntiny-seeds, ablation: confirmed numbers are those of the best checkpoint" in out  # once for both
    frame = analysis.confirmed("tiny-seeds", "ablation")
    assert frame.groupby("study")["repeat"].apply(list).to_dict() == {"ablation": [0, 1, 2], "tiny-seeds": [0, 1]}


def test_it_stands_beside_a_search(command, seeded, given):
    seeded("--seeds", "1")
    assert command("train", given)[0] == 0
    both = analysis.trials("tiny", "tiny-seeds")
    pd.testing.assert_frame_equal(both, analysis.trials("tiny"))
    out = command("table", "tiny", "tiny-seeds", app=analysis.__main__.app)[1]
    assert "COMPLETE" in out
    assert "tiny-seeds  " in out


@pytest.mark.long
def test_figures_are_those_that_it_has_the_data_for(command, seeded, monkeypatch):
    monkeypatch.setattr(Figure, "savefig", lambda _, path, **__: path.write_bytes(b""))
    seeded("--seeds", "2")
    seeded("--seeds", "1", "--set", "name=ablation")
    code, out, err = command("figures", "tiny-seeds", "ablation", app=analysis.__main__.app)
    assert (code, err) == (0, "")
    names = [Path(line).relative_to(Path("runs").resolve()).as_posix() for line in out.splitlines()]
    shown = ("confirmed.png", "reconstructions.png", "samples.pdf", "traversal.pdf", "training_progress.gif")
    each = {f"{name}/figures/{figure}" for name in ("tiny-seeds", "ablation") for figure in shown}
    assert {*each, "tiny-seeds/figures/compared/confirmed.png"} <= {*names}
    of_a_search = {"learning_curves", "training_losses", "hyperparameters", "rungs", "cost"}
    assert not of_a_search & {Path(name).stem for name in names}
    seeded("--seeds", "1", "--set", "name=unlike", "--set", "preprocessing.binarise=threshold")
    _, _, err = command("figures", "tiny-seeds", "unlike", app=analysis.__main__.app)
    assert err == "not compared in one figure: the runs differ in preprocessing, kind\n"


def test_an_export_is_the_best_seed_by_the_first_objective(seeded, tmp_path):
    run = seeded("--seeds", "3")
    states = [checkpoint.load(run.confirmation("defaults", repeat) / checkpoint.BEST) for repeat in range(3)]
    values = [state["report"]["elbo"] for state in states]
    repeat = values.index(max(values))
    out = export(run, tmp_path / "out")
    config = json.loads((out / "config.json").read_text())
    assert (config["repeat"], config["seed"]) == (repeat, rows(run)[repeat]["seed"])
    assert "trial" not in config
    assert json.loads((out / "metrics.json").read_text())["elbo"] == values[repeat]
    for key, value in models.load(out).state_dict().items():
        assert torch.equal(value, states[repeat]["training"]["model"][key])
    card = (out / "README.md").read_text()
    assert f"Seed {repeat + 1}, the best of 3, in the study `tiny-seeds`, after 20 optimiser steps" in card
    assert "search" not in card
    (run.confirmation("defaults", 1) / checkpoint.BEST).unlink()
    with pytest.raises(RunError, match=r"the checkpoint of seed 2, .*best\.pt, is gone"):
        best(open_run(run))


# Going on.


@pytest.mark.long
def test_stopped_half_way_it_goes_on_with_confirm(command, given, run, here):
    here.most = 1
    code, out, _ = command("seeds", given, "--seeds", "3")
    assert code == 143
    assert out.endswith("tiny-seeds: no search; 1 of 3 seeds\n")
    assert command("doctor", "tiny-seeds")[:2] == (0, "tiny-seeds is sound: no search; 1 of 3 seeds\n")
    assert command("export", "tiny-seeds", "--out", "best")[0] == 0
    assert command("figures", "tiny-seeds", app=analysis.__main__.app)[0] == 0
    run.table("confirm").unlink()  # as after a hard end
    assert command("figures", "tiny-seeds", app=analysis.__main__.app)[0] == 0
    assert command("table", "tiny-seeds", app=analysis.__main__.app)[0] == 0
    here.most = 9
    assert command("confirm", "tiny-seeds") == (0, "table: python -m analysis table tiny-seeds\n", "")
    assert here.done == [0, 1, 2]
    assert [row["repeat"] for row in rows(run)] == [0, 1, 2]


def test_before_the_first_seed_is_done_there_is_nothing_to_export(command, given, run, here):
    here.most = 0
    assert command("seeds", given, "--seeds", "3")[0] == 143
    line = "tiny-seeds has no complete seed yet; go on with `python -m study confirm tiny-seeds`\n"
    assert command("export", "tiny-seeds", "--out", "best") == (2, "", line)
    left_out = f"tiny-seeds: what needs its best model is not drawn: {line}"
    assert command("figures", "tiny-seeds", app=analysis.__main__.app) == (2, "", left_out)
    assert command("table", "tiny-seeds", app=analysis.__main__.app)[::2] == (0, "")


def test_killed_before_it_had_a_study_it_goes_on_with_confirm(command, given, run, here):
    run.create(without_search(str(given), [], "2"))
    go_on = "go on with `python -m study confirm tiny-seeds`"
    assert command("status", "tiny-seeds")[::2] == (2, f"{run.path} has no study yet; {go_on}\n")
    sound = "tiny-seeds is sound: it has no study yet; go on with: python -m study confirm tiny-seeds\n"
    assert command("doctor", "tiny-seeds")[:2] == (0, sound)
    assert command("confirm", "tiny-seeds")[0] == 0
    assert open_run(run).study.user_attrs[KIND] == "soft cross-entropy"
    assert [row["kind"] for row in rows(run)] == ["soft cross-entropy"] * 2


def test_more_seeds_are_added_to_those_that_are_there(command, seeded, here, run):
    seeded("--seeds", "2")
    before, kept = rows(run), {path: path.read_bytes() for path in run.path.glob("confirm/*/*") if path.is_file()}
    seeded("--seeds", "3", "--set", "resources.cpus=1")
    seeded("--seeds", "4", "--set", "confirm.fused=true")
    assert here.done == [0, 1, 2, 3]
    assert rows(run)[:2] == before
    assert [row["repeat"] for row in rows(run)] == [0, 1, 2, 3]
    assert {path: path.read_bytes() for path in kept} == kept
    assert run.spec().confirm.seeds == 4
    assert command("doctor", "tiny-seeds")[:2] == (0, "tiny-seeds is sound: no search; 4 of 4 seeds\n")


@pytest.mark.parametrize("number", ["1", "2"])
def test_a_run_that_has_so_many_seeds_says_how_to_go_on(command, seeded, given, listing, number):
    run = seeded("--seeds", "2")
    before = listing()
    code, out, err = command("seeds", given, "--seeds", number)
    assert (code, out) == (2, "")
    assert err == (
        f"{run.path} exists already, with 2 seeds; go on with `python -m study confirm tiny-seeds`, "
        f"ask for more with --seeds, or name another with --set name=...\n"
    )
    assert listing() == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("fixed.latent=5", "fixed.latent was 4, is 5"),
        ("seed=7", "seed was 0, is 7"),
        ("confirm.samples=8", "confirm.samples was 4, is 8"),
        ("budget.steps=40", "budget.steps was 20, is 40"),
    ],
)
def test_another_configuration_is_refused_under_the_old_name(command, seeded, given, listing, change, says):
    seeded("--seeds", "1")
    before = listing()
    code, out, err = command("seeds", given, "--seeds", "3", "--set", change)
    assert (code, out) == (2, "")
    assert err.startswith(f"tiny-seeds cannot go on with another configuration: {says}. Repeat the --set that ")
    assert listing() == before


def test_defaults_that_have_changed_in_the_code_are_refused_under_the_old_name(command, seeded, given, monkeypatch):
    seeded("--seeds", "1")
    monkeypatch.setattr(searchspaces.vae, "DEFAULTS", {**searchspaces.vae.DEFAULTS, "lr": 0.25})
    says = "made with another configuration: lr was 0.001, is 0.25; "
    for arguments in (("seeds", given, "--seeds", "3"), ("confirm", "tiny-seeds")):
        code, _, err = command(*arguments)
        assert code == 2
        assert err.startswith(f"tiny-seeds was {says}name another run with --set name=...")
    code, out, _ = command("doctor", "tiny-seeds")
    assert code == 1
    assert f"the study was {says}bring the old one back" in out


def test_a_search_is_not_made_one_of_seeds(command, given, run, here):
    assert command("train", given)[0] == 0
    code, out, err = command("seeds", given, "--set", "name=tiny")
    assert (code, out) == (2, "")
    assert err == f"{run.path.parent / 'tiny'} exists already and is a search; name another run with --set name=...\n"


# On Ray.


@pytest.mark.long
def test_interrupted_on_ray_it_goes_on_by_the_printed_command(command, given, run, ray_up, monkeypatch, tmp_path):
    stop, printed, take = Stop(), [], Agenda.take

    @contextmanager
    def stopping(how_to_go_on: Callable[[], str]) -> Iterator[Stop]:
        yield stop
        printed.append(how_to_go_on())

    def take_and_stop(*args: Any) -> None:
        take(*args)
        stop.signal = 15

    with monkeypatch.context() as patch:
        patch.setattr(confirming, "stopping_on_signals", stopping)
        patch.setattr(Agenda, "take", take_and_stop)
        code, out, _ = command("seeds", given, "--seeds", "4", "--set", "budget.steps=200")
    assert code == 143
    done = [row["repeat"] for row in rows(run)]
    assert 0 < len(done) < 4
    assert out.endswith(f"tiny-seeds: no search; {len(done)} of 4 seeds\n")
    [line] = printed
    assert line == "python -m study confirm tiny-seeds"
    code, out, err = command(*shlex.split(line)[3:])
    assert (code, err) == (0, "")
    assert out.count("test elbo") == 4 - len(done)
    spec = run.spec()
    for job in jobs(open_run(run)):
        undisturbed = work(Run(tmp_path / "undisturbed"), spec, job, None, CPU)
        assert flat(result(run, "defaults", job.repeat), spec) == flat(undisturbed, spec)


def test_the_usual_number_of_test_images_is_no_more_than_there_are(command, preset, tmp_path, run, here):
    path = preset(tmp_path, **{**SMALL, "confirm": {"samples": 2}})
    assert command("seeds", path, "--seeds", "1")[0] == 0
    assert [row["images"] for row in rows(run)] == [500]
    _, out, _ = command("table", "tiny-seeds", app=analysis.__main__.app)
    assert "S 2, on 500 images" in out
