"""Ranks for the record: which models share which comparison, and what the items of their samples prove."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from llmbench.record import BITS, SPEED, Score, key_of, notes_key
from llmbench.stats import Ranking, rank_sets, rate_rank_sets

Item = tuple[str, float, int]  # id, numerator, denominator
Source = Callable[[Score], list[Item]]
RANKED = (*BITS, SPEED)


def rank_scores(scores: Sequence[Score], out: Path | Source, refused: Collection[str] = ()) -> dict[str, Any]:
    """Set `rank` on the scores of the ranked metric, and give for each task the smallest visible difference and who beats whom.

    Models are compared on the same items, read from the samples of the run in `out`, or had from a function: documents, or blocks of one session
    of measuring. See `is_ranked` for who takes part.
    """
    notes: dict[str, Any] = {}
    for task, metric in sorted({(score.task, score.metric) for score in scores if key_of(score) in RANKED}):
        rows = [score for score in scores if score.task == task and key_of(score) == metric and is_ranked(score, refused)]
        items = {score.model: read_items(out, score) if isinstance(out, Path) else out(score) for score in rows}
        shapes = [tuple((key, n) for key, _, n in found) for found in items.values() if found]
        if not shapes:
            continue
        usual = max(sorted(set(shapes)), key=shapes.count)
        ranked = {score.model: score for score in rows if tuple((key, n) for key, _, n in items[score.model]) == usual}
        if len(ranked) < 2:
            continue
        result = _ranking(metric, {name: items[name] for name in ranked})
        for name, score in ranked.items():
            score.rank = result.rank[name]
        notes[notes_key(task, metric)] = {
            "smallest_visible": result.smallest_visible,
            "items_needed": result.items_needed,
            "left_out": sorted(score.model for score in rows if score.model not in ranked),
            "better_than": {name: sorted(others) for name, others in result.better_than.items()},
        }
    return notes


def _ranking(metric: str, items: dict[str, list[Item]]) -> Ranking:
    values = {name: [value for _, value, _ in found] for name, found in items.items()}
    return rate_rank_sets(values) if metric == SPEED else rank_sets(values, [n for _, _, n in next(iter(items.values()))])


def is_ranked(score: Score, refused: Collection[str]) -> bool:
    """A compressor is not: it is no model of the next byte. Neither is a model with infinite bits, or one that was `refused` a certificate, whose
    bits prove nothing about the others.
    """
    return math.isfinite(score.value) and getattr(score, "charged", "token") != "code" and (score.metric == SPEED or score.model not in refused)


def read_items(folder: Path, score: Score) -> list[Item]:
    """Each item of a run's score, a line at a time; empty where the samples are missing or nonsense. Blocks are the same item only in the same
    session. A record from elsewhere does not choose which other files are read.
    """
    if any(Path(name).name != name or name == ".." for name in (score.model, score.task)):
        return []
    try:
        with (folder / "samples" / score.model / f"{score.task}.jsonl").open(encoding="utf-8", newline="\n") as lines:  # which end there alone
            return [_item(json.loads(line), score.metric) for line in lines if line.strip()]
    except (OSError, ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError):
        return []


def _item(row: Any, metric: str) -> Item:
    value = row["statistics"][metric]
    return f"{row['id']} {row.get('session', '')}", float(value[0]), int(value[1])
