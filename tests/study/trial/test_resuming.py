"""Training resumes bit for bit, in another process as in the same one."""

import pytest
import torch
from shapes import splits_for
from trainings import EVERY_SETTING, every_model, identical, sizes

import models
from study.trial import checkpoint
from study.trial.training import Training

every_network = pytest.mark.parametrize("network", ["mlp", pytest.param("conv", marks=pytest.mark.long)])


RESUME = """
import sys
from pathlib import Path

import torch

from imagesets import Split, Splits
from study.trial import checkpoint
from study.spec import StudySpec
from study.trial.training import Training

for path in sorted(Path(sys.argv[1]).glob("*.start")):
    torch.manual_seed(12345)
    given = checkpoint.load(path)
    splits = Splits(*(Split(images.numpy()) for images in given["images"]))
    training = Training(StudySpec(**given["spec"]), given["settings"], splits, seed=given["seed"])
    training.load_state_dict(given["training"])
    losses = training.advance(given["steps"])
    checkpoint.save(path.with_suffix(".end"), {
        "training": training.state_dict(),
        "losses": [[entry.step, entry.values] for entry in losses],
        "evaluation": training.evaluate(),
        "threads": torch.get_num_threads(),
    })
"""


@pytest.fixture(scope="module")
def resumed(small, splits, python, tmp_path_factory):
    """(model, network) -> how a training ended that went on in another process, and how the undisturbed one did."""
    made = {}

    def of(model, network):
        if network not in made:
            folder = tmp_path_factory.mktemp("resumed")
            torch.set_num_threads(1)
            ends = {name: half_and_whole(name, network, folder / f"{name}.start") for name in models.names()}
            python("-c", RESUME, str(folder))
            made[network] = {name: (checkpoint.load(folder / f"{name}.end"), end) for name, end in ends.items()}
        return made[network][model]

    def half_and_whole(model, network, path):
        """Writes what the other process goes on from; returns how it ends here."""
        spec = small(model, budget={"steps": 20, "batch": 16, "log_every": 2, "report_every": None})
        settings = {**EVERY_SETTING, **sizes(model), "network": network}
        shown = splits_for(model, splits)
        training = Training(spec, settings, shown, seed=3)
        training.advance(7)
        training.evaluate()
        start = {
            "spec": spec.model_dump(),
            "settings": settings,
            "seed": 3,
            "images": [torch.from_numpy(split.images) for split in shown],
            "training": training.state_dict(),
            "steps": 13,
        }
        checkpoint.save(path, start)
        losses = training.advance(13)
        return {
            "training": training.state_dict(),
            "losses": [[entry.step, entry.values] for entry in losses],
            "evaluation": training.evaluate(),
            "threads": 1,
        }

    return of


@every_network
@every_model
@pytest.mark.parametrize("part", ["training", "losses", "evaluation", "threads"])
def test_a_run_resumed_in_another_process_equals_the_uninterrupted_one(resumed, model, network, part):
    other, here = resumed(model, network)
    assert identical(other[part], here[part])


@every_model
def test_the_checkpoint_holds_more_than_one_step(resumed, model):
    """Else the test above would compare two trainings that never went on."""
    _, end = resumed(model, "mlp")
    assert end["training"]["step"] == 20
    assert [step for step, _ in end["losses"]] == [8, 10, 12, 14, 16, 18]


@every_model
def test_reports_and_evaluations_on_the_way_change_nothing(training, model):
    straight, halting = training(model, **EVERY_SETTING), training(model, **EVERY_SETTING)
    losses = straight.advance(20)
    found = []
    for steps in (1, 6, 3, 10):
        found += halting.advance(steps)
        halting.evaluate()
    assert losses == found
    assert identical(straight.state_dict(), halting.state_dict())


@pytest.mark.parametrize("at", [9, 10, 11])
def test_the_step_size_is_dropped_once_though_the_run_stops_around_it(training, at):
    first = training(**EVERY_SETTING)
    first.advance(at)
    second = training(**EVERY_SETTING)
    second.load_state_dict(first.state_dict())
    second.advance(20 - at)
    first.advance(20 - at)
    assert identical(first.state_dict(), second.state_dict())
    assert second.optimisers["model"].param_groups[0]["lr"] == pytest.approx(3e-4)


def test_the_number_of_threads_is_part_of_the_state(training):
    state = training().state_dict()
    assert state["threads"] == 1
    torch.set_num_threads(2)
    training().load_state_dict(state)
    assert torch.get_num_threads() == 1
