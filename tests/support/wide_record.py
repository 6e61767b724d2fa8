"""A record that is as large as boards get, 40 models on 10 tasks by default, and the samples beside
it. Its numbers are drawn from a seed; ranks and tests agree with them.
"""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

from llmbench.results.record import Record
from llmbench.storage import write_lines
from support.hand_record import model, score, speed

WORDS = (
    "the",
    "a",
    "kettle",
    "tap",
    "said",
    "and",
    "then",
    "Tuesday",
    "late",
    "water",
    "red",
    "under",
)
APART = {"bits_per_byte": 0.04, "accuracy": 0.06}  # differences that count as proven


def name_models(count: int) -> list[tuple[str, int | None]]:
    """Names and stages: floors, stages in turn, and some of one's own."""
    kinds = ["ngram", "ffn", "word-ffn", "lstm", "decoder", "nano-gpt2", "finetuned"]
    made: list[tuple[str, int | None]] = []
    for number in range(count):
        stage = number % 8
        kind = "mine" if stage == 7 else kinds[stage]
        made.append((f"{kind}-{number // 8 + 1:02d}", None if stage == 7 else stage))
    return made


def rank_values(values: dict[str, float], better: str, apart: float) -> dict[str, list[str]]:
    """Model -> those that it is proven better than: farther apart than `apart`."""
    sign = -1 if better == "higher" else 1
    return {
        one: sorted(other for other in values if sign * (values[other] - values[one]) > apart)
        for one in values
    }


def build_data(models: int = 40, tasks: int = 10, seed: int = 0) -> dict[str, Any]:
    """The record as JSON holds it."""
    draw = random.Random(seed)
    names = name_models(models)
    skill = {name: draw.gauss(0, 0.25) + 0.1 * (stage or 3) for name, stage in names}
    rows, notes, scores = [], {}, list[dict[str, Any]]()
    for name, stage in names:
        bits = 3.2 - skill[name]
        curve = [
            [step, round(bits + 3 * math.exp(-step / 150) + draw.gauss(0, 0.01), 4)]
            for step in range(0, 1001, 50)
        ]
        trained = {"seconds": round(draw.uniform(5, 900), 1), "steps": 1000, "curve": curve}
        rows.append(
            model(
                name,
                stage,
                parameters=int(10 ** draw.uniform(4.5, 8)),
                weights_bytes=int(10 ** draw.uniform(5.5, 8.5)),
                tokenizer=("bytes", "characters", "words", "GPT-2")[(stage or 3) % 4],
                context=2 ** draw.randint(4, 11),
                training=trained if stage else None,
                overlap=0.1,
            )
        )
    for number in range(tasks):
        task = f"task-{number + 1}"
        metric, better = ("bits_per_byte", "lower") if number % 2 == 0 else ("accuracy", "higher")
        values = {
            name: round(
                3.2 - skill[name] + draw.gauss(0, 0.08)
                if better == "lower"
                else min(0.95, max(0.2, 0.5 + 0.3 * skill[name] + draw.gauss(0, 0.04))),
                4,
            )
            for name, _ in names
        }
        beats = rank_values(values, better, APART[metric])
        notes[task if better == "lower" else f"{task}:{metric}"] = {
            "smallest_visible": APART[metric],
            "better_than": beats,
        }
        scores += [
            score(
                name,
                metric,
                value,
                APART[metric] / 2,
                task=task,
                better=better,
                unit="bits/byte" if better == "lower" else "share",
                n=60,
                rank=[
                    1 + sum(name in others for others in beats.values()),
                    models - len(beats[name]),
                ],
                signature=f"text={number:016x};protocol=likelihood/1",
            )
            for name, value in values.items()
        ]
    rates = {name: round(10 ** draw.uniform(2, 5), 1) for name, _ in names}
    for name, rate in rates.items():
        scores += [
            speed(name, "decode_bytes_per_second", rate, round(0.08 * rate, 4), rank=[1, models]),
            score(name, "peak_ram", draw.randint(80, 2000) << 20, task="memory", unit="bytes"),
        ]
    logs = {name: math.log(rate) for name, rate in rates.items()}
    notes["speed"] = {"better_than": rank_values(logs, "higher", 0.2)}
    return {
        "schema": 3,
        "llmbench": "9.8.7",
        "suite": {"name": "wide", "version": 1, "sha256": "0" * 64},
        "started": "2026-01-02T03:04:05+00:00",
        "finished": "2026-01-02T03:14:05+00:00",
        "seed": 7,
        "options": {"device": "cpu", "dtype": None, "limit": None, "seed": 7},
        "machine": {"cpu": "A Processor", "cores": 4, "gpus": [], "os": "Linux"},
        "models": rows,
        "scores": scores,
        "failures": [],
        "notes": {"tasks": notes},
    }


def build_record(models: int = 40, tasks: int = 10, **changes: Any) -> Record:
    """The record, with some of its parts changed."""
    return Record.model_validate({**build_data(models, tasks), **changes})


def write_items(folder: Path, models: int = 40, tasks: int = 10, items: int = 60) -> Path:
    """Write the samples of each model and task, some with answers; return the folder."""
    draw = random.Random(1)

    def text(count: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(count))

    for number in range(tasks):
        is_bits = number % 2 == 0
        prompts = [(text(20), text(8)) for _ in range(items)]
        for name, _ in name_models(models):
            rows = []
            for at, (prompt, reference) in enumerate(prompts):
                size = 50 + at
                statistics = (
                    {"bits_per_byte": [size * draw.uniform(1.5, 4.0), size]}
                    if is_bits
                    else {"accuracy": [float(draw.random() < 0.6), 1.0]}
                )
                rows.append(
                    {
                        "id": f"d{at}",
                        "bytes": size,
                        "input": None if is_bits else prompt,
                        "output": None if is_bits else f"{reference} {text(2)}",
                        "reference": None if is_bits else reference,
                        "statistics": statistics,
                    }
                )
            write_lines(folder / "samples" / name / f"task-{number + 1}.jsonl", rows)
    return folder
