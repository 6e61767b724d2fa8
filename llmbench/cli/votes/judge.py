"""A model as a judge of a run's answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmbench import limits
from llmbench.cli import options, show
from llmbench.errors import UsageError, check_utf8

if TYPE_CHECKING:
    from llmbench.stats import Interval
    from llmbench.votes.judges.findings import JudgeFindings

RUBRIC_CHARACTERS = 10_000


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--with", "spec", required=True, metavar="SPEC", help="The model that judges.")
@click.option(
    "--kind",
    default="likelihood",
    show_default=True,
    type=click.Choice(["likelihood", "pairwise"]),
    help="likelihood: which answer is likelier, per byte, after the prompt. pairwise: the model is"
    " asked which answer is better, in both orders.",
)
@click.option(
    "--rubric",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A text file that says what makes an answer better (pairwise).",
)
@click.option(
    "--task",
    default="",
    metavar="NAME",
    help="The task that is judged (default: continuation, or the only one with text).",
)
@click.option("--only", multiple=True, metavar="MODEL", help="Judge only the answers of MODEL.")
@click.option("--human", is_flag=True, help="The human text is one of the answers, too.")
@click.option(
    "--pairs",
    default=500,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="Judge at most so many pairs of answers: first those that people voted on.",
)
@click.option(
    "--max-bytes",
    default=40,
    show_default=True,
    type=click.IntRange(1, limits.TEXT_BYTES),
    help="Length of a reply (pairwise).",
)
@options.json_output
@options.model_options()
def judge(
    run: Path,
    spec: str,
    rubric: Path | None,
    as_json: bool,
    model: options.ModelOptions,
    **asked: object,
) -> int:
    """Let the model SPEC judge the answers of RUN's models, and say how far to believe it.

    RUN is a run directory. What SPEC said is kept in judgements.jsonl there and not asked again.
    The ranking comes with how often SPEC says what people said (see `llmbench vote`), and with its
    preference for a place and for length.
    """
    from llmbench.runner import session
    from llmbench.runner.judging.judge import Asked, judge_run
    from llmbench.runner.progress import spinner

    if rubric is not None:
        if asked["kind"] != "pairwise":
            raise UsageError("--rubric is for --kind pairwise: a likelihood judge reads none")
        asked["rubric"] = _read_rubric(rubric)
    asked["most"] = asked.pop("pairs")
    spec = model.name_spec(spec)
    session.find(spec)  # says what is wrong with its files before torch is imported
    arguments = model.make_arguments()
    with spinner() as progress:
        found = judge_run(
            run,
            spec,
            Asked(**asked, seed=model.seed),  # type: ignore[arg-type]  # click has checked them
            given=model.data,
            progress=progress,
            **arguments,
        )
    if as_json:
        click.echo(json.dumps(asdict(found), default=sorted))
        return 0
    for line in _list_lines(found):
        click.echo(line)
    show.say(
        f"kept in {run / 'judgements.jsonl'}; `llmbench report {run}` draws the boards with it"
    )
    return 0 if sum(found.unread.values()) < found.pairs else 1


def _read_rubric(file: Path) -> str:
    try:
        text = file.read_bytes().decode()
    except OSError as error:
        raise UsageError(f"cannot read the rubric: {error.strerror}", where=str(file)) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"not UTF-8 at byte {error.start}", where=str(file)) from None
    text = text.strip()
    check_utf8(text, "the rubric", str(file))
    if not text:
        raise UsageError("the rubric is empty", where=str(file))
    if len(text) > RUBRIC_CHARACTERS:
        raise UsageError(f"longer than {RUBRIC_CHARACTERS} characters", where=str(file))
    return text


def _list_lines(found: JudgeFindings) -> Iterator[str]:
    """The ranking, and what to think of it."""
    from llmbench.leaderboard.renderers.sanitise import clean_terminal
    from llmbench.votes.judges.findings import tell_cost

    name = clean_terminal(found.judge)
    yield f"{name} ({found.kind}) on {found.task}, {found.pairs} pairs of answers"
    rows = [("rank", "model", "share of wins", "wins", "losses", "ties")]
    for row in found.ranking.standings:
        best, worst = row.rank
        rank = str(best) if best == worst else f"{best}-{worst}"
        share = row.why if row.share is None else _show(row.share)
        rows.append(
            (rank, clean_terminal(row.name), share, str(row.wins), str(row.losses), str(row.ties))
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        yield f"  {'  '.join(padded)}".rstrip()
    yield from map(clean_terminal, found.remarks)
    yield f"Cost: {tell_cost(found)}"


def _show(share: Interval) -> str:
    """A share in percent, with its interval."""
    if share.low is None or share.high is None:
        return f"{100 * share.value:.0f} %"
    return f"{100 * share.value:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"


COMMANDS = (judge,)
