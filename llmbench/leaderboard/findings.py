"""What a table proves, in sentences: from the record alone, as plain text."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from llmbench.results.record import (
    HEADLINES,
    QUALITY,
    SPEED,
    WRITING,
    ModelRow,
    Record,
    Score,
    TaskNotes,
    notes_key,
)

LONGEST = 2000  # characters of a sentence
COUNTED = {
    "empty": "Answers that were empty or white space",
    "broken": "Answers with bytes that are no UTF-8",
    "cut": "Prompts longer than the context, of which only the end was read",
    "tied": "Answers that were tied, and the first of the equal ones was taken",
}


def cut(text: str, most: int) -> str:
    """The text, no longer than `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def mapping(value: Any) -> Mapping[str, Any]:
    """A part of a record that should be a mapping, and may be anything."""
    return value if isinstance(value, dict) else {}


def _refusals(record: Record, names: Collection[str]) -> list[str]:
    """A sentence for each model of a table that was refused a certificate: which, and why."""
    found = []
    for model in record.models:
        levels = model.certificate.levels if model.certificate and model.name in names else {}
        level, proof = next(
            ((level, proof) for level, proof in levels.items() if proof.state == "refused"),
            ("", None),
        )
        if proof is not None:
            found.append(
                cut(
                    f"{model.name} is refused certificate {level}, so its numbers are not to be"
                    f" believed, and it is not ranked: {proof.why}",
                    LONGEST,
                )
            )
    return found


def notes(record: Record, task: str, headline: Sequence[Score]) -> list[str]:
    """The sentences under the table of these scores."""
    if headline[0].metric == SPEED:
        return _speed_notes(record, task, headline)
    if headline[0].metric in QUALITY or hasattr(headline[0], "empty"):
        return _quality_notes(record, task, headline)
    if headline[0].metric not in HEADLINES:
        return []  # what a machine was asked: each value says all there is
    found = record.notes.tasks.get(notes_key(task, headline[0].metric), TaskNotes())
    losses = {
        score.model: str(getattr(score, "lossy", "") or "") for score in headline
    }  # a key that only some rows have
    said = [cut(f"{name}: {loss}", LONGEST) for name, loss in losses.items() if loss]
    names = {score.model for score in headline}
    said += _refusals(record, names)
    halves = sorted(
        model.name
        for model in record.models
        if model.name in names and model.dtype in ("bfloat16", "float16")
    )
    if halves:
        said.append(f"Weights in 16 bits, log-softmax in 32: {_join(halves)}.")
    beaten = found.better_than
    trained = {model.name: model for model in record.models if model.training}
    counter = _found("byte-ngram", names)
    losers = sorted(name for name in beaten.get(counter, []) if name in trained)
    if losers:
        said.append(
            f"The byte n-gram, which only counts, is better than {_join(losers)}: proven on these"
            " items."
        )
    values = {score.model: float(score.value) for score in headline}
    said += [note for model in trained.values() if (note := _transfer(model, values, beaten))]
    winners = [name for name in trained if counter in beaten.get(name, [])]
    if winners:
        said.append(f"Better than the byte n-gram, proven: {_join(sorted(winners))}.")
    if found.left_out:
        said.append(
            f"Not ranked, because their items are not those of the others: {_join(found.left_out)}."
        )
    if found.smallest_visible is not None:
        said.append(
            f"Differences below about {found.smallest_visible:.3f} bits/byte could not have been"
            " proven here (median over pairs)."
        )
    said += _too_few(found, headline[0].n)
    signatures = {score.signature for score in headline}
    if len(signatures) > 1:
        said.append(
            f"These rows differ in protocol and are not comparable: {_join(sorted(signatures))}."
        )
    if headline:
        said.append(
            f"Intervals: 95 % over {headline[0].n} items of the text, not over training seeds."
        )
    return said


def _quality_notes(record: Record, task: str, headline: Sequence[Score]) -> list[str]:
    """What is to be known about a table of answers: what chance would give, what was empty or
    broken, and what is proven of whom.
    """
    found = record.notes.tasks.get(notes_key(task, headline[0].metric), TaskNotes())
    said = _refusals(record, {score.model for score in headline})
    chance = getattr(headline[0], "chance", None)
    if isinstance(chance, float):
        said.append(f"Chance alone would give {chance:.1%}.")
        near = [
            s.model
            for s in headline
            if s.low is not None and s.high is not None and float(s.low) <= chance <= float(s.high)
        ]
        if near:
            said.append(f"Not told apart from chance: {_join(near)}.")
    said += _human(record, task)
    for key, words in COUNTED.items():
        counts = [f"{model} {n}" for model, n in _counted(record, task, key).items() if n]
        if counts:
            said.append(f"{words}: {_join(counts)}.")
    if found.left_out:
        said.append(
            f"Not ranked, because their items are not those of the others: {_join(found.left_out)}."
        )
    if found.smallest_visible is not None:
        said.append(
            f"Differences below about {found.smallest_visible:.1%} could not have been proven here"
            " (median over pairs)."
        )
    said += _too_few(found, headline[0].n)
    ranked = any(score.rank for score in headline)
    many = sorted({score.n for score in headline})
    items = f"{many[0]} to {many[-1]}" if len(many) > 1 else str(many[0])
    said.append(
        f"Intervals: 95 % over {items}"
        f" items{', not over training seeds' if ranked else '. Models are not ranked here'}."
    )
    return said


def _counted(record: Record, task: str, key: str) -> dict[str, int]:
    """model -> how many, greedy answers and sampled ones together."""
    found: dict[tuple[str, str], int] = {}
    for score in record.scores:
        if score.task == task and isinstance(many := getattr(score, key, None), int):
            found[score.model, str(getattr(score, "decoding", ""))] = many
    models = dict.fromkeys(model for model, _ in found)
    together = max if key == "cut" else sum  # the prompts of both are the same
    return {
        model: together(many for (other, _), many in found.items() if other == model)
        for model in models
    }


def _human(record: Record, task: str) -> list[str]:
    """What the metrics give for what humans wrote after the same prompts."""
    found: dict[str, str] = {}
    for score in record.scores:
        human = getattr(score, "human", None)
        if (
            score.task == task
            and isinstance(human, int | float)
            and math.isfinite(human)
            and score.metric != WRITING
        ):
            found[score.metric] = (
                f"{human:.1f} bytes"
                if score.unit == "bytes"
                else f"{human:.1%}"
                if score.unit == "share"
                else f"{human:.3f}"
            )
    return (
        [
            "What humans wrote there, as long:"
            f" {_join([f'{name} {text}' for name, text in found.items()])}."
        ]
        if found
        else []
    )


def _too_few(found: TaskNotes, items: int) -> list[str]:
    """A sentence where no number of models could have been told apart."""
    if found.items_needed is None or items >= found.items_needed:
        return []
    return [
        f"{items} items are too few to prove any difference between so many models:"
        f" {found.items_needed} would be needed."
    ]


def _speed_notes(record: Record, task: str, headline: Sequence[Score]) -> list[str]:
    """What is to be known about a table of speeds: what could not be told apart, what was odd, what
    is missing, and what measuring took.
    """
    found = record.notes.tasks.get(task, TaskNotes())
    said = [
        f"Alarm: {score.model} reached {float(score.value):.0%} of what this machine was found able"
        f" to do ({getattr(score, 'phase', '')}): the ceilings or the times are wrong."
        for score in record.scores
        if score.task == task and score.metric == "limit_share" and float(score.value) > 1
    ]
    again = (found.again or {}).get(SPEED)
    if found.again and isinstance(again, dict):
        name, ratio = str(found.again.get("model")), again.get("log_ratio")
        share = math.expm1(min(10.0, abs(ratio))) if isinstance(ratio, float) else 0.0
        odd = again.get("verdict") in ("better", "worse")
        warning = ": do not believe differences of that size" if odd else ""
        said.append(
            f"{name} was entered twice: against itself it came out {share:.1%} apart, verdict"
            f" {again.get('verdict')}{warning}."
        )
    if found.smallest_visible is not None:
        said.append(
            f"Differences below about {found.smallest_visible:.0%} could not have been proven here"
            " (median over pairs)."
        )
    if found.left_out:
        said.append(
            "Not ranked, because they were not measured in the same session (a new --out measures"
            f" all): {_join(found.left_out)}."
        )
    drifted = [
        score.model
        for score in headline
        if isinstance(many := getattr(score, "drifted", 0), int) and many > score.n // 4
    ]
    if drifted:
        said.append(
            "In more than a quarter of their blocks the machine was not as usual:"
            f" {_join(drifted)}."
        )
    for score in headline:
        parts = mapping(mapping(getattr(score, "facts", None)).get("parts"))
        bare, own = parts.get("step"), parts.get("library generate, each token")
        if isinstance(bare, float) and isinstance(own, float):
            said.append(
                f"{score.model}: a token takes {bare * 1e3:.2f} ms in the bare loop,"
                f" {own * 1e3:.2f} ms in transformers' own generate."
            )
    reasons: dict[str, list[str]] = {}
    for score in (score for score in record.scores if score.task == task):
        for metric, why in mapping(getattr(score, "absent", None)).items():
            reasons.setdefault(f"{metric}: {why}", []).append(score.model)
    said += [cut(f"Absent for {_join(models)}: {why}.", LONGEST) for why, models in reasons.items()]
    if found.cost:
        cost = {key: float(value) for key, value in found.cost.items()}
        said.append(
            f"Measuring took {cost.get('seconds', 0):.0f} s: {cost.get('timed', 0):.0f} s in"
            f" {cost.get('blocks', 0):.0f} timed blocks, {cost.get('loading', 0):.0f} s loading and"
            f" warming up, {cost.get('again', 0):.0f} s in blocks that were run again; meanwhile"
            f" the parent used {cost.get('parent_cpu', 0):.1f} s of a processor, and waiting"
            f" workers {cost.get('parked_cpu', 0):.1f} s."
        )
    said.append(
        f"Intervals: 95 % over {headline[0].n} blocks, all models in turn; they hold for this"
        " machine on that day."
    )
    return said


def _transfer(
    model: ModelRow, values: Mapping[str, float], beaten: Mapping[str, Sequence[str]]
) -> str:
    """What it brought a fine-tuned model to go on learning, where the one that it began with stands
    in the same table.
    """
    before = str(getattr(model.training, "began_with", None) or "").rpartition("/")[
        2
    ]  # of a hub id the last part is the card's name
    before = _found(before, values) if before else ""
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
    verdict = f"{proof}, proven on these items" if proof else "which these items do not tell apart"
    return (
        f"{model.name} went on from {before}: {values[model.name]:.3f} bits/byte after"
        f" {values[before]:.3f}, {verdict}."
    )


def _found(model: str, names: Collection[str]) -> str:
    """The model's name in a table; where boards of many runs tell models of one name apart, the one
    that is there, if it is alone.
    """
    alike = [name for name in names if name.startswith(f"{model} [")]
    return alike[0] if model not in names and len(alike) == 1 else model


def _join(words: Sequence[str]) -> str:
    short = [cut(word, LONGEST) for word in words]
    return short[0] if len(short) == 1 else f"{', '.join(short[:-1])} and {short[-1]}"
