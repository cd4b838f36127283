"""A trial's configuration on TensorBoard's HPARAMS page, beside the curves that lie in the trial's folder already.

TensorBoard reads a run's configuration and its end from summaries of its plugin's own. Of the experiment that they
belong to it can be told in advance, too; it is not: left to itself it gathers the hyperparameters and the scalars of
all trials, while an experiment that is told of in a trial's folder hides what only another trial has.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.trial.files import write_whole

FILE = "events.out.tfevents.9999999999.hparams"
"""TensorBoard reads the files of a folder in order, and none again: this one comes after those of the training."""


def write(folder: Path, settings: Mapping[str, Any], failed: bool) -> None:
    """Writes the entry of a trial that ends, in the place of an earlier one.

    Args:
        folder: of the trial.
        settings: its configuration.
        failed: whether it ended as FAIL.
    """
    from tensorboardX.proto.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboardX.record_writer import RecordWriter

    now = time.time()
    start = SessionStartInfo()
    for name, value in settings.items():
        _set(start.hparams[name], value)
    end = SessionEndInfo(status=STATUS_FAILURE if failed else STATUS_SUCCESS, end_time_secs=now)
    parts = {"session_start_info": start, "session_end_info": end}
    events = [Event(wall_time=now, file_version="brain.Event:2")]
    for name, part in parts.items():
        content = HParamsPluginData(**{name: part}).SerializeToString()
        data = SummaryMetadata.PluginData(plugin_name="hparams", content=content)
        said = Summary.Value(tag=f"_hparams_/{name}", metadata=SummaryMetadata(plugin_data=data))
        events.append(Event(wall_time=now, summary=Summary(value=[said])))

    def write_records(path: Path) -> None:
        writer = RecordWriter(str(path))
        for event in events:
            writer.write(event.SerializeToString())
        writer.close()

    write_whole(folder / FILE, write_records)


def _set(said: Any, value: Any) -> None:
    """Fills in a protobuf value: TensorBoard knows truth, numbers and text."""
    if isinstance(value, bool):
        said.bool_value = value
    elif isinstance(value, int | float):
        said.number_value = value
    else:
        said.string_value = value if isinstance(value, str) else json.dumps(value)
