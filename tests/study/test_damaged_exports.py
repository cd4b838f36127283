"""An export whose config.json was changed: every key is needed as it is, or does nothing."""

import json
import shutil
from pathlib import Path

import pytest
from damage import CONFIRM, build
from safetensors.torch import load_file, save_file

import models
from study.export import export
from study.trial import evaluation

MISSING = object()
WRONG = {"missing": MISSING, "null": None, "wrong type": {"a": [1]}, "nonsense": "nonsense"}
OF_NUMBERS = {"latent", "hidden", "beta", "likelihood"}


@pytest.fixture(scope="module")
def exported(raw, data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    return export(build(raw, folder, confirm=CONFIRM), folder / "best")


@pytest.fixture
def evaluated(exported, command, monkeypatch):
    """Calls `evaluate` after a change of config.json: (exit code, standard output, standard error)."""
    file = exported / "config.json"
    sound = file.read_text()
    monkeypatch.setattr(evaluation, "probe_accuracies", lambda *_, **__: [0.5, 0.5])  # which takes a second

    def call(change=lambda config: None) -> tuple[int, str, str]:
        config = json.loads(sound)
        change(config)
        file.write_text(json.dumps(config))
        return command("evaluate", exported, "--samples", 0)

    yield call
    file.write_text(sound)


READ = {"model", "image_shape", "hyperparameters", "dataset", "dataset_options", "preprocessing", "pairing"}
FREE = {("dataset_checksum", "missing"), ("dataset_checksum", "null")}  # of images that come with the project
NOT_READ = {"training", "study", "trial", "seed", "steps", "parameters", "commit", "changed", "versions"}
NOT_READ |= {"precision", "deterministic", "compiled"}


@pytest.mark.parametrize("how", WRONG)
def test_a_key_that_is_not_as_it_was_written_is_named_with_its_file(exported, evaluated, how):
    expected = evaluated()
    assert expected[0] == 0
    keys = json.loads((exported / "config.json").read_text())
    assert {*keys} == READ | NOT_READ | {"dataset_checksum"}
    for key in keys:

        def change(config, key=key):
            config[key] = WRONG[how]
            if WRONG[how] is MISSING:
                del config[key]

        if key in NOT_READ or (key, how) in FREE:
            assert evaluated(change) == expected, key
        else:
            code, out, err = evaluated(change)
            assert (code, out) == (2, ""), key
            assert key in err
            assert "config.json" in err
            assert str(exported) in err
            assert len(err.splitlines()) == 1


@pytest.mark.parametrize("how", ["null", "wrong type", "nonsense"])
def test_a_hyperparameter_outside_its_domain_is_named_with_its_file(exported, evaluated, how):
    for key in json.loads((exported / "config.json").read_text())["hyperparameters"]:
        code, out, err = evaluated(lambda config, key=key: config["hyperparameters"].update({key: WRONG[how]}))
        if how == "null" and code == 0:  # None is in its domain
            continue
        assert (code, out) == (2, ""), (key, err)
        assert key in err
        assert "config.json" in err
        assert len(err.splitlines()) == 1


def test_a_hyperparameter_that_is_missing_is_named_with_its_file(exported, evaluated):
    for key in json.loads((exported / "config.json").read_text())["hyperparameters"]:
        code, out, err = evaluated(lambda config, key=key: config["hyperparameters"].pop(key))
        assert (code, out) == (2, ""), key
        assert f"{exported} is a damaged export (config.json: hyperparameters: {key} is missing)" in err


def test_a_hyperparameter_that_came_to_the_project_since_is_not_missed(exported, evaluated):
    """The weights of earlier releases do not say what they were built with."""
    weights = exported / "model.safetensors"
    save_file(load_file(weights), weights)
    expected = evaluated()
    given = json.loads((exported / "config.json").read_text())["hyperparameters"]
    defaults = models.hyperparameters("vae")
    for key in given:
        code, out, err = evaluated(lambda config, key=key: config["hyperparameters"].pop(key))
        if key in ("latent", "hidden"):  # of which the weights say that it was another
            assert (code, out) == (2, ""), key
            assert "model.safetensors does not fit config.json" in err
        elif given[key] == defaults[key]:
            assert (code, out, err) == expected, key
    assert [key for key in given if given[key] != defaults[key]] == ["latent", "hidden"]


@pytest.mark.parametrize("shape", [[1, 5, 5], [3, 28, 28], [1, 28], [0, 28, 28], [1.5, 28, 28], []])
def test_another_image_shape_is_refused(exported, evaluated, shape):
    code, out, err = evaluated(lambda config: config.update(image_shape=shape))
    assert (code, out) == (2, "")
    assert "image_shape" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("text", ["[]", "null", "3", "{", "\0"])
def test_what_is_no_configuration_at_all_is_refused(exported, command, tmp_path, text):
    shutil.copytree(exported, tmp_path / "best")
    (tmp_path / "best" / "config.json").write_text(text)
    code, out, err = command("evaluate", tmp_path / "best")
    assert (code, out) == (2, "")
    assert "is a damaged export" in err
