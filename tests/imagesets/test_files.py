"""Source files: what is fetched, what is left alone, and what is said when that fails."""

import http.client
import os
import re
import socket
import sys
import urllib.error
from pathlib import Path
from unittest.mock import Mock

import pytest

import imagesets
from imagesets import files
from imagesets.base import DataError, Info

INFO = Info(
    name="dots",
    image_shape=(1, 2, 2),
    train=3,
    valid=2,
    test=1,
    description="dots",
    files="raw/{one,two} and marks",
    sources=("raw/one", "raw/two", "marks"),
    stand_in="mnist5k",
)


def download(folder):
    """Two files and a folder."""
    (folder / "raw").mkdir()
    (folder / "marks").mkdir()
    for name in ("raw/one", "raw/two", "marks/first", "marks/second", "rubbish"):
        (folder / name).write_text(f"fetched {name}")


def listed(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def failure(root, download):
    """What is said where the download fails."""
    with pytest.raises(DataError) as caught:
        files.fetch(INFO, root, download)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def fails(error):
    def download_half(folder):
        download(folder)
        raise error

    return download_half


def test_everything_that_is_missing_is_fetched(tmp_path):
    root = tmp_path / "not" / "yet"
    files.fetch(INFO, root, download)
    assert listed(root) == ["marks/first", "marks/second", "raw/one", "raw/two"]
    assert {(root / name).read_text() for name in listed(root)} == {f"fetched {name}" for name in listed(root)}
    assert sorted(os.listdir(root)) == ["marks", "raw"]


@pytest.mark.parametrize("there", ["raw/one", "raw/two", "marks/mine"])
def test_only_what_is_missing_is_filled_in(tmp_path, there):
    (tmp_path / there).parent.mkdir()
    (tmp_path / there).write_text("mine")
    files.fetch(INFO, tmp_path, download)
    assert (tmp_path / there).read_text() == "mine"
    fetched = {"raw/one", "raw/two", "marks/first", "marks/second"} - {there}
    if there.startswith("marks"):
        fetched -= {"marks/first", "marks/second"}
    assert listed(tmp_path) == sorted(fetched | {there})
    assert all((tmp_path / name).read_text() == f"fetched {name}" for name in fetched)


def test_nothing_is_fetched_where_nothing_is_missing(tmp_path):
    files.fetch(INFO, tmp_path, download)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    unneeded = Mock()
    files.fetch(INFO, tmp_path, unneeded)
    assert not unneeded.called
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    "error", [OSError("broken"), RuntimeError("broken"), KeyboardInterrupt(), SystemExit(1)], ids=repr
)
def test_an_interrupted_download_leaves_nothing(tmp_path, error):
    with pytest.raises((DataError, type(error))):
        files.fetch(INFO, tmp_path / "data", fails(error))
    assert os.listdir(tmp_path) == []


