"""`llmbench export`: a run in the formats and programs in which people keep results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmbench.cli import show
from llmbench.errors import UsageError
from llmbench.integrations.exports.registry import TARGETS, find_target

if TYPE_CHECKING:
    from llmbench.integrations.exports.target import DatasetId

DATASET = re.compile(r"(?P<task>[^=]+)=(?P<repo>[\w.-]+/[\w.-]+):(?P<id>[\w.-]+)")
LIST = "list"


def parse_datasets(
    ctx: click.Context, param: click.Parameter, value: Sequence[str]
) -> dict[str, DatasetId]:
    """Return {TASK: data set} of every TASK=ORG/NAME:TASK_ID."""
    from llmbench.integrations.exports.target import DatasetId

    found = {}
    for item in value:
        match = DATASET.fullmatch(item)
        if match is None:
            raise UsageError(f"--dataset {item!r} is not {param.metavar}")
        found[match["task"]] = DatasetId(match["repo"], match["id"])
    return found


@click.command(epilog=f"Targets: {', '.join(TARGETS)}. `--to list` says what each is.")
@click.argument("run_", metavar="RUN", required=False, type=click.Path(path_type=Path))
@click.option("--to", "name", required=True, metavar="TARGET", help="What to export to, or list.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Directory to write to (default: exports/TARGET in the run's directory).",
)
@click.option("--uri", metavar="URI", help="Send to this tracking server (mlflow).")
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    metavar="TASK=ORG/NAME:TASK_ID",
    callback=parse_datasets,
    help="Where on the Hub the questions of a task are, and the benchmark's own task id.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be written or sent, and stop.")
def export(
    run_: Path | None,
    name: str,
    out: Path | None,
    uri: str | None,
    datasets: dict[str, DatasetId],
    dry_run: bool,
) -> int:
    """Export RUN (a run directory, run.json, or a reviewed record) to TARGET.

    Files are written on this machine. Nothing is sent anywhere but to the address of --uri.
    """
    if name == LIST:
        for target in TARGETS.values():
            click.echo(f"{target.name:<16} {target.help}")
        return 0
    target = find_target(name)
    if run_ is None:
        raise UsageError("no run", hint=f"llmbench export RUN --to {name}")
    target.check(uri, needs_package=not dry_run)
    from llmbench.integrations.exports import deliver
    from llmbench.integrations.exports.target import Source
    from llmbench.leaderboard.renderers.sanitise import clean_terminal
    from llmbench.results.samples import open_results

    source = Source(open_results(run_), datasets)
    if dry_run:
        for text in deliver.show(target.load().make(source)):
            for line in text.splitlines():
                indent = line[: len(line) - len(line.lstrip(" "))]
                click.echo(indent + clean_terminal(line))
        return 0
    place = deliver.deliver(target, source, out, uri, say=show.say)
    click.echo(clean_terminal(str(place)))
    return 0


COMMANDS = (export,)
