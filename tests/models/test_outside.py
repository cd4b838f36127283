"""Models outside the folder: found by their file or their dotted name, checked, and known by what they say."""

import sys

import pytest
import torch

import models
from models import outside

MINE = '''
"""A VAE with a scaled prior."""

from __future__ import annotations

from typing import Unpack

import torch

from models.base import VAE, Shared, assemble
from models.distributions import Gaussian
from models.domains import Count, Positive, Shape
from models.gaussian import GaussianPosterior
from models.parts import PriorPart


class Scaled(PriorPart):
    def __init__(self, latent: int, scale: float):
        super().__init__()
        self.register_buffer("scale", torch.full([latent], scale))

    def forward(self, model: VAE) -> Gaussian:
        return Gaussian(torch.zeros_like(self.scale), self.scale)


def build(image_shape: Shape, *, latent: Count = 8, scale: Positive = 1.0, **shared: Unpack[Shared]) -> VAE:
    return assemble(
        image_shape,
        latent=latent,
        posterior=lambda features: GaussianPosterior(features, latent),
        prior=Scaled(latent, scale),
        **shared,
    )
'''


@pytest.fixture
def mine(tmp_path):
    """Writes the model above, or another text, to a file."""

    def write(text: str = MINE, name: str = "mine.py"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_file_is_a_model_with_the_settings_that_all_models_share(mine):
    path = str(mine())
    model = models.build(path, (1, 8, 8), latent=3, scale=2.0, hidden=4)
    assert model.name == outside.find(path)
    assert (model.hyperparameters["scale"], model.hyperparameters["likelihood"]) == (2.0, "bernoulli")
    assert model.prior().stddev.tolist() == [2.0] * 3
    assert models.build(model.name, (1, 8, 8)).name == model.name
    assert path not in models.names()


def test_its_settings_are_held_against_their_domains(mine):
    path = str(mine())
    assert [key for key, _ in models.check(path, {"scale": -1.0, "scael": 1.0})] == ["scale", "scael"]
    with pytest.raises(models.ModelError, match=r"mine: scael: mine has no such hyperparameter; it has: latent, scale"):
        models.build(path, (1, 8, 8), scael=1.0)


def test_what_says_something_else_is_another_model(mine):
    before = outside.find(str(mine()))
    after = outside.find(str(mine(MINE.replace("latent: Count = 8", "latent: Count = 9"))))
    assert before != after
    assert (before[:5], after[:5]) == ("mine@", "mine@")
    assert (models.hyperparameters(before)["latent"], models.hyperparameters(after)["latent"]) == (8, 9)
    assert outside.title(before) == outside.title("/some/where/mine.py") == "mine"


def test_a_relative_path_begins_in_the_working_folder(mine, monkeypatch):
    key = outside.find(str(mine()))
    monkeypatch.chdir(mine().parent)
    assert outside.find("mine.py") == outside.find("./mine.py") == key


def test_a_dotted_name_is_imported(mine, monkeypatch):
    (mine().parent / "ours").mkdir()
    mine(name="ours/__init__.py", text="")
    mine(name="ours/vae.py")
    monkeypatch.syspath_prepend(mine().parent)
    assert outside.title("ours.vae") == "vae"
    assert outside.module("ours.vae") is sys.modules["ours.vae"]
    assert models.build("ours.vae", (1, 8, 8)).name == outside.find("ours.vae")


def test_where_a_module_cannot_be_imported_its_text_does(mine):
    key = outside.adopt(outside.Code("nowhere.vae", mine().read_text()))
    assert models.build(key, (1, 8, 8)).name == key


def test_it_is_seen_to_change(mine):
    path = mine()
    code = outside.code(str(path))
    assert not outside.has_changed(code)
    mine(MINE + "# changed\n")
    assert outside.has_changed(code)
    path.unlink()
    assert not outside.has_changed(code)  # gone: the text is there still


WRONG = {
    "def build(": ("has no function build(image_shape, *, latent, ...)", "def built("),
    "latent: Count = 8": ("build's latent must be a keyword with a default", "latent: Count"),
    "*, latent": ("build's latent must be a keyword with a default", "latent"),
    ", **shared: Unpack[Shared]": ("build takes latent and what all models take", ""),
    "return assemble(": ("build must return a models.base.VAE, got a tuple", "return ("),
    "import torch": ("cannot be run: ModuleNotFoundError: No module named 'trch' (line 8)", "import trch"),
    "def forward": ("cannot be run: SyntaxError: ", "def for ward"),
    "class Scaled(PriorPart):": (
        "cannot be run: ZeroDivisionError: division by zero (line 17)",
        "1 / 0\nclass Scaled(PriorPart):",
    ),
    "torch.full([latent], scale)": ("TypeError: full(): argument", "torch.full(latent, 's')"),
}


@pytest.mark.parametrize("old", WRONG)
def test_what_is_wrong_with_a_file_is_a_line_with_its_name(mine, old):
    said, new = WRONG[old]
    text = MINE.replace(old, new, 1)
    if new == "return (":
        text = MINE[: MINE.index("return assemble")] + "return ()\n"
    with pytest.raises(models.ModelError) as caught:
        models.build(str(mine(text)), (1, 8, 8))
    (line,) = str(caught.value).splitlines()
    assert said in line
    assert "mine" in line


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/no/such/model.py", "/no/such/model.py: no such file; a model of one's own is a file of Python"),
        ("no_such_package.vae", "module 'no_such_package.vae' cannot be imported: No module named 'no_such_package'"),
        ("mine@0123456789ab", "is known by its file, which nothing has named here yet"),
    ],
)
def test_what_is_not_there_is_a_line(name, said):
    with pytest.raises(models.ModelError) as caught:
        models.hyperparameters(name)
    assert said in str(caught.value)


def test_a_file_that_is_no_text_is_a_line(mine):
    path = mine()
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(models.ModelError, match="cannot be read: it is not a text file in UTF-8"):
        models.build(str(path), (1, 8, 8))


def test_it_trains_as_any_model_does(mine):
    torch.manual_seed(0)
    model = models.build(str(mine()), (1, 8, 8), latent=2, hidden=4)
    loss = model.updates()[0].loss(torch.rand(5, 1, 8, 8), 0)
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
