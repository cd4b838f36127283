"""A cluster is joined by its address: what is none is told in seconds, and no other study's own Ray is joined."""

import contextlib
import re
import socket
import threading
from pathlib import Path

import pytest

from study.signals import Stop
from study.spec import StudySpec
from study.spec.address import head, wanted
from study.spec.problems import MachineError, SpecError
from study.tune import cluster, join, probe


def refused(given: str | None) -> str:
    with pytest.raises(SpecError) as error:
        join.join(given)
    (line,) = str(error.value).splitlines()
    return line


@pytest.mark.parametrize(
    "given",
    [
        *("", "head", "head:", ":6379", "head:0", "head:70000", "head:port", "1.2.3.4:99999999"),
        *("::1:6379", "[::1]", "a head:6379", "head:6379/x", "head:\u0666379", "head:6379\n"),
    ],
)
def test_what_is_no_address_is_refused(given):
    needed = "needs HOST:PORT, as `ray start --head` prints it, auto or local"
    assert refused(given) == f"--address: {needed}, got {given!r}"


@pytest.mark.parametrize("given", ["ray://head:10001", "http://dashboard:8265"])
def test_from_outside_a_cluster_takes_jobs(given, monkeypatch):
    said = (
        f"needs HOST:PORT, as `ray start --head` prints it, auto or local, got {given!r}; the process that leads a "
        "study must run on a machine of the cluster; from outside, have one run it as a job: "
        "`ray job submit -- python -m study run ...`"
    )
    assert refused(given) == f"--address: {said}"
    monkeypatch.setenv("RAY_ADDRESS", given)
    assert refused("auto") == f"RAY_ADDRESS: {said}"
    assert refused(None) == f"RAY_ADDRESS: {said}"


