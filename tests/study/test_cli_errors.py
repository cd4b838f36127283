"""A user's mistake: exit code 2, a line that says what to do, no traceback, and nothing on disk has changed."""

import re
import shutil
from contextlib import nullcontext

import pytest

import analysis.__main__
import models
from study import spec as specs
from study.record.folder import Run
from study.record.storage import open_run
from study.spec import StudySpec


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Where `runs` would lie."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refused(command, listing):
    """Calls a command that must be refused, and returns what it says."""

    def call(*arguments, **options) -> str:
        before = listing()
        code, out, err = command(*arguments, **options)
        assert code == 2, (code, out, err)
        assert err.strip()
        assert "Traceback" not in out + err
        assert listing() == before
        return err

    return call


@pytest.mark.parametrize("how", ["run", "train"])
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"trails": 3}, "tiny.yaml: trails: there is no such key; there are: name, "),
        ({"model": "vcs"}, "tiny.yaml: model: model 'vcs' is not known; known: "),
        ({"dataset": "mnst5k"}, "tiny.yaml: dataset: data set 'mnst5k' is not known; known: "),
        ({"objective": "elbow"}, "tiny.yaml: objective: metric 'elbow' is not known; known: elbo, "),
        ({"trials": "many"}, "tiny.yaml: trials: input should be a valid integer, got 'many'"),
        ({"fixed": {"latent": "big"}}, "tiny.yaml: fixed.latent: input should be a valid integer, got 'big'"),
        ({"fixed": {"beta": -1}}, "tiny.yaml: fixed.beta: input should be greater than 0, got -1"),
        ({"fixed": {"lr": 0}}, "tiny.yaml: fixed.lr: must be a positive number, got 0"),
        ({"model": "vsc"}, "tiny.yaml: objective: elbo alone would drive alpha to one end of its range; pin it"),
    ],
)
def test_a_mistake_in_a_preset(refused, preset, tmp_path, how, changes, says):
    assert says in refused(how, preset(tmp_path, **changes))


def test_a_name_must_do_for_a_folder_anywhere(refused, preset, tmp_path):
    assert "and '-', 200 at most, beginning with" in refused("run", preset(tmp_path, name="a" * 300))


def test_a_dry_run_says_that_the_data_is_not_here(command, preset, tmp_path):
    path = preset(tmp_path, dataset="omniglot", trials=1)
    (tmp_path / "empty").mkdir()
    code, out, _ = command("run", path, "--dry-run", "--data", tmp_path / "empty")
    assert (code, "its data is not here yet: " in out) == (0, True)
    assert "its data" not in command("run", preset(tmp_path), "--dry-run")[1]


def test_a_search_needs_a_grace_within_the_budget_and_a_single_training_has_none(refused, preset, tmp_path, command):
    path = preset(tmp_path, asha={"grace": 600})
    assert "tiny.yaml: asha.grace: 600 must not exceed budget.steps, which is 60" in refused("run", path)
    assert command("train", path)[0] == 0


@pytest.mark.parametrize("how", ["run", "train", "seeds"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "mine.yaml: holds nothing; a preset is a mapping of keys"),
        (bytes(range(256)) * 4, "mine.yaml: cannot be read: it is not a text file in UTF-8; a preset is a YAML file"),
        (b"\x00\x01\x02", "mine.yaml: is not YAML"),
        (b"name: [1, 2", "mine.yaml: is not YAML (line 1)"),
        (b"seed: 2020-13-45", "mine.yaml: is not YAML"),
        (b"- name\n- model\n", "mine.yaml: holds a list; a preset is a mapping of keys"),
    ],
)
def test_a_file_that_is_no_preset(refused, tmp_path, how, content, says):
    (tmp_path / "mine.yaml").write_bytes(content)
    assert says in refused(how, "mine.yaml")


