"""The option `--log-to` of `llmbench run`: exports at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmbench.cli import show
from llmbench.errors import LlmbenchError, UsageError
from llmbench.integrations.exports.target import Target, find_target

if TYPE_CHECKING:
    from llmbench.results.record import Record

BY_HAND = "hf-eval-results"  # which asks for data sets


@dataclass(frozen=True)
class Log:
    """A target to log to, and the address if there is one."""

    target: Target
    uri: str | None


def parse_logs(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> tuple[Log, ...]:
    """Return the targets of every TARGET or TARGET=URI. UsageError, before anything runs, if there
    is none of this name or its package is missing.
    """
    logs = []
    for item in value:
        name, equals, uri = item.partition("=")
        target = find_target(name)
        if name == BY_HAND:
            raise UsageError(
                f"--log-to {name} does not know the data sets of the tasks",
                hint=f"llmbench export RUN --to {name} --dataset TASK=ORG/NAME:TASK_ID",
            )
        target.check(uri if equals else None)
        logs.append(Log(target, uri or None))
    return tuple(logs)


def log_run(record: Record, folder: Path, logs: Sequence[Log]) -> bool:
    """Export a finished run to each target; return whether all took it, and say what refused."""
    from llmbench.integrations.exports.deliver import deliver
    from llmbench.integrations.exports.target import Source
    from llmbench.results.samples import Opened

    all_well = True
    for log in logs:
        try:
            place = deliver(log.target, Source(Opened(record, folder)), uri=log.uri, say=show.say)
            show.say(f"logged to {log.target.name}: {place}")
        except (LlmbenchError, OSError) as error:
            all_well = False
            show.say(
                f"llmbench: not logged to {log.target.name}: {error}; the run is complete: llmbench"
                f" export {folder} --to {log.target.name}"
            )
    return all_well


log_option = click.option(
    "--log-to",
    "logs",
    multiple=True,
    metavar="TARGET[=URI]",
    callback=parse_logs,
    help="Export the run to TARGET when it is done, as `llmbench export` does: mlflow, wandb, ...",
)
