"""Ranks for the record: which models share which comparison, and what the items of their samples prove."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from llmbench.record import BITS, SPEED, Score, key_of, notes_key
from llmbench.stats import Ranking, rank_sets, rate_rank_sets

Item = tuple[str, float, int]  # id, numerator, denominator


def rank_scores(scores: Sequence[Score], out: Path, refused: Collection[str] = ()) -> dict[str, Any]:
    """Set `rank` on the scores of the ranked metric, and give for each task the smallest visible difference and who beats whom.

    Models are compared on the same items, read from the run's samples: documents, or blocks of one session of measuring. A compressor is not
    ranked: it is no model of the next byte; neither is a model that was `refused` a certificate, whose bits prove nothing about the others.
    """
    notes: dict[str, Any] = {}
    for task, metric in sorted({(score.task, score.metric) for score in scores if key_of(score) in (*BITS, SPEED)}):
        rows = [score for score in scores if score.task == task and key_of(score) == metric and _is_model(score)]
        rows = [score for score in rows if metric == SPEED or score.model not in refused]
        items = {score.model: _items(out, score) for score in rows}
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


def _is_model(score: Score) -> bool:
    """Whether the score is finite and made of charges inside the text, not of one code for the whole."""
    return math.isfinite(score.value) and getattr(score, "charged", "token") != "code"


def _items(out: Path, score: Score) -> list[Item]:
    """Each item; empty where the samples are missing. Blocks are the same item only in the same session."""
    try:
        lines = (out / "samples" / score.model / f"{score.task}.jsonl").read_text(encoding="utf-8").split("\n")  # and at nothing else
        rows = [json.loads(line) for line in lines if line]
        found = [(row, row["statistics"][score.metric]) for row in rows]
        return [(f"{row['id']} {row.get('session', '')}", float(value[0]), int(value[1])) for row, value in found]
    except (OSError, ValueError, KeyError):
        return []