def test_auto_finds_only_what_was_started_to_be_joined(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    said = refused("auto")
    assert said.startswith(f"--address: auto finds no cluster: `ray start` left no address in {tmp_path}/ray, and RAY_")
    assert "with --temp-dir is joined by its HOST:PORT; " in said
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("localhost:1\n")  # of a head that is gone
    assert refused("auto").startswith("--address: no Ray answers at localhost:1 (Connection refused); is its head up?")
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert "--address: no Ray answers at localhost:1" in refused("auto")


@pytest.mark.parametrize(
    ("given", "named", "joined"),
    [
        (None, None, None),
        (None, "", None),
        (None, "local", None),
        (None, "head:6379", "head:6379"),
        ("auto", None, "auto"),
        ("local", "head:6379", None),
        ("other:6379", "head:6379", "other:6379"),
    ],
)
def test_which_cluster_is_wanted(monkeypatch, given, named, joined):
    """As in a job, in which Ray sets the variable."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if named is not None:
        monkeypatch.setenv("RAY_ADDRESS", named)
    assert wanted(given) == joined


@pytest.mark.parametrize("how", [["run"], ["run", "--dry-run"], ["seeds"]])
def test_a_cluster_that_the_environment_names_is_joined(ray_down, command, preset, tmp_path, monkeypatch, how):
    """So that this machine's room is not asked for."""
    monkeypatch.setenv("RAY_ADDRESS", "localhost:1")
    path = preset(tmp_path, resources={"cpus": 999})
    code, _, err = command(how[0], path, *how[1:], "--root", tmp_path / "runs")
    if "--dry-run" in how:
        assert (code, err) == (0, "")
    else:
        assert code == 2
        assert err.startswith("RAY_ADDRESS: no Ray answers at localhost:1 ")
    code, _, err = command(how[0], path, *how[1:], "--root", tmp_path / "runs", "--address", "local")
    assert (code, "resources.cpus: a trial asks for 999 CPUs, this machine has" in err) == (2, True)


def test_a_host_that_is_not_known():
    assert re.search(r"no Ray answers at no\.such\.host\.invalid:6379 \(.+\)", refused("no.such.host.invalid:6379"))
    assert "no Ray answers at xxx" in refused(f"{'x' * 300}:6379")


@contextlib.contextmanager
def server(answer: bytes):
    """Takes connections, answers and closes; without an answer it says nothing and holds them."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            held = []
            with contextlib.suppress(OSError):
                while True:
                    held.append(listening.accept()[0])
                    if answer:
                        held.pop().sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH", b"\0\0\0\7"])
def test_what_is_no_ray_is_refused(answer):
    with server(answer) as address:
        assert refused(address).startswith(f"--address: what answers at {address} is no Ray; ")


def test_what_says_nothing_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(probe, "SECONDS", 0.2)
    with server(b"") as address:
        assert refused(address).startswith(f"--address: no Ray answers at {address} (timed out); ")


def test_a_cluster_that_cannot_be_joined_is_said_in_ray_s_first_words(ray_down, command, preset, tmp_path, monkeypatch):
    def init(**_):
        raise ConnectionError("Failed to connect to Ray cluster") from RuntimeError("No node info found.\nmore")

    monkeypatch.setattr(join.ray, "init", init)
    with server(SETTINGS) as address:
        code, _, err = command("run", preset(tmp_path), "--root", tmp_path / "runs", "--address", address)
    first, then, last = err.splitlines()
    assert (code, first) == (1, f"the Ray cluster at {address} could not be joined: No node info found")
    assert f"`ray start --address={address}`" in then
    assert last == "go on with: the same command, nothing is written"
    assert not (tmp_path / "runs").exists()


SETTINGS = b"\0\0\0\4\0\0\0\0\0"
NEEDED = b"grpc-status\x0216\0\x0cgrpc-message>InvalidAuthToken: Authentication token is missing or incorrect"
ASKS = SETTINGS + b"\0\0" + bytes([len(NEEDED)]) + b"\1\5\0\0\0\1" + NEEDED  # HEADERS, and no more
NAMES = SETTINGS + b"\0\0\7\0\0\0\0\0\1\0\0\0\0\2\n\0"  # DATA


@pytest.mark.parametrize(("answer", "asked"), [(ASKS, True), (NAMES, False), (SETTINGS, False)])
def test_a_token_is_shown_where_it_is_asked_for(ray_down, monkeypatch, answer, asked):
    """Workers of a head without one would not start."""
    done = []

    def init(**_):
        done.append("joined")
        raise ConnectionError("Failed to connect")

    monkeypatch.setattr(join, "maybe_enable_token_auth_if_token_available", lambda **_: done.append("token") or True)
    monkeypatch.setattr(join.ray, "init", init)
    with server(answer) as address, pytest.raises(MachineError):
        join.join(address)
    assert done == (["token", "joined"] if asked else ["joined"])


def test_a_token_that_is_asked_for_and_not_there_is_a_line(ray_down, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with server(ASKS) as address:
        assert refused(address).startswith(
            f"--address: the Ray at {address} asks for its token: set RAY_AUTH_MODE=token"
        )


def test_a_wrong_address_is_a_line_and_leaves_no_run(ray_down, command, preset, tmp_path):
    code, _, err = command("run", preset(tmp_path), "--root", tmp_path / "runs", "--address", "localhost:1")
    assert (code, err.count("\n")) == (2, 1)
    assert not (tmp_path / "runs").exists()


@pytest.mark.long
def test_another_study_s_own_ray_is_not_joined(ray_down, ray_folder, raw, python):
    spec = StudySpec(**raw())
    with ray_folder(), cluster.ray_started(spec, Path("tiny"), None, False, Stop()):
        address = cluster.ray.get_runtime_context().gcs_address
        code = f"from study.tune import join; join.join({address!r})"
        said = python("-c", code, check=False).stderr.splitlines()[-1]
    assert f"--address: {address} is a Ray that another study started for itself, and that ends with it" in said


@pytest.mark.long
def test_what_was_joined_is_said(ray_down, ray_folder, raw, capsys):
    from ray.cluster_utils import Cluster

    with ray_folder():
        joined = Cluster(initialize_head=True, head_node_args={"num_cpus": 3, "include_dashboard": False})
        try:
            with cluster.ray_started(StudySpec(**raw()), Path("tiny"), joined.address, False, Stop()):
                said = f"joined the Ray cluster at {joined.address}: 1 machine, 3 CPUs, 0 GPUs\n"
        finally:
            joined.shutdown()
    assert capsys.readouterr().out == said


def test_the_forms_of_an_address():
    assert head("head.lab:6379") == ("head.lab", 6379)
    assert head("[fe80::1%eth0]:6379") == ("fe80::1%eth0", 6379)
