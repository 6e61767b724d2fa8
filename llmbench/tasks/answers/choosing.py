"""Which candidate a model chooses: the one with the least bits, by one measure or another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from llmbench.data.text import Document
from llmbench.ledger import Ledger
from llmbench.results.outcome import SampleRow

ROUNDING = 1e-12  # relative difference of two sums of the same bits
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


def choose(values: Sequence[float]) -> tuple[int, bool]:
    """Return the first of the smallest values, and whether there are several, but for rounding."""
    least = min(values)
    found = [i for i, value in enumerate(values) if math.isclose(value, least, rel_tol=ROUNDING)]
    return found[0], len(found) > 1


def make_sample(
    document: Document,
    prompt: str,
    ledgers: Sequence[Ledger],
    texts: Sequence[str],
    norms: Sequence[Norm],
) -> SampleRow:
    """Return a question's line: what each candidate costs, which was chosen by each measure, which
    is right. `texts`: what was scored for each candidate, without the space before it.
    """
    bits = [ledger.total() for ledger in ledgers[: len(document.choices)]]
    chosen = {norm: choose(rate(norm, bits, ledgers, texts)) for norm in norms}
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
    if "pmi" in norms:
        row["unconditional"] = [ledger.total() for ledger in ledgers[len(choices) :]]
    row.update(more)  # type: ignore[typeddict-item]  # keys that are made of a norm's name
    return row
