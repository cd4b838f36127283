"""A study of a model of one's own: its file's text is in the run, in the study, in the worker and in the export."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import models
from models import outside
from study import solo
from study.export import export
from study.record import tables
from study.record.folder import Run, RunError
from study.record.storage import SPEC, open_run, reopen
from study.spec import SpecError, StudySpec, check, dump, load, parse

PROJECT = Path(__file__).resolve().parents[2]
MINE = '''"""A VAE with few hidden units."""

from typing import Unpack

from models.base import VAE, Shared, assemble, merged
from models.domains import Count, Shape
from models.gaussian import GaussianPosterior, StandardPrior

PAPER = Shared(hidden=8)


def build(image_shape: Shape, *, latent: Count = 3, **shared: Unpack[Shared]) -> VAE:
    return assemble(
        image_shape,
        latent=latent,
        posterior=lambda features: GaussianPosterior(features, latent),
        prior=StandardPrior(latent),
        **merged(PAPER, shared),
    )
'''
SPACE = """

DEFAULTS = {"latent": 3, "lr": 1e-3}


def space(trial):
    return {"latent": trial.suggest_int("latent", 2, 8), "lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True)}
"""

WATCHED = (
    (MINE + SPACE)
    .replace("**merged", "kind=Watched,\n        **merged")
    .replace(
        "PAPER =",
        """from models.pathologies import Symptom


class Watched(VAE):
    def symptoms(self):
        return [*super().symptoms(), Symptom("bright", "reconstruction", -1e4, 0.0)]


PAPER =""",
    )
)


@pytest.fixture
def preset(tmp_path, raw):
    """Writes a model and a preset that names it; keywords are keys of the preset."""

    def write(text: str = MINE + SPACE, **keys) -> Path:
        folder = tmp_path / "mine"
        folder.mkdir(exist_ok=True)
        (folder / "few.py").write_text(text, encoding="utf-8")
        made = {key: value for key, value in raw().items() if key != "fixed"}
        path = folder / "tiny.yaml"
        path.write_text(yaml.safe_dump({**made, "model": "few.py", **keys}), encoding="utf-8")
        return path

    return write


@pytest.fixture
def run(preset, tmp_path) -> Run:
    """A run of one trial of it, trained."""
    made = Run(tmp_path / "runs" / "tiny")
    solo.train(load(preset()), made)
    return made


# What it may come to.


def test_it_has_pathologies_of_its_own(preset, tmp_path):
    spec = load(preset(WATCHED, pathologies=["bright"]))
    solo.train(spec, Run(tmp_path / "runs" / "tiny"))
    rows = tables.results(open_run(Run(tmp_path / "runs" / "tiny")))
    assert rows["pathology"].tolist() == ["bright"]
    assert rows["evidence"][0].startswith("bright: at step 50 reconstruction -")
    assert rows["evidence"][0].endswith(" above -1e+04")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"reconstruction"', '"recon"', "model: its pathology 'bright' is read off 'recon', which no report has"),
        ('"bright"', '"nan"', "model: a pathology cannot be called 'nan'; take a word, and no cause of a failure"),
        ('"bright"', '"too, bright"', "model: a pathology cannot be called 'too, bright'; take a word"),
    ],
)
def test_a_pathology_of_its_own_is_of_a_number_that_there_is_and_called_by_a_word(preset, before, after, said):
    with pytest.raises(SpecError) as refused:
        load(preset(WATCHED.replace(before, after)))
    assert said in str(refused.value)


# What a preset says.


def test_a_path_begins_at_the_preset_and_one_that_is_set_in_the_working_folder(preset, tmp_path, monkeypatch):
    path = preset()
    key = load(path).model
    assert outside.title(key) == "few"
    monkeypatch.chdir(path.parent)
    assert load("vae-mnist", ["model=few.py", "fixed={}"]).model == key
    base = tmp_path / "based.yaml"
    base.write_text("base: mine/tiny.yaml\ntrials: 1\n")
    monkeypatch.chdir(tmp_path)
    assert load(base).model == key


def test_its_own_space_is_drawn_from_and_its_paper_counts(preset):
    spec = load(preset())
    assert set(spec.distributions()) == {"latent", "lr"}
    assert spec.defaults() == {"latent": 3, "lr": 1e-3}
    assert models.hyperparameters(spec.model)["hidden"] == 8


def test_without_a_space_the_rate_is_drawn_and_what_the_preset_names(preset):
    assert set(load(preset(MINE)).distributions()) == {"lr"}
    assert set(load(preset(MINE, space={"latent": {"low": 2, "high": 4}})).distributions()) == {"lr", "latent"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def build(:", "cannot be run: SyntaxError"),
        ("", "has no function build"),
        (MINE + "\nDEFAULTS = {}\n", "has no space; a search space is `space` and `DEFAULTS`, or neither"),
        (MINE + SPACE.replace('"latent": 3, ', ""), "few.py: DEFAULTS lacks latent, which space draws"),
        (MINE + SPACE.replace("trial.suggest_int", "trial.suggest"), "AttributeError: "),
        (MINE + "\nimport sys\nsys.exit(0)\n", "few.py cannot be run: SystemExit: 0 (line "),
        (MINE + SPACE.replace("return {", "{"), "few.py: space must return a dict, got None"),
        (MINE + "\nDEFAULTS, space = 3, 4\n", "few.py: DEFAULTS must be a dict, got 3"),
    ],
)
def test_a_mistake_in_the_file_is_a_line_beside_the_others(preset, text, said):
    lines = check(
        {**yaml.safe_load(preset(text).read_text()), "model": str(preset(text).parent / "few.py"), "trials": "x"}
    )
    assert sum(line.startswith("trials: ") for line in lines) == 1
    assert len([line for line in lines if said in line]) == 1
    assert all("\n" not in line for line in lines)


def test_a_space_that_draws_what_the_model_has_not_is_a_line(preset):
    text = MINE + SPACE.replace('"latent"', '"latents"')
    (line,) = check({**yaml.safe_load(preset(text).read_text()), "model": str(preset(text).parent / "few.py")})
    assert "few has no such hyperparameter; it has: latent, " in line


def test_no_such_file_is_a_line(preset):
    path = preset(model="fwe.py")
    with pytest.raises(SpecError, match=r"tiny\.yaml: model: .*/mine/fwe\.py: no such file"):
        load(path)


# Where its text goes.


def test_study_yaml_and_the_study_hold_it_and_need_the_file_no_more(run, preset):
    spec, origin = run.spec(), preset().parent / "few.py"
    assert parse(run.study_yaml.read_text())["code"]["text"] == MINE + SPACE
    assert "    def build(" in run.study_yaml.read_text()  # as lines that people can read
    assert StudySpec(**parse(open_run(run).study.user_attrs[SPEC])) == spec
    origin.unlink()
    done = subprocess.run(
        [sys.executable, "-m", "study", "status", str(run.path)], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "1 complete" in done.stdout
    assert tables.make(run, "results")["model"].tolist() == ["few"]
    assert reopen(run).spec == spec


def test_a_text_that_was_changed_in_the_run_is_refused(run):
    run.study_yaml.write_text(run.study_yaml.read_text().replace("hidden=8", "hidden=9"))
    with pytest.raises(RunError, match=r"code: the text is not the one that .*few\.py had"):
        run.spec()


def test_a_file_that_changed_since_is_refused_when_the_run_goes_on(run, preset):
    preset(MINE + SPACE + "# more\n")
    with pytest.raises(RunError, match=r"few\.py has changed since tiny began; .*study\.yaml has the old text"):
        reopen(run)
    preset()
    reopen(run)


def test_more_trials_of_another_text_are_refused(run, preset, command):
    preset(MINE + SPACE.replace("8)", "9)"))
    code, _, err = command("run", preset(MINE + SPACE.replace("8)", "9)")), "--root", run.path.parent, "--trials", "+1")
    assert code == 2
    assert "tiny cannot go on as another study: model was few@" in err


def test_another_process_learns_it_with_the_specification(preset, tmp_path):
    spec = load(preset())
    (tmp_path / "spec.pickle").write_bytes(pickle.dumps(spec))
    preset().parent.joinpath("few.py").unlink()
    learn = "import pickle, sys; from study.spec.build import build; spec = pickle.load(open(sys.argv[1], 'rb'))\n"
    learn += "print(build(spec, {**spec.defaults(), 'latent': 5}).hyperparameters['latent'])"
    done = subprocess.run(
        [sys.executable, "-c", learn, tmp_path / "spec.pickle"], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.stdout == "5\n", done.stderr


# Exports.


def test_an_export_has_it_and_it_runs_only_when_told_to(run, tmp_path, monkeypatch):
    out = export(run, tmp_path / "best")
    config = json.loads((out / "config.json").read_text())
    assert (out / "model.py").read_text() == MINE + SPACE
    assert config["code"]["checksum"] == run.spec().code.checksum
    monkeypatch.setattr(outside, "_known", {})  # as in another process
    with pytest.raises(
        models.ModelError, match=r"code of its own; read .*model\.py; models\.load\(\.\.\., code=True\)"
    ):
        models.load(out)
    assert outside._known == {}
    assert models.load(out, code=True).hyperparameters["hidden"] == 8


def test_an_export_whose_code_was_changed_is_refused(run, tmp_path, monkeypatch):
    out = export(run, tmp_path / "best")
    (out / "model.py").write_text("raise SystemExit")
    with pytest.raises(models.ModelError, match="is not the file that was exported"):
        models.load(out, code=True)


def test_an_export_without_its_code_is_refused(run, tmp_path):
    out = export(run, tmp_path / "best")
    (out / "model.py").unlink()
    with pytest.raises(models.ModelError, match=r"best is a damaged export: it has no model\.py"):
        models.load(out, code=True)


def test_evaluate_takes_a_flag_for_it(run, tmp_path, command):
    out = export(run, tmp_path / "best")
    code, _, err = command("evaluate", out)
    assert (code, "code of its own" in err) == (2, True)
    code, said, _ = command("evaluate", out, "--code")
    assert (code, "mnist5k, test" in said) == (0, True)


def test_it_survives_yaml_whatever_it_holds(preset):
    text = MINE + SPACE + '\nNOTES = """tabs\t, trailing  \n\n\n # é ∑ and "quotes" \\\\ and: colons"""\n\n\n'
    spec = load(preset(text))
    assert StudySpec(**parse(dump(spec))) == spec
    assert spec.code.text == text


def test_the_card_says_how_it_is_loaded_and_what_was_drawn(preset, tmp_path):
    run = Run(tmp_path / "runs" / "narrowed")
    solo.train(load(preset(space={"lr": {"high": 3e-3}})), run)
    card = (export(run, tmp_path / "best") / "README.md").read_text()
    assert "# few on mnist5k" in card
    assert 'models.load("this folder", code=True)' in card
    assert f"SHA-256 {run.spec().code.checksum}" in card
    assert "| ranges of the study | lr 0.0001 to 0.003 (log) |" in card
