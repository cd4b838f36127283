"""Nothing is lost and nothing doubled when a driver is killed: `benchmarks.chaos` in short, and whole."""

import pytest

from benchmarks import attacked, chaos

pytestmark = pytest.mark.alone


@pytest.fixture
def kind(request, installed_if_needed):
    return request.param


@pytest.fixture
def installed_if_needed(request):
    if request.node.callspec.params.get("kind") == "postgresql":
        request.getfixturevalue("installed")


@pytest.mark.long
def test_a_killed_driver_loses_and_doubles_nothing(tmp_path):
    found = chaos.attack("driver", tmp_path, kills=1, trials=3)
    assert found.hits == ["while running"]
    assert found.complete + found.pruned == 3


@pytest.mark.long
def test_ten_kills_of_the_driver_of_a_study_whose_trials_pause(tmp_path):
    """On one storage: that all of them keep what is written, twenty kills show below."""
    found = chaos.attack("driver", tmp_path, kills=10, trials=20, mode="promote")
    assert len(found.hits) == 10
    assert found.hits.count("while running") >= 5
    assert found.complete + found.pruned == 20
    assert found.complete >= 3


@pytest.mark.long
@pytest.mark.parametrize("kind", attacked.STORAGES, indirect=True)
def test_twenty_kills_of_the_driver(kind, tmp_path):
    found = chaos.attack("driver", tmp_path, storage=kind)
    assert len(found.hits) == 20
    assert found.hits.count("while running") >= 10
    assert found.complete + found.pruned == 30
