"""What lies in a folder for TensorBoard, read without it."""

import struct
from collections.abc import Iterator
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData


def events(folder: Path) -> Iterator[Event]:
    """All events, in the order in which TensorBoard reads them.

    A record is length (8 bytes), checksum (4), data, checksum.
    """
    for path in sorted(folder.glob("events.out.tfevents.*")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            yield Event.FromString(content[at + 12 : at + 12 + length])
            at += length + 16


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Tag -> step -> value."""
    found: dict[str, dict[int, float]] = {}
    for event in events(folder):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def hparams(folder: Path) -> list[tuple[str, HParamsPluginData]]:
    """What the HPARAMS page is told: tag and content."""
    return [
        (value.tag, HParamsPluginData.FromString(value.metadata.plugin_data.content))
        for event in events(folder)
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name == "hparams"
    ]
