"""The command line. Results go to stdout, progress and warnings to stderr; what is imported is what
the command needs.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

import llmbench
from llmbench.cli import catalog, compare, leaderboard
from llmbench.cli.catalog import print_rows
from llmbench.errors import CellError, LlmbenchError, Unsupported, UsageError

if TYPE_CHECKING:
    from llmbench.plan.plan import Options

Command = TypeVar("Command", bound=Callable[..., Any])
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class _Group(click.Group):
    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        from llmbench.errors import did_you_mean

        if args and self.get_command(ctx, args[0]) is None:
            raise UsageError(
                f"unknown command {args[0]!r}", hint=did_you_mean(args[0], self.list_commands(ctx))
            )
        return super().resolve_command(ctx, args)


@click.group(cls=_Group, context_settings=CONTEXT)
@click.version_option(llmbench.__version__, prog_name="llmbench")
def cli() -> None:
    """Put every language model on the same board: bits per byte, text, speed, memory."""


def main() -> None:
    """Entry point: one clear line and exit code 2 for what the user got wrong, 1 for what a model
    or the machine did not do, 130 for Ctrl-C.
    """
    try:
        code = cli.main(prog_name="llmbench", standalone_mode=False)
    except LlmbenchError as error:
        click.echo(f"llmbench: {error}", err=True)
        code = 1 if isinstance(error, CellError) and not isinstance(error, Unsupported) else 2
    except click.ClickException as error:
        is_help = (
            type(error).__name__ == "NoArgsIsHelpError"
        )  # a group without a command, since click 8.2
        click.echo(
            (
                error.format_message()
                if is_help
                else f"llmbench: {' '.join(error.format_message().split())}"
            ),
            err=True,
        )
        code = 2
    except (KeyboardInterrupt, click.exceptions.Abort):
        code = 130
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), 1
        )  # whoever read our output has gone; that is no error
        code = 0
    except OSError as error:
        click.echo(
            f"llmbench: {error.filename or 'the system'}: {error.strerror or error}", err=True
        )
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def entry() -> None:
    """`main`, and out: nothing is left to be done then, and some libraries take half a second to
    say goodbye.
    """
    try:
        main()
    except SystemExit as ended:
        if "torch" not in sys.modules:
            raise
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # whoever read it has gone
                stream.flush()
        os._exit(ended.code if isinstance(ended.code, int) else 0)


def _pairs(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for item in value:
        name, equals, path = item.partition("=")
        if not (name and equals and path):
            raise UsageError(f"--data {item!r} is not NAME=PATH")
        pairs[name] = path
    return pairs


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Bytes of a size: 8GB, 512 MiB, 1e9."""
    if value is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?(?:e\d+)?)\s*([kmgt]?)(i?)b?\s*", value, re.IGNORECASE)
    size = (
        min(float(found[1]), 1e18)
        * (1024 if found[3] else 1000) ** " kmgt".index(found[2].lower() or " ")
        if found
        else 0.0
    )
    if size < 1:
        raise UsageError(
            f"{param.opts[0]} {value!r} is no size of memory", hint="as in 8GB or 512MiB"
        )
    return int(size)


_data = click.option(
    "--data",
    multiple=True,
    metavar="NAME=PATH",
    callback=_pairs,
    help="Use this file as the text NAME.",
)
_seed = click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Of training, sampling and generation.",
)
_device = click.option(
    "--device",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "cpu", "cuda"]),
    help="Where models run.",
)
_dtype = click.option(
    "--dtype",
    default=None,
    type=click.Choice(["float32", "bfloat16", "float16", "float64"]),
    help="Of the weights.",
)
_threads = click.option(
    "--threads", default=None, type=click.IntRange(1), help="CPU threads (default: all cores)."
)


