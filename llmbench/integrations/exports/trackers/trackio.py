"""Trackio: a local project for the suite, and in it a run for each model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmbench.integrations.exports.target import Export, Source, Tracked
from llmbench.integrations.exports.trackers.apart import write_apart
from llmbench.integrations.exports.trackers.tracked import list_tracked, name_project, show_name


def make(source: Source) -> Export:
    """Return the models as runs: values as metrics, facts and units as the configuration."""
    return Export(tracked=list_tracked(source.opened.record))


def send(export: Export, place: Path, uri: str | None) -> str:
    """Write a database into a folder, and to no Space or server, whatever the settings say."""
    # its folder is fixed when it is imported
    settings = {"TRACKIO_DIR": str(place.resolve())}
    write_apart(__name__, export, place, drop="TRACKIO_", settings=settings)
    return f"to look at it: TRACKIO_DIR={place.resolve()} trackio show"


def write(runs: Sequence[Tracked], place: Path) -> None:
    """Write the runs by Trackio, without what it would log of the machine."""
    import trackio

    for tracked in runs:
        run = trackio.init(
            project=name_project(tracked),
            name=show_name(tracked),
            config={**tracked.config, "units": dict(tracked.units)},
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        for key, curve in tracked.curves.items():
            for step, value in curve:
                run.log({key: value}, step=step)
        last = max((step for curve in tracked.curves.values() for step, _ in curve), default=0)
        run.log(dict(tracked.values), step=last)
        run.finish()
