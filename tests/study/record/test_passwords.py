"""No password of a storage is written or printed anywhere."""

import pytest

import analysis.__main__
from study.output import masked, printable
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


URL = "postgresql://me:s3cr3t@localhost:1/studies"


@pytest.mark.parametrize(
    "words",
    [
        ["run", URL],
        ["run", "quickstart", "--set", f"storage: {URL}"],
        ["run", "quickstart", "--set", f"storage:{URL}"],
        ["run", "quickstart", "--set", f"storage={{url: '{URL}'}}"],
        ["run", "quickstart", "--set", f"storage=[{URL}]"],
        ["run", "quickstart", "--set", f"strorage={URL}"],
        ["run", "quickstart", "--set", f"name={URL}"],
        ["run", "quickstart", "--set", f"name={'x' * 215}{URL}"],
        ["run", "quickstart", "--set", f"model={URL}"],
        ["run", "quickstart", "--set", "storage={password: s3cr3t}"],
        ["run", "quickstart", "--trials", URL],
        ["run", "quickstart", "--storage", "postgresql://me:s3cr3t@@localhost:x/a"],
        ["run", "quickstart", "--dry-run", "--storage", "me:s3cr3t@localhost/studies"],
        ["run", "quickstart", URL],
        ["run", "quickstart", f"--nonsense={URL}"],
        ["run", "quickstart", "--dry-run", "--root", URL],
        ["seeds", "quickstart", "--seeds", URL],
        ["status", URL],
        ["status", "tiny", "--root", URL],
        ["evaluate", URL],
        ["evaluate", "exported", "--samples", URL],
        ["datasets", "get", URL],
        ["datasets", "get", "points", "--option", f"n={URL}"],
        ["datasets", "--data", URL],
        [URL],
    ],
    ids=lambda words: " ".join(words)[:60],
)
def test_one_that_was_given_in_the_wrong_place_is_not_printed(command, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    _, out, err = command(*words)
    assert out + err
    assert hidden(out + err)


def test_nor_by_a_table(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (["table", URL], ["table", "tiny", "--root", URL], ["figures", "tiny", "--format", URL]):
        code, out, err = command(*words, app=analysis.__main__.app)
        assert code == 2
        assert hidden(out + err)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot join ray://me:s3cr3t@host:10001 (timeout)", "cannot join ray://me:***@host:10001 (timeout)"),
        ("'mysql://me:s3/cr:3t@h@host/x'; or", "'mysql://me:***@host/x'; or"),
        ("takes a URL, got 'me:s3/cr:3t@h/db'", "takes a URL, got 'me:***@h/db'"),
        ("//me:s3cr3t@h/db", "//me:***@h/db"),
        ("host=x password=s3cr3t user=y", "host=x password=*** user=y"),
        ("postgresql://host/x?user=me&password=s3cr3t&a=b", "postgresql://host/x?user=me&password=***&a=b"),
        ("{'pwd': 's3cr3t', 'a': 1}", "{'pwd': '***', 'a': 1}"),
        *(
            (same, same)
            for same in (
                "postgresql://me@localhost:5432/studies holds no study",
                "http://localhost:8265/x; ask root@localhost",
                "A password is not kept in the run: set LATENTSWEEP_STORAGE to the whole URL",
                "trial 3 complete: elbo -140.2, lr=0.001",
            )
        ),
    ],
)
def test_what_looks_like_one_is_masked_and_nothing_else(text, shown):
    assert masked(text) == printable(text) == shown


def test_an_error_line_does_nothing_to_a_terminal(command):
    _, _, err = command("run", "quickstart", "--set", "name=\x1b[31m\u202e", "\x1b[2J")
    assert "\x1b" not in err
    assert printable("a\x1b[31mb\u202e\udcff\n") == r"a\x1b[31mb\u202e\udcff" + "\n"


def test_a_variable_that_names_another_storage_is_not_said_to_be_lacking(command, raw, tmp_path, monkeypatch):
    run = Run(tmp_path / "tiny")
    run.create(StudySpec(**raw(storage=URL)))
    monkeypatch.setenv(storage_url.ENVIRONMENT, "postgresql://me:s3cr3t@elsewhere/studies")
    _, out, err = command("status", run.path)
    assert f"{storage_url.ENVIRONMENT} is set, but to postgresql://me@elsewhere/studies" in err
    assert hidden(out + err)
