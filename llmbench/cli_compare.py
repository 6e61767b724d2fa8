"""The commands that hold runs against each other: compare; they read records and samples, and no model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmbench.errors import UsageError

if TYPE_CHECKING:
    from llmbench.renderers.sections import Section

_format = click.option("--format", "form", default="table", show_default=True, type=click.Choice(["table", "md", "json"]), help="What to print.")


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("others", metavar="MODEL_A MODEL_B | RUN_2", nargs=-1, required=True)
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only this metric (default: all that have a direction).")
@click.option("--only", multiple=True, metavar="NAME", help="Of two runs, only the models of these names.")
@click.option("--top", default=5, show_default=True, type=click.IntRange(0), help="Items to show that differ most, and answers that flipped.")
@_format
def compare(run: Path, others: Sequence[str], metrics: Sequence[str], only: Sequence[str], top: int, form: str) -> int:
    """Two models of one run, or the same models in two runs, item by item: differences, intervals, verdicts.

    RUN is a run's folder, its run.json, or a reviewed record. Verdicts are on the first of the two, A, against the second, B.
    """
    from llmbench import compare as comparing
    from llmbench import matching
    from llmbench.items import opened
    from llmbench.renderers import comparison

    if len(others) not in (1, 2):
        raise UsageError("compare takes RUN MODEL_A MODEL_B, or RUN_1 RUN_2")
    one = opened(run)
    if len(others) == 2:
        if only:
            raise UsageError("--only is for two runs: of one run the two models are named")
        names, pairs = (others[0], others[1]), matching.within(one, *others)
    elif not Path(others[0]).exists():
        raise UsageError("there is no such run", where=others[0], hint="compare takes RUN MODEL_A MODEL_B, or RUN_1 RUN_2")
    else:
        names, pairs = (str(run), others[0]), matching.between(one, opened(Path(others[0])), only)
    found = comparing.compare(names, pairs, metrics, top)
    _print(form, asdict(found), comparison.sections(found))
    return 0


def _print(form: str, data: dict[str, Any], sections: Sequence[Section]) -> None:
    """To stdout, in the form that was asked for."""
    from rich.console import Console

    from llmbench import record
    from llmbench.renderers.sections import markdown, print_to

    if form == "table":
        print_to(Console(width=None if sys.stdout.isatty() else 140), sections)
    else:
        click.echo(record.as_json(data) if form == "json" else markdown(sections), nl=form == "json")


COMMANDS = (compare,)
