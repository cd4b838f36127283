"""Arrays made once a machine: when they are made, when again, what they share, and what is left behind."""

import errno
import fcntl
import hashlib
import mmap
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

import imagesets
from imagesets.base import DataError, Split, Splits
from imagesets.cache import fill, size, splits_of, stored

IMAGES = np.random.default_rng(1).integers(0, 256, (7, 1, 3, 5), np.uint8)
LABELS = np.arange(7) * 1000
REPOSITORY = Path(imagesets.__path__[0]).parent


def make(new):
    new("images", IMAGES.shape, np.uint8)[:] = IMAGES
    new("labels", [7], "int64")[:] = LABELS


@pytest.fixture
def build():
    """Makes two arrays, and counts its calls."""
    return Mock(side_effect=make)


@pytest.fixture
def source(tmp_path):
    """A file that the arrays are said to be made of."""
    path = tmp_path / "raw" / "source"
    path.parent.mkdir()
    path.write_bytes(b"some content")
    return path


def assert_right(arrays):
    assert list(arrays) == ["images", "labels"]
    np.testing.assert_array_equal(arrays["images"], IMAGES)
    np.testing.assert_array_equal(arrays["labels"], LABELS)
    assert [(type(a), a.dtype) for a in arrays.values()] == [(np.ndarray, np.uint8), (np.ndarray, np.int64)]


def mapped(array):
    """Whether an array's values lie in a mapped file."""
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


def folder_of(root, name="dots"):
    (folder,) = (root / "cache").glob(f"{name}-*")
    return folder


def listed(root):
    """What lies under the cache but for the lock, and the contents of its folders."""
    return sorted(str(p.relative_to(root / "cache")) for p in (root / "cache").rglob("*") if p.suffix != ".lock")


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def touch_later(path):
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


# What is made, and how it is kept


def test_arrays_are_those_that_were_made_mapped_from_files(tmp_path, build):
    arrays = stored(tmp_path, "dots", build)
    assert_right(arrays)
    assert all(mapped(array) for array in arrays.values())
    folder = folder_of(tmp_path)
    assert re.fullmatch("dots-[0-9a-f]{12}", folder.name)
    assert listed(tmp_path) == [
        folder.name,
        *(f"{folder.name}/{f}" for f in ("images.npy", "index.json", "labels.npy")),
    ]
    np.testing.assert_array_equal(np.load(folder / "images.npy"), IMAGES)
    np.testing.assert_array_equal(np.load(folder / "labels.npy"), LABELS)


def test_other_users_may_read_them(tmp_path, build):
    stored(tmp_path, "dots", build)
    mask = os.umask(0)
    os.umask(mask)
    assert folder_of(tmp_path).stat().st_mode & 0o777 == 0o755
    assert {p.stat().st_mode & 0o777 for p in folder_of(tmp_path).iterdir()} == {0o666 & ~mask}


def test_the_second_call_does_not_build(tmp_path, build):
    stored(tmp_path, "dots", build)
    arrays = stored(tmp_path, "dots", build)
    assert_right(arrays)
    assert all(mapped(array) for array in arrays.values())
    assert build.call_count == 1


@pytest.mark.parametrize("other", [{"options": {"size": 64}}, {"options": {"size": None}}, {"version": 2}], ids=str)
def test_another_option_or_version_is_built_apart(tmp_path, build, other):
    usual = {"options": {"size": 32}, "version": 1}
    stored(tmp_path, "dots", build, **usual)
    stored(tmp_path, "dots", lambda new: new("images", (1,), np.uint8).fill(9), **usual | other)
    assert len(list((tmp_path / "cache").glob("dots-*"))) == 2
    assert stored(tmp_path, "dots", build, **usual | other)["images"].tolist() == [9]
    assert_right(stored(tmp_path, "dots", build, **usual))
    assert build.call_count == 1


def test_another_name_is_built_apart(tmp_path, build):
    stored(tmp_path, "dots", build)
    stored(tmp_path, "lines", build)
    assert build.call_count == 2


@pytest.mark.parametrize("same", [[{}, None], [{"a": 1, "b": [2]}, {"b": (2,), "a": 1}]], ids=str)
def test_the_same_options_in_other_words_are_not_built_again(tmp_path, build, same):
    for options in same:
        stored(tmp_path, "dots", build, options=options)
    assert build.call_count == 1


def test_writing_to_an_array_changes_nothing_but_itself(tmp_path, build):
    first = stored(tmp_path, "dots", build)
    before = content(folder_of(tmp_path))
    for array in first.values():
        assert array.flags.writeable
        array[:] = 99
    assert_right(stored(tmp_path, "dots", build))
    assert build.call_count == 1
    assert content(folder_of(tmp_path)) == before
    assert (first["images"] == 99).all()


