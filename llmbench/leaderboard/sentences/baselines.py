"""Sentences on chance, on one answer to all questions, and on a model before fine-tuning."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from llmbench.leaderboard.numbers import format_plain, percent
from llmbench.leaderboard.words import LONGEST, cut, join_words
from llmbench.results.record import ModelRow, Score

if TYPE_CHECKING:
    from llmbench.results.ranking import Below

CAUSES = "by a wrong template, wrong labels, or a preference for one answer or for short ones"


def describe_chance(scores: Sequence[Score]) -> list[str]:
    """Return the sentences on the chance level, and on who is not above it."""
    known = [score for score in scores if score.chance is not None]
    if not known:
        return []
    levels = sorted({float(score.chance or 0.0) for score in known})
    said = [f"Chance level: {join_words([percent(level) for level in levels])}."]
    near = [
        score.model
        for score in known
        if score.low is not None
        and score.high is not None
        and score.low <= (score.chance or 0.0) <= score.high
    ]
    if near:
        said.append(f"Not significantly different from chance: {join_words(near)}.")
    below = [one.model for one in _find_below(known) if one.answer is None]
    if below:
        said.append(f"Significantly below chance, perhaps {CAUSES}: {join_words(below)}.")
    return said


def describe_majority(scores: Sequence[Score]) -> list[str]:
    """Return a sentence on the most common right answer: what always giving it would reach, and who
    is significantly worse.
    """
    known = dict.fromkeys(
        (score.majority.answer, float(score.majority.value)) for score in scores if score.majority
    )
    below = _find_below([score for score in scores if score.majority]) if known else []
    return [
        describe_constant(
            answer,
            level,
            [one.model for one in below if (one.answer, one.level) == (answer, level)],
            sum(
                (score.majority.answer, float(score.majority.value)) == (answer, level)
                for score in scores
                if score.majority
            ),
        )
        for answer, level in known
    ]


def describe_constant(answer: str, level: float, losers: Sequence[str], models: int) -> str:
    """Return what always giving an answer would reach, and which of so many models are worse."""
    said = (
        f"Always giving the most common right answer ({cut(answer, LONGEST)}) would reach"
        f" {percent(level)}"
    )
    if not losers:
        return f"{said}."
    every = len(losers) == models and models > 1
    return f"{said}, significantly better than {'every model' if every else join_words(losers)}."


def describe_below(below: Sequence[Below]) -> list[str]:
    """Return a sentence for each task, metric and constant that two models are compared with."""
    groups: dict[tuple[str, str, str | None, float], list[str]] = {}
    for one in below:
        groups.setdefault((one.task, one.metric, one.answer, one.level), []).append(one.model)
    return [
        f"{task}, {metric}: {join_words(models)} {'is' if len(models) == 1 else 'are'}"
        f" significantly below chance ({percent(level)}), perhaps {CAUSES}."
        if answer is None
        else f"{task}, {metric}: a{describe_constant(answer, level, models, 0)[1:]}"
        for (task, metric, answer, level), models in groups.items()
    ]


def _find_below(scores: Sequence[Score]) -> list[Below]:
    from llmbench.results.ranking import find_below  # loads numpy, which few boards need

    return find_below([(score.model, score) for score in scores])


def describe_transfer(
    model: ModelRow, values: Mapping[str, float], beaten: Mapping[str, Sequence[str]]
) -> str:
    """Return what fine-tuning changed, if the model that it began with is in the same table."""
    began_with = (model.training.began_with if model.training else None) or ""
    before = began_with.rpartition("/")[2]  # of a hub id the last part is the card's name
    before = _find_name(before, values) if before else ""
    if model.name not in values or before not in values:
        return ""
    proof = next(
        (
            word
            for one, other, word in ((model.name, before, "better"), (before, model.name, "worse"))
            if other in beaten.get(one, [])
        ),
        "",
    )
    tested = model.name in beaten and before in beaten
    silent = "no significant difference" if tested else "not tested here"
    verdict = f"significantly {proof}" if proof else silent
    return (
        f"{model.name} was fine-tuned from {before}: {format_plain(values[model.name], 3)}"
        f" bits/byte, before {format_plain(values[before], 3)} ({verdict})."
    )


def _find_name(model: str, names: Collection[str]) -> str:
    """Return the model's name in a table. A board of many runs may add a suffix in brackets."""
    alike = [name for name in names if name.startswith(f"{model} [")]
    return alike[0] if model not in names and len(alike) == 1 else model
