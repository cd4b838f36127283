"""The comparison of all models: none is missing, all have one budget, and a run is as `seeds` makes it, without Ray."""

import sys

import pytest

import analysis
import models
from analysis.tables import confirmation
from benchmarks import comparison
from benchmarks.comparison import DATA_SETS, SETTINGS, specification
from study.record.folder import Run
from study.record.storage import create

EQUAL = ("latent", "network", "hidden", "lr")


def test_every_model_that_takes_single_images_is_compared():
    given = {specification("mnist5k", setting, 1).model for setting in SETTINGS}
    assert given == {name for name in models.names() if not models.takes_pairs(name)}


@pytest.mark.parametrize("data_set", DATA_SETS)
def test_all_have_one_budget(data_set):
    specs = [specification(data_set, setting, 3) for setting in SETTINGS]
    for same in ("dataset", "preprocessing", "likelihood", "budget", "validation", "confirm", "seed", "trials"):
        assert len({repr(getattr(spec, same)) for spec in specs}) == 1, same
    assert len({tuple(spec.defaults()[key] for key in EQUAL) for spec in specs}) == 1


def test_a_run_is_confirmed_without_ray_and_what_is_there_is_not_trained_again(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # an import of it fails
    tiny = ["budget.steps=4", "budget.report_every=4", "validation.images=20", "confirm.samples=2", "confirm.images=5"]
    run = Run(tmp_path / "mnist5k-vae")
    create(run, specification("mnist5k", "vae", 2, tiny))
    comparison.complete(run, None)
    [row] = confirmation(analysis.confirmed(run.path)).to_dict("records")
    assert (row["study"], row["seeds"], row["failed"]) == ("mnist5k-vae", 2, 0)
    monkeypatch.setattr(comparison, "do", None)
    comparison.complete(run, None)
