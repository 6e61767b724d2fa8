"""A judge over the stored answers of a run: loaded, asked what it has not been asked before, and
held against the votes of people.

A judge is no cell of a run: it is about the answers of all models, and those are there only when
the run has ended. So it works on a run's folder, as voters do, and leaves the record alone.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmbench.adapter import Adapter, Progress
from llmbench.config.model_card import Card
from llmbench.errors import UsageError
from llmbench.runner import session
from llmbench.runner.judging.holding import hold_judge
from llmbench.runner.screening import screen
from llmbench.storage import default_cache
from llmbench.votes.ballots import read_votes
from llmbench.votes.judges.asking import Judge
from llmbench.votes.judges.findings import JudgeFindings, describe_judge
from llmbench.votes.judges.judgements import (
    Judgement,
    Kind,
    append_judgements,
    keep_fresh,
    name_judgement,
    read_judgements,
)
from llmbench.votes.judges.questions import RUBRIC, Question, list_questions
from llmbench.votes.opening import open_poll
from llmbench.votes.poll import Poll

QUESTIONS = 500  # pairs, unless another number is asked for: each is two questions to a model


@dataclass(frozen=True)
class Asked:
    """What a judge is asked about, and how.

    task: by default the run's task of generated text. only: models, by default all. human: whether
    the human text is a contestant. most: pairs; those with votes of people come first. max_bytes:
    of a reply.
    """

    kind: Kind = "likelihood"
    rubric: str = RUBRIC
    task: str = ""
    only: Collection[str] = ()
    human: bool = False
    most: int = QUESTIONS
    seed: int = 0
    max_bytes: int = 40


def judge_run(
    run: Path,
    model: str | Adapter,
    asked: Asked,
    *,
    given: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> JudgeFindings:
    """Let a model judge the answers in a run's folder, write what it said to `judgements.jsonl`,
    and return what that is worth.

    model: a SPEC, or an adapter, which is used in this process. What the same judge has said of the
    same answers is not asked again. given, options: see `session.load_model`.
    Raises UsageError if there is nothing to judge, CellError if the model cannot judge.
    """
    poll = open_poll(run, asked.task, asked.only, human=asked.human)
    if not os.access(poll.folder, os.W_OK):
        raise UsageError("the judgements cannot be written here", where=str(poll.folder))
    if isinstance(model, Adapter):
        return _judge(poll, model.info.name, model, asked, progress)
    with hold_judge(poll.folder, model) as kept:
        options |= {"progress": progress, "kept_answers": kept}
        card, adapter = session.load_model(model, given, **options)
        found = _judge(poll, card.name, adapter, asked, progress, card)
        adapter.close()
    return found


def _judge(
    poll: Poll,
    name: str,
    adapter: Adapter,
    asked: Asked,
    progress: Progress | None,
    card: Card | None = None,
) -> JudgeFindings:
    votes = read_votes(poll.folder)
    questions = list_questions(poll.task, poll.sets, votes, asked.most, asked.seed)
    known = keep_fresh(
        [one for one in read_judgements(poll.folder) if one.task == poll.task], poll.sets
    )
    with session.model_errors(name), session.evaluation_mode(adapter):
        screen(adapter, name, progress, None if card is None else default_cache())
        judge = Judge.of(name, adapter, asked.kind, asked.rubric, asked.max_bytes)
        if card is not None and card.price is not None:
            judge = replace(judge, prices=(card.price.read, card.price.written))
        said = _ask_rest(poll.folder, judge, questions, known, progress)
    return describe_judge(said, votes, seed=asked.seed)


def _ask_rest(
    folder: Path,
    judge: Judge,
    questions: Sequence[Question],
    known: Sequence[Judgement],
    progress: Progress | None,
) -> list[Judgement]:
    """All that the judge has said of these questions; what it says anew is on the disk at once."""
    mark = judge.mark
    wanted = {
        name_judgement(mark, one.task, one.prompt, one.left, one.right, one.digest): one
        for one in questions
    }
    found = {one.identity: one for one in known if one.identity in wanted}
    rest = [question for identity, question in wanted.items() if identity not in found]
    for some in judge.judge(rest):
        append_judgements(folder, some)
        found |= {one.identity: one for one in some}
        if progress is not None:
            total = len(wanted)
            progress("judging", len(found) / total, f"{len(found)} of {total} pairs")
    return [found[identity] for identity in wanted]
