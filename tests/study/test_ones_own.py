"""A study of one's own images, from the file to the table, without Ray."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import analysis
import analysis.__main__
import imagesets
from study.record.folder import Run
from study.record.storage import IMAGES as IMAGES_SUM
from study.record.storage import open_run
from study.spec import StudySpec
from study.trial.training import Training

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.choice([30, 225], (60, 1, 1, 3)) + RANDOM.integers(-20, 20, (60, 6, 10, 3))  # of eight colours


@pytest.fixture
def here(tmp_path, preset, monkeypatch):
    """A folder with own.npz, a folder of the same as pictures, and a preset of the npz: tiny.yaml."""
    np.savez(tmp_path / "own.npz", images=IMAGES.astype(np.uint8), labels=np.arange(60) % 2)
    for number, pixels in enumerate(IMAGES.astype(np.uint8)):
        (tmp_path / "pictures" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "pictures" / "ab"[number % 2] / f"{number:02d}.png")
    preset(tmp_path, dataset="images", dataset_options={"path": "own.npz"}, budget={"steps": 20, "batch": 16})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LATENTSWEEP_DATA", str(tmp_path / "data"))
    return tmp_path


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("path", ["own.npz", "pictures"])
def test_a_model_trains_on_images_in_colour_that_are_not_square(here, raw, path, network):
    spec = StudySpec(**raw(dataset="images", dataset_options={"path": path}, fixed={"network": network, "lr": 0.01}))
    splits = imagesets.load(spec.dataset, **spec.dataset_options)
    training = Training(spec, spec.defaults(), splits, seed=1)
    training.advance(1)
    before = training.evaluate()["elbo"]
    training.advance(59)
    assert training.evaluate()["elbo"] > before + 5
    assert training.model.sample(2).shape == (2, 3, 6, 10)


def test_it_is_trained_shown_exported_and_evaluated(here, command):
    code, out, err = command("run", "tiny.yaml", "--dry-run")
    assert (code, err) == (0, "")
    assert out.startswith("tiny: vae on images (own.npz), colour images, ")
    code, out, err = command("train", "tiny.yaml")
    assert (code, err) == (0, "")
    run = Run("runs/tiny")
    assert run.spec().dataset_options == {"path": str(here / "own.npz")}
    assert command("export", "tiny", "--out", "best")[0] == 0
    code, out, err = command("evaluate", "best")
    assert (code, err) == (0, "")
    assert "images, valid, 6 images: the ELBO is a soft cross-entropy of colour images\n  ELBO " in out
    assert "  accuracy of an MLP on codes " in out
    assert "no bits a dimension: the ELBO is no bound" in out
    assert str(here) not in "".join(path.read_text(errors="replace") for path in Path("best").iterdir())
    shutil.move("own.npz", "elsewhere.npz")
    code, _, err = command("evaluate", "best")
    assert (code, err.count("\n")) == (2, 1)
    assert err.endswith(
        "own.npz cannot be read (No such file or directory); where they lie elsewhere, --option path=... says where\n"
    )
    few = ("--samples", "0", "--images", "2")
    assert command("evaluate", "best", "--option", "path=elsewhere.npz", *few)[0] == 0
    assert analysis.trials(run.path).iloc[0]["dataset"] == "images (own.npz)"
    code, out, err = command("table", "tiny", app=analysis.__main__.app)
    assert (code, err) == (0, "")
    assert command("status", "tiny")[0] == 0


def test_a_run_is_of_the_images_that_it_began_with(here, command):
    assert command("train", "tiny.yaml")[0] == 0
    checksum = imagesets.checksum("images", path=here / "own.npz")
    assert open_run(Run("runs/tiny")).study.user_attrs[IMAGES_SUM] == checksum
    assert command("export", "tiny", "--out", "best")[0] == 0
    assert f"images (own.npz), SHA-256 {checksum} |" in (here / "best" / "README.md").read_text()
    shutil.copy("own.npz", "before.npz")
    np.savez("own.npz", images=IMAGES[::-1].astype(np.uint8))
    now = imagesets.checksum("images", path="own.npz")
    for arguments in (["confirm", "tiny"], ["run", "tiny.yaml", "--trials", "+1"]):
        code, _, err = command(*arguments)
        assert code == 2
        assert f"own.npz is not what tiny was made with: its SHA-256 is {now}, was {checksum}" in err
    assert Run("runs/tiny").spec().trials == 1
    code, _, err = command("figures", "tiny", app=analysis.__main__.app)
    assert (code, "own.npz is not what tiny was made with" in err) == (0, True)  # some need no images
    code, _, err = command("evaluate", "best")
    assert (code, "own.npz has changed since best was trained" in err) == (2, True)
    assert analysis.trials("runs/tiny").iloc[0]["state"] == "COMPLETE"  # it can be read all the same


def test_three_images_are_enough(here, command):
    np.save("three.npy", IMAGES[:3].astype(np.uint8))
    code, _, err = command("train", "tiny.yaml", "--set", "dataset_options.path=three.npy")
    assert (code, err) == (0, "")
    row = analysis.trials("runs/tiny").iloc[0]
    assert row["state"] == "COMPLETE"
    assert np.isfinite(row["metrics.elbo"])
    assert pd.isna(row["metrics.active_units"])


def test_a_budget_may_be_in_epochs(here, command):
    code, out, _ = command("run", "tiny.yaml", "--set", "budget={epochs: 4, batch: 16}", "--dry-run")
    assert code == 0
    assert "trials of 12 steps (batch 16" in out  # 48 images


def test_arrays_are_made_beforehand(here, command):
    code, out, err = command("datasets", "get", "images", "--option", "path=pictures", "--option", "size=4")
    assert (code, out, err) == (0, "images: 48 train, 6 valid, 6 test\n", "")
    code, out, _ = command("datasets")
    assert f"--option path=...` prepares it; so far: 0.0 MB under {here / 'data' / 'cache'}" in out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([], "images: {here}/pictures has wrong pictures, 1 of 60: b/59.png ("),
        (["dataset_options.size=[2, 2.5]"], "tiny.yaml: dataset_options: images: size is [2, 2.5], where a number"),
        (["dataset_options.path=none"], "tiny.yaml: dataset_options: images: {here}/none cannot be read (No such file"),
        (["dataset_options="], "tiny.yaml: dataset_options: must be a group of keys, got None"),
        (["dataset_options={}"], "tiny.yaml: dataset_options: images needs the option path: the npz or npy file"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(here, command, changes, message):
    os.truncate("pictures/b/59.png", 60)
    given = ["dataset_options.path=pictures", *changes]
    code, out, err = command("train", "tiny.yaml", *(word for change in given for word in ("--set", change)))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(message.format(here=here))
    assert sorted(path.name for path in here.iterdir() if path.name != "data") == ["own.npz", "pictures", "tiny.yaml"]
    assert not [path for path in (here / "data").rglob("*") if path.is_file() and path.suffix != ".lock"]
