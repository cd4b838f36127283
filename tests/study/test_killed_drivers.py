"""Nothing is lost and nothing doubled when a driver is killed: the whole of `benchmarks.chaos`."""

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
@pytest.mark.parametrize("kind", attacked.STORAGES, indirect=True)
def test_twenty_kills_of_the_driver(kind, tmp_path):
    """On the journal of a study whose trials pause."""
    found = chaos.attack("driver", tmp_path, storage=kind, mode="promote" if kind == "journal" else "stop")
    assert len(found.hits) == 20
    assert found.hits.count("while running") >= 10
    assert found.complete + found.pruned == 30
    assert found.complete >= 3
