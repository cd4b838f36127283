"""What kind of number a study's ELBOs are is noted without the cost of a model."""

import pytest
import torch

from models.base import VAE
from study.record import storage
from study.record.folder import Run
from study.record.words import plan, summary
from study.spec import StudySpec


@pytest.fixture
def noted(raw, tmp_path, splits, monkeypatch):
    """Notes the kind for a specification, and returns it with the model that was asked."""
    built: list[VAE] = []
    build = storage.build

    def keep(*args, **kwargs) -> VAE:
        built.append(build(*args, **kwargs))
        return built[-1]

    monkeypatch.setattr(storage, "build", keep)

    def note(**pins) -> tuple[str, VAE]:
        given = raw()
        given["fixed"] = {"hidden": 16, "latent": 4, **pins}
        spec = StudySpec(**given)
        opened = storage.open_run(Run(tmp_path), spec, create=True)
        storage.describe_data(opened, splits)
        return opened.study.user_attrs[storage.KIND], built[-1]

    return note


def test_the_model_takes_no_memory_and_no_random_numbers(noted):
    before = torch.get_rng_state()
    kind, model = noted(posterior="gaussian", prior="standard")
    assert kind == "soft cross-entropy"
    assert all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_goes_with_the_pins_is_taken_too(noted):
    assert noted(posterior="spike_slab", alpha=0.1)[0] == "soft cross-entropy"


@pytest.mark.parametrize(
    ("changes", "sigma"),
    [
        ({"likelihood": "gaussian"}, "learned"),
        ({"likelihood": "gaussian", "sigma": "per_pixel"}, "per-pixel"),
        ({"likelihood": "gaussian", "preprocessing": {"binarise": "static"}}, "learned"),
        ({"likelihood": "gaussian", "sigma": 0.1}, None),
        ({"likelihood": "gaussian", "preprocessing": {"dequantise": True}}, None),
        ({"likelihood": "logistic"}, None),
        ({}, None),
    ],
)
def test_a_plan_says_where_an_elbo_can_grow_without_limit(raw, tmp_path, changes, sigma):
    said = plan(StudySpec(**raw(**changes)), Run(tmp_path))
    assert ("not dequantised" in said) == (sigma is not None)
    if sigma:
        assert f"with a {sigma} sigma it grows without limit" in said


@pytest.mark.parametrize(("dequantise", "said"), [(False, "(elbo: density of grey levels, no bound)"), (True, "")])
def test_a_status_says_what_the_elbos_are_where_they_are_no_bounds(raw, tmp_path, splits, dequantise, said):
    spec = StudySpec(**raw(likelihood="gaussian", preprocessing={"dequantise": dequantise}))
    opened = storage.open_run(Run(tmp_path), spec, create=True)
    storage.describe_data(opened, splits)
    trial = opened.study.ask()
    spec.draw(trial)
    opened.study.tell(trial, 1.0)
    assert said in summary(opened)
    assert bool(said) == ("no bound" in summary(opened))
