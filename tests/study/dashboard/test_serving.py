"""`python -m study dashboard`: where it listens, what it answers and refuses, and how it ends."""

import http.client
import platform
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from damage import digests
from served import Served, served

from study import dashboard as dashboards
from study.record.folder import Run


@pytest.fixture(scope="module")
def folder(built, tmp_path_factory) -> Path:
    """One with a run of one's own, in runs/."""
    return Path(shutil.copytree(built(None), tmp_path_factory.mktemp("shown") / "folder"))


@pytest.fixture(scope="module")
def dashboard(folder) -> Iterator[Served]:
    with served(folder, "tiny", "--port", "0") as up:
        yield up


@pytest.fixture(scope="module")
def run_shown(folder) -> Run:
    return Run(folder / "runs" / "tiny")


def test_it_says_where_it_is_and_how_to_get_there(dashboard):
    port = dashboard.base.rpartition(":")[2]
    assert dashboard.lines == [
        f"tiny: http://127.0.0.1:{port}/dashboard/studies/1   (Ctrl-C ends it)",
        f"from elsewhere, first: ssh -L {port}:127.0.0.1:{port} {platform.node()}",
    ]


def test_the_study_its_trials_and_their_pictures(dashboard):
    assert dashboard.get("/dashboard/studies/1")[:2] == (200, "text/html; charset=UTF-8")
    (summary,) = dashboard.json("/api/studies")["study_summaries"]
    assert summary["study_name"] == "tiny"
    detail = dashboard.json("/api/studies/1")
    assert detail["objective_names"] == ["elbo"]
    assert detail["note"]["body"].startswith("### tiny")
    assert [trial["state"] for trial in detail["trials"]] == ["Complete", "Pruned", "Fail", "Running"]
    sortable = {column["key"] for column in detail["union_user_attrs"] if column["sortable"]}
    assert {"elbo", "kl", "zero_fraction", "steps", "fixed.latent"} <= sortable
    assert [column["key"] for column in detail["union_user_attrs"]][-1] == "~report 0000060"
    for trial in detail["trials"]:
        assert trial["artifacts"]
        status, kind, content = dashboard.get(
            f"/artifacts/1/{trial['trial_id']}/{trial['artifacts'][-1]['artifact_id']}"
        )
        assert (status, kind, content[:4]) == (200, "image/png", b"\x89PNG")
    assert dashboard.get(f"/artifacts/1/1/{'0' * 32}")[0] == 404
    assert dashboard.get("/csv/1")[2].startswith(b"Number,State,elbo,Param lr,UserAttribute active_units")


@pytest.mark.parametrize(
    ("host", "asked", "status"),
    [
        ("127.0.0.1", "127.0.0.1:8080", 200),
        ("127.0.0.1", "LOCALHOST:9000", 200),
        ("::1", "[::1]:8080", 200),
        ("10.0.0.7", "10.0.0.7:8080", 200),
        ("127.0.0.1", "evil.example:8080", 403),
        ("127.0.0.1", "127.0.0.1.evil.example", 403),
        ("127.0.0.1", "[::1", 403),
        ("127.0.0.1", None, 403),
        ("localhost", "evil.example:8080", 403),
        ("0.0.0.0", "node7:8080", 200),
        ("::", "node7:8080", 200),
        ("node7", "node7.cluster:8080", 200),
    ],
)
def test_on_an_address_it_answers_to_no_other_name(host, asked, status):
    said: list[str] = []
    app = dashboards.only_asked_for(host, lambda _, start: (start("200 OK", []), [b""])[1])
    list(app({} if asked is None else {"HTTP_HOST": asked}, lambda line, _: said.append(line)))
    assert [int(line.split()[0]) for line in said] == [status]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/studies/1"),
        ("POST", "/api/studies"),
        ("POST", "/api/studies/1/rename"),
        ("POST", "/api/trials/4/tell"),
        ("POST", "/api/trials/4/user-attrs"),
        ("PUT", "/api/studies/1/note"),
        ("PUT", "/api/studies/1/1/note"),
        ("POST", "/api/artifacts/1/4"),
        ("DELETE", "/api/artifacts/1/1/0"),
    ],
)
def test_what_would_change_the_study_is_refused(dashboard, run_shown, method, path):
    before = digests(run_shown.path)
    status, kind, content = dashboard.get(path, method)
    assert (status, kind) == (405, "application/json")
    assert b"changes nothing" in content
    assert digests(run_shown.path) == before


@pytest.mark.parametrize("path", ["/favicon.ico", "/static/bundle.js"])
def test_who_accepts_no_encoding_is_answered(dashboard, path):
    connection = http.client.HTTPConnection(dashboard.base.removeprefix("http://"), timeout=60)
    connection.putrequest("GET", path, skip_accept_encoding=True)
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Content-Encoding")) == (200, None)
    assert answer.read()


def test_it_holds_no_run(dashboard, run_shown):
    assert not run_shown.is_held()
    with run_shown.locked():
        assert dashboard.json("/api/studies/1")["name"] == "tiny"


def test_ctrl_c_ends_it_without_a_word(folder):
    with served(folder, "tiny", "--port", "0") as up:
        assert up.end() == 130
        assert up.process.communicate() == ("", "")


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_that_is_taken_is_a_mistake(run, command, taken):
    code, out, err = command("dashboard", "tiny", "--port", taken)
    said = f"--port: {taken} on 127.0.0.1 cannot be listened on (Address already in use); name another"
    assert (code, out, err) == (2, "", f"{said}, or 0 for any that is free\n")


def test_without_a_port_the_next_free_one_is_taken(monkeypatch, taken):
    monkeypatch.setattr(dashboards, "PORT", taken)
    with dashboards._listening("127.0.0.1", None) as server:
        assert taken < server.server_port < taken + dashboards.TRIED


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("no.such.host.invalid", "--host: no.such.host.invalid is no name or address that is known here"),
        ("a" * 70, "is no name or address that is known here"),
        ("192.0.2.1", "--host: 192.0.2.1 is no address of this machine; 127.0.0.1 is for"),
    ],
)
def test_a_host_that_is_none_of_this_machines_is_a_mistake(run, command, host, says):
    code, out, err = command("dashboard", "tiny", "--host", host)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("arguments", "says"), [(["gone"], "no run 'gone'"), (["tiny", "--port", "70000"], "65535")])
def test_other_mistakes(run, command, arguments, says):
    code, _, err = command("dashboard", *arguments)
    assert code == 2
    assert says in err
