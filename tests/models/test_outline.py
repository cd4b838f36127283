"""Outlines say of the models what the models themselves say, without torch."""

import importlib

import pytest
from pydantic import TypeAdapter

import models
from models import outline
from models.parts import PosteriorPart, PriorPart

BASE = importlib.import_module("models.base")
VALUES = (0, 1, 0.5, -1.0, 3, True, None, "learned", "mlp", "harmonic", "gaussian", "sigmoid", [20, 30], (), "other")


def test_every_file_has_an_outline_and_none_is_the_module_itself():
    assert set(outline.files()) == set(outline.names())
    for name, file in outline.files().items():
        assert file is not importlib.import_module(f"models.{name}"), f"models/{name}.py needs torch to be outlined"


@pytest.mark.parametrize("name", models.names())
def test_an_outline_has_the_models_hyperparameters_and_their_domains(name):
    module = models.module(name)
    own = models.keywords(module.build)
    settings = module.settings() if hasattr(module, "settings") else {}
    said = models._fields(models.described(name))
    assert list(said)[: len(own) + len(settings)] == [*own, *settings]
    for key, (domain, default) in {**own, **settings}.items():
        assert said[key][1] == default
        for value in VALUES:
            assert _takes(said[key][0], value) == _takes(domain, value), (key, value)
    shared = {**models.keywords(BASE.assemble), **{key: (None, v) for key, v in getattr(module, "PAPER", {}).items()}}
    assert {key: said[key][1] for key in BASE.Shared.__annotations__} == {
        key: shared[key][1] for key in BASE.Shared.__annotations__
    }


def _takes(domain: object, value: object) -> bool:
    try:
        TypeAdapter(domain).validate_python(value, strict=True)
    except ValueError:
        return False
    return True


def test_the_same_parts_are_found_and_go_together_in_the_same_way():
    vae, described = models.module("vae"), models.described("vae")
    assert list(described.posteriors()) == list(vae.posteriors()) == list(vae._ordered(models.parts_of(PosteriorPart)))
    assert list(described.priors()) == list(vae.priors()) == list(vae._ordered(models.parts_of(PriorPart)))
    assert described.pairs() == vae.pairs()


def test_where_a_file_asks_more_of_torch_the_models_themselves_are_asked(monkeypatch):
    def refuse(*_):
        raise TypeError("unsupported operand")

    monkeypatch.setattr(outline._Package, "file", refuse)
    outline.files.cache_clear()
    try:
        assert outline.files() == outline.imported()
    finally:
        outline.files.cache_clear()
