"""Make an export, then print it or write it where the user said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import cast

from llmbench import storage
from llmbench.integrations.exports.registry import Target
from llmbench.integrations.exports.target import Export, Sender, Source

LINES = 400  # of a file that is shown


def deliver(
    target: Target,
    source: Source,
    folder: Path | None = None,
    uri: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Path | str:
    """Write a run to a target and return where it is.

    folder: where files go (default: exports/TARGET in the run's folder). uri: an address to send
    to instead. say: is told what the target cannot hold, and how to look at what was written.
    Raises UsageError if the package that writes is missing, or refuses.
    """
    target.check(uri)
    maker = target.load()
    export = maker.make(source)
    state = source.opened.record.state
    if state.end != "done" and not state.is_complete:
        say(f"the run is not whole ({state.end}): this is what was measured until then")
    for note in export.notes:
        say(note)
    place = folder if folder is not None else find_folder(target, source)
    for file in export.files:
        storage.write_bytes(place / file.path, file.content)
    if target.is_tracker:
        say(cast(Sender, maker).send(export, place, uri))
    return place if uri is None else uri


def find_folder(target: Target, source: Source) -> Path:
    """Return where files of a target go if the user does not say: below the run's folder."""
    return source.opened.folder / "exports" / target.name


def show(export: Export) -> Iterator[str]:
    """Yield the lines that `--dry-run` prints: every file, texts in full, and what trackers get."""
    for file in export.files:
        yield f"--- {file.path} ({len(file.content):,} bytes)"
        try:
            lines = file.content.decode().splitlines()
        except UnicodeDecodeError:
            continue
        if "\0" in file.content.decode():
            continue
        yield from lines[:LINES]
        if len(lines) > LINES:
            yield f"... {len(lines) - LINES:,} more lines"
    for tracked in export.tracked:
        yield storage.as_json(asdict(tracked))
    yield from (f"note: {note}" for note in export.notes)
