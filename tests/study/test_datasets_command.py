"""`python -m study datasets`: what there is, what is on this machine, and how to get the rest."""

import json
import math
import re
import socket

import numpy as np
import pytest

import analysis
import analysis.__main__
import imagesets
import models
from imagesets import Splits
from study import solo, spec
from study.record.folder import Run
from study.spec.measures import kind_of, measure, number_text, titled
from study.spec.preprocessing import Preprocessing
from study.told import Told
from study.trial import evaluation
from study.trial.evaluation import evaluate, score_codes, take_all
from study.trial.images import images_of
from study.trial.scores import How

CHEAP = ("mig", "modularity", "gaussian_total_correlation")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*arguments, **keywords):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def lines_of(out: str, name: str) -> list[str]:
    """The block of one data set."""
    start = next(i for i, line in enumerate(out.splitlines()) if line.startswith(f"{name}: "))
    block = [out.splitlines()[start]]
    for line in out.splitlines()[start + 1 :]:
        if not line.startswith("    "):
            break
        block.append(line.strip())
    return block


def test_all_are_listed_with_their_sizes_and_options(command, tmp_path):
    code, out, err = command("datasets", "--data", tmp_path)
    assert (code, err) == (0, "")
    assert str(tmp_path) in out.splitlines()[0]
    for name in imagesets.names():
        info, block = imagesets.about(name), lines_of(out, name)
        assert info.description in block[0]
        sizes = f"{list(info.image_shape)}, {info.train} train, {info.valid} valid, {info.test} test"
        assert (sizes in block[1]) == bool(info.image_shape)
        assert all(option in out for option in imagesets.options(name))
    assert lines_of(out, "celeba")[2] == "options: size=64"
    assert lines_of(out, "images")[1:] == [
        "the npz or npy file, or the folder of pictures, that `path` names",
        "options: path=needed, size=None, grey=None",
        f"yours: `python -m study datasets get images --option path=... --data {tmp_path}` prepares it",
    ]
    assert list(tmp_path.iterdir()) == []


def test_what_is_here_is_told_from_what_is_not(command, tmp_path):
    imagesets.load("points", tmp_path)
    _, out, _ = command("datasets", "--data", tmp_path)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.npy"))
    assert lines_of(out, "points")[-1] == f"ready: {size / 1e6:.1f} MB under {tmp_path / 'cache'}"
    assert lines_of(out, "mnist5k")[-1] == "here; arrays are made at the first use"
    missing = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    assert lines_of(out, "mnist")[-1] == (
        f"not here: {missing} is missing; `python -m study datasets get mnist --data {tmp_path}` fetches it; "
        f"mnist5k needs no download"
    )


def test_get_makes_the_arrays(command, tmp_path):
    code, out, err = command("datasets", "get", "points", "conjoint_points", "--data", tmp_path)
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"{name}: 400 train, 400 valid, 400 test" for name in ("points", "conjoint_points")]
    assert len(list(tmp_path.glob("cache/*/index.json"))) == 2


