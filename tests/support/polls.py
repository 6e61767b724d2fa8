"""A run whose models wrote after prompts, made by hand, to be voted on."""

from __future__ import annotations

import math
import multiprocessing
import random
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from llmbench.results.record import Record
from llmbench.storage import write_lines
from llmbench.votes import ballots, opening
from llmbench.votes.poll import Poll, Reply
from llmbench.votes.server import PollServer
from support.hand_record import model, record, score

NOW = "2026-01-31T12:00:00Z"
HOSTILE = (
    "</script><script>document.title='bad'</script><img src=x onerror=\"document.title='bad'\">",
    "\u202e evil txt\u202d \u2066 open \u202b",  # bidi marks that nobody closes
    "\u0628\u0633\u0645 \u0627\u0644\u0644\u0647 (1) \u05e9\u05dc\u05d5\u05dd",  # right to left
    "Z\u0351\u036b\u0343" * 40 + "\x00\x07\x1b[31m\u2028\ufeff\ud800",
    "wide" * 3000 + "\n" * 300 + "long " * 3000,
    "@DATA@ @SCRIPT@ ${1} {{ x }} \"'`&amp;<!--",
)
FORK = multiprocessing.get_context("fork")  # a server at once, and one that can be killed
MODELS = ("aardvark", "bumblebee", "caracal")


def write_answers(
    folder: Path, wrote: Mapping[str, Sequence[str]], task: str = "continuation"
) -> None:
    """What models wrote after the prompts "prompt 0", "prompt 1" and so on."""
    for name, texts in wrote.items():
        rows = [
            {
                "id": f"{number} greedy",
                "input": f"prompt {number}:",
                "output": text,
                "reference": f" the human of {number}",
                "statistics": {"distinct_2": [0.5, 1.0]},
            }
            for number, text in enumerate(texts)
        ]
        write_lines(folder / "samples" / name / f"{task}.jsonl", rows)


def write_texts(count: int = 8, models: Sequence[str] = MODELS) -> dict[str, list[str]]:
    """Different answers of each model to each prompt."""
    return {
        name: [f" {name[::-1]} says {number * 7 + place}" for number in range(count)]
        for place, name in enumerate(models)
    }


def make_run(
    folder: Path, wrote: Mapping[str, Sequence[str]] | None = None, **changes: object
) -> Path:
    """The folder of a run with these answers, and its record."""
    texts = write_texts() if wrote is None else wrote
    write_answers(folder, texts)
    make_record(list(texts), **changes).write(folder)
    return folder


def make_record(models: Sequence[str], **changes: object) -> Record:
    """The record of a run in which these models wrote text."""
    scores = [
        score(
            name,
            "distinct_2",
            0.5,
            task="continuation",
            unit="share",
            better=None,
            n=8,
            signature="text=0123456789abcdef;protocol=continuation/1",
            empty=0,
        )
        for name in models
    ]
    return record(models=[model(name, 4) for name in models], scores=scores, failures=[], **changes)


def let_vote(poll: Poll, rater: str, strengths: Mapping[str, float], count: int) -> None:
    """Let a scripted rater vote, by Bradley and Terry's model."""
    rng = random.Random(rater)
    for number in range(count):
        question = poll.ask(rater, NOW)
        if question is None:
            return
        pair, ticket = poll.pairs[question.ticket.item], question.ticket
        left, right = (pair.other, pair.one) if ticket.turned else (pair.one, pair.other)
        chance = 1 / (1 + math.exp(strengths[right] - strengths[left]))
        verdict = "left" if rng.random() < chance else "right"
        said = Reply(
            identity=f"vote-{rater.encode().hex()[:40]}-{number}",
            ticket=ticket,
            verdict=verdict,
            seconds=2.0,
        )
        ballots.append(poll.folder, poll.resolve(said, rater, NOW))


def let_rate(poll: Poll, rater: str, count: int) -> None:
    """Let a scripted rater rate answers: the first model gets 1, the next one 2, and so on."""
    for number in range(count):
        question = poll.ask(rater, NOW)
        if question is None:
            return
        _, name = poll.answers[question.ticket.item]
        value = 1 + list(next(iter(poll.sets.values())).answers).index(name)
        rates = {"fluency": value, "sense": value, "follows": 3}
        said = Reply(
            identity=f"rating-{rater.encode().hex()[:40]}-{number}",
            ticket=question.ticket,
            ratings=rates,
        )
        ballots.append(poll.folder, poll.resolve(said, rater, NOW))


def run_server(folder: Path, pipe: Connection, port: int = 0) -> None:
    """Serve the poll on a run, and tell the port."""
    with PollServer(opening.open_poll(folder), port, "secret", "ada") as server:
        pipe.send(server.server_port)
        server.serve_forever()
