"""How many trials go on a card by the bytes that one takes, and that a run keeps what was measured."""

import pytest

from study.record import packed
from study.record.folder import Run
from study.record.packed import CUDA, MARGIN, MOST, Packed
from study.record.storage import open_run
from study.record.words import summary
from study.spec import StudySpec

GB = 10**9
H100 = 80 * GB


@pytest.mark.parametrize("peak", [0, GB // 10, GB, 3 * GB, 11 * GB, 25 * GB, 31 * GB, 60 * GB, 80 * GB, 100 * GB])
def test_what_is_put_on_a_card_has_room_there_and_one_more_would_not(peak):
    share = packed.packed(peak, H100, "H100").gpus
    together = round(1 / share)
    assert together * share <= 1 < (together + 1) * share  # so many are what Ray places
    needed = peak * MARGIN + CUDA
    if together > 1:
        assert share * H100 >= needed * (1 - 1e-3)  # Ray counts in ten thousandths
    assert together == MOST or together == 1 or (together + 1) * needed > H100


def test_it_is_said_what_was_measured_and_added():
    assert packed.packed(11 * GB, H100, "NVIDIA H100").told() == (
        "resources.gpus: auto is 0.2, 5 trials a card: the largest took 11 GB of 80 (NVIDIA H100); "
        "25% and 0.54 GB for CUDA were added"
    )
    assert Packed(0.0).told() == "resources.gpus: auto is 0, for there is no GPU; trials are on CPUs"


def test_a_run_keeps_what_was_measured_beside_a_specification_that_stays(raw, tmp_path):
    spec, run = StudySpec(**raw(resources={"gpus": "auto"})), Run(tmp_path / "tiny")
    run.create(spec)
    opened = open_run(run, spec, create=True)
    assert packed.kept(opened) is None
    found = packed.packed(11 * GB, H100, "NVIDIA H100")
    packed.keep(opened, found)
    again = open_run(run)
    assert again.spec == spec
    assert packed.kept(again) == found
    assert packed.as_packed(spec, found).resources.gpus == 0.2
    assert found.told() in summary(again)
    other = spec.model_copy(update={"resources": spec.resources.model_copy(update={"gpus": 0.5})})
    assert packed.kept(again._replace(spec=other)) is None  # as with --set resources.gpus=0.5
    assert packed.as_packed(other, None) == other


def test_a_machine_without_a_gpu_has_room_for_an_automatic_share(raw):
    assert StudySpec(**raw(resources={"gpus": "auto"})).resources.least_gpus == 0.0