def test_a_scalar_and_an_empty_array_can_be_kept(tmp_path):
    def make_odd(new):
        new("scalar", (), np.float32)[...] = 2.5
        new("empty", (0, 3), np.int64)

    for _ in range(2):
        arrays = stored(tmp_path, "odd", Mock(side_effect=make_odd))
        assert (arrays["scalar"].shape, float(arrays["scalar"])) == ((), 2.5)
        assert (arrays["empty"].shape, arrays["empty"].dtype) == ((0, 3), np.int64)


# The files that they are made of


def change_size(path):
    status = path.stat()
    path.write_bytes(path.read_bytes() + b"!")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", [change_size, touch_later])
def test_a_changed_source_is_read_again(tmp_path, build, source, change):
    stored(tmp_path, "dots", build, sources=[source])
    stored(tmp_path, "dots", build, sources=[source])
    assert build.call_count == 1
    change(source)
    assert_right(stored(tmp_path, "dots", build, sources=[source]))
    assert build.call_count == 2
    stored(tmp_path, "dots", build, sources=[source])
    assert build.call_count == 2
    assert len(listed(tmp_path)) == 4  # the folder and its three files, and nothing of the old


def test_deleted_sources_are_not_missed(tmp_path, build, source):
    stored(tmp_path, "dots", build, sources=[source])
    source.unlink()
    assert_right(stored(tmp_path, "dots", build, sources=[source]))
    assert build.call_count == 1


def test_a_source_that_the_build_fetches_counts(tmp_path, source):
    def fetch(new):
        source.write_bytes(b"fetched")
        make(new)

    source.unlink()
    build = Mock(side_effect=fetch)
    stored(tmp_path, "dots", build, sources=[source])
    stored(tmp_path, "dots", build, sources=[source])
    assert build.call_count == 1
    change_size(source)
    stored(tmp_path, "dots", build, sources=[source])
    assert build.call_count > 1


def test_a_source_that_changes_while_it_is_read_is_read_again(tmp_path, source):
    def copy(new):
        new("content", (1,), np.int64)[:] = int(source.read_bytes())
        source.write_bytes(b"22")

    source.write_bytes(b"1")
    stored(tmp_path, "dots", copy, sources=[source])
    assert stored(tmp_path, "dots", copy, sources=[source])["content"] == 22


def test_a_source_that_was_not_there_before_is_read(tmp_path, build, source):
    second = source.with_name("second")
    stored(tmp_path, "dots", build, sources=[source, second])
    second.touch()
    stored(tmp_path, "dots", build, sources=[source, second])
    assert build.call_count == 2


def test_the_data_folder_may_be_moved(tmp_path, build):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    (here / "source").touch()
    stored(here, "dots", build, sources=[here / "source"])
    here.rename(there)
    assert_right(stored(there, "dots", build, sources=[there / "source"]))
    assert build.call_count == 1


# Damage


def flip(content, at):
    return content[:at] + bytes((content[at] ^ 1,)) + content[at + 1 :]


def big_endian(content):
    """One bit of the header of an int64 array."""
    assert ord("<") ^ ord(">") == 2
    return content.replace(b"'<i8'", b"'>i8'")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("images.npy", lambda content: b""),
        ("images.npy", lambda content: content[:-1]),
        ("images.npy", lambda content: content[:60]),
        ("images.npy", lambda content: flip(content, len(content) - 1)),
        ("images.npy", lambda content: flip(content, 0)),
        ("images.npy", lambda content: content.replace(b"(7, 1, 3, 5)", b"(7, 1, 5, 3)")),
        ("labels.npy", big_endian),
        ("labels.npy", lambda content: flip(content, len(content) - 8)),
        ("index.json", lambda content: b""),
        ("index.json", lambda content: content[:-2]),
        ("index.json", lambda content: b"\xff\xfe"),
        ("index.json", lambda content: b"null"),
        ("index.json", lambda content: b"[]"),
        ("index.json", lambda content: b'{"arrays": {"images": 1, "labels": 2}, "sources": {}}'),
        ("index.json", lambda content: b'{"arrays": ["images", "labels"]}'),
    ],
)
def test_a_damaged_file_is_made_again(tmp_path, build, source, name, damage):
    stored(tmp_path, "dots", build, sources=[source])
    before = content(folder_of(tmp_path))
    damaged = damage(before[name])
    assert damaged != before[name]
    (folder_of(tmp_path) / name).write_bytes(damaged)
    arrays = stored(tmp_path, "dots", build, sources=[source])
    assert_right(arrays)
    assert all(mapped(array) for array in arrays.values())
    assert build.call_count == 2
    assert content(folder_of(tmp_path)) == before
    assert len(listed(tmp_path)) == 4


