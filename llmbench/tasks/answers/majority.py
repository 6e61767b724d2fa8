"""Always giving the most common right answer: what a model must beat to have read the questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from llmbench.data.text import Document
from llmbench.metrics.metric import MajorityRow
from llmbench.results.paired_tests import mcnemar_p

LEAST_HITS = 2  # questions that have the answer, for it to be common
LEAST_SHARE = 0.05  # of the questions
ANSWER_CHARACTERS = 60  # that a record keeps


def find_common_answer(documents: Iterable[Document]) -> str:
    """Return the right answer of the most documents; of equally common ones, the first."""
    return Counter(document.text.strip() for document in documents).most_common(1)[0][0]


def find_common_candidate(documents: Sequence[Document]) -> tuple[str, list[bool]]:
    """Return what the best constant choice is called, and for each question whether it is right.

    It is a text, such as "yes", or a place among the candidates if more questions have that one.
    """
    places = [document.choices.index(document.text) for document in documents]
    place, at_place = Counter(places).most_common(1)[0]
    text, with_text = Counter(document.text for document in documents).most_common(1)[0]
    if with_text >= at_place:
        return text, [document.text == text for document in documents]
    return f"candidate {place + 1}", [gold == place for gold in places]


def compare_majority(
    answer: str, hits: Sequence[bool], right: Sequence[bool]
) -> MajorityRow | None:
    """Return the record's row for a constant answer beside a model; None if it is not common.

    hits, right: for each question whether the constant and whether the model is right.
    """
    share = sum(hits) / len(hits)
    if sum(hits) < LEAST_HITS or share < LEAST_SHARE:
        return None
    only_model = sum(b and not a for a, b in zip(hits, right, strict=True))
    only_constant = sum(a and not b for a, b in zip(hits, right, strict=True))
    p = mcnemar_p(only_model, only_constant)
    return {"answer": answer[:ANSWER_CHARACTERS], "value": share, "p": p}
