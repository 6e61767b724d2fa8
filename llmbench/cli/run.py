"""`llmbench run` and `llmbench report`: run a suite, and draw the boards of a run again."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmbench import limits
from llmbench.cli import options, show
from llmbench.cli.catalog import print_rows
from llmbench.cli.exports import log_to

if TYPE_CHECKING:
    from llmbench.leaderboard.renderers.table import Order
    from llmbench.plan.plan import Plan
    from llmbench.results.record import Failure
    from llmbench.runner.engine.ahead import Ahead


@click.command()
@click.argument("suite")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="SPEC",
    help="Also run this model: a baseline, a card, file.py:Class, module:Class, hf:CHECKPOINT,"
    " hf:DIR/checkpoint-* (all of a training), gguf:FILE, nanogpt:FILE (or another"
    " course) or openai:MODEL@URL.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Of the suite's models run only these. Models added with --model always run.",
)
@options.data
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Output directory. An existing run there is resumed.",
)
@options.device
@options.dtype
@options.quantize
@options.compile
@options.device_map
@options.threads
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, limits.WORKERS),
    help="Models, and parts of texts, that are asked at once, each on cores of its own; what is"
    " timed runs alone afterwards.",
)
@click.option(
    "--engine",
    default="local",
    show_default=True,
    metavar="ENGINE",
    help="Where workers run: local, ray (the cluster of this machine, or one that is started),"
    " ray:HOST:PORT from a machine of a cluster, or ray://HOST:PORT from any other.",
)
@click.option(
    "--limit",
    default=None,
    type=click.IntRange(1),
    help="Use a seeded sample of N documents of each text.",
)
@options.seed
@click.option(
    "--timeout",
    default=limits.CELL_SECONDS,
    show_default=True,
    type=options.Number(min=0, min_open=True),
    help="Time limit of one cell in seconds, including the model's training.",
)
@click.option(
    "--memory-budget",
    metavar="SIZE",
    callback=options.parse_size,
    help="Memory limit of the task max-batch, such as 8GB (default: 80 % of what is free).",
)
@click.option(
    "--price-per-hour",
    type=options.Number(min=0, min_open=True),
    help="Price of this machine in any currency; adds the price per million tokens.",
)
@click.option(
    "--cache",
    metavar="DIR_OR_URL",
    help="Where trained networks are kept: a folder in place of LLMBENCH_CACHE; or an address that"
    " machines share, such as s3://BUCKET/NAME, beside each one's own.",
)
@click.option("--offline", is_flag=True, help="Download nothing.")
@click.option(
    "--retrain",
    "retrain_since",
    is_flag=True,
    callback=lambda context, option, given: time.time() if given else None,
    help="Train the suite's networks anew, and use neither the weights that come with llmbench nor"
    " those in the cache.",
)
@click.option(
    "--dry-run", is_flag=True, help="Print the cells with an estimate of time and memory, and stop."
)
@log_to.log_option
@show.by_option
def run(
    suite: str,
    dry_run: bool,
    by: Order,
    logs: Sequence[log_to.Log],
    quantize: str | None,
    compile: bool | None,
    device_map: str | None,
    cache: str | None,
    **chosen: Any,
) -> int:
    """Run SUITE (a path, or the name of a shipped suite) and write its boards."""
    from llmbench.plan.plan import Options, plan
    from llmbench.training.shared_cache import split_cache

    chosen["models"], chosen["only"] = (
        tuple(
            options.extend_spec(spec, quantize=quantize, compile=compile, device_map=device_map)
            for spec in chosen["models"]
        ),
        tuple(chosen["only"]),
    )
    wanted = Options(**chosen, **split_cache(cache))
    if not dry_run:
        from llmbench.runner.engine.ahead import start_first

        with start_first(suite, wanted) as ahead:
            return _run(plan(suite, wanted), by, logs, ahead)
    planned = plan(suite, wanted)
    from llmbench.plan.dry_run import estimate
    from llmbench.plan.training_state import list_damage

    for damage in list_damage(planned):
        show.say(f"llmbench: {damage}")
    print_rows(("model", "task", "state", "seconds", "memory"), estimate(planned))
    return 0


def _run(planned: Plan, by: Order, logs: Sequence[log_to.Log], ahead: Ahead) -> int:
    """Run the plan, write its boards, log it, and return the exit code."""
    from llmbench import api
    from llmbench.runner import run as runner_run
    from llmbench.runner.judging.suite import judge_suite
    from llmbench.runner.progress import watcher

    feeds = log_to.feed_live(planned, logs)
    with watcher(planned) as watching:
        # SIGTERM keeps what is finished, like Ctrl-C
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        result, interrupted = runner_run.run(planned, log_to.watch(watching, planned, feeds), ahead)
        try:
            is_judged = interrupted or judge_suite(planned, show.say)
        except KeyboardInterrupt:  # what was judged is kept, and the boards show it
            interrupted = is_judged = True
        done = api.Run(result, planned.out, interrupted)
        api.write_boards(done.board, planned.out)
    show.print_board(done.board, by)
    click.echo(f"wrote {planned.out}/leaderboard.html, .md, .csv and run.json", err=True)
    show.print_link(planned.out / show.PAGE)
    if interrupted:
        log_to.log_run(result, planned.out, [log for log in logs if log.target.is_live], feeds)
        show.say(
            "llmbench: interrupted; finished cells are kept. Resume with the same command and"
            f" --out {planned.out}"
        )
        return 130
    if not log_to.log_run(result, planned.out, logs, feeds):
        return 1
    return _find_exit_code(planned, result.failures) if is_judged else 1


def _find_exit_code(planned: Plan, failures: Sequence[Failure]) -> int:
    """Return 1 if a cell failed that this run was asked for. Failures of models that only earlier
    runs in the directory named stay on the board and do not count.
    """
    skipped = ("unavailable", "unsupported")
    failed = (f for f in failures if f.model in planned.models and f.reason not in skipped)
    return 1 if any(failed) else 0


@click.command()
@click.argument("run_", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    default=None,
    metavar="FORMAT",
    help="Print this format instead of writing the files: table, md, csv, html, the name of an"
    " installed renderer, or file.py:Class.",
)
@show.by_option
def report(run_: Path, form: str | None, by: Order) -> int:
    """Draw the boards of RUN again, from its record: print the tables and write the files."""
    from llmbench import api
    from llmbench.leaderboard.renderers import registry

    if form:
        registry.load_renderer(form)  # a wrong name is told before the work
    loaded = api.load_run(run_)
    if form == "table":
        show.print_board(loaded.board, by)
    elif form:
        click.echo(registry.draw(form, loaded.board), nl=False)
    else:
        api.write_boards(loaded.board, loaded.folder)
        show.print_board(loaded.board, by)
        click.echo(f"wrote {loaded.folder}/leaderboard.html, .md and .csv", err=True)
        show.print_link(loaded.folder / show.PAGE)
    return 0


COMMANDS = (run, report)
