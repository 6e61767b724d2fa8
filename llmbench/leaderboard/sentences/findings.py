"""The sentences under a table: what is significant, unusual or missing, from the record alone."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from llmbench.leaderboard.numbers import format_plain, percent
from llmbench.leaderboard.provenance import describe_shipped
from llmbench.leaderboard.sentences.baselines import (
    describe_chance,
    describe_majority,
    describe_transfer,
)
from llmbench.leaderboard.sentences.counts import (
    COUNTED,
    describe_blindness,
    describe_counts,
    describe_human,
    describe_near,
    describe_uncounted,
    label_metric,
)
from llmbench.leaderboard.sentences.parents import describe_parents
from llmbench.leaderboard.words import LONGEST, cut, join_words
from llmbench.metrics.facts import FACTS, HEADLINES, QUALITY, SPEED
from llmbench.results.record import (
    ModelRow,
    Record,
    Score,
    TaskNotes,
    is_ranked_by,
    notes_key,
)

APART = "Models are ranked apart only if the difference is statistically significant."


def is_byte_ngram(model: ModelRow) -> bool:
    """Return whether a model only counts bytes: the baseline that trained models should beat."""
    return (model.family, model.tokenizer) == ("n-gram", "bytes")


def _refusals(record: Record, names: Collection[str]) -> list[str]:
    """Return a sentence for each model of a table that failed a certificate: which, and why."""
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
                    f"{model.name} failed certificate {level}, so its numbers cannot be trusted and"
                    f" it is not ranked: {proof.why}",
                    LONGEST,
                )
            )
    return found


def _describe_noise(headline: Sequence[Score]) -> list[str]:
    return [
        f"{score.model}: the interval holds {score.noise:.4f} bits a byte of engine noise."
        for score in headline
        if score.noise
    ]


def _objects(record: Record, names: Collection[str]) -> list[str]:
    """A sentence on the models that a caller gave as objects."""
    found = sorted(
        model.name for model in record.models if model.process == "caller" and model.name in names
    )
    return [f"{join_words(found)} ran as an object in the caller's process."] if found else []


def notes(record: Record, task: str, headline: Sequence[Score]) -> list[str]:
    """Return the sentences under the table of these scores."""
    if headline[0].metric == SPEED:
        return _speed_notes(record, task, headline)
    is_of_answers = headline[0].metric in QUALITY or headline[0].is_of_generated_text
    if is_of_answers or (headline[0].metric not in FACTS and is_ranked_by(headline[0])):
        return _quality_notes(record, task, headline)
    if headline[0].metric not in HEADLINES:
        return []  # what a machine was asked: each value says all there is
    found = record.notes.tasks.get(notes_key(task, headline[0].metric), TaskNotes())
    losses = {score.model: score.lossy for score in headline}
    said = [cut(f"{name}: {loss}", LONGEST) for name, loss in losses.items() if loss]
    said += _describe_left_out(record, task, headline)
    names = {score.model for score in headline}
    said += _refusals(record, names) + _objects(record, names) + _describe_noise(headline)
    said += describe_parents(record, task, headline)
    said += describe_shipped([model for model in record.models if model.name in names])
    beaten = found.better_than
    trained = {model.name: model for model in record.models if model.training}
    counter = next(
        (model.name for model in record.models if model.name in names and is_byte_ngram(model)), ""
    )
    losers = sorted(name for name in beaten.get(counter, []) if name in trained)
    if losers:
        said.append(
            "The byte n-gram, which only counts, is significantly better than"
            f" {join_words(losers)}."
        )
    values = {score.model: float(score.value) for score in headline}
    said += filter(None, (describe_transfer(m, values, beaten) for m in trained.values()))
    winners = [name for name in trained if counter in beaten.get(name, [])]
    if winners:
        said.append(f"Significantly better than the byte n-gram: {join_words(sorted(winners))}.")
    if found.left_out:
        said.append(
            f"Not ranked, because they were measured on other items: {join_words(found.left_out)}."
        )
    if found.smallest_visible is not None:
        said.append(
            f"Differences below about {format_plain(found.smallest_visible, 3)} bits/byte are too"
            " small to be significant here (median over pairs)."
        )
    said += _too_few(found, headline)
    said += describe_counts(record, task, ("misread", "straddled"))
    signatures = {score.signature for score in headline}
    if len(signatures) > 1:
        said.append(
            "These rows were measured by different protocols and are not comparable:"
            f" {join_words(sorted(signatures))}."
        )
    if any(score.rank for score in headline):
        said.append(APART)
    said.append(
        f"Intervals: 95 % over {_count_items(headline)} of the text, not over training seeds."
    )
    return said


def _quality_notes(record: Record, task: str, headline: Sequence[Score]) -> list[str]:
    """Return the sentences under a table of answers: chance level, invalid answers and ranks."""
    found = record.notes.tasks.get(notes_key(task, headline[0].metric), TaskNotes())
    names = {score.model for score in headline}
    said = _refusals(record, names) + _objects(record, names)
    said += _describe_left_out(record, task, headline)
    said += describe_chance(headline) + describe_majority(_list_majorities(record, headline))
    said += describe_human(record, task)
    said += describe_counts(record, task, tuple(COUNTED)) + describe_near(record, task)
    said += describe_uncounted(record, task) + _explain_missing_metrics(record, task)
    said += describe_blindness(record, task)
    if found.left_out:
        said.append(
            f"Not ranked, because they were measured on other items: {join_words(found.left_out)}."
        )
    if found.smallest_visible is not None:
        said.append(
            f"Differences below about {percent(found.smallest_visible)} are too small to be"
            " significant here (median over pairs)."
        )
    said += _too_few(found, headline)
    ranked = any(score.rank for score in headline)
    said += [APART] if ranked else []
    said.append(
        f"Intervals: 95 % over {_count_items(headline)}"
        f"{', not over training seeds' if ranked else '. Models are not ranked here'}."
    )
    return said


def _describe_left_out(record: Record, task: str, headline: Sequence[Score]) -> list[str]:
    """Return a sentence on the documents that some models cannot hold, if this table lacks them."""
    found = record.notes.left_out.get(task)
    if found is None or not any(score.left_out for score in headline):
        return []
    return [cut(f"{found.describe()}.", LONGEST)]


def _list_majorities(record: Record, headline: Sequence[Score]) -> list[Score]:
    """Return the scores to hold against the most common right answer: those of the table's metric,
    or of texts that were written the first other ones that have it.
    """
    if headline[0].is_of_generated_text and not any(score.majority for score in headline):
        known = [s for s in record.scores if s.task == headline[0].task and s.majority]
        return [score for score in known if score.metric == known[0].metric]
    return list(headline)


def _count_items(headline: Sequence[Score], one: str = "item") -> str:
    """Return in words over how many items the intervals of these scores are."""
    many = sorted({s.n for s in headline if s.low is not None} or {s.n for s in headline})
    range_of = f"{many[0]} to {many[-1]}" if len(many) > 1 else str(many[0])
    return f"{range_of} {one}{'' if many == [1] else 's'}"


def _too_few(found: TaskNotes, headline: Sequence[Score]) -> list[str]:
    """Return a sentence if the models that are ranked have too few items for any difference to be
    significant. Others of the table may have more or fewer.
    """
    ranked = [score.n for score in headline if score.rank is not None]
    if found.items_needed is None or not ranked or any(found.better_than.values()):
        return []
    items, models = ranked[0], f"{len(ranked)} models"
    if items >= found.items_needed:
        return []
    return [
        f"{items} {'item is' if items == 1 else 'items are'} too few for any difference between"
        f" {models} to be significant: {found.items_needed} are needed."
    ]


def _speed_notes(record: Record, task: str, headline: Sequence[Score]) -> list[str]:
    """Return the sentences under a table of speed, with what was unusual and what is missing."""
    found = record.notes.tasks.get(task, TaskNotes())
    said = [
        f"Warning: {score.model} reached {percent(float(score.value), 0)} of this machine's"
        f" roofline ({score.phase}): the measured peaks or times are wrong."
        for score in record.scores
        if score.task == task and score.metric == "limit_share" and float(score.value) > 1
    ]
    said += _describe_repeat(found)
    if found.smallest_visible is not None:
        said.append(
            f"Differences below about {percent(found.smallest_visible, 0)} are too small to be"
            " significant here (median over pairs)."
        )
    if found.left_out:
        said.append(
            "Not ranked, because they were measured in another session (a new --out measures all"
            f" models again): {join_words(found.left_out)}."
        )
    drifted = [score.model for score in headline if score.drifted > score.n // 4]
    if drifted:
        said.append(
            "The machine was slower or faster than usual in more than a quarter of the blocks of:"
            f" {join_words(drifted)}."
        )
    for score in headline:
        parts = score.facts.parts if score.facts else {}
        bare, own = parts.get("step"), parts.get("library generate, each token")
        if isinstance(bare, float) and isinstance(own, float):
            said.append(
                f"{score.model}: a token takes {bare * 1e3:.2f} ms in the bare loop,"
                f" {own * 1e3:.2f} ms in transformers' own generate."
            )
    said += describe_parents(record, task, headline) + _explain_missing_metrics(record, task)
    said += _describe_cost(found)
    said.append(
        f"Intervals: 95 % over {_count_items(headline, 'block')}, measured in turn with the other"
        " models; valid for this machine and session only."
    )
    return said


def _describe_repeat(found: TaskNotes) -> list[str]:
    """Return a sentence on the model that was measured twice: how far it differs from itself."""
    again = (found.again or {}).get(SPEED)
    if not found.again or not isinstance(again, dict):
        return []
    name, ratio = str(found.again.get("model")), again.get("log_ratio")
    share = math.expm1(min(10.0, abs(ratio))) if isinstance(ratio, float) else 0.0
    odd = again.get("verdict") in ("better", "worse")
    warning = ", so differences of that size are not reliable" if odd else ""
    return [
        f"{name} was measured twice: it differs from itself by {percent(share)} (verdict:"
        f" {again.get('verdict')}){warning}."
    ]


def _explain_missing_metrics(record: Record, task: str) -> list[str]:
    """Return a sentence for each metric that some models have no value of: which, and why."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for score in (score for score in record.scores if score.task == task):
        for metric, why in score.absent.items():
            reasons.setdefault((metric, why), []).append(score.model)
    return [
        cut(f"{label_metric(metric)}: not available for {join_words(models)} ({why})", LONGEST)
        for (metric, why), models in reasons.items()
    ]


def _describe_cost(found: TaskNotes) -> list[str]:
    """Return a sentence on how long measuring took, and what the time was spent on."""
    if not found.cost:
        return []
    cost = {key: float(value) for key, value in found.cost.items()}
    return [
        f"Measuring took {cost.get('seconds', 0):.0f} s: {cost.get('timed', 0):.0f} s in"
        f" {cost.get('blocks', 0):.0f} timed blocks, {cost.get('loading', 0):.0f} s for loading"
        f" and warm-up, {cost.get('again', 0):.0f} s in repeated blocks. CPU time of the parent"
        f" process: {cost.get('parent_cpu', 0):.1f} s, of waiting workers:"
        f" {cost.get('parked_cpu', 0):.1f} s."
    ]