@pytest.mark.parametrize("name", ["images.npy", "index.json"])
def test_a_missing_file_is_made_again(tmp_path, build, name):
    stored(tmp_path, "dots", build)
    (folder_of(tmp_path) / name).unlink()
    assert_right(stored(tmp_path, "dots", build))
    assert build.call_count == 2


def test_a_file_in_the_folders_place_is_replaced(tmp_path, build):
    stored(tmp_path, "dots", build)
    folder = folder_of(tmp_path)
    shutil.rmtree(folder)
    folder.write_bytes(b"no folder")
    for _ in range(2):
        assert_right(stored(tmp_path, "dots", build))
    assert build.call_count == 2


def test_who_reads_a_folder_that_is_replaced_goes_on_reading(tmp_path, source):
    def copy(new):
        new("content", (100_000,), np.int64)[:] = int(source.read_bytes())

    source.write_bytes(b"1")
    first = stored(tmp_path, "dots", copy, sources=[source])["content"]
    source.write_bytes(b"22")
    second = stored(tmp_path, "dots", copy, sources=[source])["content"]
    assert mapped(first)
    assert mapped(second)
    assert (first == 1).all()
    assert (second == 22).all()


# What fails


@pytest.mark.parametrize(
    "error", [DataError("no source"), OSError(errno.EIO, "bad disk"), KeyboardInterrupt()], ids=repr
)
def test_a_build_that_fails_leaves_nothing(tmp_path, build, error):
    def fail(new):
        make(new)
        raise error

    with pytest.raises(type(error)) as caught:
        stored(tmp_path, "dots", fail)
    assert caught.value is error
    assert listed(tmp_path) == []
    assert_right(stored(tmp_path, "dots", build))  # nor the lock
    assert build.call_count == 1


def test_what_a_killed_builder_left_is_swept(tmp_path, build):
    stored(tmp_path, "dots", build)
    folder = folder_of(tmp_path)
    shutil.rmtree(folder)
    own, others = folder.with_name(f".{folder.name}.xyz"), folder.with_name(".dots-0123456789ab.xyz")
    for left in (own, others):
        left.mkdir()
        (left / "images.npy").touch()
    stored(tmp_path, "dots", build)
    assert not own.exists()
    assert (others / "images.npy").exists()


