"""Runs made by hand: a folder with a record and the samples that its scores follow from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmbench.metrics.facts import FACTS
from llmbench.results.paired_tests import value_of
from llmbench.results.record import Record, Score
from llmbench.results.samples import statistic_of
from llmbench.storage import write_lines
from support import hand_record

BITS = ("likelihood", "bits_per_byte", "bits/byte", "lower")
ACCURACY = ("choice", "accuracy", "share", "higher")
BLEU = ("translation", "bleu", "BLEU", "higher")
REPETITION = ("continuation", "repetition_4", "share", "lower")
F1 = ("answer", "f1", "share", "higher")
RATE = ("speed", "decode_bytes_per_second", "bytes/s", "higher")
Kind = tuple[str, str, str, str | None]


def bits(*rates: float, size: int = 100) -> list[list[float]]:
    """Documents of equal size, at so many bits a byte."""
    return [[rate * size, size] for rate in rates]


def right(answers: str) -> list[list[float]]:
    """Questions: 1 answered rightly, 0 not."""
    return [[float(answer), 1.0] for answer in answers]


class Hand:
    """A run that is put together score by score."""

    def __init__(self, folder: Path, **changes: Any):
        self.folder, self.changes = folder, changes
        self.scores: list[dict[str, Any]] = []
        self.samples: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}

    def add(
        self,
        model: str,
        kind: Kind,
        rows: Sequence[Sequence[float]],
        ids: Sequence[str] | None = None,
        **more: Any,
    ) -> Hand:
        """A model's score, and its items. `said`: what it said to each; `session`: of blocks;
        anything else changes the score's row.
        """
        task, metric, unit, better = kind
        said, session = more.pop("said", []), more.pop("session", None)
        signature = more.pop("signature", f"text=0123;protocol={task}/1;limit=none")
        value = more.pop("value", None)
        counted = [row for row in rows if len(row)]  # the others are left out by the metric
        facts = {
            "unit": unit,
            "better": better,
            "n": len(counted),
            "signature": signature,
            "task": task,
            **more,
        }
        row = hand_record.score(
            model, metric, value_of(FACTS[metric], counted) if value is None else value, **facts
        )
        self.scores.append(row)
        lines = self.samples.setdefault((model, task), {})
        for i, statistics in enumerate(rows):
            id = ids[i] if ids else f"d{i}"
            line = lines.setdefault(
                id,
                {
                    "id": id,
                    "bytes": 1,
                    "input": f"asked {id}",
                    "output": None,
                    "reference": "the truth",
                    "statistics": {},
                },
            )
            line["statistics"][statistic_of(Score.model_validate(row))] = list(statistics)
            if said:
                line[
                    "output" + (f":{more['norm']}" if more.get("norm", "none") != "none" else "")
                ] = said[i]
            if session:
                line["session"] = session
        return self

    def record(self) -> Record:
        names = list(dict.fromkeys(row["model"] for row in self.scores))
        facts: Mapping[str, Any] = {
            "models": [hand_record.model(name, 3) for name in names],
            "scores": self.scores,
            "failures": [],
            "notes": {},
        }
        return hand_record.record(**{**facts, **self.changes})

    def write(self) -> Path:
        """The folder, with run.json and samples in it."""
        self.record().write(self.folder)
        for (model, task), lines in self.samples.items():
            write_lines(self.folder / "samples" / model / f"{task}.jsonl", lines.values())
        return self.folder
