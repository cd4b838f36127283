"""The profile of a trial names functions that are there, and its lines add up; no time is asserted."""

import pytest
import torch

from benchmarks import costs


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, dict[str, float]]:
    """By its title, what each line of a table took, in milliseconds."""
    threads = torch.get_num_threads()
    found = {}
    for table in costs.tables(None, tmp_path_factory.mktemp("costs"), steps=1, times=1):
        (what, *_), _, *lines = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
        found[what] = {line[0]: float(line[1]) for line in lines}
    torch.set_num_threads(threads)
    return found


def test_there_is_a_table_of_each_size_of_work(tables):
    assert [*tables] == [
        "a training step",
        "an evaluation of 500 images",
        "a report after one step",
        "a trial of ten reports",
        "the driver",
    ]


def test_every_line_has_functions_that_were_called(tables):
    assert [(what, line) for what, lines in tables.items() for line, taken in lines.items() if not taken] == []


def test_the_parts_of_a_table_are_its_whole(tables):
    for what, lines in tables.items():
        whole, *parts = (taken for line, taken in lines.items() if not line.startswith("&emsp;"))
        assert sum(parts) == pytest.approx(whole, abs=0.1), what
        assert 0 < lines["the rest"] < whole / 2
