"""TensorBoard: a folder for each model, with its scores and the curve of its training."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from llmbench.integrations.exports.target import Export, Source, Tracked, name_file
from llmbench.integrations.exports.trackers.told import Told, read_time
from llmbench.integrations.exports.trackers.tracked import find_unit, list_tracked
from llmbench.leaderboard.renderers.sanitise import escape_markdown

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

VERSION = "brain.Event:2"  # of event files
FILE = "events.out.tfevents.{seconds:010d}.llmbench"  # the library would add the host's name


def make(source: Source) -> Export:
    """Return the models as runs: values and curves as scalars, facts as a text."""
    return Export(tracked=list_tracked(source.opened.record))


def send(export: Export, place: Path, uri: str | None) -> str:
    """Write an event file for each model; the same run again replaces it."""
    finished = [read_time(tracked, "finished", 0.0) for tracked in export.tracked]
    return Live(place, uri, begun=max(finished, default=0.0)).finish(export)


class Live:
    """Event files that grow while models are at work, which TensorBoard reads again and again.
    `begun`: in the names of the files.
    """

    def __init__(self, place: Path, uri: str | None, begun: float | None = None):
        self.place, self.begun = place, time.time() if begun is None else begun
        self.told = Told()
        self.files: dict[str, Path] = {}  # model -> its file

    def log(self, tracked: Tracked, values: Mapping[str, float], step: int) -> None:
        """Add values of a model that is at work."""
        self.told.note(tracked, values, step)
        rows = [(key, step, value) for key, value in values.items()]
        self._append(tracked, _list_scalars(tracked, rows, time.time()))

    def finish(self, export: Export) -> str:
        """Add what is missing."""
        for tracked in export.tracked:
            at, left = read_time(tracked, "finished", self.begun), self.told.list_left(tracked)
            self._append(tracked, [_list_facts(tracked, at), *_list_scalars(tracked, left, at)])
        return f"to look at it: tensorboard --logdir {self.place.resolve()}"

    def _append(self, tracked: Tracked, events: Iterable[Event]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        is_new = tracked.name not in self.files
        if is_new:
            file = self.place / name_file(tracked.name) / FILE.format(seconds=int(self.begun))
            file.parent.mkdir(parents=True, exist_ok=True)
            self.files[tracked.name] = file
        with self.files[tracked.name].open("wb" if is_new else "ab") as handle:
            writer = RecordWriter(handle)
            if is_new:
                writer.write(Event(wall_time=self.begun, file_version=VERSION).SerializeToString())
            for event in events:
                writer.write(event.SerializeToString())


def _list_facts(tracked: Tracked, at: float) -> Event:
    """The facts of a run, as a text."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    rows = [
        f"| {escape_markdown(k)} | {escape_markdown(str(v))} |" for k, v in tracked.config.items()
    ]
    text = "\n".join(["| fact | value |", "|---|---|", *rows])
    return Event(wall_time=at, summary=Summary(value=[_hold("facts", text, "text", "")]))


def _list_scalars(
    tracked: Tracked, rows: Iterable[tuple[str, int, float]], at: float
) -> Iterator[Event]:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    for key, step, value in rows:
        found = _hold(key, value, "scalars", find_unit(tracked, key))
        yield Event(wall_time=at, step=step, summary=Summary(value=[found]))


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
