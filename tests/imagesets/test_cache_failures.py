"""What cannot be made or written: what is loaded then, and what is left behind."""

import errno
import fcntl
import os
import shutil
import tempfile
from unittest.mock import Mock

import numpy as np
import pytest
from cached import assert_right, folder_of, listed, make, mapped

from imagesets.base import DataError
from imagesets.cache import stored


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
