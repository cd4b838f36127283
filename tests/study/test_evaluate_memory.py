"""`evaluate` takes memory by the size of what it holds, not by the number of codes."""

import numpy as np
import pytest
import torch

import models

CALL = """
import resource, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_module("study", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.long
def test_thousands_of_samples_of_large_images_take_less_than_two_gigabytes(python, write_export, tmp_path):
    """3x64x64 with logistic pixels: 16,384 codes at once would take 14 GB."""
    torch.manual_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 64, 64), np.uint8)
    np.savez(tmp_path / "few.npz", images=images, train=np.arange(20), valid=np.arange(20, 36), test=np.arange(36, 40))
    model = models.build("vae", (3, 64, 64), network="conv", likelihood="logistic", latent=64, hidden=256)
    options = {"path": str(tmp_path / "few.npz")}
    export, data = write_export(tmp_path / "best", model, dataset="images", dataset_options=options), tmp_path / "data"
    data.mkdir()
    done = python("-c", CALL, "study", "evaluate", str(export), "--samples", "5000", "--data", str(data))
    assert "with 5000 draws an image, on 4 images" in done.stdout
    assert int(done.stdout.split("peak")[1]) < 2 * 2**20  # KiB
