"""The commands that list what is available, describe this machine, and write a new plugin."""

from __future__ import annotations

import json
import os
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from llmbench.cli import options

GAP = "  "
WIDTH = 120  # columns where nobody says how many there are
NARROWEST = 20  # of the last column


@click.command()
@options.json_output
def models(as_json: bool) -> int:
    """List the baselines."""
    from llmbench.plan import shipped

    return _list(shipped.list_models(), ("model", "stage", "about"), as_json)


@click.command()
@click.option("--schema", is_flag=True, help="Print the JSON schema of suite files, for editors.")
@options.json_output
def suites(schema: bool, as_json: bool) -> int:
    """List the suites."""
    from llmbench.plan import shipped

    if schema:
        from llmbench.plan import suite as plan_suite

        click.echo(json.dumps(plan_suite.schema(), indent=2))
        return 0
    return _list(shipped.list_suites(), ("suite", "version", "about"), as_json)


@click.command()
@click.option("--schema", is_flag=True, help="Print the JSON schema of model cards, for editors.")
@options.json_output
def adapters(schema: bool, as_json: bool) -> int:
    """List the adapters, including those of installed packages."""
    from llmbench.plan import shipped

    if schema:
        from llmbench.plan import registry

        click.echo(json.dumps(registry.build_card_schema(), indent=2))
        return 0

    return _list(shipped.list_classes("adapter"), ("adapter", "class"), as_json)


@click.command()
@options.json_output
def tasks(as_json: bool) -> int:
    """List the tasks, including those of installed packages."""
    from llmbench.plan import shipped

    return _list(shipped.list_classes("task"), ("task", "class"), as_json)


@click.command()
@options.json_output
def metrics(as_json: bool) -> int:
    """List the metrics, including those of installed packages."""
    from llmbench.plan import shipped

    return _list(shipped.list_metrics(), ("metric", "unit", "better", "about"), as_json)


@click.command()
@options.json_output
def texts(as_json: bool) -> int:
    """List the built-in texts, and those that the suites fetch or ask for."""
    from llmbench.plan import shipped

    return _list(shipped.list_texts(), ("text", "suites", "about"), as_json)


def _list(rows: Sequence[Mapping[str, Any]], shown: Sequence[str], as_json: bool) -> int:
    """Print these keys of the rows as a table, or all of them as JSON."""
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        print_rows(shown, [[_show(row[key]) for key in shown] for row in rows])
    return 0


def _show(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


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
    """Print a table to stdout. Its last column is wrapped; rich is not loaded for it."""
    *widths, _ = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    start = sum(widths) + len(GAP) * len(widths)
    columns = shutil.get_terminal_size((WIDTH, 24)).columns
    lines = [titles, ["─" * width for width in (*widths, max(1, columns - start))], *rows]
    for row in lines:
        head = "".join(f"{cell:<{size}}{GAP}" for cell, size in zip(row, widths, strict=False))
        parts = textwrap.wrap(row[-1], max(columns - start, NARROWEST)) or [""]
        click.echo((head + parts[0]).rstrip())
        for part in parts[1:]:
            click.echo(" " * start + part)


COMMANDS = (models, suites, adapters, tasks, metrics, texts, new, doctor)
