"""What the pieces of a run are expected to take: as long as they took here the last time, or else
what the cards say.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import get_args

from llmbench import storage
from llmbench.config.model_card import Card
from llmbench.errors import LlmbenchError
from llmbench.plan.dry_run import GENERATION, START_UP, estimate_training
from llmbench.plan.plan import Plan
from llmbench.runner.watching.forecast import Kind, Piece
from llmbench.storage import default_cache

PROOF = 2.5  # seconds of a certificate that is not there yet
COMPARING = 2.0
WARM_UP = 2.5  # seconds of a model, for the rounds: two are loaded at once
AGAIN = 1.5  # times as long as their timed blocks the rounds take
UNKNOWN = 20.0  # seconds of a model of which nothing is known


def expect(made: Plan) -> tuple[dict[Piece, float], set[Piece]]:
    """Return the seconds that each piece of a run is expected to take, and the pieces of which
    nothing is done yet, so that what they take holds for another run.
    """
    known = _read(_name_file(made))
    expected: dict[Piece, float] = {}
    whole: set[Piece] = {("", "compare")}
    in_turns = [task for task in made.suite.tasks if task.process == "interleaved"]
    own = [task for task in made.suite.tasks if task.process != "interleaved"]
    for card in made.cards:
        still = [
            task.name
            for task in own
            if (card.name, task.name) not in made.lacks
            and not made.cell_path(card.name, task.name).exists()
        ]
        if not still:
            if made.models[card.name].is_outside:
                expected[card.name, "measure"] = START_UP  # to see whether its weights changed
            continue
        share = len(still) / len(own)
        whole |= {(card.name, "measure"), (card.name, "prove")} if share == 1 else set()
        measure = known.get((card.name, "measure"))
        expected[card.name, "measure"] = (
            share * measure if measure is not None else _guess_measuring(made, card, still)
        )
        with suppress(LlmbenchError, OSError):  # the run itself says what is wrong
            expected[card.name, "train"] = estimate_training(made, card)[1]
        expected[card.name, "prove"] = known.get((card.name, "prove"), PROOF)
    turns = [
        (card, task)
        for task in in_turns
        for card in made.cards
        if (card.name, task.name) not in made.lacks
        and not made.cell_path(card.name, task.name).exists()
    ]
    if turns:
        blocks = sum(task.estimate_seconds() for _, task in turns)
        expected["", "warm"] = known.get(("", "warm"), WARM_UP * len(turns))
        expected["", "rounds"] = known.get(("", "rounds"), AGAIN * blocks)
        if len(turns) == len(in_turns) * len(made.cards):
            whole |= {("", "warm"), ("", "rounds")}
    expected["", "compare"] = known.get(("", "compare"), COMPARING)
    return expected, whole


def keep(made: Plan, whole: Collection[Piece], spent: Mapping[Piece, float]) -> None:
    """Store what the whole pieces of a run took, for the next one of this suite on this machine."""
    path = _name_file(made)
    took = {piece: spent[piece] for piece in whole if piece in spent}
    rows = {"\t".join(piece): seconds for piece, seconds in {**_read(path), **took}.items()}
    with suppress(OSError):  # a full disk costs the next estimate, not the run
        storage.write_json(path, rows)


def _guess_measuring(made: Plan, card: Card, still: list[str]) -> float:
    """By the card: processes, bytes to be scored, and a few answers."""
    if card.estimate is None:
        return UNKNOWN
    seconds = START_UP
    for task in made.suite.tasks:
        if task.name in still:
            about = task.text
            text = made.suite.texts.get(about) if about else None
            megabytes = text.bytes / 1e6 if text is not None else 0.0
            is_scored = task.process == "shared" and megabytes
            seconds += card.estimate.seconds_per_megabyte * megabytes if is_scored else GENERATION
            seconds += START_UP if task.process == "own" else 0.0
    return seconds


def _name_file(made: Plan) -> Path:
    facts = [made.suite.sha256, made.options.limit, made.options.device_kind, made.options.machine]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
    return (made.options.cache or default_cache()) / "durations" / f"{key}.json"


def _read(path: Path) -> dict[Piece, float]:
    """What the file says; nothing, if it is none of ours."""
    found: dict[Piece, float] = {}
    with suppress(OSError, ValueError, AttributeError):
        for name, seconds in json.loads(path.read_text(encoding="utf-8")).items():
            model, _, word = name.rpartition("\t")
            kind: Kind | None = next((kind for kind in get_args(Kind) if kind == word), None)
            if kind and isinstance(seconds, int | float) and 0 <= seconds < 1e7:
                found[model, kind] = float(seconds)
    return found
