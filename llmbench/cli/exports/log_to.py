"""The option `--log-to` of `llmbench run`: exports at the end of a run, and while it goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from llmbench.cli import show
from llmbench.errors import LlmbenchError, UsageError
from llmbench.integrations.exports.registry import Target, find_target

if TYPE_CHECKING:
    from llmbench.integrations.exports.trackers.live import Feed
    from llmbench.plan.plan import Plan
    from llmbench.results.record import Record
    from llmbench.runner.progress import Watcher

BY_HAND = "hf-eval-results"  # which asks for data sets


class Log(NamedTuple):
    """A target to log to, and the address if there is one."""

    target: Target
    uri: str | None


def parse_logs(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> tuple[Log, ...]:
    """Return the targets of every TARGET or TARGET=URI. UsageError, before anything runs, if there
    is none of this name or its package is missing.
    """
    logs: list[Log] = []
    for item in value:
        name, equals, uri = item.partition("=")
        target = find_target(name)
        if name == BY_HAND:
            raise UsageError(
                f"--log-to {name} does not know the data sets of the tasks",
                hint=f"llmbench export RUN --to {name} --dataset TASK=ORG/NAME:TASK_ID",
            )
        if target in (log.target for log in logs):
            raise UsageError(f"--log-to {name} is given twice")
        target.check(uri if equals else None)
        logs.append(Log(target, uri or None))
    return tuple(logs)


def feed_live(planned: Plan, logs: Sequence[Log]) -> list[Feed]:
    """Open those targets that show a run as it goes."""
    from llmbench.integrations.exports.trackers.live import Feed

    return [
        Feed(log.target, planned.out / "exports" / log.target.name, log.uri)
        for log in logs
        if log.target.is_live
    ]


def watch(watcher: Watcher, planned: Plan, feeds: Sequence[Feed]) -> Watcher:
    """Return a watcher that also tells trackers, if there are any to tell."""
    if not feeds:
        return watcher
    from llmbench.integrations.exports.trackers.live import LiveWatcher

    return LiveWatcher(watcher, feeds, planned.suite.name, planned.out, planned.models)


def log_run(record: Record, folder: Path, logs: Sequence[Log], feeds: Sequence[Feed] = ()) -> bool:
    """Export a finished run to each target; return whether all took it, and say what refused."""
    from llmbench.integrations.exports.deliver import deliver
    from llmbench.integrations.exports.target import Source
    from llmbench.results.samples import Opened

    all_well, source = True, Source(Opened(record, folder))
    fed = {feed.target.name: feed for feed in feeds}
    for log in logs:
        name = log.target.name
        try:
            place: Path | str
            if name in fed:
                show.say(fed[name].finish(source))
                place = fed[name].uri or fed[name].place
            else:
                place = deliver(log.target, source, uri=log.uri, say=show.say)
            show.say(f"logged to {name}: {place}")
        except (LlmbenchError, OSError) as error:
            all_well = False
            show.say(
                f"llmbench: not logged to {name}: {error}; the run is complete: llmbench export"
                f" {folder} --to {name}"
            )
    return all_well


log_option = click.option(
    "--log-to",
    "logs",
    multiple=True,
    metavar="TARGET[=URI]",
    callback=parse_logs,
    help="Export the run to TARGET when it is done, as `llmbench export` does; to tensorboard and"
    " mlflow also while it goes.",
)
