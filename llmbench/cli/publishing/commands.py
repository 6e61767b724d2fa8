"""`llmbench publish` and `llmbench verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmbench import limits
from llmbench.cli import options
from llmbench.cli.catalog import print_rows

if TYPE_CHECKING:
    from llmbench.publishing.figures import Figure
    from llmbench.publishing.verify import Verified


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The folder to write (default: RUN-published, beside RUN).",
)
@click.option(
    "--no-samples",
    is_flag=True,
    help="Leave out what the models did on each item, and votes on it.",
)
@click.option(
    "--rater-names",
    is_flag=True,
    help="Publish the names of people who voted; without it they are rater 1, rater 2, ...",
)
def publish(run: Path, out: Path | None, no_samples: bool, rater_names: bool) -> int:
    """Write RUN as a folder for GitHub Pages or a static Hugging Face Space.

    The folder has the board as index.html, the record, the samples, the votes, a README with a
    badge, and the digests of all files. It is refused if a file holds a secret or a path of this
    machine.
    """
    from llmbench.cli import show
    from llmbench.publishing.publish import publish as write

    made = write(run, out, samples=not no_samples, rater_names=rater_names)
    for name in made.lacks[:5]:
        show.say(f"warning: {name} is not there and was not published")
    if len(made.lacks) > 5:
        show.say(f"warning: nor were {len(made.lacks) - 5} other files of the run")
    if made.raters:
        people = f"{made.raters} {'person' if made.raters == 1 else 'people'}"
        called = "their names" if rater_names else "numbers instead of names (--rater-names)"
        show.say(f"the votes of {people} are in it, with {called}")
    click.echo(made.folder)
    click.echo(f"wrote {made.files} files; sha256 of their list: {made.sha256}", err=True)
    return 0


@click.command()
@click.argument("place", metavar="FOLDER-OR-URL")
@click.option(
    "--recompute",
    "count",
    default=0,
    metavar="N",
    type=click.IntRange(0, limits.ENTRIES),
    help="Measure N cells again, chosen at random, and compare their figures.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, limits.SEED),
    help="Seed of the choice of cells.",
)
@click.option(
    "--sha256",
    "expected",
    default=None,
    metavar="HEX",
    help="The digest of the list of files, as `publish` printed it.",
)
@click.option(
    "--suite",
    type=click.Path(path_type=Path),
    help="The suite of the run, if it did not come with llmbench.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME=SPEC",
    callback=options.parse_pairs,
    help="Where the model NAME is, if it is neither in the suite nor a baseline.",
)
@options.data
@click.option(
    "--device",
    default=None,
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    help="Device to measure on (default: that of the run).",
)
@options.threads
@click.option("--offline", is_flag=True, help="Download no models and texts.")
@options.json_output
def verify(place: str, count: int, expected: str | None, as_json: bool, **chosen: Any) -> int:
    """Check a published run: its digests, its figures against its samples, and N cells again.

    Exit code 1 if a figure does not hold, 2 if a file is not the one that was published.
    """
    import tempfile

    from llmbench import storage
    from llmbench.publishing import verify as verifying
    from llmbench.publishing.recompute import Request
    from llmbench.runner.progress import spinner

    request = Request(count, **chosen) if count else None
    with tempfile.TemporaryDirectory(prefix="llmbench-verify-") as scratch, spinner() as report:
        found = verifying.verify(place, Path(scratch), request, expected, report)
    if as_json:
        click.echo(storage.as_json(verifying.as_json(found)))
    else:
        _print(found)
    return 0 if found.holds else 1


def _print(found: Verified) -> None:
    """Print what holds, and what does not."""
    from llmbench.leaderboard.renderers.sanitise import clean_terminal
    from llmbench.publishing.verify import describe_machine

    record, samples = found.record, found.samples
    lines = [
        f"suite: {record.suite.name} version {record.suite.version}, {record.finished}",
        f"files: {len(found.publication.manifest.files)}, each as it was published; sha256 of their"
        f" list: {found.publication.sha256}",
        f"samples: {samples.count} values, {samples.intervals} intervals and {samples.ranks} ranks"
        f" follow from them, {len(samples.contradicted)} do not; {samples.without} values have"
        " none",
        f"pages: {_describe_pages(found)}",
    ]
    if (again := found.again) is not None:
        lines += [
            f"measured again: {len(again.cells)} of {again.choices} cells",
            f"machine of the run: {describe_machine(record.machine)}",
            f"this machine: {describe_machine(again.machine)}",
        ]
        lines += [f"{name}: the weights here are others" for name in again.others]
    for line in lines:
        click.echo(clean_terminal(line))
    figures = [*samples.contradicted, *(again.figures if again else ())]
    if figures:
        click.echo()
        print_rows(
            ("model", "task", "metric", "published", "here", "tolerance", "verdict"),
            [[clean_terminal(cell) for cell in _row(figure)] for figure in figures],
        )
        click.echo()
    failures = len(found.failures)
    exact = sum(figure.is_exact for figure in again.figures) if again else 0
    if failures:
        click.echo(f"{failures} of {len(figures)} figures do not hold")
    elif again:
        click.echo(f"all {len(figures)} figures hold, {exact} of them to the last digit")


def _describe_pages(found: Verified) -> str:
    if not found.redrawn:
        return "all show this record"
    names, version = ", ".join(found.redrawn), found.publication.manifest.llmbench
    return (
        f"this llmbench draws {names} otherwise from this record: llmbench {version} drew that, or"
        " somebody changed it; trust run.json"
    )


def _row(figure: Figure) -> list[str]:
    here = "-" if figure.here is None else f"{figure.here:.6g}"
    held = "holds" if figure.holds else f"does not hold{f': {figure.why}' if figure.why else ''}"
    return [
        figure.model,
        figure.task,
        figure.metric,
        f"{figure.published:.6g} {figure.unit}",
        here,
        f"{figure.tolerance:.2g}",
        held,
    ]


COMMANDS = (publish, verify)
