"""The commands that hold runs against each other: compare, gate, record promote; they read records
and samples, and no model.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmbench.errors import UsageError

if TYPE_CHECKING:
    from llmbench.leaderboard.renderers.sections import Section

_format = click.option(
    "--format",
    "form",
    default="table",
    show_default=True,
    type=click.Choice(["table", "md", "json"]),
    help="What to print.",
)


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("others", metavar="MODEL_A MODEL_B | RUN_2", nargs=-1, required=True)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Only this metric (default: all that have a direction).",
)
@click.option(
    "--only", multiple=True, metavar="NAME", help="Of two runs, only the models of these names."
)
@click.option(
    "--top",
    default=5,
    show_default=True,
    type=click.IntRange(0),
    help="Items to show that differ most, and answers that flipped.",
)
@_format
def compare(
    run: Path,
    others: Sequence[str],
    metrics: Sequence[str],
    only: Sequence[str],
    top: int,
    form: str,
) -> int:
    """Two models of one run, or the same models in two runs, item by item: differences, intervals,
    verdicts.

    RUN is a run's folder, its run.json, or a reviewed record. Verdicts are on the first of the two,
    A, against the second, B.
    """
    from llmbench.leaderboard.renderers import comparison
    from llmbench.results import compare as results_compare
    from llmbench.results import matching
    from llmbench.results.samples import opened

    if len(others) not in (1, 2):
        raise UsageError("compare takes RUN MODEL_A MODEL_B, or RUN_1 RUN_2")
    one = opened(run)
    if len(others) == 2:
        if only:
            raise UsageError("--only is for two runs: of one run the two models are named")
        names, pairs = (others[0], others[1]), matching.within(one, *others)
    elif not Path(others[0]).exists():
        raise UsageError(
            "there is no such run",
            where=others[0],
            hint="compare takes RUN MODEL_A MODEL_B, or RUN_1 RUN_2",
        )
    else:
        names, pairs = (str(run), others[0]), matching.between(one, opened(Path(others[0])), only)
    found = results_compare.compare(names, pairs, metrics, top)
    _print(form, asdict(found), comparison.sections(found))
    return 0


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--against",
    "record",
    required=True,
    metavar="RECORD",
    type=click.Path(path_type=Path),
    help="A reviewed record, or another run.",
)
@click.option(
    "--allow",
    multiple=True,
    metavar="NAME=LOSS",
    help="How much worse a metric may be: 0.01 in its unit, or 10%.",
)
@_format
def gate(run: Path, record: Path, allow: Sequence[str], form: str) -> int:
    """Exit 1 where a score of RUN is worse than RECORD's by more than is allowed and by more than
    chance, or missing.

    Without --allow, and where the suite's `gate` says nothing else, a loss as large as a tie is
    allowed. Speed and memory are looked at only where --allow or the suite names them, and only if
    the machine is the same.
    """
    from llmbench.leaderboard.renderers import gate as renderers_gate
    from llmbench.results import gate as results_gate
    from llmbench.results import tolerance
    from llmbench.results.samples import opened

    chosen = {}
    for word in allow:
        name, equals, loss = word.rpartition("=")
        if not (name and equals and loss):
            raise UsageError(
                f"--allow {word!r} is not NAME=LOSS",
                hint="as in bits_per_byte=0.01 or decode_bytes_per_second=10%",
            )
        chosen[name] = tolerance.parse(loss, f"--allow {name}")
    found = results_gate.gate(opened(run), opened(record), chosen)
    _print(form, {"passed": found.passed, **asdict(found)}, renderers_gate.sections(found))
    return 0 if found.passed else 1


@click.group()
def record() -> None:
    """Reviewed records: what `llmbench gate` compares with."""


@record.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Default: baselines/records/<suite>@<machine>.json.",
)
def promote(run: Path, out: Path | None) -> int:
    """Make RUN a reviewed record: all of its cells are done, and all in the checkout is committed."""
    from llmbench.results import promote as results_promote
    from llmbench.results.samples import opened

    click.echo(results_promote.promote(opened(run), out))
    return 0


def _print(form: str, data: dict[str, Any], sections: Sequence[Section]) -> None:
    """To stdout, in the form that was asked for."""
    from rich.console import Console

    from llmbench import storage
    from llmbench.leaderboard.renderers.sections import markdown, print_to

    if form == "table":
        print_to(Console(width=None if sys.stdout.isatty() else 140), sections)
    else:
        text = storage.as_json(data) if form == "json" else markdown(sections)
        click.echo(
            text.encode("utf-8", "backslashreplace").decode(), nl=form == "json"
        )  # half a character is JSON's own escape then


COMMANDS = (compare, gate, record)
