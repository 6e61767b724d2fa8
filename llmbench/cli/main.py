"""The command line: results go to stdout, progress and warnings to stderr.

Each command imports what it needs when it runs, so that `llmbench --help` starts quickly.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

import llmbench
from llmbench.cli import catalog, compare, divergence, fetch, leaderboard, model, run, show
from llmbench.cli.exports import command as exports
from llmbench.cli.publishing import commands as publishing
from llmbench.cli.votes import judge, vote
from llmbench.cli.watching import watch
from llmbench.errors import (
    CellError,
    LlmbenchError,
    ModelError,
    Unsupported,
    UsageError,
    describe_exit,
    did_you_mean,
)

NO_PATH = (errno.ENAMETOOLONG, errno.ELOOP)  # what no file can be called
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class _Group(click.Group):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None:
            raise UsageError(
                f"unknown command {args[0]!r}", hint=did_you_mean(args[0], self.list_commands(ctx))
            )
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read the arguments; `--help` writes."""
        with _end_with_reader():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        with _end_with_reader():
            return super().invoke(ctx)


@contextmanager
def _end_with_reader() -> Iterator[None]:
    """End well if the reader of stdout closes it, as `| head` does. click would exit with 1."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise click.exceptions.Exit(0) from None


@click.group(cls=_Group, context_settings=CONTEXT)
@click.version_option(llmbench.__version__, prog_name="llmbench")
def cli() -> None:
    """Put every language model on the same board: bits per byte, text, speed, memory."""


def main() -> None:
    """Run the command line and exit.

    Exit codes: 0 done, 1 a model or the machine failed, 2 wrong usage (one line on stderr),
    130 Ctrl-C.
    """
    try:
        code = cli.main(prog_name="llmbench", standalone_mode=False)
    except LlmbenchError as error:
        click.echo(f"llmbench: {error}", err=True)
        code = 1 if isinstance(error, CellError) and not isinstance(error, Unsupported) else 2
    except click.ClickException as error:
        text = error.format_message()
        # a group without a command raises its help, since click 8.2
        is_help = type(error).__name__ == "NoArgsIsHelpError"
        click.echo(text if is_help else f"llmbench: {LlmbenchError(text)}", err=True)
        code = 2
    except (KeyboardInterrupt, click.exceptions.Abort):
        code = 130
    except (SystemExit, GeneratorExit) as error:  # no command of llmbench ends so
        said = describe_exit(error) or "the model's code raised GeneratorExit"
        click.echo(f"llmbench: {LlmbenchError(said)}", err=True)
        code = 1
    except OSError as error:
        culprit = str(error.filename or "the system")
        told = LlmbenchError(error.strerror or str(error), where=culprit)
        click.echo(f"llmbench: {told}", err=True)
        code = 2 if error.errno in NO_PATH else 1
    sys.exit(code if isinstance(code, int) else 0)


def entry() -> None:
    """Run `main`, in a child process if the command loads a model. Leave at once if torch was
    loaded: its clean-up takes half a second.
    """
    try:
        code = watch(sys.argv[1:], cli)
    except ModelError as error:
        click.echo(f"llmbench: {error}", err=True)
        code = 1
    if code is not None:
        sys.exit(code)
    try:
        main()
    except SystemExit as exit_:
        if "torch" not in sys.modules:
            raise
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # the reader has closed the stream
                stream.flush()
        os._exit(exit_.code if isinstance(exit_.code, int) else 0)


for command in (
    *run.COMMANDS,
    *show.COMMANDS,
    *model.COMMANDS,
    *catalog.COMMANDS,
    *compare.COMMANDS,
    *leaderboard.COMMANDS,
    *fetch.COMMANDS,
    *divergence.COMMANDS,
    *exports.COMMANDS,
    *publishing.COMMANDS,
    *vote.COMMANDS,
    *judge.COMMANDS,
):
    cli.add_command(command)


if __name__ == "__main__":
    entry()
