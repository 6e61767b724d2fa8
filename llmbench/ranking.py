"""Ranks for the record: which models share which comparison, and what the items of their samples prove."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from llmbench.record import HEADLINES, Score, notes_key
from llmbench.stats import rank_sets


def rank_scores(scores: Sequence[Score], out: Path, refused: Collection[str] = ()) -> dict[str, Any]:
    """Set `rank` on the scores of the ranked metric, and give for each task the smallest visible difference and who beats whom.

    Models are compared on the same items, read from the run's samples. A compressor is not ranked: it is no model of the next byte; neither is
    a model that was `refused` a certificate, whose numbers prove nothing about the others.
    """
    notes: dict[str, Any] = {}
    for task, metric in sorted({(score.task, score.metric) for score in scores if score.metric in HEADLINES}):
        rows = [score for score in scores if score.task == task and score.metric == metric and _is_model(score) and score.model not in refused]
        items = {score.model: _items(out, score) for score in rows}
        shapes = [tuple((key, n) for key, _, n in found) for found in items.values() if found]
        if not shapes:
            continue
        usual = max(sorted(set(shapes)), key=shapes.count)
        ranked = {score.model: score for score in rows if tuple((key, n) for key, _, n in items[score.model]) == usual}
        if len(ranked) < 2:
            continue
        result = rank_sets({name: [bits for _, bits, _ in items[name]] for name in ranked}, [n for _, n in usual])
        for name, score in ranked.items():
            score.rank = result.rank[name]
        notes[notes_key(task, metric)] = {
            "smallest_visible": result.smallest_visible,
            "items_needed": result.items_needed,
            "left_out": sorted(score.model for score in rows if score.model not in ranked),
            "better_than": {name: sorted(others) for name, others in result.better_than.items()},
        }
    return notes


def _is_model(score: Score) -> bool:
    """Whether the score is finite and made of charges inside the text, not of one code for the whole."""
    return math.isfinite(score.value) and getattr(score, "charged", "token") != "code"


def _items(out: Path, score: Score) -> list[tuple[str, float, int]]:
    """(id, bits, bytes) of each item; empty where the samples are missing."""
    try:
        lines = (out / "samples" / score.model / f"{score.task}.jsonl").read_text(encoding="utf-8").split("\n")  # and at nothing else
        rows = [json.loads(line) for line in lines if line]
        return [(row["id"], float(row["statistics"][score.metric][0]), int(row["statistics"][score.metric][1])) for row in rows]
    except (OSError, ValueError, KeyError):
        return []
