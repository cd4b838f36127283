"""What a trial takes of a card, with calls of torch.cuda that stand in for a card's: no GPU is needed."""

from types import SimpleNamespace

import pytest
import torch
from shapes import splits_for
from trainings import SIZES

from study.spec.room import largest
from study.trial import arithmetic, cards
from study.trial.cards import CardError, Look
from study.trial.training import Training

GB = 10**9


@pytest.fixture
def cuda(monkeypatch):
    """A card of 80 GB, and in `calls` what it was asked; `reserved` bytes are taken of it."""
    made = SimpleNamespace(calls=[], reserved=0, available=True)

    def told(name, answer=lambda *_: None):
        monkeypatch.setattr(torch.cuda, name, lambda *given: (made.calls.append((name, *given)), answer(*given))[1])

    told("is_available", lambda: made.available)
    told("set_per_process_memory_fraction")
    told("empty_cache")
    told("reset_peak_memory_stats", lambda: setattr(made, "reserved", 0))
    told("max_memory_reserved", lambda: made.reserved)
    told("get_device_capability", lambda _: (9, 0))
    properties = SimpleNamespace(name="NVIDIA H100", total_memory=80 * GB)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    return made


@pytest.mark.parametrize(("share", "capped"), [(0.25, [0.25]), (0.5, [0.5]), (1.0, []), (2.0, [])])
def test_a_share_is_capped_before_anything_is_allocated_and_a_whole_card_is_not(cuda, share, capped):
    assert cards.take(share) == torch.device("cuda", 0)
    assert cuda.calls == [("is_available",), *(("set_per_process_memory_fraction", part, 0) for part in capped)]


def test_cublas_is_told_before_the_card_is_taken(cuda, monkeypatch):
    monkeypatch.delenv(arithmetic.WORKSPACE, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: arithmetic.WORKSPACE in arithmetic.os.environ)
    cards.take(0.5, deterministic=True)


@pytest.mark.parametrize(
    ("version", "said"), [(None, "was built without CUDA"), ("12.8", "for CUDA 12.8, finds no GPU; does its driver")]
)
def test_a_card_that_torch_does_not_find_is_no_reason_to_train_on_the_cpu(cuda, monkeypatch, version, said):
    cuda.available = False
    monkeypatch.setattr(torch.version, "cuda", version)
    with pytest.raises(CardError, match=said):
        cards.take(0.5)
    found = cards.look("full")
    assert said in found.obstacle
    assert found.obstacle.endswith("; add --set resources.gpus=0 to run on CPUs")


def test_a_look_says_whose_card_it_is(cuda):
    assert cards.look("bf16") == Look("", "NVIDIA H100", 80 * GB)


@pytest.fixture
def peak(small, splits):
    """Measures a small training, on the CPU."""

    def measure(**settings):
        spec = small(budget={"steps": 20, "batch": 16}, fixed={"posterior": "gaussian", "prior": "standard"})
        return cards.peak(spec, {**SIZES, "lr": 1e-3, **settings}, splits_for("vae", splits), device="cpu")

    return measure


def test_a_peak_is_of_steps_an_evaluation_and_a_picture(cuda, peak, monkeypatch):
    made = []

    def noted(name, whole, taken):
        def call(*given, **named):
            made.append(name)
            cuda.reserved = max(cuda.reserved, taken)
            return whole(*given, **named)

        return call

    monkeypatch.setattr(Training, "advance", noted("steps", Training.advance, 3 * GB))
    monkeypatch.setattr(Training, "evaluate", noted("evaluation", Training.evaluate, 5 * GB))
    monkeypatch.setattr(cards.snapshot, "take", noted("picture", cards.snapshot.take, 1 * GB))
    cuda.reserved = 70 * GB  # of what was before
    assert peak() == 5 * GB
    assert made == ["steps", "evaluation", "picture"]


def test_a_corner_of_the_space_that_does_not_learn_is_measured_all_the_same(cuda, peak, monkeypatch):
    def advance(training, steps):
        cuda.reserved = 4 * GB
        raise cards.NonFiniteLossError("loss", steps)

    monkeypatch.setattr(Training, "advance", advance)
    assert peak() == 4 * GB


def test_one_that_no_model_can_be_built_from_takes_nothing_and_one_without_room_the_card(cuda, peak, monkeypatch):
    assert peak(latent=-1) == 0

    def advance(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Training, "advance", advance)
    assert peak() == 80 * GB


def test_the_largest_configuration_is_at_the_upper_end_of_every_range(small):
    spec = small("vae", fixed={"posterior": "gaussian", "prior": "standard"}, space={"latent": {"low": 2, "high": 77}})
    assert largest(spec)["latent"] == 77
