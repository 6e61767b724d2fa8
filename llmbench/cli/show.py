"""What the commands about runs show: a board in the terminal, a link to its page, and the page."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmbench.errors import UsageError

if TYPE_CHECKING:
    from llmbench.leaderboard.board import Board
    from llmbench.leaderboard.renderers.table import Order

PAGE = "leaderboard.html"
by_option = click.option(
    "--by",
    default="rank",
    show_default=True,
    type=click.Choice(["rank", "stage"]),
    help="Order of the models in the terminal's tables.",
)


def print_board(board: Board, by: Order) -> None:
    """Print the board to stdout, as wide as the terminal."""
    from llmbench.leaderboard.renderers import table
    from llmbench.leaderboard.renderers.terminal.screen import open_screen

    table.print_to(open_screen(), board, by)


def say(text: str) -> None:
    """Print a sentence to stderr: on a terminal broken between words, elsewhere on one line."""
    from llmbench.leaderboard.renderers.sanitise import clean_terminal
    from llmbench.leaderboard.renderers.terminal.grid import print_prose
    from llmbench.leaderboard.renderers.terminal.screen import open_stderr

    if sys.stderr.isatty():
        print_prose(open_stderr(), text, indent=0, style="")
    else:
        click.echo(clean_terminal(text), err=True)


def print_link(page: Path) -> None:
    """Print the address of a page to stderr, as a link where the terminal draws links."""
    from llmbench.leaderboard.renderers.terminal.link import draws_links, link_file

    click.echo(link_file(page, draws_links(sys.stderr.isatty())), err=True)


@click.command()
@click.argument("runs", metavar="[RUN]...", nargs=-1, type=click.Path(path_type=Path))
def view(runs: Sequence[Path]) -> int:
    """Open the page of RUN in a browser; of several runs, the page of all of them merged.

    RUN is a run directory, a run.json file, or a reviewed record. Without one it is the newest run
    below reports/. Without a browser the path of the page is printed.
    """
    page = _write_page(runs or [_find_newest(Path("reports"))])
    is_open = has_browser(os.environ, sys.platform) and _open(page)
    if is_open:
        print_link(page)
    else:
        click.echo(page)
        click.echo("llmbench: no browser was found; this is the page", err=True)
    return 0


def _find_newest(folder: Path) -> Path:
    """The run directory below a folder whose record was written last."""
    records = [file for file in folder.glob("**/run.json") if file.is_file()]
    if not records:
        raise UsageError("there is no run", where=str(folder), hint="name a run directory")
    return max(records, key=lambda file: file.stat().st_mtime).parent


def _write_page(runs: Sequence[Path]) -> Path:
    """Write the page and return its path: beside a single run's record, or else in the cache."""
    from llmbench import api, storage
    from llmbench.leaderboard.merge import merge
    from llmbench.leaderboard.renderers import registry

    if len(runs) == 1:
        run = api.load_run(runs[0])
        board, place = run.board, run.folder / PAGE
        if run.record.review is not None or not os.access(run.folder, os.W_OK):
            place = _name_in_cache(runs)
    else:
        board, place = merge.merge(runs)[0], _name_in_cache(runs)
    storage.write_text(place, registry.draw("html", board))
    return place.resolve()


def _name_in_cache(runs: Sequence[Path]) -> Path:
    """The page of these runs in the cache: the same one for the same runs."""
    from llmbench import storage

    names = "\n".join(str(run.resolve()) for run in runs)
    key = hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return storage.default_cache() / "pages" / key / PAGE


def has_browser(settings: Mapping[str, str], platform: str) -> bool:
    """Return whether a browser may have a screen to open on: one that draws in the terminal itself
    is no help with a page of pictures.
    """
    if platform in ("darwin", "win32", "cygwin"):
        return True
    return any(
        settings.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME")
    )


def _open(page: Path) -> bool:
    """Whether a browser took the page."""
    import webbrowser

    try:
        return webbrowser.open(page.as_uri())
    except (webbrowser.Error, OSError):
        return False


COMMANDS = (view,)
