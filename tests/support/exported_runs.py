"""A run with samples to export, and one whose names are hostile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmbench.integrations.exports.registry import find_target
from llmbench.integrations.exports.target import DatasetId, Export, Source
from llmbench.results.record import Record, Score
from llmbench.results.samples import Opened, open_results
from support import hand_record
from support.hand_runs import ACCURACY, BITS, Hand, bits, right

HOSTILE = "../../x\n- y: &a [1]\n\x1b[31m\\input{/etc/passwd} $x_1%&#~^{\" '--'} <script>|`| é=,"
DATASETS = {"likelihood": DatasetId("org/tales", "default")}


def example() -> Source:
    """The record with every kind of score, without samples."""
    return Source(Opened(hand_record.record(), Path("nowhere")), DATASETS)


def run(folder: Path, *models: str) -> Source:
    """A run of models in a folder, with intervals, ranks and samples."""
    hand = Hand(folder)
    for number, model in enumerate(models):
        half, rank = {"low": 0.1 / 3, "high": 1e6 / 7}, [number + 1, len(models)]
        hand.add(model, BITS, bits(1.0 + number / 3, 2.0), rank=rank, **half)
        hand.add(model, ACCURACY, right("110"), said=["a", "b", "\ud800c"], low=0.25, high=None)
    return Source(open_results(hand.write()), DATASETS)


def hostile() -> Source:
    """The example with a hostile name for every model and task."""
    data: dict[str, Any] = hand_record.data()
    for row in (*data["models"], *data["scores"], *data["failures"]):
        for key in ("name", "model", "task"):
            if key in row:
                row[key] = HOSTILE + row[key]
    data["notes"] = {}
    data["suite"]["name"] = HOSTILE
    datasets = {HOSTILE + "likelihood": DATASETS["likelihood"]}
    return Source(Opened(Record.model_validate(data), Path("nowhere")), datasets)


def make(name: str, source: Source) -> Export:
    """What a target makes of a run."""
    return find_target(name).load().make(source)


def scores_of(source: Source, model: str | None = None) -> list[Score]:
    """The scores of a run, or those of a model of it."""
    return [s for s in source.opened.record.scores if model in (None, s.model)]