def test_a_preset_that_is_not_there(refused, tmp_path):
    says = refused("run", "quickstrat")
    assert "quickstrat: no such preset or file; presets: " in says
    assert "Did you mean 'quickstart'?" in says
    assert "no such preset or file" in refused("run", tmp_path / "none.yaml")
    assert "cannot be read: Is a directory; a preset is a YAML file" in refused("run", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "trials"], "--set 'trials': must be key=value, for example --set budget.steps=500"),
        (["--set", "=3"], "--set '=3': must be key=value"),
        (["--set", "fixed=[1"], "--set 'fixed=[1': the value is not YAML"),
        (["--set", "name.first=x"], "--set 'name.first=x': name is not a group of keys"),
        (["--set", "budget.stpes=3"], "budget.stpes: there is no such key; there are: steps, "),
        (["--trials", "0"], "trials: 0 is a search of nothing; `seeds` trains the defaults without a search"),
        (["--trials", "-1"], "trials: input should be greater than or equal to 0, got -1"),
        (["--sets", "trials=3"], "No such option"),
        (["another"], "unexpected extra argument"),
    ],
)
def test_a_mistake_in_the_arguments(refused, arguments, says):
    assert says.lower() in refused("run", "quickstart", *arguments).lower()


def test_all_mistakes_are_told_at_once(refused, preset, tmp_path):
    path = preset(tmp_path, model="vcs", trails=3, trials="8", asha={"grace": 600}, fixed={"lr": -1})
    lines = refused("run", path, "--set", "seed").splitlines()
    found = sorted(line.removeprefix("tiny.yaml: ").split(":")[0] for line in lines)
    assert found == sorted(["--set 'seed'", "model", "trails", "trials", "asha.grace"])


@pytest.fixture
def existing(raw, tmp_path) -> Run:
    """A run in runs/ that has drawn no trial yet."""
    spec = StudySpec(**raw())
    run = Run(tmp_path / "runs" / "tiny")
    run.create(spec)
    open_run(run, spec, create=True)
    return run


@pytest.mark.parametrize("how", ["run", "train"])
def test_a_run_that_exists(refused, existing, preset, tmp_path, how):
    says = refused(how, preset(tmp_path))
    assert f"{existing.path} exists already" in says
    assert "`python -m study resume tiny`" in says
    assert "--set name=" in says


def test_a_folder_that_exists_and_is_no_run(refused, preset, tmp_path):
    (tmp_path / "runs" / "tiny").mkdir(parents=True)
    says = refused("run", preset(tmp_path))
    assert "exists already and holds no run; remove it, or name another" in says


def test_a_root_that_cannot_be(refused, preset, tmp_path, monkeypatch):
    from study.tune import runner

    monkeypatch.setattr(runner, "ray_started", lambda *_: nullcontext())
    (tmp_path / "file").touch()
    says = refused("run", preset(tmp_path), "--root", "file")
    assert "cannot make " in says
    assert "name another place with --root" in says


@pytest.mark.parametrize("how", ["run", "seeds"])
@pytest.mark.parametrize("root", ["/dev/null", "/proc/x", "file", "file/in/it"])
def test_a_root_that_cannot_be_is_told_by_a_dry_run_too(refused, preset, tmp_path, how, root):
    (tmp_path / "file").touch()
    says = refused(how, preset(tmp_path), "--dry-run", "--root", root)
    assert says.startswith("cannot make ")
    assert "name another place with --root" in says


def test_a_run_that_exists_is_told_by_a_dry_run_too(refused, command, existing, preset, tmp_path):
    assert f"{existing.path} exists already" in refused("run", preset(tmp_path), "--dry-run")


@pytest.mark.parametrize("how", ["run", "seeds"])
@pytest.mark.parametrize(
    ("storage", "says"),
    [
        (
            "redis://h/0",
            "storage: cannot be opened (Can't load plugin: sqlalchemy.dialects:redis); it takes `journal`, ",
        ),
        ("mysql+pymysql://me@h/x", "storage: cannot be opened (No module named 'pymysql'); it takes `journal`, "),
        ("sqlite:////proc/x.db", "storage: /proc is no folder that can be written; name a file in another"),
        ("sqlite:////no/x.db", "storage: /no is no folder that can be written; name a file in another"),
    ],
)
def test_a_storage_that_cannot_be_is_told_by_a_dry_run_too(refused, preset, tmp_path, how, storage, says):
    assert says in refused(how, preset(tmp_path), "--dry-run", "--set", f"storage={storage}")


UNKNOWN = [["resume", "tinny"], ["status", "tinny"], ["export", "tinny", "--out", "best"], ["confirm", "tinny"]]


@pytest.mark.parametrize("arguments", UNKNOWN, ids=lambda arguments: arguments[0])
def test_a_run_that_is_not_known(refused, existing, arguments):
    assert "no run 'tinny'; runs in runs: tiny. Did you mean 'tiny'?" in refused(*arguments)
    shutil.rmtree(existing.path.parent)
    assert "no run 'tinny'; there is none in runs yet" in refused(*arguments)


