"""A record made by hand, with fixed numbers, and the samples beside it, for boards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmbench.results.record import Record
from llmbench.storage import write_lines

SIGNATURE = "text=0123456789abcdef;protocol=likelihood/1;window=half;limit=none"
PROMPT = "The kettle said"
ABSENT = {"joules_per_megabyte": "this machine shows no energy counter (RAPL)"}
SAID = {
    "byte-ngram": " nothing, and the tap the kettle.\nAnd so on.",
    "lstm": " « non\u00a0» to the tap",
    "transformer-decoder": " it was\u2028Tuesday & \x85 <late>.",
}


def score(
    model: str, metric: str, value: Any, half: float | None = None, **more: Any
) -> dict[str, Any]:
    """A row of `scores`."""
    low, high = (None, None) if half is None else (round(value - half, 4), round(value + half, 4))
    row = {
        "model": model,
        "task": "likelihood",
        "metric": metric,
        "value": value,
        "low": low,
        "high": high,
        "unit": "bits/byte",
    }
    return {**row, "better": "lower", "n": 18, "signature": SIGNATURE, "rank": None, **more}


def model(name: str, stage: int | None, **more: Any) -> dict[str, Any]:
    """A row of `models`."""
    return {
        "name": name,
        "stage": stage,
        "family": "",
        "tokenizer": "bytes",
        "parameters": None,
        "context": None,
        "fingerprint": "f" * 64,
        **more,
    }


def likelihood(
    name: str, bits: float, half: float | None, rank: list[int] | None, **more: Any
) -> list[dict[str, Any]]:
    """The rows of one model: bits per byte, and 2^ it."""
    return [
        score(name, "bits_per_byte", bits, half, rank=rank, **more),
        score(name, "byte_perplexity", round(2**bits, 4), **more),
    ]


def speed(
    name: str, metric: str, value: Any, half: float | None = None, **more: Any
) -> dict[str, Any]:
    """A row of the speed task."""
    signature = (
        "text=0123456789abcdef;protocol=speed/1;prompt=256;answer=64;blocks=16;seed=7;limit=none;"
        "batch=1"
    )
    return score(
        name,
        metric,
        value,
        half,
        **{
            "task": "speed",
            "unit": "bytes/s",
            "better": "higher",
            "n": 16,
            "signature": signature,
            **more,
        },
    )


def proven(wrong: str = "") -> dict[str, Any]:
    """A certificate with everything earned, or with A2 refused."""
    states = (
        {"A1": "earned", "A2": "refused", "A3": "refused"}
        if wrong
        else dict.fromkeys(("A1", "A2", "A3"), "earned")
    )
    levels = {
        level: {
            "state": state,
            "why": wrong if state == "refused" else "",
            "tried": ["much"],
            "seconds": 0.5,
        }
        for level, state in states.items()
    }
    return {"version": "v", "fingerprint": "f" * 64, "levels": levels}


def data() -> dict[str, Any]:
    """The record as JSON holds it."""
    trained = {"seconds": 75.4, "steps": 300, "best_step": 300, "curve": [[150, 2.9], [300, 2.4]]}
    return {
        "schema": 3,
        "llmbench": "9.8.7",
        "suite": {"name": "by-hand", "version": 2, "sha256": "0" * 64},
        "started": "2026-01-02T03:04:05+00:00",
        "finished": "2026-01-02T03:14:05+00:00",
        "seed": 7,
        "options": {"device": "cpu", "dtype": None, "limit": None, "seed": 7},
        "machine": {
            "cpu": "A Processor",
            "cores": 4,
            "memory_bytes": 8 << 30,
            "gpus": [],
            "os": "Linux",
            "python": "3.x",
            "packages": {},
            "threads": 4,
        },
        "models": [
            model("uniform-bytes", 0, parameters=0, context=0, overlap=0.0),
            model("byte-ngram", 0, family="n-gram", parameters=70_649, context=4, overlap=0.125),
            model("zlib", 0, overlap=0.0, fingerprint=""),
            model(
                "transformer-decoder",
                4,
                tokenizer="characters",
                parameters=999_999,
                context=64,
                training=trained,
                overlap=0.125,
            ),
            model(
                "lstm",
                3,
                tokenizer="characters",
                parameters=113_000,
                training={**trained, "seconds": 21.0},
                overlap=0.125,
                certificate=proven(),
            ),
            model(
                "mine",
                None,
                tokenizer="words",
                parameters=1_500_000_000,
                context=1024,
                overlap=None,
                certificate=proven("normalised: a | sum of 1.2"),
            ),
        ],
        "scores": [
            *likelihood("uniform-bytes", 8.0, 0.0, [5, 5]),
            *likelihood("byte-ngram", 2.1807, 0.0587, [1, 2]),
            *likelihood("zlib", 4.0108, 0.0403, None, charged="code"),
            *likelihood("transformer-decoder", 2.2101, 0.06, [1, 3]),
            *likelihood("lstm", 2.9353, 0.034, [4, 4]),
            score("lstm", "spelling_share", 0.0123, unit="share"),
            score("lstm", "word_perplexity", 35_510.4, unit="perplexity"),
            speed(
                "lstm",
                "decode_bytes_per_second",
                2450.0,
                171.5,
                rank=[1, 1],
                batch=1,
                facts={"cache": "recurrent"},
                drifted=5,
                absent=ABSENT,
            ),
            speed("lstm", "decode_bytes_per_second", 15_100.0, batch=8),
            speed("lstm", "time_to_first_token", 0.00352, unit="seconds"),
            speed("lstm", "limit_share", 0.0162, unit="share", phase="decode"),
            speed("lstm", "limit_share", 1.25, unit="share", phase="prefill"),
            score("lstm", "peak_ram", 261 << 20, task="memory", unit="bytes"),
            score("lstm", "max_batch", 64, task="max-batch", unit="answers", at_least=True),
            score("mine", "bits_per_byte", "inf", rank=None),
            score("mine", "byte_perplexity", "inf"),
        ],
        "failures": [
            {
                "model": "zlib",
                "task": "continuation",
                "reason": "unsupported",
                "message": "Compressor does not generate text",
                "hint": "",
            },
            {
                "model": "mine",
                "task": "continuation",
                "reason": "error",
                "message": "mine.py:3: a | bad <day>",
                "hint": "look at the log",
            },
        ],
        "notes": {
            "tasks": {
                "likelihood": {
                    "smallest_visible": 0.064,
                    "better_than": {
                        "byte-ngram": ["lstm", "uniform-bytes"],
                        "transformer-decoder": ["lstm", "uniform-bytes"],
                        "lstm": ["uniform-bytes"],
                        "uniform-bytes": [],
                    },
                },
                "speed": {
                    "smallest_visible": 0.21,
                    "again": {
                        "model": "lstm",
                        "decode_bytes_per_second": {"log_ratio": 0.1, "verdict": "better"},
                    },
                    "cost": {
                        "seconds": 59.3,
                        "timed": 23.8,
                        "blocks": 96,
                        "loading": 24.7,
                        "again": 4.0,
                        "parent_cpu": 0.1,
                    },
                },
            }
        },
    }


def record(**changes: Any) -> Record:
    """The record, with some of its parts changed."""
    return Record.model_validate({**data(), **changes})


def say(folder: Path, name: str, output: Any, prompt: Any = PROMPT) -> None:
    """What a model said after a prompt, as a run stores it."""
    row = {
        "id": "0",
        "bytes": 1,
        "input": prompt,
        "output": output,
        "reference": None,
        "statistics": {},
    }
    write_lines(folder / "samples" / name / "continuation.jsonl", [row])


def samples(folder: Path) -> Path:
    """The folder, with what each model said in it."""
    for name, output in SAID.items():
        say(folder, name, output)
    return folder


def charge(
    folder: Path, name: str, text: str, bits: list[float], task: str = "likelihood", size: int = 1
) -> None:
    """A model's charges for a text, `size` bytes a piece, and the sample that holds the text, as a
    run stores them.
    """
    from llmbench.ledger import TOKEN, Ledger
    from llmbench.results.tables.charges import write_charges

    whole = len(text.encode("utf-8", "replace"))
    ends = [*range(size, whole, size), whole]
    paid = [bits[number % len(bits)] for number in range(len(ends))]
    row = {
        "id": "d0",
        "bytes": whole,
        "input": text,
        "output": None,
        "reference": None,
        "statistics": {"bits_per_byte": [sum(paid), whole]},
    }
    write_lines(folder / "samples" / name / f"{task}.jsonl", [row])
    ledger = Ledger.build([0, *ends[:-1]], ends, paid, [TOKEN] * len(ends), bytes=whole, id="d0")
    write_charges(folder / "charges" / name / f"{task}.parquet", [ledger])


def passage(folder: Path, text: str = "Tap,\n\u00e9 tap.") -> Path:
    """The folder, with a text charged by bytes, by threes, and as one, by three models."""
    charge(folder, "byte-ngram", text, [4.0, 0.5, 1.25])
    charge(folder, "lstm", text, [6.0, 9.75], size=3)
    charge(folder, "zlib", text, [80.0], size=4 * len(text))
    return folder
