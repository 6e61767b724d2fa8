"""Blind votes: the page that asks for them, and files of votes that came back."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmbench.cli import show
from llmbench.errors import UsageError, check_utf8

if TYPE_CHECKING:
    from llmbench.votes.poll import Poll


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--task",
    default="",
    metavar="NAME",
    help="The task whose answers are shown (default: continuation, or the only one with text).",
)
@click.option("--only", multiple=True, metavar="MODEL", help="Show only the answers of this model.")
@click.option("--human", is_flag=True, help="The human text is one of the answers, too.")
@click.option("--rate", is_flag=True, help="Ask for ratings from 1 to 5 instead of comparisons.")
@click.option(
    "--votes",
    "target",
    default=50,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Number of questions after which the page says thanks.",
)
@click.option("--rater", default="", metavar="NAME", help="Whose votes they are (default: asks).")
@click.option("--seed", type=click.IntRange(0), help="Seed of the draws (default: the run's).")
@click.option(
    "--share",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the page to a file that works without llmbench, and gives votes to send back.",
)
@click.option(
    "--port", default=0, type=click.IntRange(0, 65535), help="Port of the page (default: any)."
)
@click.option("--no-open", is_flag=True, help="Print the address; do not open a browser.")
def vote(
    run: Path,
    task: str,
    only: Sequence[str],
    human: bool,
    rate: bool,
    target: int,
    **more: object,
) -> int:
    """Compare the answers of RUN's models blindly, two at a time, in a browser.

    RUN is a run directory. The page is served to this machine alone, until Ctrl-C. Votes are
    added to votes.jsonl in the run directory; `llmbench report RUN` draws the board with them.
    """
    from llmbench.votes.opening import open_poll
    from llmbench.votes.poll import PAIRS, RATINGS

    rater = str(more["rater"]).strip()
    check_utf8(rater, "--rater")
    if len(rater) > 60:
        raise UsageError("--rater is longer than 60 characters")
    seed = more["seed"]
    poll = open_poll(
        run,
        task,
        only,
        human=human,
        asks=RATINGS if rate else PAIRS,
        seed=seed if isinstance(seed, int) else None,
        target=target,
    )
    share, port = more["share"], more["port"]
    if isinstance(share, Path):
        _write_page(poll, share, rater)
        return 0
    if not os.access(poll.folder, os.W_OK):
        raise UsageError("the votes cannot be written here", where=str(poll.folder))
    _serve(poll, rater, port if isinstance(port, int) else 0, opens=not more["no_open"])
    return 0


def _write_page(poll: Poll, file: Path, rater: str) -> None:
    from llmbench import storage
    from llmbench.votes.page import make_page

    storage.write_text(file, make_page(poll, rater=rater, shared=True)[0])
    click.echo(file)
    show.say(
        "Send this file to people. Each gets a file of votes to send back:"
        f" llmbench votes import {poll.folder} FILE"
    )


def _serve(poll: Poll, rater: str, port: int, *, opens: bool) -> None:
    """Serve the page until Ctrl-C."""
    from llmbench.votes.server import PollServer

    with PollServer(poll, port, rater=rater) as server:
        click.echo(server.address)
        sys.stdout.flush()
        show.say("Open this address in a browser on this machine; Ctrl-C ends.")
        if opens and show.has_browser(os.environ, sys.platform):
            import webbrowser

            webbrowser.open(server.address)
        with suppress(KeyboardInterrupt):
            server.serve_forever()
    count = len(poll.list_standing())
    show.say(f"{count} on {poll.task} in {poll.folder / 'votes.jsonl'}")


@click.group()
def votes() -> None:
    """Files of votes."""


@votes.command("import")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
def import_(run: Path, files: Sequence[Path]) -> int:
    """Add votes from files to those of RUN.

    FILE is what a shared page gave, or the votes.jsonl of another copy of the run. A vote that is
    there already is not added again. A vote on answers that have changed is refused.
    """
    from llmbench.votes.returned import import_file

    refused, is_whole = 0, True
    for file in files:
        found = import_file(run, file)
        refused += found.changed
        click.echo(f"{file}: {found.new} new, {found.known} known, {found.changed} refused")
        if found.is_cut:
            is_whole = False
            show.say(f"{file}: its last line is cut off and left out")
    if refused:
        show.say(f"{refused} refused: the answers have changed since they were shown")
    return 0 if is_whole and not refused else 1


COMMANDS = (vote, votes)
