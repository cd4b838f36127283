"""`encode`: new images to codes, with the export's own preprocessing; what is no such image is refused in a line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import models
from imagesets import Split
from models.base import VAE
from study.spec.preprocessing import Preprocessing
from study.trial.images import Images

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 8, 6), np.uint8)
LABELS, FACTORS = np.arange(7) % 3, np.stack([np.arange(7), np.arange(7) // 2], axis=1)


@pytest.fixture
def model() -> VAE:
    torch.manual_seed(0)
    return models.build("vae", (1, 8, 6), latent=3, hidden=8).eval()


@pytest.fixture
def exported(model, write_export, tmp_path) -> Path:
    return write_export(tmp_path / "best", model)


@pytest.fixture
def encode(command, exported, tmp_path) -> Callable[..., pd.DataFrame]:
    """Calls the command on images, and reads the table."""

    def call(images: Path, *arguments: str, export: Path = exported, out: str = "codes.parquet") -> pd.DataFrame:
        code, said, err = command("encode", export, images, "--out", tmp_path / out, *arguments)
        assert (code, err) == (0, "")
        table = (pd.read_parquet if out.endswith("parquet") else pd.read_csv)(tmp_path / out)
        assert said.startswith(f"{tmp_path / out}: codes of {len(table)} image")
        return table

    return call


def archive(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "new.npz", **arrays)
    return folder / "new.npz"


def codes(table: pd.DataFrame) -> np.ndarray:
    return table[[name for name in table if name.startswith("z")]].to_numpy()


@pytest.mark.parametrize("out", ["codes.parquet", "codes.csv"])
def test_an_image_is_a_row_with_its_codes_label_and_factors(encode, model, tmp_path, out):
    table = encode(archive(tmp_path, images=PIXELS, labels=LABELS, factors=FACTORS), out=out)
    assert list(table) == ["image", "z0", "z1", "z2", "label", "factor_1", "factor_2"]
    assert table["image"].tolist() == list(range(7))
    assert table["label"].tolist() == LABELS.tolist()
    assert table[["factor_1", "factor_2"]].to_numpy().tolist() == FACTORS.tolist()
    np.testing.assert_allclose(codes(table), model.codes(PIXELS[:, None]).numpy(), rtol=1e-5, atol=1e-6)


def test_pixels_become_what_the_model_was_trained_on(encode, model, write_export, tmp_path):
    static = {"binarise": "static", "threshold": 0.5, "dequantise": False, "logit": None}
    export = write_export(tmp_path / "static", model, preprocessing=static)
    images = archive(tmp_path, images=PIXELS)
    found = codes(encode(images, export=export))
    seen = Images(Split(PIXELS[:, None]), Preprocessing(binarise="static"), part="test").fixed(torch.arange(7))
    assert set(seen.unique().tolist()) == {0.0, 1.0}
    np.testing.assert_allclose(found, model.codes(seen).numpy(), rtol=1e-5, atol=1e-6)
    assert not np.allclose(found, codes(encode(images)), atol=1e-3)


@pytest.mark.parametrize("trained_so", [False, True])
def test_pictures_are_made_to_fit_as_those_of_training_were_or_as_is_asked(
    encode, model, write_export, tmp_path, trained_so
):
    for number, pixels in enumerate(PIXELS):
        (tmp_path / "pictures" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        colour = np.repeat(np.repeat(np.repeat(pixels, 2, 0), 2, 1)[..., None], 3, -1)
        Image.fromarray(colour).save(tmp_path / "pictures" / "ab"[number % 2] / f"{number}.png")
    fit = {"size": [8, 6], "grey": True}
    if trained_so:
        options = {"dataset": "images", "dataset_options": {"path": "/gone/old.npz", **fit}}
        table = encode(tmp_path / "pictures", export=write_export(tmp_path / "fitted", model, **options))
    else:
        table = encode(tmp_path / "pictures", "--option", "size=[8,6]", "--option", "grey=true")
    assert table["file"].tolist() == [*(f"a/{n}.png" for n in (0, 2, 4, 6)), *(f"b/{n}.png" for n in (1, 3, 5))]
    assert table["label"].tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert table["class"].tolist() == ["a"] * 4 + ["b"] * 3
    assert np.isfinite(codes(table)).all()


def test_an_export_that_is_not_there_is_told_with_what_makes_one(command, tmp_path):
    code, out, err = command("encode", tmp_path / "NOPE", tmp_path, "--out", tmp_path / "codes.csv")
    made = "name a folder that `python -m study export RUN --out FOLDER` made"
    assert (code, out) == (2, "")
    assert err == f"{tmp_path}/NOPE is not an exported model: there is no such folder; {made}\n"


def test_a_single_image_is_enough(encode, tmp_path):
    assert len(encode(archive(tmp_path, images=PIXELS[:1]))) == 1


@pytest.mark.parametrize(
    ("given", "arguments", "says"),
    [
        (
            {"images": PIXELS[:, :6]},
            [],
            "is a model of images [1, 8, 6], {new} has [1, 6, 6]; --option size=[8,6] ",
        ),
        ({"images": PIXELS}, ["--option", "grey=false"], "has [3, 8, 6]; --option grey=true makes them fit"),
        ({"images": PIXELS}, ["--option", "size=x"], "size is 'x', where a number of pixels"),
        (
            {"images": PIXELS},
            ["--option", "path=x"],
            "encode has no option 'path'; the images are FILE, behind the export; it takes size and grey, as in ",
        ),
        ({"pixels": PIXELS}, [], "has no array named images; it has pixels"),
        ({"images": PIXELS.astype(int)}, [], "where uint8 of 0 to 255, or floats in [0, 1], are needed"),
        ({"images": PIXELS, "labels": LABELS[:3]}, [], "has labels of shape [3], where [7] is needed"),
        (None, [], "{new} cannot be read (No such file or directory)"),
    ],
)
def test_what_are_no_such_images_is_refused(command, exported, tmp_path, listing, given, arguments, says):
    new = tmp_path / "new.npz" if given is None else archive(tmp_path, **given)
    before = listing()
    code, out, err = command("encode", exported, new, "--out", tmp_path / "codes.parquet", *arguments)
    assert (code, out) == (2, "")
    assert says.format(new=new) in err
    assert len(err.splitlines()) == 1
    assert listing() == before


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("best", "best must end in .parquet or .csv"),
        ("folder.csv", "folder.csv is a folder"),
        ("gone/codes.csv", "there is no folder {0}/gone"),
        ("codes.txt", "codes.txt must end in .parquet or .csv"),
    ],
)
@pytest.mark.parametrize("how", ["encode", "sample"])
def test_where_nothing_can_be_written_is_told_first(command, exported, tmp_path, how, name, says):
    if how == "sample":
        name, says = name.replace(".csv", ".png"), says.replace(".parquet or .csv", ".png").replace(".csv", ".png")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "folder.png").mkdir()
    images = [archive(tmp_path, images=PIXELS)] if how == "encode" else []
    code, out, err = command(how, exported, *images, "--out", tmp_path / name)
    assert (code, out) == (2, "")
    assert err.startswith("--out: ")
    assert says.format(tmp_path) in err


def test_a_model_of_pairs_takes_no_file_of_images(command, write_export, tmp_path):
    pairs = models.build("conjoint", (2, 1, 8, 6), latent=1, private=1, hidden=8)
    export = write_export(tmp_path / "pairs", pairs, dataset="mnist_backgrounds")
    code, out, err = command("encode", export, archive(tmp_path, images=PIXELS), "--out", tmp_path / "codes.csv")
    assert (code, out) == (2, "")
    assert err == f"{export} is a model of pairs of images, and a file has single ones; `model.codes` takes pairs\n"
