"""Boards of more than one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmbench.cli import show
from llmbench.errors import UsageError

if TYPE_CHECKING:
    from llmbench.leaderboard.renderers.table import Order


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write leaderboard.html, .md and .csv into this directory.",
)
@click.option(
    "--format",
    "form",
    default=None,
    metavar="FORMAT",
    help="Print this format: table, md, csv, html, the name of an installed renderer, or"
    " file.py:Class. Formats of other packages are also written into --out.",
)
@click.option(
    "--strict",
    is_flag=True,
    help="Fail if runs have different signatures for a task, instead of drawing separate tables.",
)
@show.by_option
def leaderboard(
    runs: tuple[Path, ...], out: Path | None, form: str | None, strict: bool, by: Order
) -> int:
    """Merge runs into one board. RUN is a run directory, a run.json file, or a reviewed record."""
    from llmbench import api, storage
    from llmbench.leaderboard.merge import merge
    from llmbench.leaderboard.renderers import registry

    if out is not None and (out / "run.json").exists():
        raise UsageError(
            "this is a run directory; its own boards would be overwritten",
            where=str(out),
            hint="choose another --out",
        )
    ending = registry.file_ending(form) if form and form not in registry.BUILT_IN and out else None
    if form:
        registry.load_renderer(form)  # a wrong name is told before the work
    board, warnings = merge.merge(runs, strict)
    for line in warnings:
        show.say(f"warning: {line}")
    if not form:
        for key, value in board.facts:
            show.say(f"{key}: {value}")
    if out is not None:
        api.write_boards(board, out)
        click.echo(f"wrote {out}/leaderboard.html, .md and .csv", err=True)
        show.print_link(out / show.PAGE)
    if form and form != "table":
        drawn = registry.draw(form, board)
        if out is not None and ending:
            storage.write_text(out / f"leaderboard.{ending}", drawn)
        click.echo(drawn, nl=False)
    elif form or out is None:
        show.print_board(board, by)
    return 0


COMMANDS = (leaderboard,)
