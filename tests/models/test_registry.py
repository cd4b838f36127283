"""The folder is the registry: building by name, refusing mistakes, loading an export."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

import models
from models import ModelError


def test_every_file_with_a_build_is_a_model():
    folder = Path(models.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if "\ndef build(" in path.read_text(encoding="utf-8")}
    assert set(models.names()) == files - {"__init__"}
    assert models.names() == sorted(models.names())


def test_an_unknown_model_is_refused_with_the_nearest_name():
    with pytest.raises(ModelError, match=r"model 'vcs' is not known; known: .*vsc\. Did you mean 'vsc'\?"):
        models.build("vcs", (1, 8, 8))


def test_a_built_model_knows_its_name_and_all_its_hyperparameters():
    model = models.build("vsc", (1, 8, 8), latent=3)
    assert model.name == "vsc"
    assert model.hyperparameters == {**models.hyperparameters("vsc"), "latent": 3}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("latent", 0),
        ("latent", 2.5),
        ("latent", "20"),
        ("latent", True),
        ("alpha", 0.0),
        ("alpha", 1),
        ("beta", -1.0),
        ("beta", float("nan")),
        ("kl_warmup", 1.5),
        ("hidden", (20, 0)),
        ("hidden", "20"),
        ("network", "resnet"),
        ("sigma", 0.0),
        ("sigma", "fixed"),
        ("gamma_init", 1.0),
    ],
)
def test_a_value_outside_its_domain_is_refused_by_name(key, value):
    (problem,) = models.check("vsc", {key: value})
    assert problem[0] == key
    with pytest.raises(ModelError, match=f"vsc: {key}: "):
        models.build("vsc", (1, 8, 8), **{key: value})


@pytest.mark.parametrize(
    "settings",
    [
        {"latent": 1},
        {"beta": 2},
        {"hidden": [20, 30]},
        {"hidden": ()},
        {"decoder_hidden": None},
        {"sigma": "per_pixel"},
        {"sigma": 1},
        {"gamma_init": None},
        {"kl_warmup": 1.0},
    ],
)
def test_a_value_inside_its_domain_is_taken(settings):
    assert models.check("vsc", settings) == []
    models.build("vsc", (1, 8, 8), **settings)


def test_every_problem_is_named_at_once():
    with pytest.raises(ModelError) as caught:
        models.build("vae", (1, 8, 8), latent=0, network="resnet", latnet=3)
    assert all(part in str(caught.value) for part in ("vae: latent: ", "vae: network: ", "vae: latnet: "))
    assert "Did you mean 'latent'?" in str(caught.value)


@pytest.fixture
def export(tmp_path):
    """A folder as `python -m study export` writes it, and the model that it holds."""
    model = models.build("vsc", (1, 8, 8), latent=3, hidden=[9, 7], likelihood="gaussian", sigma="learned")
    model.fit_statistics(torch.rand(20, 1, 8, 8))
    config = {"model": model.name, "image_shape": [1, 8, 8], "hyperparameters": model.hyperparameters}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
    return tmp_path, model


def test_an_export_loads_to_the_same_numbers(export):
    folder, model = export
    torch.manual_seed(7)  # other weights, were they not loaded
    loaded, x = models.load(folder), torch.rand(4, 1, 8, 8)
    assert not loaded.training
    assert loaded.hyperparameters == model.hyperparameters
    noise = torch.randn(4, 3), torch.rand(4, 3)
    for a, b in zip(loaded.elbo(x, noise=noise), model.elbo(x, noise=noise)):
        assert torch.equal(a, b)
    assert torch.equal(loaded.reconstruct(x), model.reconstruct(x))


@pytest.mark.parametrize("device", ["meta", torch.device("meta")])
def test_an_export_is_loaded_to_the_device_that_is_asked_for(export, device):
    folder, _ = export
    loaded = models.load(folder, device=device)
    assert {tensor.device.type for tensor in [*loaded.parameters(), *loaded.buffers()]} == {"meta"}
    assert next(models.load(folder).parameters()).device.type == "cpu"


MISSING = ["gpu", f"cuda:{torch.cuda.device_count()}", torch.device("cuda", torch.cuda.device_count())]


@pytest.mark.parametrize("device", MISSING, ids=str)
def test_a_device_that_is_not_there_is_refused_in_a_line(export, device):
    folder, _ = export
    with pytest.raises(ModelError, match=rf"^device '{device}' cannot be used \(.+\); the CPU is device='cpu'$"):
        models.load(folder, device=device)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_damaged_export_is_refused(export, file):
    folder, _ = export
    (folder / file).write_bytes((folder / file).read_bytes()[:40])
    with pytest.raises(ModelError, match="damaged export"):
        models.load(folder)
    (folder / file).unlink()
    with pytest.raises(ModelError, match=f"it has no {file}"):
        models.load(folder)


def test_an_export_whose_weights_belong_to_another_model_is_refused(export):
    folder, _ = export
    safetensors.torch.save_file(models.build("vae", (1, 8, 8)).state_dict(), folder / "model.safetensors")
    with pytest.raises(ModelError, match="damaged export"):
        models.load(folder)