@cli.command()
@click.argument("suite")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="SPEC",
    help="Also run this model: a baseline, a card, file.py:Class, module:Class.",
)
@click.option("--only", multiple=True, metavar="NAME", help="Run only the models of these names.")
@_data
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The run's folder; one that exists is gone on with.",
)
@_device
@_dtype
@_threads
@click.option(
    "--limit",
    default=None,
    type=click.IntRange(1),
    help="Ask about a seeded sample of N documents only.",
)
@_seed
@click.option(
    "--timeout",
    default=3600.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds that one cell may take, its model's training included.",
)
@click.option(
    "--memory-budget",
    metavar="SIZE",
    callback=_size,
    help="What a fitted batch may hold, as in 8GB (default: most of what is free).",
)
@click.option(
    "--price-per-hour",
    type=click.FloatRange(min=0, min_open=True),
    help="Of this machine, in any currency: adds the price of tokens.",
)
@click.option("--offline", is_flag=True, help="Do not try to fetch anything.")
@click.option(
    "--dry-run", is_flag=True, help="Print the cells with an estimate of time and memory, and stop."
)
def run(suite: str, dry_run: bool, **options: Any) -> int:
    """Run SUITE (a path, or the name of a shipped suite) and write its boards."""
    from rich.console import Console

    from llmbench import api
    from llmbench.leaderboard.renderers import table
    from llmbench.plan.plan import plan
    from llmbench.runner import run as runner_run

    chosen = _options(**options)
    made = plan(suite, chosen)
    if dry_run:
        from llmbench.plan.dry_run import estimate

        print_rows(("model", "task", "state", "seconds", "memory"), estimate(made))
        return 0
    from llmbench.runner.progress import watcher

    with watcher(made) as watching:
        signal.signal(
            signal.SIGTERM, signal.default_int_handler
        )  # a polite kill keeps what is finished, like Ctrl-C
        result, interrupted = runner_run.run(made, watching)
        done = api.Run(result, made.out, interrupted)
        api.write_boards(done.board, made.out)
    table.print_to(Console(width=None if sys.stdout.isatty() else 140), done.board)
    click.echo(f"wrote {made.out}/leaderboard.html, .md, .csv and run.json", err=True)
    if interrupted:
        click.echo(
            f"llmbench: interrupted; what is finished is kept: go on with --out {made.out}",
            err=True,
        )
        return 130
    bad = [
        failure
        for failure in result.failures
        if failure.reason not in ("unavailable", "unsupported")
    ]
    return 1 if bad else 0


def _options(**given: Any) -> Options:
    from llmbench.plan.plan import Options

    given["models"], given["only"] = tuple(given["models"]), tuple(given["only"])
    return Options(**given)