def test_get_takes_options(command, tmp_path):
    code, out, _ = command("datasets", "get", "points", "--option", "n=3", "--option", "copies=5", "--data", tmp_path)
    assert (code, out) == (0, "points: 15 train, 15 valid, 15 test\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["get", "points", "sprits"], "data set 'sprits' is not known.*Did you mean 'sprites'?"),
        (["get", "points", "--option", "m=3"], "points has no option 'm'; it takes n, noise, copies, seed"),
        (["get", "points", "--option", "n"], "--option 'n': must be key=value, for example --option path="),
        (["get", "mnist"], "mnist: .*train-images-idx3-ubyte is missing and could not be downloaded.*use mnist5k"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_fetched(command, tmp_path, arguments, message):
    code, out, err = command("datasets", *arguments, "--data", tmp_path / "data")
    assert (code, out) == (2, "")
    assert re.search(message, err.splitlines()[-1])
    assert not list(tmp_path.rglob("*.npy"))


def test_one_that_cannot_be_had_stops_no_other(command, tmp_path):
    code, out, err = command("datasets", "get", "mnist", "points", "svhn", "--data", tmp_path / "data")
    assert code == 1
    assert out == "points: 400 train, 400 valid, 400 test\n"
    assert [line.partition(":")[0] for line in err.splitlines()] == ["mnist", "svhn"]


def test_a_folder_that_was_mistyped_is_not_made(command, preset, tmp_path, listing):
    path = preset(tmp_path, dataset="points")
    before = listing()
    where = tmp_path / "not" / "here"
    for words in (["train", path], ["run", path], ["seeds", path], ["evaluate", "best"], ["resume", "tiny"]):
        code, _, err = command(*words, "--data", where, *(["--root", tmp_path / "runs"] if "best" not in words else []))
        assert (code, err) == (2, f"--data: {where} is no folder; make it first, or name the one where the data lies\n")
    assert command("datasets", "get", "mnist", "--data", where)[0] == 2
    assert listing().keys() == before.keys()


# A preset's data, from one end to the other.


@pytest.fixture(scope="module")
def trained(preset, tmp_path_factory):
    """A trained run on dynamically binarised points, and on sprites with options."""
    folder = tmp_path_factory.mktemp("data-runs")
    made = {}
    for name, changes in {
        "binary": {"dataset": "mnist5k", "preprocessing": {"binarise": "dynamic"}},
        "sprites": {
            "dataset": "sprites",
            "dataset_options": {"scale": 1, "orientation": [0, 9], "pos_x": 4, "pos_y": 4},
        },
        "logits": {
            "dataset": "points",
            "dataset_options": {"noise": True},
            "preprocessing": {"dequantise": True, "logit": 0.05},
            "likelihood": "gaussian",
        },
    }.items():
        (folder / name).mkdir()
        given = spec.load(preset(folder / name, name=name, budget={"steps": 20, "report_every": 10}, **changes))
        made[name] = Run(folder / "runs" / name)
        solo.train(given, made[name])
    return made


@pytest.mark.parametrize(
    ("name", "kind", "data", "preprocessing"),
    [
        ("binary", "bound", "mnist5k", "dynamic binary"),
        ("sprites", "bound", "sprites (orientation [0, 9], pos_x 4, pos_y 4, scale 1)", "grey"),
        ("logits", "bound", "points (noise True)", "dequantised, logit 0.05"),
    ],
)
def test_every_result_says_what_it_was_made_of(trained, command, name, kind, data, preprocessing):
    run = trained[name]
    row = analysis.trials(run.path).iloc[0]
    assert row["state"] == "COMPLETE", row["cause"]
    assert (row["kind"], row["dataset"], row["preprocessing"]) == (kind, data, preprocessing)
    _, out, _ = command("table", run.path, app=analysis.__main__.app)
    pixels = "binary" if name == "sprites" else preprocessing
    assert f"elbo is a bound of {pixels} images" in out
    _, both, _ = command("table", run.path, trained["binary"].path, app=analysis.__main__.app)
    assert name == "binary" or (preprocessing in both and "dynamic binary" in both and "preprocessing" in both)


@pytest.mark.parametrize("name", ["binary", "sprites", "logits"])
def test_an_export_is_evaluated_on_the_images_that_it_was_trained_on(trained, command, tmp_path, name):
    run = trained[name]
    command("export", run.path, "--out", tmp_path / "best")
    config = json.loads((tmp_path / "best" / "config.json").read_text())
    given = run.spec()
    assert config["dataset_options"] == given.dataset_options
    assert Preprocessing(**config["preprocessing"]) == given.preprocessing
    code, out, _ = command("evaluate", tmp_path / "best", "--samples", 5, "--images", 20)
    assert code == 0
    assert f"a bound of {'binary' if name == 'sprites' else given.preprocessing} images" in out
    model, splits = models.load(tmp_path / "best"), imagesets.load(given.dataset, **given.dataset_options)
    train, valid, test = (images_of(splits, part, given.preprocessing, "index") for part in Splits._fields)
    found, (first, second) = take_all(model, train, test, 5, 20, first=20), re.split("\n[^ ]+, test, ", out)
    scores = score_codes(
        model, [test], CHEAP if splits.test.factors is not None else (), How(examples=10_000), first=20
    )
    for part, taken in ((first, evaluate(model, valid, first=20)), (second, found.measures | scores)):
        for of in map(measure, taken):
            if math.isnan(taken[of.name]):
                continue
            value, kind = re.search(rf"^  {re.escape(titled(of))} +(\S+)(?: \*)? +(.+)$", part, re.M).groups()
            assert (value, kind) == (number_text(taken[of.name], of.unit), kind_of(of, "bound"))
    assert ("MIG" in second) == (splits.test.factors is not None)
    assert f"{given.dataset}, valid, {min(20, len(valid))} images: " in first
    few = "fewer than 10 effective samples an image on average: too few to trust the number"
    assert f"with 5 draws an image, on {min(20, len(test))} images\n* {few}" in second
    assert ("no accuracy of a probe on codes, no accuracy of an MLP on codes: the data has no labels" in second) == (
        splits.test.labels is None
    )
    kl = found.latents["kl"]
    assert re.search(rf"KL of each latent \(nats an image\): {max(range(len(kl)), key=kl.__getitem__)}: ", second)
    stored = json.loads((tmp_path / "best" / "metrics.json").read_text())
    np.testing.assert_allclose(stored["elbo"], evaluate(model, valid)["elbo"], rtol=1e-6)


def test_how_far_an_evaluation_is_stands_on_standard_error(trained, command, tmp_path, monkeypatch):
    command("export", trained["binary"].path, "--out", tmp_path / "best")
    monkeypatch.setattr(Told, "SILENCE", 0.0)
    monkeypatch.setattr(evaluation, "BATCH", 8)
    code, out, err = command("evaluate", tmp_path / "best", "--images", 20, "--samples", 0)
    assert code == 0
    told = [line.partition(", about")[0] for line in err.splitlines()]
    assert told[:4] == [f"mnist5k, {part}: {done} of 20 images" for part in ("valid", "test") for done in (8, 16)]
    assert "of 20 images" not in out


def test_an_export_is_evaluated_on_images_of_ones_own(trained, command, tmp_path):
    command("export", trained["sprites"].path, "--out", tmp_path / "best")
    digits = imagesets.load("sprites", scale=1, orientation=[0, 9], pos_x=4, pos_y=4).test
    np.savez(tmp_path / "own.npz", images=digits.images)
    evaluate = ["evaluate", tmp_path / "best", "--dataset", "images"]
    assert "images needs the option path: " in command(*evaluate)[2]
    code, out, _ = command(*evaluate, "--option", f"path={tmp_path / 'own.npz'}")
    assert (code, out.startswith("images, valid, ")) == (0, True)
