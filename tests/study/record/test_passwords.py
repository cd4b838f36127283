"""No password of a storage is written or printed anywhere."""

import pytest

from study.record.folder import Run
from study.spec import StudySpec, dump, load, storage_url

SECRET = "s3cr3t/word"
PLAIN = "postgresql://me@localhost:5432/studies"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Each test is a process of its own: no password is known from before."""
    monkeypatch.setattr(storage_url, "_with_password", {})
    monkeypatch.delenv(storage_url.ENVIRONMENT, raising=False)


WITH_PASSWORD = [
    ("postgresql://me:s3cr3t%2Fword@localhost:5432/studies", PLAIN),
    (
        "postgresql+psycopg2://me:s3cr3t%2Fword@localhost:5432/studies?sslmode=require",
        "postgresql+psycopg2://me@localhost:5432/studies?sslmode=require",
    ),
    ("postgresql://localhost/studies?user=me&password=s3cr3t%2Fword", "postgresql://localhost/studies?user=me"),
    (
        "postgresql://me@localhost/studies?sslpassword=s3cr3t%2Fword&sslmode=require",
        "postgresql://me@localhost/studies?sslmode=require",
    ),
    ("mysql://me:s3cr3t%2Fword@localhost/studies?passwd=s3cr3t%2Fword", "mysql://me@localhost/studies"),
    ("postgresql://a%40b:s3cr3t%2Fword@localhost/studies", "postgresql://a%40b@localhost/studies"),
]
WITHOUT = [
    PLAIN,
    "postgresql://localhost/studies?sslmode=require",
    "sqlite:////data/studies.db",
    "sqlite:///studies.db",
    "journal",
    "nonsense: at all",
]


def hidden(text: str) -> bool:
    return "s3cr3t" not in text


@pytest.mark.parametrize(("url", "public"), WITH_PASSWORD)
def test_a_password_is_split_off_and_kept_by_this_process(url, public):
    import sqlalchemy

    assert storage_url.without_password(url) == public
    whole = sqlalchemy.engine.make_url(storage_url.whole_url(public))
    passwords = [whole.password, *(whole.query.get(key) for key in storage_url.SECRETS)]
    assert SECRET in passwords
    assert whole.host == "localhost"
    assert storage_url.without_password(public) == public  # reading the run's own specification forgets nothing
    assert storage_url.whole_url(public) == url


@pytest.mark.parametrize("url", WITHOUT)
def test_what_has_none_stays_as_it_is(url):
    assert storage_url.without_password(url) == url
    assert storage_url.whole_url(url) == url


@pytest.mark.parametrize(("url", "public"), WITH_PASSWORD)
def test_a_specification_never_holds_one(raw, preset, tmp_path, url, public):
    spec = StudySpec(**raw(storage=url))
    path = preset(tmp_path)
    loaded = load(path, [f"storage={url}"])
    run = Run(tmp_path / "tiny")
    run.create(spec)
    for one in (spec, loaded, run.spec()):
        assert one.storage == public
        assert hidden(repr(one) + str(one) + dump(one) + str(one.model_dump()) + one.model_dump_json())
    assert hidden(run.study_yaml.read_text() + run.environment.read_text())


@pytest.mark.parametrize(("url", "public"), WITH_PASSWORD[:3])
def test_a_later_process_has_it_from_the_environment_for_the_same_url_only(monkeypatch, url, public):
    assert storage_url.whole_url(public) == public
    monkeypatch.setenv(storage_url.ENVIRONMENT, url)
    assert storage_url.whole_url(public) == url
    other = public.replace("/studies", "/others")
    assert storage_url.whole_url(other) == other


@pytest.mark.parametrize("wrong", ["", "trials=many"])
@pytest.mark.parametrize("url", ["postgresql://me:s3cr3t@localhost:1/studies", "oracle://me:s3cr3t@localhost/studies"])
def test_no_line_of_the_command_line_prints_one(command, preset, tmp_path, url, wrong):
    """Nobody listens at that port, and there is no driver for the other."""
    arguments = ["--set", wrong] if wrong else []
    code, out, err = command("run", preset(tmp_path), "--storage", url, "--root", tmp_path / "runs", *arguments)
    assert code == 2
    assert ("trials: input should be" if wrong else "storage: cannot be opened") in err
    assert hidden(out + err)
    assert not (tmp_path / "runs").exists()


def test_a_server_that_does_not_answer_leaves_the_run_and_no_password_in_it(command, raw, tmp_path):
    run = Run(tmp_path / "tiny")
    run.create(StudySpec(**raw(storage="postgresql://me:s3cr3t@localhost:1/studies")))
    before = run.study_yaml.read_text()
    code, out, err = command("resume", run.path)
    assert code == 2
    assert "the study in postgresql://me@localhost:1/studies cannot be opened (" in err
    assert f"set {storage_url.ENVIRONMENT} to the whole URL" in err
    assert hidden(out + err)
    assert run.study_yaml.read_text() == before
