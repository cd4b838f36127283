"""A training's curves and pictures, for TensorBoard.

tensorboardX's own writer sends each number through a pipe to a thread, which took a tenth of the CPU seconds of a trial
of ten reports and little training, and has each report wait for the disk. Here a report is in the file when it is over,
in the same records; what a power cut takes of them, the study has, too.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import scalar

from study.trial.snapshot import Pixels, png

VERSION = "brain.Event:2"


class _Records(RecordWriter):
    def flush(self) -> None:
        """Hands what is written to the system, and does not wait until it is on the disk."""
        self._writer.flush()


class Curves:
    """A file of events in a folder, which is made where it is not there.

    Args:
        folder: of the training.
        step: from which on; TensorBoard leaves out what earlier files of the folder have from there on. It is part of
            the name: who goes on within the second in which another began may not write the same file.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, folder: Path, step: int):
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{step:07d}"
        self._records = _Records(str(folder / name))
        self._write(Event(file_version=VERSION))
        self._write(Event(step=step, session_log=SessionLog(status=SessionLog.START)))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Adds the numbers of a step, by their tags."""
        said = [part for tag, value in values.items() for part in scalar(tag, value).value]
        self._write(Event(step=step, summary=Summary(value=said)))

    def add_picture(self, step: int, tag: str, picture: Pixels) -> None:
        """Adds a picture, [height, width, 3]."""
        height, width, channels = picture.shape
        image = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=png(picture))
        self._write(Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, image=image)])))

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())

    def flush(self) -> None:
        """Has it in the file."""
        self._records.flush()

    def close(self) -> None:
        """Ends the file."""
        self._records.close()
