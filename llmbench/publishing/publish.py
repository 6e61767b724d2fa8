"""Write a run as a folder of static files, ready for GitHub Pages or a static Space."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import llmbench
from llmbench import storage
from llmbench.errors import UsageError
from llmbench.leaderboard.board import build
from llmbench.leaderboard.renderers import registry
from llmbench.publishing import manifest
from llmbench.publishing.leaks import check_leaks
from llmbench.publishing.readme import BADGE, README, draw_badge, write_readme
from llmbench.publishing.votes import FILES, copy_votes
from llmbench.results.ranking import rank_stopped
from llmbench.results.record import Record
from llmbench.results.samples import Opened, open_results

NO_JEKYLL = ".nojekyll"  # GitHub Pages serves the files as they are


@dataclass(frozen=True)
class Published:
    """A folder that was written. `sha256`: of its list of files; `lacks`: files of the run that
    were not there; `raters`: people whose votes are in it.
    """

    folder: Path
    sha256: str
    files: int
    lacks: tuple[str, ...]
    raters: int = 0


def publish(
    path: Path,
    out: Path | None = None,
    *,
    samples: bool = True,
    rater_names: bool = False,
    settings: Mapping[str, str] = os.environ,
) -> Published:
    """Write the run at `path` to the folder `out`, by default one beside the run.

    samples: whether what the models did on each item is published, too, with what people and judges
    said of it. rater_names: whether people who voted are called by their names there. settings:
    environment variables, whose secrets must not be in a file.

    Raises UsageError, and leaves `out` as it was, if the run is not finished or was changed, if
    `out` holds other things, or if a file holds a secret or a path of this machine.
    """
    opened = open_results(path)
    _check_run(opened)
    target = out or opened.folder.resolve().with_name(f"{opened.folder.resolve().name}-published")
    before = _check_target(target, opened.folder)
    parent = target.resolve().parent
    parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=".publishing-", dir=parent))
    try:
        lacks = _copy_run(place, opened, samples)
        raters = copy_votes(opened.folder, place, rater_names) if samples else 0
        for name, text in draw_files(place, opened.record).items():
            storage.write_text(place / name, text)
        names = manifest.list_files(place)
        first = sorted(names, key=lambda name: "/" not in name)  # the page repeats what samples say
        check_leaks(place, first, opened.folder, settings)
        digest = manifest.write_manifest(place, llmbench.__version__)
        _replace(target, place, [*names, manifest.NAME], before)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return Published(target, digest, len(names), tuple(lacks), raters)


def _check_run(opened: Opened) -> None:
    record, where = opened.record, str(opened.path)
    if record.review is not None:
        raise UsageError(
            "a reviewed record has no board of its own", where=where, hint="publish its run"
        )
    state = record.state
    if state.end != "done" and not state.is_complete:
        open_cells = sum(map(len, state.not_reached.values()))
        lacks = f"{open_cells} cells are not filled" if open_cells else "it is not ranked yet"
        raise UsageError(
            f"the run is {state.end}: {lacks}", where=where, hint="run again with the same --out"
        )
    if not record.scores:
        raise UsageError("the run has no scores", where=where)


def _check_target(target: Path, run: Path) -> list[str]:
    """The files of an earlier publication that are to go. UsageError if the folder holds anything
    else.
    """
    if target.resolve() == run.resolve():
        raise UsageError("this is the run itself", where=str(target), hint="choose another --out")
    if target.exists() and not target.is_dir():
        raise UsageError("--out is a file", where=str(target), hint="name a folder")
    if not target.is_dir():
        return []
    there = manifest.list_files(target)
    listed: list[str] = []
    with suppress(OSError):
        raw = storage.read_bytes(target / manifest.NAME)
        listed = [*manifest.parse_manifest(raw, str(target)).files, manifest.NAME]
    strange = [name for name in there if name not in listed]
    if strange:
        raise UsageError(
            f"--out holds {strange[0]}, which no publication wrote",
            where=str(target),
            hint="choose an empty folder, or one that `llmbench publish` wrote",
        )
    return listed


def _copy_run(place: Path, opened: Opened, samples: bool) -> list[str]:
    """Copy the record, and what it lists; return the files that are not there."""
    record = opened.record
    source = opened.path / manifest.RECORD if opened.path.is_dir() else opened.path
    shutil.copyfile(source, place / manifest.RECORD)
    lacks = []
    for name in record.notes.files if samples else ():
        if not manifest.is_safe_name(name):
            raise UsageError("the record names a file outside its folder", where=name)
        if not storage.is_file(opened.folder / name):
            lacks.append(name)
            continue
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(opened.folder / name, place / name)
    return lacks


def draw_files(place: Path, record: Record) -> dict[str, str]:
    """Return what is drawn from a record and what else is in a published folder, file by file: the
    board, the badge and the README.
    """
    record = rank_stopped(record, place)
    board = build(record, place)
    boards = {
        manifest.PAGE if ending == "html" else f"leaderboard.{ending}": registry.draw(ending, board)
        for ending in registry.WRITTEN
    }
    has_samples = any(storage.is_file(place / name) for name in record.notes.files)
    said = [name for name in FILES if storage.is_file(place / name)]
    readme = write_readme(record, board.verdict, has_samples, said)
    return {**boards, BADGE: draw_badge(record), README: readme, NO_JEKYLL: ""}


def _replace(target: Path, place: Path, names: list[str], before: list[str]) -> None:
    """Move the files to where they belong, the list of files last: a folder without it is not
    whole.
    """
    target.mkdir(parents=True, exist_ok=True)
    (target / manifest.NAME).unlink(missing_ok=True)
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).replace(target / name)
    for name in {*before} - {*names}:
        (target / name).unlink(missing_ok=True)
        with suppress(OSError):  # others are in it
            (target / name).parent.rmdir()