def test_a_table_of_a_run_that_is_not_known(refused, existing):
    assert "no run 'tinny'; runs in runs: tiny" in refused("table", "tinny", app=analysis.__main__.app)


ANYWHERE = [
    ["doctor", "tiny"],
    *([how, "tiny", *rest] for how, _, *rest in UNKNOWN),
    ["table", "tiny"],
    ["figures", "tiny"],
    ["report", "tiny"],
]


@pytest.mark.parametrize("arguments", ANYWHERE, ids=lambda arguments: arguments[0])
def test_a_name_under_a_root_is_no_folder_of_the_current_one(refused, existing, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(existing.path.parent)
    options = {"app": analysis.__main__.app} if arguments[0] in ("table", "figures", "report") else {}
    root = tmp_path / "elsewhere"
    says = refused(*arguments, "--root", root, **options)
    assert f"no run 'tiny'; there is none in {root} yet; the one in the current folder is ./tiny" in says


@pytest.mark.parametrize("given", ["./tiny", "../runs/tiny"])
def test_a_path_is_one_whatever_the_root(command, existing, tmp_path, monkeypatch, given):
    monkeypatch.chdir(existing.path.parent)
    assert command("status", given, "--root", tmp_path / "elsewhere")[0] == 0
    assert command("status", "tiny")[0] == 0


@pytest.mark.parametrize("how", ["resume", "status", "export"])
def test_a_run_whose_specification_is_damaged(refused, existing, how):
    existing.study_yaml.write_text("name: tiny\nmodel: vcs\n")
    options = ["--out", "best"] if how == "export" else []
    says = refused(how, "tiny", *options)
    assert f"{existing.study_yaml} is not the specification of a run any more: " in says


@pytest.mark.parametrize("how", ["status", "export"])
def test_a_run_that_died_before_it_had_a_study(refused, existing, how):
    existing.database.unlink()
    options = ["--out", "best"] if how == "export" else []
    assert "has no study yet; go on with `python -m study resume tiny`" in refused(how, "tiny", *options)


def test_an_export_without_a_result_or_to_a_folder_that_exists(refused, existing, tmp_path):
    says = refused("export", "tiny", "--out", "best")
    assert "tiny has no complete trial yet; go on with `python -m study resume tiny`" in says
    (tmp_path / "best").mkdir()
    assert "best exists already; name another folder with --out" in refused("export", "tiny", "--out", "best")
    assert "missing option" in refused("export", "tiny").lower()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["export", "tiny", "--out", "file/best"], "cannot write file/best: {here}/file is no folder that can be"),
        (["figures", "tiny", "--out", "file/drawn"], "cannot write file/drawn: {here}/file is no folder that can be"),
        (["figures", "tiny", "--out", "file"], "cannot write file: {here}/file is no folder that can be written"),
        (["report", "tiny", "--out", "none/x.html"], "--out: there is no folder none"),
        (["report", "tiny", "--out", "x.png"], "--out: must end in .html or .htm, as a report is HTML, got x.png"),
        (["table", "tiny", "--csv", "none/x"], "--csv: there is no folder none"),
        (["table", "tiny", "--csv", "file/x"], "--csv: there is no folder file"),
        (["table", "tiny", "--csv", "runs"], "--csv: runs is a folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_the_work(refused, existing, tmp_path, words, says):
    (tmp_path / "file").touch()
    app = {} if words[0] == "export" else {"app": analysis.__main__.app}
    assert refused(*words, **app).startswith(says.format(here=tmp_path))


def test_a_table_of_a_run_without_trials(command, existing):
    code, _, err = command("table", "tiny", app=analysis.__main__.app)
    assert (code, err) == (0, "")


# Exports.


@pytest.fixture
def exported(tmp_path, write_export):
    """A folder as `export` writes it."""
    folder = write_export(tmp_path / "exported", models.build("vae", (1, 28, 28), latent=2, hidden=8))
    models.load(folder)
    return folder


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_an_export_that_was_cut_short(refused, exported, file):
    path = exported / file
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(models.ModelError, match=r"exported is a damaged export \(.*\); export the study again"):
        models.load(exported)
    assert "is a damaged export" in refused("evaluate", exported)
    path.unlink()
    assert f"is not an exported model: it has no {file}" in refused("evaluate", exported)


def test_a_folder_that_is_no_export(refused, tmp_path):
    with pytest.raises(models.ModelError, match=r"is not an exported model: it has no config\.json"):
        models.load(tmp_path)
    assert "is not an exported model: it has no config.json; name a folder that" in refused("evaluate", tmp_path)
    assert "is not an exported model: there is no such folder; name a" in refused("evaluate", tmp_path / "none")


@pytest.mark.parametrize("number", [-1, 10**20])
@pytest.mark.parametrize("option", ["--samples", "--images"])
def test_an_evaluation_without_bound(refused, exported, option, number):
    assert f"Invalid value for '{option}'" in refused("evaluate", exported, option, number)


# The real command line.


def test_the_real_command_line_refuses_in_the_same_way(python, preset, tmp_path, listing):
    path = preset(tmp_path, model="vcs", trails=3)
    before = listing()
    done = python("-m", "study", "run", str(path), cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert [line.split(": ")[:2] for line in done.stderr.splitlines()] == [
        ["tiny.yaml", "model"],
        ["tiny.yaml", "trails"],
    ]
    assert listing() == before


def test_an_unknown_run_on_the_real_command_line(python, tmp_path, listing):
    before = listing()
    done = python("-m", "study", "resume", "vsc-mnist", cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "no run 'vsc-mnist'; there is none in runs yet\n"
    assert listing() == before


# What is no mistake.


def test_a_dry_run_prints_the_plan_and_writes_nothing(command, listing, tmp_path):
    before = listing()
    code, out, err = command("run", "quickstart", "--dry-run", "--set", "budget.steps=1000", "--trials", "5")
    assert (code, err) == (0, "")
    assert listing() == before
    assert "5 trials of 1000 steps" in out
    assert "draws hidden, " in out
    assert "pins latent=50" in out
    assert f"writes {tmp_path / 'runs' / 'quickstart'}" in out


def test_a_dry_run_on_the_real_command_line(python, tmp_path, listing):
    before = listing()
    done = python("-m", "study", "run", "vae-mnist", "--dry-run", cwd=tmp_path)  # whose data is not there
    assert done.stderr == ""
    assert "ASHA pauses all and takes up 1 in 4 at steps 6000; 3 complete at least" in done.stdout
    assert re.search(r"expects to make \d+% of [\d,]+ steps, \d+% to \d+% in nine of ten searches", done.stdout)
    assert listing() == before


def test_the_plan_says_which_rungs_are_left_out(command):
    line = "rungs before the end of the longest KL warm-up are left out"
    assert line in command("run", "vae-mnist", "--dry-run", "--set", "asha.grace=2000")[1]
    assert line not in command("run", "vae-mnist", "--dry-run")[1]


@pytest.mark.parametrize("what", ["presets", "models", "datasets"])
def test_lists_are_printed(command, listing, what):
    before = listing()
    code, out, err = command(what)
    assert (code, err) == (0, "")
    assert {"presets": "quickstart", "models": "latent=", "datasets": "mnist5k"}[what] in out
    assert listing() == before


def test_presets_stand_under_their_models_with_their_purpose(command):
    code, out, err = command("presets")
    assert (code, err) == (0, "")
    names: list[str] = []
    under: dict[str, list[str]] = {}
    for line in out.splitlines():
        if line.startswith(" "):
            name, _, purpose = line.strip().partition(" ")
            names.append(name)
            assert purpose.strip()
        else:
            names = under[line] = []
    assert list(under) == sorted(models.names())
    assert under["iaf"] == [name for name in specs.presets() if name.startswith("iaf-")]
    assert "quickstart" in under["vsc"]
    assert "The first study: Variational Sparse Coding on 5,000 real digits" in out


@pytest.mark.parametrize("arguments", [["--help"], ["presets"], ["datasets"], ["run", "--help"], ["nonsense"]])
def test_what_only_lists_does_not_wait_for_torch(python, arguments):
    done = python("-X", "importtime", "-m", "study", *arguments, check=False)
    assert done.returncode == (2 if arguments == ["nonsense"] else 0)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "study.cli" in loaded
    assert not loaded & {"torch", "ray", "optuna", "pandas", "matplotlib"}