REFUSALS = {
    "full disk": (os, "posix_fallocate", OSError(errno.ENOSPC, "No space left on device")),
    "no rename": (os, "rename", PermissionError()),
    "no folder": (tempfile, "mkdtemp", PermissionError()),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_what_cannot_be_written_is_made_in_memory(tmp_path, build, monkeypatch, refusal):
    place, name, error = REFUSALS[refusal]
    with monkeypatch.context() as patch:
        refused = Mock(side_effect=error)
        patch.setattr(place, name, refused)
        arrays = stored(tmp_path, "dots", build)
        assert refused.called
    assert_right(arrays)
    assert not any(mapped(array) for array in arrays.values())
    assert listed(tmp_path) == []
    count = build.call_count
    stored(tmp_path, "dots", build)
    assert build.call_count == count + 1


def test_a_full_disk_does_not_lose_what_is_there(tmp_path, build, monkeypatch):
    stored(tmp_path, "dots", build)
    monkeypatch.setattr(os, "posix_fallocate", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    arrays = stored(tmp_path, "dots", build)
    assert all(mapped(array) for array in arrays.values())
    assert build.call_count == 1


def test_room_is_taken_before_it_is_written(tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr(os, "posix_fallocate", lambda descriptor, start, length: taken.append((start, length)))

    def check(new):
        array = new("images", (1000,), np.uint8)
        assert len(taken) == 1
        array[:] = 1

    stored(tmp_path, "dots", check)
    assert taken == [(0, (folder_of(tmp_path) / "images.npy").stat().st_size)]


def test_below_a_plain_file_they_are_made_in_memory(tmp_path, build):
    (tmp_path / "file").touch()
    for _ in range(2):
        assert_right(stored(tmp_path / "file" / "data", "dots", build))
    assert build.call_count == 2
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_system_without_locks_serves(tmp_path, build, monkeypatch):
    refused = Mock(side_effect=OSError(errno.ENOLCK, "No locks available"))
    monkeypatch.setattr(fcntl, "flock", refused)
    stored(tmp_path, "dots", build)
    folder = folder_of(tmp_path)
    (folder / "index.json").write_text("damaged")
    at_work = folder.with_name(f".{folder.name}.xyz")  # perhaps another's, who is at work
    at_work.mkdir()
    for _ in range(2):
        arrays = stored(tmp_path, "dots", build)
        assert_right(arrays)
        assert all(mapped(array) for array in arrays.values())
    assert build.call_count == 2
    assert at_work.exists()
    assert refused.call_count == 2


def test_without_locks_the_last_of_two_builders_wins(tmp_path, build, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", Mock(side_effect=OSError(errno.ENOLCK, "No locks available")))

    def slow(new):
        assert_right(stored(tmp_path, "dots", build))  # another process, meanwhile
        make(new)

    assert_right(stored(tmp_path, "dots", slow))
    assert_right(stored(tmp_path, "dots", build))
    assert build.call_count == 1
    assert len(listed(tmp_path)) == 4


# Many processes

PROCESS = """
import hashlib, sys, time
from pathlib import Path
import numpy as np
from imagesets.cache import stored

root, seconds = Path(sys.argv[1]), float(sys.argv[2])

def build(new):
    array = new("values", (250_000,), np.int64)
    array[:1000] = 7
    with open(root / "builds", "a") as file:
        file.write("built\\n")
    time.sleep(seconds)
    array[:] = np.arange(250_000)

print("ready", flush=True)
sys.stdin.readline()
print(hashlib.sha256(stored(root, "dots", build)["values"]).hexdigest())
"""
RIGHT = hashlib.sha256(np.arange(250_000)).hexdigest()


@pytest.fixture
def start(tmp_path):
    """Starts a process that loads, once it is sent a line, what takes it so many seconds to build."""
    processes = []

    def start(seconds):
        command = [sys.executable, "-c", PROCESS, str(tmp_path), str(seconds)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen(command, cwd=REPOSITORY, text=True, **pipes))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def say(process, line="go\n"):
    process.stdin.write(line)
    process.stdin.flush()


def test_ten_processes_at_once_build_once(tmp_path, start):
    processes = [start(seconds=0.5) for _ in range(10)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        say(process)
    said = [process.communicate(timeout=60) for process in processes]
    assert said == [(RIGHT + "\n", "")] * 10
    assert (tmp_path / "builds").read_text() == "built\n"
    assert {name.split("/")[-1] for name in listed(tmp_path)} == {folder_of(tmp_path).name, "index.json", "values.npy"}


def test_who_waits_for_a_killed_builder_builds(tmp_path, start):
    killed, waits = start(seconds=600), start(seconds=0)
    for process in (killed, waits):
        assert process.stdout.readline() == "ready\n"
    say(killed)
    wait_for(lambda: (tmp_path / "builds").exists())
    say(waits)
    time.sleep(0.2)
    assert waits.poll() is None
    assert len(list((tmp_path / "cache").glob(".dots-*/values.npy"))) == 1
    killed.kill()
    assert waits.communicate(timeout=60) == (RIGHT + "\n", "")
    assert (tmp_path / "builds").read_text() == "built\nbuilt\n"
    assert {name.split("/")[-1] for name in listed(tmp_path)} == {folder_of(tmp_path).name, "index.json", "values.npy"}


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# Splits in arrays


def split(count, labels=True, factors=True):
    random = np.random.default_rng(count)
    return Split(
        random.integers(0, 256, (count, 1, 2, 2), np.uint8),
        random.integers(0, 10, count) if labels else None,
        random.integers(0, 10, (count, 3)) if factors else None,
    )


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("factors", [True, False])
def test_splits_come_back_as_they_were(tmp_path, labels, factors):
    splits = Splits(*(split(count, labels, factors) for count in (5, 3, 2)))
    for _ in range(2):
        found = splits_of(stored(tmp_path, "dots", lambda new: fill(new, splits)))
        for right, part in zip(splits, found):
            for values, read in zip(right, part):
                assert (values is None) == (read is None)
                if values is not None:
                    np.testing.assert_array_equal(read, values)
                    assert read.dtype == values.dtype


def test_size_is_what_the_arrays_take(tmp_path):
    assert size(tmp_path, "dots") == 0
    for options in ({"n": 1}, {"n": 2}):
        stored(tmp_path, "dots", lambda new: new("images", (1000,), np.uint8).fill(1), options=options)
    stored(tmp_path, "dots_60k", make)
    stored(tmp_path, "dots-0123456789ab", make)
    assert size(tmp_path, "dots") == 2 * (1000 + 128)  # an npy header takes 128 bytes
    assert size(tmp_path, "dots_60k") == IMAGES.nbytes + LABELS.nbytes + 2 * 128
