"""What TensorBoard is told of a training."""

import io

import numpy as np
from events import events, scalars
from PIL import Image
from tensorboardX.proto.event_pb2 import SessionLog

from study.trial.curves import Curves


def test_a_report_is_in_the_file_when_it_is_over(tmp_path):
    curves = Curves(tmp_path / "new", 20)
    picture = np.random.default_rng(0).integers(256, size=(4, 6, 3), dtype=np.uint8)
    curves.add(15, {"train/loss_density ratio": 3.5, "train/loss_elbo": 100.25})
    curves.add(20, {"valid/elbo": -99.5})
    curves.add_picture(20, "valid/reconstructions", picture)
    curves.flush()
    assert scalars(tmp_path / "new") == {
        "train/loss_density_ratio": {15: 3.5},  # TensorBoard takes no space
        "train/loss_elbo": {15: 100.25},
        "valid/elbo": {20: -99.5},
    }
    [image] = [v.image for event in events(tmp_path / "new") for v in event.summary.value if v.HasField("image")]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(image.encoded_image_string))), picture)
    curves.close()


def test_who_goes_on_takes_the_place_of_what_came_after(tmp_path):
    for step in (10, 20):  # within a second
        curves = Curves(tmp_path, step)
        curves.add(step, {"valid/elbo": float(step)})
        curves.close()
    assert len([*tmp_path.iterdir()]) == 2
    started = [(e.step, e.session_log.status) for e in events(tmp_path) if e.HasField("session_log")]
    assert started == [(10, SessionLog.START), (20, SessionLog.START)]
    versions = [event.file_version for event in events(tmp_path) if event.file_version]
    assert versions == 2 * ["brain.Event:2"]
