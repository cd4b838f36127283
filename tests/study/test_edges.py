"""Data at the edge: each is trained on, or refused in a line that names it."""

import math
from collections.abc import Callable

import numpy as np
import pytest

import analysis
from imagesets import Split, Splits
from study.spec import StudySpec, dump
from study.trial import snapshot, trial
from study.trial.training import Training
from study.trial.trial import Trial


def some(n: int, channels: int = 1, value: int | None = None) -> np.ndarray:
    drawn = np.random.default_rng(n).integers(0, 256, (n, channels, 8, 8), dtype=np.uint8)
    return drawn if value is None else np.full_like(drawn, value)


ONE = np.concatenate([np.repeat(some(1), 16, axis=0), some(4)])  # for training the same image, twelve times


@pytest.fixture
def train(raw, tmp_path, command, monkeypatch) -> Callable[..., tuple[int, str, str]]:
    """Calls `train` on images of one's own, of which the first are for training."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()

    def call(images: np.ndarray, valid: int = 4, test: int = 4, labels: list | None = None, **changes):
        order, n = np.arange(len(images)), len(images) - valid - test
        parts = {"train": order[:n], "valid": order[n : n + valid], "test": order[n + valid :]}
        known = {} if labels is None else {"labels": np.array(labels)}
        np.savez(tmp_path / "own.npz", images=images, **parts, **known)
        budget = {"steps": 4, "batch": 8, "report_every": 2, "log_every": 1}
        given = raw(dataset="images", dataset_options={"path": "own.npz"}, budget=budget, **changes)
        spec = StudySpec(**given)
        (tmp_path / "tiny.yaml").write_text(dump(spec), encoding="utf-8")
        return command("train", "tiny.yaml", "--data", tmp_path / "data")

    return call


@pytest.mark.parametrize(
    ("images", "given"),
    [
        (some(20), {"valid": 1, "test": 1}),
        (some(9), {"valid": 4, "test": 2}),  # three images, and batches of eight
        (some(3), {"valid": 1, "test": 1}),
        (some(20, channels=3), {}),
        (some(20), {"labels": [5] * 20}),
        (some(20), {"fixed": {"latent": 1}}),
        (some(20), {"fixed": {"latent": 1, "posterior": "iaf"}}),
        (some(20), {"fixed": {"latent": 1, "posterior": "householder"}}),
        (some(20), {"fixed": {"latent": 1, "posterior": "spike_slab", "prior": "spike_slab"}}),
        (ONE, {}),
        (ONE, {"likelihood": "logistic"}),
        (ONE, {"likelihood": "gaussian", "sigma": 0.1}),
        (ONE, {"likelihood": "gaussian", "preprocessing": {"dequantise": True}}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_small_training_works(train, images, given, tmp_path):
    code, _, err = train(images, **given)
    assert (code, err) == (0, "")
    (row,) = analysis.trials("tiny", root=tmp_path / "runs").to_dict("records")
    assert row["state"] == "COMPLETE"
    assert math.isfinite(row["metrics.elbo"])
    assert sorted(path.suffix for path in (tmp_path / "runs/tiny/trials/00000/snapshots").iterdir()) == [
        *[".npz"] * 2,
        *[".png"] * 2,
    ]


def test_images_of_one_value_are_refused(train):
    code, _, err = train(some(20, value=7))
    assert code == 2
    assert "all equal" in err


@pytest.mark.parametrize("posterior", ["gaussian", "laplace"])
def test_training_images_that_are_one_and_a_learned_sigma_name_the_data(train, posterior):
    code, out, _ = train(ONE, likelihood="gaussian", fixed={"posterior": posterior})
    assert code == 1
    assert "the training images are all the same, and a learned sigma" in out
    assert "give sigma a number" in out


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_a_picture_shows_other_channels_side_by_side(raw, tmp_path, channels):
    spec = StudySpec(**raw(budget={"steps": 2, "report_every": 1}))
    parts = Splits(*(Split(some(n, channels)) for n in (20, 10, 10)))
    one = Trial(spec, spec.defaults(), parts, seed=0, folder=tmp_path)
    while not one.done:
        one.report()
    one.close()
    assert one.notes == []
    assert len(list((tmp_path / "snapshots").glob("*.png"))) == 2
    tiles = np.random.default_rng(0).integers(0, 256, (2, 3, channels, 8, 8), dtype=np.uint8)
    seen = snapshot.sheet(tiles)
    assert seen.shape == (2 * 9 + 1, 3 * (8 * channels + 1) + 1, 3)
    np.testing.assert_array_equal(seen[1:9, 1 + 8 : 1 + 16, 0], tiles[0, 0, 1])


def test_a_picture_never_ends_a_training(raw, splits, tmp_path, monkeypatch):
    def fail(*_):
        raise ValueError("no such colour")

    monkeypatch.setattr(trial.snapshot, "take", fail)
    spec = StudySpec(**raw(budget={"steps": 2, "report_every": 2}))
    one = Trial(spec, spec.defaults(), splits, seed=0, folder=tmp_path)
    assert one.report()["steps"] == 2
    assert one.take_notes() == ["no picture at step 2: ValueError: no such colour"]
    one.close()


@pytest.mark.parametrize("value", [0, 3, 255])
def test_a_training_by_hand_names_the_data_too(raw, value):
    spec = StudySpec(**raw(likelihood="gaussian"))
    with pytest.raises(ValueError, match="the training images are all the same"):
        Training(spec, spec.defaults(), Splits(*(Split(some(20, value=value)) for _ in range(3))), seed=0)


def test_one_pixel_by_one_level_is_a_deviation(raw):
    images = some(20, value=200)
    images[3, 0, 2, 2] = 201
    spec = StudySpec(**raw(likelihood="gaussian"))
    one = Training(spec, spec.defaults(), Splits(*(Split(images) for _ in range(3))), seed=0)
    assert one.model.likelihood_part.log_var.isfinite()