@cli.command()
@click.argument("spec")
@click.argument("textfile", type=click.Path(path_type=Path))
@click.option(
    "--window", default="half", show_default=True, help="half, rolling, or a stride in tokens."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_data
@_seed
@_device
@_dtype
@_threads
def score(
    spec: str, textfile: Path, window: str, as_json: bool, data: Mapping[str, str], **where: Any
) -> int:
    """Bits per byte of the model SPEC on one text."""
    from llmbench.runner import session
    from llmbench.runner.progress import spinner

    rule: str | int = int(window) if window.isdecimal() else window
    _set_threads(where["threads"])
    session.find(spec)
    with spinner() as progress:
        facts = session.score(
            spec,
            textfile,
            window=rule,
            given=data,
            seed=where["seed"],
            device=_pick(where["device"]),
            dtype=where["dtype"],
            progress=progress,
        )
    if as_json:
        click.echo(json.dumps(facts))
        return 0
    value = facts["bits_per_byte"]
    shown = value if isinstance(value, str) else f"{value:.4f}"
    interval = (
        ""
        if facts["low"] is None
        else f" (95 % interval {facts['low']:.4f} to {facts['high']:.4f})"
    )
    click.echo(f"{facts['model']} on {facts['text']}: {shown} bits per byte{interval}")
    for key in (
        "bytes",
        "documents",
        "tokens",
        "words",
        "byte_perplexity",
        "word_perplexity",
        "token_perplexity",
        "signature",
    ):
        if facts[key] is not None:
            click.echo(
                f"  {key}: {facts[key]:.4f}"
                if isinstance(facts[key], float)
                else f"  {key}: {facts[key]}"
            )
    return 0


@cli.command()
@click.argument("spec")
@click.argument("prompt")
@click.option("--max-bytes", default=300, show_default=True, type=click.IntRange(1))
@click.option(
    "--temperature", default=0.8, show_default=True, type=click.FloatRange(0), help="0 is greedy."
)
@click.option("--top-k", default=None, type=click.IntRange(1))
@click.option("--top-p", default=None, type=click.FloatRange(0, 1, min_open=True))
@click.option("--stop", multiple=True, help="End before this text.")
@_data
@_seed
@_device
@_dtype
@_threads
def generate(
    spec: str,
    prompt: str,
    max_bytes: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    stop: tuple[str, ...],
    data: Mapping[str, str],
    **where: Any,
) -> int:
    """What the model SPEC says after PROMPT, as it says it."""
    from llmbench.adapter import Request
    from llmbench.runner import session
    from llmbench.runner.progress import spinner

    request = Request(
        prompt,
        max_bytes=max_bytes,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        stop=stop,
        seed=where["seed"],
    )
    _set_threads(where.pop("threads"))
    session.find(spec)
    with spinner() as progress:
        card, adapter = session.load_model(
            spec,
            data,
            seed=where["seed"],
            device=_pick(where["device"]),
            dtype=where["dtype"],
            progress=progress,
        )
    shown = prompt  # together with the first words: a model that cannot speak leaves stdout empty
    with session.model_errors(card.name):
        for chunk in adapter.generate([request]):
            click.echo(shown + chunk.text, nl=False)
            sys.stdout.flush()
            shown = ""
    click.echo(shown)
    return 0


@cli.command()
@click.argument("name")
@_data
@_seed
@_device
@_threads
def train(name: str, data: Mapping[str, str], seed: int, device: str, threads: int | None) -> int:
    """Train the baseline NAME (a run does it by itself when needed). Without --data, on the
    built-in tales.
    """
    from llmbench.plan import registry
    from llmbench.runner import session
    from llmbench.runner.progress import spinner

    card = session.find(name)
    if card.recipe is None:
        raise UsageError(
            f"{card.name} is not a model that llmbench trains", hint="see `llmbench models`"
        )
    _set_threads(threads)
    with spinner() as progress:
        card, adapter, build_context = session.load_with_materials(
            name, data, seed=seed, device=_pick(device), progress=progress
        )
    facts = adapter.info.training or {}
    click.echo(registry.kept_in(card, build_context))
    for step, bits in facts.get("curve", []):
        click.echo(f"  step {step}: {bits:.4f} bits per byte of the validation text", err=True)
    click.echo(f"  {facts.get('steps')} steps in {facts.get('seconds')} s", err=True)
    return 0


@cli.command()
@click.argument("spec")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--only", multiple=True, metavar="CHECK", help="Run only the checks of these names.")
@click.option(
    "--timeout",
    default=120.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds that one check may take.",
)
@_data
@_seed
@_device
@_dtype
@_threads
def check(
    spec: str,
    as_json: bool,
    only: tuple[str, ...],
    timeout: float,
    data: Mapping[str, str],
    **where: Any,
) -> int:
    """Whether the adapter of SPEC tells the truth: conformance checks, and the certificate they
    earn.
    """
    from llmbench.runner.check import prove
    from llmbench.runner.progress import spinner

    _set_threads(where.pop("threads"))
    with spinner() as progress:
        report = prove(
            spec,
            data,
            only,
            timeout,
            progress,
            seed=where["seed"],
            device=_pick(where["device"]),
            dtype=where["dtype"],
        )
    if as_json:
        click.echo(json.dumps(report))
    else:
        print_rows(
            ("check", "result", "seconds", "what was tried, or why not"),
            [_check_row(row) for row in report["checks"]],
        )
        for level, proof in report["certificate"]["levels"].items():
            click.echo(f"{level} {proof['state']}{': ' if proof['why'] else ''}{proof['why']}")
    return (
        1 if any(row["state"] in ("failed", "error", "timeout") for row in report["checks"]) else 0
    )


def _check_row(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    parts = [
        f"{title}: {row[key]}"
        for key, title in (("sent", "sent"), ("came", "came"), ("cause", "likely cause"))
        if row[key]
    ]
    said = "\n".join([f"rule: {row['rule']}", *parts]) if parts else row["tried"] or row["reason"]
    return row["name"], row["state"], f"{row['seconds']:.2f}", said


@cli.command()
@click.argument("run_", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    default=None,
    type=click.Choice(["table", "md", "csv", "html"]),
    help="Print one format instead of writing the files.",
)
def report(run_: Path, form: str | None) -> int:
    """Draw the boards of RUN again, from its record alone."""
    from llmbench import api

    opened = api.open_run(run_)
    if form:
        click.echo(api.RENDERERS[form](opened.board), nl=False)
    else:
        api.write_boards(opened.board, opened.folder)
        click.echo(f"wrote {opened.folder}/leaderboard.html, .md, .csv", err=True)
    return 0


def _set_threads(threads: int | None) -> None:
    """Before torch is loaded in this process."""
    from llmbench.hardware import machine

    if threads:
        os.environ.update(machine.thread_settings(threads))


def _pick(device: str) -> str:
    """auto -> cuda where torch can use it."""
    if device == "cpu":
        return device
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise UsageError("there is no CUDA device that torch can use", hint="--device cpu")
    return "cpu"


for command in (*catalog.COMMANDS, *compare.COMMANDS, *leaderboard.COMMANDS):
    cli.add_command(command)


if __name__ == "__main__":
    entry()
