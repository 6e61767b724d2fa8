"""A run becomes a reviewed record: its scores with the statistics of their items, in one file that
notices when it is edited.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llmbench.config.strict_yaml import NAME
from llmbench.errors import UsageError
from llmbench.metrics.facts import MEAN_OF
from llmbench.results.paired_tests import is_consistent
from llmbench.results.record import Machine, Score, metric_of
from llmbench.results.samples import Opened, Sample, statistic_of
from llmbench.results.schema import digest
from llmbench.storage import as_json, write_text

RECORDS = Path("baselines/records")
Statistics = dict[str, dict[str, list[list[float]]]]  # model -> metric -> a row for each item
LINE = 400  # characters of a part of the file that stands on one line


def promote(run: Opened, out: Path | None = None) -> Path:
    """Write the reviewed record of a run, to `out` or to baselines/records/<suite>@<machine>.json,
    and give its path.

    UsageError, and nothing is written, where cells failed or are missing, where items are not there
    or do not give their scores, where the suite's name is none that a file could be called after,
    and where the file would stand in a git checkout with changes that are not committed.
    """
    record = run.record
    if record.review is not None:
        raise UsageError("this is a reviewed record already", where=str(run.path))
    _check_whole(run)
    place = out or _usual_place(run)
    items = _items(run)
    review = {
        "promoted": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": clean_commit(place, run.folder),
    }
    whole = record.model_dump(by_alias=True, exclude={"items", "review"})
    data = json.loads(as_json({**whole, "items": items, "review": review}))
    data["review"]["sha256"] = digest(data)
    write_text(place, laid_out(data) + "\n")
    return place


def _usual_place(run: Opened) -> Path:
    """A record from elsewhere does not choose which other files are written."""
    name = run.record.suite.name
    if not re.fullmatch(NAME, name):
        raise UsageError(
            f"no file can be called after the suite {name[:100]!r}",
            where=str(run.path),
            hint="--out FILE says where the record is to be",
        )
    return RECORDS / f"{name}@{machine_name(run.record.machine)}.json"


def machine_name(machine: Machine) -> str:
    """A machine as a part of a file's name: amd-epyc-2-cores."""
    words = [
        machine.cpu,
        f"{'?' if machine.cores is None else machine.cores} cores",
        *(str(gpu.get("name", "GPU")) for gpu in machine.gpus),
    ]
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")[:100]


def _check_whole(run: Opened) -> None:
    """Every cell is done, unavailable or unsupported."""
    record = run.record
    bad = [
        failure
        for failure in record.failures
        if failure.reason not in ("unavailable", "unsupported")
    ]
    if bad:
        what = (
            f"{len(bad)} failed cells, {bad[0].model} on {bad[0].task} the first ({bad[0].reason})"
        )
        raise UsageError(
            what, where=str(run.path), hint="run again with the same --out, then promote"
        )
    for name, open_tasks in record.state.not_reached.items():
        what = f"{name} on {open_tasks[0]} is not done: the run was interrupted"
        raise UsageError(
            what, where=str(run.path), hint="run again with the same --out, then promote"
        )
    tasks = dict.fromkeys(task for done in record.notes.cells.values() for task in done)
    failed = {(failure.model, failure.task) for failure in record.failures}
    for model in record.models:
        for task in tasks:
            if (
                task not in record.notes.cells.get(model.name, [])
                and (model.name, task) not in failed
            ):
                what = f"{model.name} on {task} is not done: the run was interrupted"
                raise UsageError(
                    what, where=str(run.path), hint="run again with the same --out, then promote"
                )
    if not record.scores:
        raise UsageError("the run has no scores", where=str(run.path))


