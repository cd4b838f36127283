"""An animation of snapshots: which, and what is on a frame."""

import numpy as np
from marks import trials

import models
from analysis.figures.results import furthest
from analysis.figures.training_progress import MOST, data, sheet
from study.trial import snapshot


def seen(tone: int) -> dict[str, np.ndarray]:
    tiles = {"originals": (8, 1, 5, 4), "reconstructions": (8, 1, 5, 4), "traversal": (2, 8, 1, 5, 4)}
    return {name: np.full(shape, tone, np.uint8) for name, shape in tiles.items()} | {"coordinates": np.array([3, 1])}


def test_snapshots_are_in_order_evenly_many_and_none_that_a_crash_has_left(tmp_path):
    for step in range(1, 2 * MOST):
        np.savez_compressed(tmp_path / f"{step:07d}.npz", **seen(step))
    (tmp_path / "0000001.npz").write_bytes(b"PK\x03\x04 half")
    (tmp_path / "other.npz").write_bytes(b"")
    found = data(tmp_path)
    assert [step for step, _ in found] == list(range(3, 2 * MOST, 2))
    assert all((kept["originals"] == step).all() for step, kept in found)
    assert data(tmp_path / "nothing") == []


def test_a_frame_has_images_reconstructions_and_the_latents_of_then():
    taken = seen(0) | {"traversal": np.full((2, 8, 1, 5, 4), 9, np.uint8), "originals": np.full((3, 1, 5, 4), 5)}
    taken["reconstructions"] = taken["reconstructions"][:3]
    pixels, names = sheet(taken, models.build("vae", (1, 5, 4), hidden=8))
    assert names == ["image", "model", "z 3", "z 1"]
    _, names = sheet(taken, models.build("hvae", (1, 5, 4), latent=4, top=2, prior="standard", hidden=8))
    assert names == ["image", "model", "z2 1", "z1 1"]
    assert pixels.shape == (4, 3, 1, 5, 4)
    assert pixels[:, 0, 0, 0, 0].tolist() == [5, 0, 9, 9]
    assert snapshot.sheet(pixels).ndim == 3


def test_while_no_trial_is_complete_the_furthest_is_shown():
    given = trials(
        state=["FAIL", "PRUNED", "RUNNING", "RUNNING", "RUNNING"],
        steps=[40, 10, 20, 20, 0],
        **{"metrics.elbo": [-9.0, -8.0, -7.0, -6.0, np.nan]},
    )
    assert furthest(given, "elbo") == 3
    assert furthest(given[:2], "elbo") == 1
    assert furthest(given[:1], "elbo") == 0
    assert furthest(given[4:], "elbo") is None
