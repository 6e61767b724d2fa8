"""Compare two runs number by number: `python tests/compare_runs.py OLD NEW [--rename OLD=NEW]`.

Everything a change of the code must not move is compared: scores, their intervals, ranks and
signatures, samples, learning curves and failures. What depends on the machine's mood is not: times,
memory, energy. Prints each difference and exits with 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

TOLERANCE = 1e-9  # absolute and relative
MEASURED = ("speed", "memory", "max-batch", "batch-fit")  # protocols whose numbers are of a machine
RENAMED_PROTOCOLS = {"choice": "multiple-choice", "batch-fit": "max-batch"}
SCORE = ("value", "low", "high", "unit", "better", "n", "rank", "signature")
MODEL = ("stage", "family", "tokenizer", "parameters", "context", "weights_bytes", "dtype")
TRAINING = ("steps", "best_step", "curve")
SHOWN = 200  # characters of a value in a difference


def differences(
    old: Path, new: Path, renamed: Mapping[str, str] | None = None, ignored: tuple[str, ...] = ()
) -> Iterator[str]:
    """What is not equal in two runs' folders, a line each. `renamed`: task of the old run -> its
    name in the new one. `ignored`: fields of scores and samples that may differ.
    """
    renamed = renamed or {}
    records = [json.loads((folder / "run.json").read_text()) for folder in (old, new)]
    yield from _models(*records)
    scores = [_scores(record, names) for record, names in zip(records, (renamed, {}), strict=True)]
    yield from _tables("score", *scores, ignored)
    failures = [
        {
            f"{row['model']} {names.get(row['task'], row['task'])}": {"reason": row["reason"]}
            for row in record["failures"]
        }
        for record, names in zip(records, (renamed, {}), strict=True)
    ]
    yield from _tables("failure", *failures, ignored)
    timed = {row["task"] for row in records[0]["scores"] if _protocol(row) in MEASURED}
    for model, tasks in records[0]["notes"]["cells"].items():
        for task in tasks:
            if task not in timed:
                name = renamed.get(task, task)
                files = old / f"samples/{model}/{task}.jsonl", new / f"samples/{model}/{name}.jsonl"
                yield from _samples(f"samples of {model} {name}", *files, ignored)


def _protocol(score: Mapping[str, Any]) -> str:
    return str(score["signature"]).partition("protocol=")[2].partition("/")[0]


def _scores(record: dict[str, Any], renamed: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The scores that do not depend on the machine, by model, task, metric and what sets them
    apart.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in record["scores"]:
        if _protocol(row) in MEASURED:
            continue
        task = renamed.get(row["task"], row["task"])
        apart = [str(row[name]) for name in ("variant", "norm", "decoding") if name in row]
        key = " ".join([row["model"], task, row["metric"], *apart])
        found[key] = {**row, "task": task, "signature": _renamed_protocol(row["signature"])}
    return found


def _renamed_protocol(signature: str) -> str:
    for before, after in RENAMED_PROTOCOLS.items():
        signature = signature.replace(f"protocol={before}/", f"protocol={after}/")
    return signature


def _models(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    rows = [
        {
            row["name"]: {key: row.get(key) for key in MODEL}
            | {key: (row.get("training") or {}).get(key) for key in TRAINING}
            for row in record["models"]
        }
        for record in (old, new)
    ]
    yield from _tables("model", *rows)


def _tables(
    kind: str,
    old: Mapping[str, Mapping[str, Any]],
    new: Mapping[str, Mapping[str, Any]],
    ignored: tuple[str, ...] = (),
) -> Iterator[str]:
    """Rows of the same key whose fields differ, and rows that one side alone has. A field that is
    absent is the same as one that is null.
    """
    for key in dict.fromkeys((*old, *new)):
        if key not in old or key not in new:
            yield f"{kind} {key}: only in the {'old' if key in old else 'new'} run"
            continue
        for name in dict.fromkeys((*old[key], *new[key])):
            one, other = old[key].get(name), new[key].get(name)
            if name not in ignored and not equal(one, other):
                yield f"{kind} {key}: {name} {_cut(one)} -> {_cut(other)}"


def _samples(what: str, old: Path, new: Path, ignored: tuple[str, ...]) -> Iterator[str]:
    if not old.is_file() or not new.is_file():
        if old.is_file() or new.is_file():
            yield f"{what}: only in the {'old' if old.is_file() else 'new'} run"
        return
    rows = [
        {row["id"]: row for row in map(json.loads, file.read_text().split("\n")[:-1])}
        for file in (old, new)
    ]
    if list(rows[0]) != list(rows[1]):
        yield f"{what}: other ids, or in another order"
    yield from _tables(what, *rows, ignored)


def equal(one: Any, other: Any) -> bool:
    """Whether two values of JSON are the same, numbers within TOLERANCE."""
    if isinstance(one, dict) and isinstance(other, dict):
        return all(equal(one.get(key), other.get(key)) for key in {*one, *other})
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if type(one) in (int, float) and type(other) in (int, float):
        return one == other or math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(one == other)


def _cut(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the script: its exit code."""
    parser = argparse.ArgumentParser(description="Compare two runs number by number.")
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--rename", action="append", default=[], metavar="OLD=NEW")
    parser.add_argument("--ignore", action="append", default=[], metavar="FIELD")
    asked = parser.parse_args(arguments)
    renamed = dict(pair.split("=", 1) for pair in asked.rename)
    found = list(differences(asked.old, asked.new, renamed, tuple(asked.ignore)))
    for line in found:
        sys.stdout.write(f"{line}\n")
    record = json.loads((asked.old / "run.json").read_text())
    compared = len(_scores(record, {}))
    sys.stdout.write(f"{compared} scores compared, {len(found)} differences\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
