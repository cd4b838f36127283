"""Where a run and its study lie, whatever the path or the URL looks like."""

import multiprocessing
from pathlib import Path

import optuna
import pytest

from study.record import backend
from study.record.folder import Run
from study.record.storage import open_run
from study.spec import StudySpec, check, load, storage_url
from study.tune import runner

ODD = ["a%2Fb", "a?b=c", "a#b", "{c}", "a b", "100%", "\u00e9", "a:b@c", "%%"]


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """The home, where the current folder is another."""
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


@pytest.mark.parametrize("name", ODD)
def test_a_study_lies_in_its_folder_whatever_that_is_called(raw, tmp_path, name):
    run = Run(tmp_path / name / "tiny")
    run.create(spec := StudySpec(**raw()))
    open_run(run, spec, create=True)
    assert run.database.stat().st_size > 0
    assert open_run(run).study.study_name == "tiny"
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", [name for name in ODD if "?" not in name and "%" not in name])
def test_a_file_that_a_url_names(raw, tmp_path, name):
    spec = StudySpec(**raw(storage=f"sqlite:////{tmp_path}/{name}.db"))
    run = Run(tmp_path / "tiny")
    run.create(spec)
    open_run(run, spec, create=True)
    assert (tmp_path / f"{name}.db").is_file()
    assert open_run(run).study.study_name == "tiny"


def test_a_relative_url_is_one_place_from_everywhere(raw, preset, tmp_path, home, monkeypatch):
    for spec in (
        StudySpec(**raw(storage="sqlite:///studies.db")),
        load(preset(tmp_path), ["storage=sqlite:///./studies.db"]),
    ):
        assert spec.storage == f"sqlite:///{tmp_path}/here/studies.db"
        monkeypatch.chdir("/")
        assert StudySpec(**spec.model_dump()).storage == spec.storage
        monkeypatch.chdir(tmp_path / "here")
    assert StudySpec(**raw(storage="sqlite:///~/studies.db")).storage == f"sqlite:///{home}/studies.db"


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"]
)
def test_a_url_without_a_file_is_refused(raw, url):
    (line,) = check(raw(storage=url))
    assert line.startswith("storage: names no file, and what is not in a file is lost at the end")


@pytest.mark.parametrize("url", ["", "x", "studies.db", "://", "postgresql://me@host:port/x", "a: b # c"])
def test_what_is_no_url_is_refused(raw, url):
    (line,) = check(raw(storage=url))
    assert line.startswith("storage: takes `journal`, or an Optuna URL such as sqlite:///studies.db or postgresql://")


def test_a_storage_on_the_command_line_is_text(command, preset, tmp_path, home, monkeypatch):
    path = preset(tmp_path)
    assert "got 'a: b # c'" in command("run", path, "--storage", "a: b # c", "--dry-run")[2]
    given = []
    monkeypatch.setattr(runner, "run", lambda spec, *_, **__: given.append(spec.storage) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command("run", path, "--storage", "sqlite:///~/a #b: c.db")
    assert [storage_url.file_of(url) for url in given] == [home / "a #b: c.db"]


def test_reading_makes_no_database(command, raw, tmp_path, listing, home):
    run = Run(tmp_path / "tiny")
    run.create(StudySpec(**raw(storage=f"sqlite:///{tmp_path}/studies.db")))
    before = listing()
    for words, code in ((["status"], 2), (["doctor"], 0), (["export", "--out", tmp_path / "out"], 2)):
        assert command(words[0], run.path, *words[1:])[0] == code
        assert listing() == before
    run.trial(0).mkdir(parents=True)
    before = listing()
    for words in (["status"], ["resume"], ["doctor", "--fix"]):
        assert command(words[0], run.path, *words[1:])[0] in (1, 2)
        assert not (tmp_path / "studies.db").exists()
    assert "sqlite" in command("doctor", run.path)[1]


def test_a_file_that_cannot_be_opened_is_no_server(command, raw, tmp_path):
    run, file = Run(tmp_path / "tiny"), tmp_path / "studies.db"
    run.create(StudySpec(**raw(storage=f"sqlite:///{file}")))
    file.write_text("no database, and longer than the header of one would be " * 9)
    for words, code in ((["status"], 2), (["resume"], 2), (["doctor"], 1)):
        ended, out, err = command(words[0], run.path)
        assert ended == code
        assert f"the study in sqlite:///{file} cannot be opened (file is not a database); may this process" in out + err
        assert "bring it back from a backup" in out + err
        assert "server" not in out + err
        assert "LATENTSWEEP_STORAGE" not in out + err


def test_a_file_of_a_folder_that_is_not_there_is_told_before_anything_is_made(command, preset, tmp_path, listing):
    path = preset(tmp_path)
    before = listing()
    url = f"sqlite:///{tmp_path}/no/x.db"
    code, _, err = command("train", path, "--root", tmp_path / "runs", "--set", f"storage={url}")
    assert (code, f"storage: {tmp_path}/no is no folder that can be written" in err) == (2, True)
    assert listing() == before


def test_a_folder_in_the_place_of_the_file_is_told_before_anything_is_made(command, preset, tmp_path, listing):
    (tmp_path / "x.db").mkdir()
    path = preset(tmp_path)
    before = listing()
    code, _, err = command("train", path, "--root", tmp_path / "runs", "--set", f"storage=sqlite:///{tmp_path}/x.db")
    assert (code, err.strip()) == (2, f"tiny: storage: {tmp_path}/x.db is no file; name another")
    assert listing() == before


def test_home_is_home_in_every_option(command, preset, tmp_path, home):
    assert command("train", preset(tmp_path, budget={"steps": 10}), "--root", "~/runs")[0] == 0
    assert command("status", "tiny", "--root", "~/runs")[0] == 0
    assert command("export", "~/runs/tiny", "--out", "~/best")[0] == 0
    assert (home / "best" / "config.json").is_file()
    assert command("evaluate", "~/best")[0] == 0
    import analysis.__main__

    assert command("table", "~/runs/tiny", "--csv", "~/t.csv", app=analysis.__main__.app)[0] == 0
    assert (home / "t.csv").is_file()
    assert not list(Path().iterdir())


@pytest.mark.parametrize("words", [["status"], ["doctor"], ["resume"], ["export", "--out", "best"]])
def test_no_name_is_too_long_to_be_told(command, home, words):
    for name in ("x" * 300, "x/" * 3000):
        code, _, err = command(words[0], name, *words[1:])
        assert (code, err.startswith("no run ")) == (2, True)
    assert command("evaluate", "x" * 300)[0] == 2


def _start(url: str, name: str, gate, said) -> None:
    gate.wait()
    try:
        optuna.create_study(storage=backend.server(url), study_name=name)
        said.put("")
    except Exception as error:
        said.put(f"{type(error).__name__}: {error}")


def test_several_studies_start_at_once_on_a_new_database(tmp_path):
    """Each makes the tables where they are missing; without another try some of eight fail, in most rounds."""
    processes = multiprocessing.get_context("fork")
    for round_ in range(3):
        url, gate, said = storage_url.url_of(tmp_path / f"{round_}.db"), processes.Barrier(8), processes.Queue()
        started = [processes.Process(target=_start, args=(url, f"s{i}", gate, said)) for i in range(8)]
        for process in started:
            process.start()
        assert [said.get(timeout=120) for _ in started] == [""] * 8
        for process in started:
            process.join()
        assert len(optuna.get_all_study_names(url)) == 8