def test_a_file_is_whole_when_it_takes_its_name(tmp_path):
    def slow(folder):
        download(folder)
        assert listed(tmp_path / "data" / "raw") == []
        assert folder.parent == tmp_path / "data"  # elsewhere, on another disk, the last step would be a copy

    files.fetch(INFO, tmp_path / "data", slow)
    assert (tmp_path / "data" / "raw" / "one").exists()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (urllib.error.URLError("no route"), "<urlopen error no route>"),
        (RuntimeError("Tried a, got:\nnothing\nTried b, got:\nnot found\n"), "not found"),
        (http.client.IncompleteRead(b"abc", 7), "IncompleteRead(3 bytes read, 7 more expected)"),
        (http.client.RemoteDisconnected(), "RemoteDisconnected()"),
        (TimeoutError(), "TimeoutError()"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failed_download_is_one_line(tmp_path, error, reason):
    assert failure(tmp_path, fails(error)) == (
        f"dots: {tmp_path / 'raw' / 'one'} is missing and could not be downloaded ({reason}); "
        f"put raw/one, raw/two, marks under {tmp_path}, or use mnist5k, which needs no download"
    )


def test_the_first_missing_file_is_named(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "one").touch()
    assert failure(tmp_path, fails(OSError("broken"))).startswith(f"dots: {tmp_path / 'raw' / 'two'} is missing")


def test_the_error_behind_is_kept(tmp_path):
    error = OSError("broken")
    with pytest.raises(DataError) as caught:
        files.fetch(INFO, tmp_path, fails(error))
    assert caught.value.__cause__ is error


def test_a_download_that_lacks_a_file_says_so(tmp_path):
    def lacking(folder):
        download(folder)
        (folder / "raw" / "one").unlink()

    assert re.search(r"raw/one is missing and could not be downloaded \(.*No such file", failure(tmp_path, lacking))
    assert listed(tmp_path) == []


def test_a_root_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    unneeded = Mock()
    message = failure(tmp_path / "file" / "data", unneeded)
    assert f"dots: {tmp_path / 'file' / 'data' / 'raw' / 'one'} is missing" in message
    assert "Not a directory" in message
    assert not unneeded.called


def test_a_mistake_in_the_code_is_no_missing_file(tmp_path):
    with pytest.raises(ZeroDivisionError):
        files.fetch(INFO, tmp_path, fails(ZeroDivisionError()))


@pytest.mark.parametrize("usual", [None, 77.0])
def test_a_silent_server_is_waited_for_five_seconds_and_then_settings_are_as_before(tmp_path, usual):
    waited = []

    def measure(folder):
        waited.append(socket.getdefaulttimeout())
        raise OSError("timed out")

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(usual)
    try:
        failure(tmp_path, measure)
        assert (waited, socket.getdefaulttimeout()) == ([5], usual)
    finally:
        socket.setdefaulttimeout(before)


def test_damage_is_one_line():
    assert str(files.damaged(INFO, Path("data", "raw", "one"), "has 3 bytes, where 4 are needed")) == (
        "dots: data/raw/one has 3 bytes, where 4 are needed; delete it, and it is downloaded again, or replace it, "
        "or use mnist5k, which needs no download"
    )


# Progress

MODULE = """
import sys
from imagesets import files
from imagesets.base import DataError, Info

INFO = Info(
    name="progress_dots", image_shape=(1, 2, 2), train=3, valid=2, test=1, description="dots", files="one",
    sources=("one",), stand_in="mnist5k",
)

def load(root, *, broken=False):
    files.fetch(INFO, root, fail if broken else download)
    return "splits"

def download(folder):
    print("a bar", file=sys.stderr)
    (folder / "one").touch()

def fail(folder):
    print("a bar", file=sys.stderr)
    raise OSError("broken")
"""


@pytest.fixture
def dots(tmp_path, monkeypatch):
    """The name of a data set whose download draws a bar on standard error."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "progress_dots.py").write_text(MODULE)
    monkeypatch.setattr(imagesets, "__path__", [*imagesets.__path__, str(folder)])
    yield "progress_dots"
    sys.modules.pop("imagesets.progress_dots", None)
    vars(imagesets).pop("progress_dots", None)


def test_load_is_quiet(dots, tmp_path, capfd):
    assert imagesets.load(dots, tmp_path) == "splits"
    assert (tmp_path / "one").exists()
    assert capfd.readouterr() == ("", "")


def test_get_shows_progress(dots, tmp_path, capfd):
    assert imagesets.get(dots, tmp_path) == "splits"
    assert capfd.readouterr() == ("", "a bar\n")
    (tmp_path / "one").unlink()
    imagesets.load(dots, tmp_path)
    assert capfd.readouterr() == ("", "")


def test_load_is_quiet_after_a_get_that_failed(dots, tmp_path, capfd):
    with pytest.raises(DataError):
        imagesets.get(dots, tmp_path, broken=True)
    assert capfd.readouterr() == ("", "a bar\n")
    imagesets.load(dots, tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_failed_load_is_quiet_and_standard_error_is_back(dots, tmp_path, capfd):
    with pytest.raises(DataError):
        imagesets.load(dots, tmp_path, broken=True)
    print("after", file=sys.stderr)
    assert capfd.readouterr() == ("", "after\n")


def test_a_folder_that_was_made_for_a_download_that_fails_goes_again(tmp_path):
    failure(tmp_path / "not" / "yet", fails(OSError("no network")))
    assert not list(tmp_path.iterdir())
    (tmp_path / "there").mkdir()
    failure(tmp_path / "there" / "new", fails(OSError("no network")))
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
