"""Files written whole, and what is no file that could be renamed over."""

import os
import stat

import pytest

from study.trial.files import write_whole


@pytest.mark.parametrize("link", [False, True])
def test_a_pipe_is_written_to_and_stays_one(tmp_path, link):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    given = tmp_path / "link" if link else pipe
    if link:
        given.symlink_to(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_whole(given, lambda path: path.write_text("all of it"))
        assert os.read(reading, 100) == b"all of it"
    finally:
        os.close(reading)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert given.is_symlink() == link
