"""The sentences that count: answers that are empty, cut, blind to a metric or left out by it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.numbers import format_plain, percent
from llmbench.leaderboard.words import cut, join_words
from llmbench.metrics.facts import LEFT_OUT, WRITING
from llmbench.results.record import Record, key_of

LABELS = {"limit_share": "roofline share", "joules_per_megabyte": "energy"}
COUNTED = {
    "empty": "Answers that were empty or white space",
    "broken": "Answers with invalid UTF-8",
    "cut": "Prompts longer than the context, cut to their end",
    "cut_sources": "Sources longer than the context, cut to their beginning",
    "misread": "Prompts that the tokenizer cannot hold, read as it reads them",
    "tied": "Ties, resolved in favour of the first answer",
    "tied_byte": "Ties by bits per byte, resolved in favour of the first answer",
    "tied_char": "Ties by bits per character, resolved in favour of the first answer",
    "tied_token": "Ties by bits per token, resolved in favour of the first answer",
    "tied_pmi": "Ties by PMI, resolved in favour of the first answer",
    "repeated": "Questions in which a candidate stands twice",
    "straddled": (
        "Texts whose first token covers the end of their prompt, too, and is charged whole"
    ),
}
MEASURES = {
    "byte": " by bits per byte",
    "char": " by bits per character",
    "token": " by bits per token",
    "pmi": " by PMI",
}
NAMED = 5  # questions of a model in a sentence
NORMS = ("byte", "char", "token", "pmi")
OF_PROMPTS = ("prompts", "cut", "cut_sources", "misread")
BLIND = {  # metric -> what it does not see
    "bleu": "this tokenizer of BLEU parts words at spaces, and the text has none; metrics:"
    ' ["bleu:zh"] names another, and "bleu:char" one for every script',
    "chrf_pp": "chrF++ parts words at spaces, and the text has none: it sees their characters",
    "ter": "TER parts words at spaces, and the text has none",
    "exact_match": "SQuAD's normalisation leaves nothing of an answer (articles, punctuation)",
    "f1": "F1 parts words at spaces, without articles and punctuation: of some texts that leaves"
    " one word or none",
    "rouge": "ROUGE sees only a to z and 0 to 9, and the text has other letters, digits or signs",
}


def describe_counts(record: Record, task: str, keys: Sequence[str]) -> list[str]:
    """Return a sentence for each of these counts that is not 0 for every model."""
    found = []
    for key in keys:
        wholes = _count_answers(record, task, "prompts") if key in OF_PROMPTS else {}
        counts = [
            f"{model} {n}{f' of {wholes[model]}' if model in wholes else ''}"
            for model, n in _count_answers(record, task, key).items()
            if n
        ]
        if counts:
            found.append(f"{COUNTED[key]}: {join_words(counts)}.")
    return found


def describe_near(record: Record, task: str) -> list[str]:
    """Return a sentence for each measure by which another program may choose other candidates:
    how many questions of which model, and which.
    """
    found: dict[str, list[str]] = {}
    for score in record.scores:
        if score.task == task and score.near is not None and not score.member:
            ids = [cut(id, NAME_CHARACTERS) for id in score.near.ids[:NAMED]]
            more = score.near.count - len(ids)
            listed = ", ".join([*ids, f"{more} more"] if more else ids)
            measure = MEASURES.get(key_of(score).removeprefix(score.metric).strip(":"), "")
            found.setdefault(measure, []).append(f"{score.model} {score.near.count} ({listed})")
    return [
        f"Near ties{measure}, which a program that rounds otherwise may answer otherwise:"
        f" {join_words(models)}."
        for measure, models in found.items()
    ]


def describe_misread(counts: Sequence[str]) -> str:
    """Return the sentence on prompts that tokenizers cannot hold. counts: `MODEL N of M` each."""
    return f"{COUNTED['misread']}: {join_words(counts)}."


def describe_uncounted(record: Record, task: str) -> list[str]:
    """Return a sentence for each metric that leaves out some answers: how many of how many."""
    found: dict[str, list[str]] = {}
    own = [score for score in record.scores if score.task == task]
    several = len({score.decoding for score in own}) > 1
    for score in own:
        if score.uncounted:
            count = f"{score.model} {score.uncounted} of {score.answers}"
            how = f" {score.decoding}" if several else ""
            found.setdefault(score.metric, []).append(count + how)
    return [
        f"Answers that {label_metric(metric)} leaves out"
        f" ({LEFT_OUT.get(metric, 'it gives them no value')}): {join_words(counts)}."
        for metric, counts in found.items()
    ]


def describe_blindness(record: Record, task: str) -> list[str]:
    """Return a sentence for each kind of metric that does not see all of some samples."""
    found: dict[str, dict[str, str]] = {}
    for score in record.scores:
        name = "rouge" if score.metric.startswith("rouge") else score.metric
        if score.task == task and score.blind and name in BLIND:
            found.setdefault(name, {})[score.model] = f"{score.model} {score.blind} of {score.n}"
    return [
        f"Warning: {BLIND[name]} (samples: {join_words(list(models.values()))})."
        for name, models in found.items()
    ]


def _count_answers(record: Record, task: str, key: str) -> dict[str, int]:
    """Return model -> how many of its answers, greedy and sampled."""
    found: dict[tuple[str, str], int] = {}
    for score in record.scores:
        many = {
            "empty": score.empty,
            "broken": score.broken,
            "prompts": score.prompts,
            "cut": score.cut,
            "cut_sources": score.cut_sources,
            "misread": score.misread,
            "tied": score.tied if score.norm == "none" else None,
            **{f"tied_{norm}": score.tied if score.norm == norm else None for norm in NORMS},
            "repeated": score.repeated,
            "straddled": score.straddled,
        }
        if score.task == task and (count := many[key]) is not None:
            found[score.model, score.decoding] = count
    models = dict.fromkeys(model for model, _ in found)
    total = max if key in OF_PROMPTS else sum  # both kinds of answers have the same prompts
    return {
        model: total(many for (other, _), many in found.items() if other == model)
        for model in models
    }


def describe_human(record: Record, task: str) -> list[str]:
    """Return a sentence with the metrics of human text after the same prompts."""
    found: dict[str, str] = {}
    for score in record.scores:
        human = score.human
        if (
            score.task == task
            and human is not None
            and math.isfinite(human)
            and score.metric != WRITING
        ):
            found[score.metric] = (
                f"{human:.1f} bytes"
                if score.unit == "bytes"
                else percent(human)
                if score.unit == "share"
                else format_plain(human, 3)
            )
    return (
        [
            "Human text of the same length:"
            f" {join_words([f'{name} {text}' for name, text in found.items()])}."
        ]
        if found
        else []
    )


def label_metric(metric: str) -> str:
    return LABELS.get(metric.partition(":")[0], metric.replace("_", " "))
