"""What people and judges said of a run's answers, as it is published."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from llmbench import storage
from llmbench.votes import ballots, parsing
from llmbench.votes.judges import judgements

FILES = (ballots.FILE, judgements.FILE)


def copy_votes(run: Path, place: Path, keeps_names: bool) -> int:
    """Copy the votes and the judgements of a run into a folder; return how many people voted.

    keeps_names: whether people are called what they called themselves. Otherwise they are "rater
    1", "rater 2" and so on, in the order of their names, so that the board is drawn as before.
    Raises UsageError, with the line, if a line is no vote.
    """
    if storage.is_file(run / judgements.FILE):
        storage.write_bytes(place / judgements.FILE, storage.read_bytes(run / judgements.FILE))
    lines = ballots.read_lines(run / ballots.FILE)
    raters = sorted({one.rater for one in lines})
    width = len(str(len(raters)))
    called = {
        name: name if keeps_names else f"rater {number:0{width}}"
        for number, name in enumerate(raters, 1)
    }
    if lines:
        told = [parsing.write_line(replace(one, rater=called[one.rater])) for one in lines]
        storage.write_text(place / ballots.FILE, "".join(told))
    return len(raters)
