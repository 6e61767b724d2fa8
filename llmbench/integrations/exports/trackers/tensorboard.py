"""TensorBoard: a folder for each model, with its scores and the curve of its training."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from llmbench import storage
from llmbench.integrations.exports.target import Export, Source, Tracked, name_file
from llmbench.integrations.exports.trackers.tracked import find_unit, list_tracked
from llmbench.leaderboard.renderers.sanitise import escape_markdown

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

FILE = "events.out.tfevents.{seconds:010d}.llmbench"  # the library would add the host's name


def make(source: Source) -> Export:
    """Return the models as runs: values and curves as scalars, facts as a text."""
    return Export(tracked=list_tracked(source.opened.record))


def send(export: Export, place: Path, uri: str | None) -> str:
    """Write an event file for each model; the same run again replaces it."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    for tracked in export.tracked:
        finished = datetime.fromisoformat(str(tracked.config["finished"])).timestamp()
        parts = _Buffer()
        writer = RecordWriter(parts)
        for event in _list_events(tracked, finished):
            writer.write(event.SerializeToString())
        name = FILE.format(seconds=int(finished))
        storage.write_stream(place / name_file(tracked.name) / name, parts)
    return f"to look at it: tensorboard --logdir {place.resolve()}"


class _Buffer(list[bytes]):
    """What a writer of records writes to."""

    write = list.append


def _list_events(tracked: Tracked, time: float) -> Iterator[Event]:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    yield Event(wall_time=time, file_version="brain.Event:2")
    rows = [
        f"| {escape_markdown(k)} | {escape_markdown(str(v))} |" for k, v in tracked.config.items()
    ]
    text = "\n".join(["| fact | value |", "|---|---|", *rows])
    yield Event(wall_time=time, summary=Summary(value=[_hold("facts", text, "text", "")]))
    for key, value in tracked.values.items():
        found = _hold(key, value, "scalars", find_unit(tracked, key))
        yield Event(wall_time=time, step=0, summary=Summary(value=[found]))
    for key, curve in tracked.curves.items():
        for step, value in curve:
            found = _hold(key, value, "scalars", find_unit(tracked, key))
            yield Event(wall_time=time, step=step, summary=Summary(value=[found]))


def _hold(tag: str, value: str | float, plugin: str, about: str) -> Summary.Value:
    """A number in float64 (a plain summary has float32), or a text, for a plugin."""
    import numpy as np
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.util.tensor_util import make_tensor_proto

    held = np.float64(value) if isinstance(value, float) else value
    kept = SummaryMetadata(
        plugin_data=SummaryMetadata.PluginData(plugin_name=plugin), summary_description=about
    )
    return Summary.Value(tag=tag, tensor=make_tensor_proto(held), metadata=kept)
