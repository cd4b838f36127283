"""Arrays are made again when their sources changed or a file is damaged."""

import os
import shutil
from unittest.mock import Mock

import numpy as np
import pytest
from cached import assert_right, content, folder_of, listed, make, mapped

from imagesets.cache import stored


def touch_later(path):
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


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
