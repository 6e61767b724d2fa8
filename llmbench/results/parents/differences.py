"""A model beside the one that it was made from, on the items that both were asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmbench.metrics.facts import BITS, FACTS, SPEED
from llmbench.results.matching import Pair
from llmbench.results.paired_tests import add_noise, difference
from llmbench.results.parents.relation import describe_child, find_parents
from llmbench.results.ranking import Items, Source
from llmbench.results.record import ModelRow, Score, key_of, notes_key

COMPARED = (*BITS, SPEED)
MOST_BYTES = 1e18  # of weights: a larger value is wrong


def compare_with_parents(
    models: Sequence[ModelRow], scores: Sequence[Score], read: Source
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return, by record.notes_key, model -> the fields of its `rows.Against`.

    Only models are compared that were asked the same items (of speed: in the same session).
    read: the items of a score.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    by_place = {(score.model, score.task, key_of(score)): score for score in scores}
    for name, parent in find_parents(models).items():
        for score in scores:
            other = by_place.get((parent, score.task, key_of(score)))
            if score.model != name or key_of(score) not in COMPARED or other is None:
                continue
            if score.signature == other.signature:
                row = _compare(score, other, read(score), read(other))
                if row is not None:
                    key = notes_key(score.task, score.metric)
                    found.setdefault(key, {})[name] = {"parent": parent, **row}
    return found


def _compare(score: Score, other: Score, mine: Items, parents: Items) -> Mapping[str, Any] | None:
    """The difference of two scores; None where their items are not the same, or too few."""
    metric = score.metric
    if not len(mine) or mine.digest(metric) != parents.digest(metric):
        return None
    found = difference(FACTS[metric], mine.rows, parents.rows)
    noise = sum(float(one.noise or 0) for one in (score, other))
    seen = (add_noise(found, found.p, noise)[0] if noise else found).interval
    return {"difference": seen.value, "low": seen.low, "high": seen.high, "n": seen.n}


def list_relations(pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    """Return a fact for each two models of a run of which one was made from the other: what that
    changed, and the memory of its weights.
    """
    found = []
    for one, other in pairs:
        models = {row.name: row for row in one.opened.record.models}
        parents = find_parents(list(models.values()))
        for name, parent in ((one.model, other.model), (other.model, one.model)):
            if parents.get(name) == parent:
                child, before = models[name], models[parent]
                said = describe_child(child, before)
                sizes = (child.weights_bytes or 0, before.weights_bytes or 0)
                if min(sizes) > 0 and max(sizes) < MOST_BYTES:
                    said += f"; weights × {sizes[0] / sizes[1]:.2f}"
                found.append(("parent", said))
    return found