def _items(run: Opened) -> dict[str, list[dict[str, object]]]:
    """Statistics of all items that a test can be made of, by task; models that were asked the same
    items stand together.
    """
    found: dict[str, dict[tuple[tuple[str, str], ...], Statistics]] = {}
    by_cell: dict[tuple[str, str], list[Score]] = {}
    for score in run.record.scores:
        if metric_of(score).test and score.metric not in MEAN_OF:  # its items are its tasks'
            by_cell.setdefault((score.task, score.model), []).append(score)
    for (task, model), scores in by_cell.items():
        items = run.items(model, task, texts=False)
        kept = {
            statistic_of(score): rows
            for score in scores
            if (rows := _statistics(run, score, items)) is not None
        }
        if kept:
            asked = tuple((item.key, item.session) for item in items)
            found.setdefault(task, {}).setdefault(asked, {})[model] = kept
    return {
        task: [_group(asked, models) for asked, models in groups.items()]
        for task, groups in found.items()
    }


def _statistics(run: Opened, score: Score, items: Sequence[Sample]) -> list[list[float]] | None:
    """A score's, item by item; None of a re-expression, which has none of its own, and of infinite
    bits. UsageError where they are missing or of another run.
    """
    rows = [item.statistics.get(statistic_of(score), []) for item in items]
    present = [row for row in rows if row]
    if (not present and metric_of(score).is_power) or not math.isfinite(score.value):
        return None
    if not present:
        raise UsageError(
            f"the samples of {score.model} on {score.task} are not there",
            where=str(run.folder),
            hint="promote the run's own folder",
        )
    if not is_consistent(metric_of(score), present, score.value):
        raise UsageError(
            f"the samples of {score.model} on {score.task} do not give its {score.metric}",
            where=str(run.folder),
            hint="run it anew",
        )
    return [[int(value) if value.is_integer() else value for value in row] for row in rows]


def _group(asked: Sequence[tuple[str, str]], models: Statistics) -> dict[str, object]:
    sessions = (
        {"sessions": [session for _, session in asked]}
        if any(session for _, session in asked)
        else {}
    )
    return {"ids": [key for key, _ in asked], **sessions, "models": models}


def clean_commit(place: Path, *others: Path) -> str | None:
    """The commit of the git checkout that a file would stand in; None outside of one. UsageError
    where something in it is not committed, but for records, the file itself, and `others`.
    """
    folder = next(parent for parent in place.absolute().parents if parent.is_dir())
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None:
        return None
    apart = [
        RECORDS.as_posix(),
        *(inside for path in (place, *others) if (inside := _inside(path, Path(top)))),
    ]
    dirty = (
        _git(
            folder,
            "status",
            "--porcelain",
            "--",
            ":(top)",
            *(f":(top,exclude,literal){path}" for path in apart),
        )
        or ""
    ).splitlines()
    if dirty:
        more = f" and {len(dirty) - 1} more" if len(dirty) > 1 else ""
        raise UsageError(
            f"not committed: {dirty[0][3:]}{more}",
            where=top,
            hint="commit them and run again: a record must be reproducible from a commit",
        )
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    return commit or None


def _inside(path: Path, top: Path) -> str:
    """Where a path is in a checkout; "" where it is not in it, or the whole of it."""
    whole, root = path.resolve(), top.resolve()
    return whole.relative_to(root).as_posix() if root in whole.parents else ""


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says; None where there is no git or no checkout. UsageError where it refuses to
    answer.
    """
    program = shutil.which("git")
    if program is None:
        return None
    command = [program, "-C", str(folder), *arguments]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    if done.returncode and done.stderr and "not a git repository" not in done.stderr:
        raise UsageError(
            f"git does not say whether all is committed: {done.stderr.strip()}", where=str(folder)
        )
    return done.stdout.strip("\n") if done.returncode == 0 else None


def laid_out(value: Any) -> str:
    """JSON with a line for each part that fits on one: a review shows which scores moved."""
    flat = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    if len(flat) <= LINE or not isinstance(value, dict | list):
        return flat
    if isinstance(value, dict):
        return (
            "{\n"
            + ",\n".join(
                f"{json.dumps(key, ensure_ascii=False)}:{laid_out(part)}"
                for key, part in value.items()
            )
            + "\n}"
        )
    return "[\n" + ",\n".join(laid_out(part) for part in value) + "\n]"
