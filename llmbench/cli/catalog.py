"""The commands that list what is available, describe this machine, and write a new plugin."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from llmbench.cli import options


@click.command()
def models() -> int:
    """List the baselines."""
    from llmbench.plan import registry

    cards = [registry.resolve(name) for name in registry.names("baselines")]
    cards.sort(key=lambda card: (99 if card.stage is None else card.stage, card.name))
    print_rows(
        ("model", "stage", "about"),
        [(card.name, "-" if card.stage is None else str(card.stage), card.about) for card in cards],
    )
    return 0


@click.command()
@click.option("--schema", is_flag=True, help="Print the JSON schema of suite files, for editors.")
def suites(schema: bool) -> int:
    """List the suites."""
    from llmbench.plan import registry
    from llmbench.plan import suite as plan_suite

    if schema:
        click.echo(json.dumps(plan_suite.schema(), indent=2))
        return 0
    found = [plan_suite.read(name) for name in registry.names("suites")]
    print_rows(
        ("suite", "version", "about"),
        [(suite.name, str(suite.version), suite.file.about) for suite in found],
    )
    return 0


@click.command()
def adapters() -> int:
    """List the adapters, including those of installed packages."""
    from llmbench.plan import registry

    print_rows(("adapter", "class"), sorted(registry.adapters().items()))
    return 0


@click.command()
def tasks() -> int:
    """List the tasks, including those of installed packages."""
    from llmbench.plan import task_registry

    print_rows(("task", "class"), sorted(task_registry.tasks().items()))
    return 0


@click.command()
def metrics() -> int:
    """List the metrics, including those of installed packages."""
    from llmbench.metrics import registry
    from llmbench.metrics.facts import METRICS

    rows = [(m.name, m.unit, m.better or "-", m.help) for m in METRICS]
    outside = [(name, "", "", where) for name, where in sorted(registry.find_outside().items())]
    print_rows(("metric", "unit", "better", "about"), [*rows, *outside])
    return 0


@click.group()
def new() -> None:
    """Write a working start for your own code, with a test."""


@new.command("adapter")
@click.argument("name")
def new_adapter(name: str) -> int:
    """Write NAME.py, a working adapter, and its test."""
    return _write_plugin("adapter", name)


@new.command("task")
@click.argument("name")
def new_task(name: str) -> int:
    """Write NAME.py, a working task, a suite that uses it, and its test."""
    return _write_plugin("task", name)


@new.command("metric")
@click.argument("name")
def new_metric(name: str) -> int:
    """Write NAME.py, a working metric, a suite that uses it, and its test."""
    return _write_plugin("metric", name)


def _write_plugin(kind: str, name: str) -> int:
    from llmbench.cli.scaffold import write_plugin

    files, command = write_plugin(kind, name, Path.cwd())
    for path in files:
        click.echo(path)
    click.echo(f"try: {command}", err=True)
    return 0


@click.command()
@options.json_output
@click.option(
    "--device",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "cpu", "cuda"]),
    help="Device to measure.",
)
@options.threads
@click.option("--again", is_flag=True, help="Measure again instead of using the stored result.")
def doctor(as_json: bool, device: str, threads: int | None, again: bool) -> int:
    """Describe this machine: versions, devices, load, memory bandwidth and peak FLOP/s.

    Bandwidth and FLOP/s are measured once and stored.
    """
    from llmbench.hardware import machine

    count = threads or machine.cores()
    os.environ.update(machine.thread_settings(count))  # before torch is loaded
    from llmbench.cli import doctor as cli_doctor
    from llmbench.runner.progress import spinner

    with spinner() as progress:
        found = cli_doctor.examine(device, count, again, progress)
    if as_json:
        click.echo(json.dumps(found))
    else:
        print_rows(("property", "value"), cli_doctor.rows(found))
        for line in found["advice"]:
            click.echo(line)
    return 0


def print_rows(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*titles, show_edge=False)
    for row in rows:
        table.add_row(*(Text(value) for value in row))
    Console(width=None if sys.stdout.isatty() else 140).print(table)


COMMANDS = (models, suites, adapters, tasks, metrics, new, doctor)
