"""Which candidate a model chooses: the one with the least bits, by one measure or another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from llmbench.data.text import Document
from llmbench.ledger import SPELLING, Ledger
from llmbench.metrics.metric import NearRow
from llmbench.results.outcome import SampleRow

ROUNDING = 1e-12  # relative difference of two sums of the same bits
# relative difference below which other programs, whose rounding differs, may choose otherwise
NEAR = 1e-5
MOST_NEAR = 20  # ids of such questions in a score; samples name them all
# What candidates are compared by. none: their bits. byte: bits a byte that was scored, the space
# before them among them. char: bits a character of the candidate alone (lm-eval's acc_norm).
# token: bits a token of the model. pmi: bits less those without a prompt (acc_mutual_info).
Norm = Literal["none", "byte", "char", "token", "pmi"]
NORMS: tuple[Norm, ...] = ("none", "byte")  # unless a suite says others


def name_norm(norm: str, key: str) -> str:
    """Return what a sample calls `key` by a norm: `accuracy`, or `accuracy:byte`."""
    return key if norm == "none" else f"{key}:{norm}"


def rate(
    norm: Norm, bits: Sequence[float], ledgers: Sequence[Ledger], texts: Sequence[str]
) -> list[float]:
    """Return the measure of each candidate. `texts`: what was asked of each, without the space.

    Of `pmi` the second half of `ledgers` are those without a prompt.
    """
    if norm == "none":
        return list(bits)
    if norm == "pmi":
        free = [ledger.total() for ledger in ledgers[len(bits) :]]
        return [a - b if math.isfinite(a) else math.inf for a, b in zip(bits, free, strict=True)]
    sizes = {
        "byte": [ledger.bytes for ledger in ledgers],
        "token": [ledger.tokens for ledger in ledgers],
        "char": [len(text) for text in texts],
    }[norm]
    return [value / max(1, size) for value, size in zip(bits, sizes, strict=False)]


def measure_own_tokens(
    ledgers: Sequence[Ledger], texts: Sequence[str], at_end: bool = False
) -> list[float]:
    """Return the mean bits of each candidate's own tokens, as nanochat's core_eval.py chooses.

    Own are the tokens from the first one on by which any two candidates differ; with `at_end`, of
    candidates that are contexts of one continuation, the tokens after the last such one, which all
    share. `texts`: what each ledger charges. A candidate with which all others begin has no token
    of its own: it costs 0 if it is the first, and is never chosen otherwise, as is so there, where
    its mean is NaN.
    """
    lines = [
        _list_tokens(ledger, text, -number if at_end else 0)
        for number, (ledger, text) in enumerate(zip(ledgers, texts, strict=True), 1)
    ]
    if at_end:
        lines = [line[::-1] for line in lines]
    shared = 0
    for tokens in zip(*lines, strict=False):
        if len({token for token, _ in tokens}) > 1:
            break
        shared += 1
    own = [line[:shared] if at_end else line[shared:] for line in lines]
    return [
        math.fsum(bits for _, bits in line) / len(line) if line else math.inf if number else 0.0
        for number, line in enumerate(own)
    ]


def _list_tokens(ledger: Ledger, text: str, own: int) -> list[tuple[tuple[int, bytes], float]]:
    """Return what tells each token of a ledger from others, and its bits with those of spelling.

    own: what tells a token that begins in the context, if contexts differ.
    """
    raw, found = text.encode(), list[tuple[tuple[int, bytes], float]]()
    rows = zip(ledger.start, ledger.end, ledger.bits, ledger.kind, strict=True)
    for number, (start, end, bits, kind) in enumerate(rows):
        if kind == SPELLING and found:
            (shared, piece), before = found[-1]
            found[-1] = ((shared, piece + raw[start:end]), before + float(bits))
        else:
            shared = 0 if number else ledger.context_bytes and (own or ledger.context_bytes)
            found.append(((shared, raw[start:end]), float(bits)))
    return found


def choose(values: Sequence[float]) -> tuple[int, bool]:
    """Return the first of the smallest values, and whether there are several, but for rounding."""
    least = min(values)
    found = [i for i, value in enumerate(values) if math.isclose(value, least, rel_tol=ROUNDING)]
    return found[0], len(found) > 1


def is_near(
    values: Sequence[float],
    sums: Sequence[float],
    names: Sequence[str] | None = None,
) -> bool:
    """Return whether another candidate lies so near to the best that rounding may decide.

    Args:
        values: the measure of each candidate, the least is the best.
        sums: what a measure was rounded at: the same measure of the greatest sum that it is made
            of, of at least one bit, whose rounding is absolute.
        names: candidates of the same name are one answer; without names all are different.
    """
    best = min(range(len(values)), key=values.__getitem__)
    for at, value in enumerate(values):
        if at == best or (names is not None and names[at] == names[best]):
            continue
        if value == values[best]:
            return True
        distance = value - values[best]
        if math.isfinite(distance) and distance <= NEAR * max(sums[at], sums[best]):
            return True
    return False


def rate_sums(
    norm: Norm, bits: Sequence[float], ledgers: Sequence[Ledger], texts: Sequence[str]
) -> list[float]:
    """Return the `sums` of `is_near` for the measures that `rate` returns."""
    sums = [max(1.0, value) for value in bits]
    if norm == "pmi":
        free = [ledger.total() for ledger in ledgers[len(bits) :]]
        return [max(pair) for pair in zip(sums, free, strict=True)]
    return rate(norm, sums, ledgers, texts)


def count_near(ids: Sequence[str]) -> NearRow:
    """Return the near ties of a score, from the ids of their questions."""
    return {"count": len(ids), "ids": list(ids[:MOST_NEAR])}


def make_sample(
    document: Document,
    prompt: str,
    ledgers: Sequence[Ledger],
    texts: Sequence[str],
    norms: Sequence[Norm],
    costs: Sequence[float] | None = None,
) -> SampleRow:
    """Return a question's line: what each candidate costs, which was chosen by each measure, which
    is right. `texts`: what was scored for each candidate, without the space before it. `costs`:
    what is compared instead of the bits of each candidate.
    """
    bits = [ledger.total() for ledger in ledgers[: len(document.choices)]]
    bits = bits if costs is None else list(costs)
    rated = {norm: rate(norm, bits, ledgers, texts) for norm in norms}
    chosen = {norm: choose(values) for norm, values in rated.items()}
    plain, tied = chosen.get("none") or choose(bits)
    choices = document.choices
    row: SampleRow = {
        "id": document.id,
        "bytes": sum(ledger.bytes for ledger in ledgers[: len(choices)]),
        "input": prompt,
        "output": choices[plain],
        "reference": document.text,
        "statistics": {
            # by their texts: of a candidate that stands twice, either place will do
            name_norm(norm, "accuracy"): [float(choices[at] == document.text), 1.0]
            for norm, (at, _) in chosen.items()
        },
        "bits": bits,
        "chosen": plain,
        "gold": choices.index(document.text),
        "tied": tied,
    }
    more = {
        name_norm(norm, key): value
        for norm, (at, is_tied) in chosen.items()
        if norm != "none"
        for key, value in (("output", choices[at]), ("tied", is_tied))
    }
    if near := [
        norm
        for norm, values in rated.items()
        if is_near(values, rate_sums(norm, bits, ledgers, texts), choices)
    ]:
        row["near"] = near
    if "pmi" in norms:
        row["unconditional"] = [ledger.total() for ledger in ledgers[len(choices) :]]
    row.update(more)  # type: ignore[typeddict-item]  # keys that are made of a norm's name
    return row
