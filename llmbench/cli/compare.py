"""The commands that compare runs: compare, gate, record promote.

They read records and samples; no model is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

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
    help="Output format.",
)


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("others", metavar="MODEL_A MODEL_B | RUN_2", nargs=-1, required=True)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Compare this metric only (default: all that have a direction).",
)
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Compare only the models of these names (two runs).",
)
@click.option(
    "--top",
    default=5,
    show_default=True,
    type=click.IntRange(0),
    help="Number of items to show: those that differ most, and answers that changed.",
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
    """Compare two models of one run, or the same models in two runs, item by item.

    RUN is a run directory, its run.json, or a reviewed record. Prints differences with intervals
    and a verdict on A, the first of the two, against B, the second.
    """
    from llmbench.leaderboard.renderers import comparison
    from llmbench.results import compare as results_compare
    from llmbench.results import matching
    from llmbench.votes.scores import open_run

    if len(others) not in (1, 2):
        raise UsageError("compare takes RUN MODEL_A MODEL_B, or RUN_1 RUN_2")
    one = open_run(run)
    if len(others) == 2:
        if only:
            raise UsageError(
                "--only is for comparing two runs; here the two models are already named"
            )
        names, pairs = (others[0], others[1]), matching.within(one, *others)
    elif not Path(others[0]).exists():
        raise UsageError(
            "no such run",
            where=others[0],
            hint="compare takes RUN MODEL_A MODEL_B, or RUN_1 RUN_2",
        )
    else:
        names, pairs = (
            (str(run), others[0]),
            matching.pair_runs(one, open_run(Path(others[0])), only),
        )
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
    help="Allowed loss of a metric: 0.01 (in its unit) or 10%.",
)
@_format
def gate(run: Path, record: Path, allow: Sequence[str], form: str) -> int:
    """Exit with code 1 if a score of RUN is missing or worse than in RECORD.

    Worse means: by more than is allowed, and statistically significant. The allowed loss is that
    of --allow, else that of the suite's `gate`, else the margin of a tie. Speed and memory are
    compared only if --allow or the suite names them, and only on the same machine.
    """
    from llmbench.leaderboard.renderers import gate as renderers_gate
    from llmbench.results import gate as results_gate
    from llmbench.votes.scores import open_run

    chosen = {}
    for word in allow:
        name, equals, loss = word.rpartition("=")
        if not (name and equals and loss):
            raise UsageError(
                f"--allow {word!r} is not NAME=LOSS",
                hint="for example bits_per_byte=0.01 or decode_bytes_per_second=10%",
            )
        chosen[name] = results_gate.parse_allowance(loss, f"--allow {name}")
    found = results_gate.gate(open_run(run), open_run(record), chosen)
    _print(form, {"passed": found.ok, **asdict(found)}, renderers_gate.sections(found))
    return 0 if found.ok else 1


@click.group()
def record() -> None:
    """Manage reviewed records, which `llmbench gate` compares with."""


@record.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Default: baselines/records/<suite>@<machine>.json.",
)
def promote(run: Path, out: Path | None) -> int:
    """Make RUN a reviewed record.

    Every cell must be finished, and the checkout must have no uncommitted changes.
    """
    from llmbench.results import promote as results_promote
    from llmbench.votes.scores import open_run

    click.echo(results_promote.promote(open_run(run), out))
    return 0


def _print(form: str, data: Mapping[str, object], sections: Sequence[Section]) -> None:
    """Print to stdout as table, Markdown or JSON."""
    from llmbench import storage
    from llmbench.leaderboard.renderers.sections import markdown, print_to
    from llmbench.leaderboard.renderers.terminal.screen import open_screen

    if form == "table":
        print_to(open_screen(), sections)
    else:
        text = storage.as_json(data) if form == "json" else markdown(sections)
        # half a surrogate pair is printed as JSON's own escape
        click.echo(text.encode("utf-8", "backslashreplace").decode(), nl=form == "json")


COMMANDS = (compare, gate, record)
