"""What the pieces of a run are expected to take: as long as they took here the last time; or else
what the cards say, times what such pieces took more or less in other runs on this machine; or else
what they say, times how busy the machine is.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_args

from llmbench import storage
from llmbench.config.model_card import Card
from llmbench.errors import LlmbenchError
from llmbench.hardware import machine, peaks
from llmbench.plan import registry
from llmbench.plan.dry_run import ATTEMPTS, estimate_training
from llmbench.plan.plan import Plan
from llmbench.runner.watching.forecast import Kind, Piece
from llmbench.storage import default_cache
from llmbench.tasks.task import Task

COMPARING = 0.05  # seconds of each model, when answers are compared
AGAIN = 1.5  # times as long as their timed blocks the rounds take
CEILINGS = 10.0  # seconds of measuring what the machine can do at most
FIRST = 0.8  # seconds more of the first model, which nobody loaded ahead
UNKNOWN = 20.0  # seconds of a model of which nothing is known


class _Usual(NamedTuple):
    """Seconds on two cores with nothing else to do, of a model that is loaded while the one before
    it is at work. `warm`: of loading and warming up for the rounds.
    """

    start: float
    answers: float
    proof: float
    warm: float


NETWORK = _Usual(start=0.8, answers=0.7, proof=1.1, warm=1.8)
COUNTS = _Usual(start=0.8, answers=0.7, proof=0.4, warm=0.6)  # what learns from text without torch
LIGHT = _Usual(start=0.6, answers=0.2, proof=0.3, warm=0.4)  # the rest


@dataclass
class Expectation:
    """Seconds of each piece of a run.

    Attributes:
        seconds: What each piece is expected to take.
        plain: The same, of pieces of which only the cards tell, on an idle machine.
        groups: Which pieces load a network, and which are light.
        whole: Pieces of which nothing is done yet, so that what they take holds for another run.
    """

    seconds: dict[Piece, float] = field(default_factory=dict)
    plain: dict[Piece, float] = field(default_factory=dict)
    groups: dict[Piece, str] = field(default_factory=dict)
    whole: set[Piece] = field(default_factory=set)


def expect(made: Plan) -> Expectation:
    """Return what each piece of a run is expected to take."""
    known = _read(_name_file(made))
    found = Expectation()
    _expect_models(made, known, found)
    _expect_turns(made, known, found)
    found.whole.add(("", "compare"))
    _add(found, ("", "compare"), known, COMPARING * len(made.cards))
    _put_right(made, found)
    return found


def _expect_models(made: Plan, known: Mapping[Piece, float], found: Expectation) -> None:
    own = [task for task in made.suite.tasks if task.process != "interleaved"]
    first = FIRST
    for card in made.cards:
        name = card.name
        usual = _find_usual(made, name)
        still = [task for task in own if _is_open(made, name, task)]
        kinds: tuple[Kind, ...] = ("train", "measure", "prove")
        found.groups |= {(name, kind): "network" if usual is NETWORK else "light" for kind in kinds}
        if not still:
            if made.models[name].is_outside:  # to see whether its weights changed
                _add(found, (name, "measure"), {}, usual.start)
            continue
        share = len(still) / len(own)
        found.whole |= {(name, "measure"), (name, "prove")} if share == 1 else set()
        last = {piece: seconds * share for piece, seconds in known.items() if piece[1] == "measure"}
        _add(found, (name, "measure"), last, _guess_measuring(made, card, still, usual) + first)
        first = 0.0
        with suppress(LlmbenchError, OSError):  # the run itself says what is wrong
            found.seconds[name, "train"] = estimate_training(made, card)[1]
        _add(found, (name, "prove"), known, usual.proof)


def _find_usual(made: Plan, name: str) -> _Usual:
    facts = made.models[name].facts
    return NETWORK if facts.needs_torch else COUNTS if facts.learns_from_text else LIGHT


def _expect_turns(made: Plan, known: Mapping[Piece, float], found: Expectation) -> None:
    """The rounds in which all models take turns."""
    in_turns = [task for task in made.suite.tasks if task.process == "interleaved"]
    turns = [
        (card, task) for task in in_turns for card in made.cards if _is_open(made, card.name, task)
    ]
    if not turns:
        return
    warm = sum(_find_usual(made, card.name).warm for card, _ in turns)
    options = made.options
    ceilings = peaks.kept_in(
        options.cache or default_cache(), options.device_kind, options.threads or machine.cores()
    )
    warm += CEILINGS if peaks.read(ceilings) is None else 0.0
    blocks = sum(task.estimate_seconds() for _, task in turns)
    found.groups |= {("", "warm"): "network", ("", "rounds"): "rounds"}
    _add(found, ("", "warm"), known, warm)
    _add(found, ("", "rounds"), known, AGAIN * blocks)
    if len(turns) == len(in_turns) * len(made.cards):
        found.whole |= {("", "warm"), ("", "rounds")}


def _is_open(made: Plan, name: str, task: Task.Settings) -> bool:
    is_there = made.cell_path(name, task.name).exists()
    return (name, task.name) not in made.lacks and not is_there


def _add(found: Expectation, piece: Piece, known: Mapping[Piece, float], guess: float) -> None:
    """Expect what the piece took the last time, or else a guess that is to be put right."""
    found.seconds[piece] = known.get(piece, guess)
    if piece not in known:
        found.plain[piece] = guess


def _put_right(made: Plan, found: Expectation) -> None:
    """Multiply guesses by what other runs took for such pieces, or by how busy the machine is."""
    paces = _read(_name_paces(made))
    slowdown = find_slowdown()
    for piece, guess in found.plain.items():
        if piece[1] != "rounds":  # their clocks wait for no one
            found.seconds[piece] = guess * paces.get(_class_of(found, piece), slowdown)


def find_slowdown() -> float:
    """Return how many times as long as on an idle machine work takes now: as the load of the last
    minute says, or as the time does that this process got so far, whichever says less.
    """
    import psutil

    by_load = ((machine.load_state()["load"] or 0.0) + 1) / machine.cores()
    alive = time.time() - psutil.Process().create_time()
    return max(1.0, min(by_load, alive / max(time.process_time(), 0.01)))


def _class_of(found: Expectation, piece: Piece) -> Piece:
    return found.groups.get(piece, ""), piece[1]


def keep(made: Plan, found: Expectation, spent: Mapping[Piece, float]) -> None:
    """Store what the whole pieces of a run took, for the next one of this suite on this machine;
    and for other suites how many times as long as guessed each kind took.
    """
    took = {piece: spent[piece] for piece in found.whole if spent.get(piece)}
    _store(_name_file(made), took)
    sums: dict[Piece, list[float]] = {}
    for piece, guess in found.plain.items():
        if piece in took and guess:
            both = sums.setdefault(_class_of(found, piece), [0.0, 0.0])
            both[0], both[1] = both[0] + took[piece], both[1] + guess
    _store(_name_paces(made), {piece: one / other for piece, (one, other) in sums.items()})


def _store(path: Path, new: Mapping[Piece, float]) -> None:
    rows = {"\t".join(piece): seconds for piece, seconds in {**_read(path), **new}.items()}
    with suppress(OSError):  # a full disk costs the next estimate, not the run
        storage.write_json(path, rows)


def _guess_measuring(
    made: Plan, card: Card, still: Sequence[Task.Settings], usual: _Usual
) -> float:
    """By the card: processes, bytes to be scored, and a few answers."""
    if card.estimate is None:
        return UNKNOWN
    seconds, size = usual.start, _find_size(card)
    for task in still:
        about = task.text
        text = made.suite.texts.get(about) if about else None
        megabytes = text.bytes / 1e6 if text is not None else 0.0
        is_scored = task.process == "shared" and megabytes
        scoring = size * card.estimate.seconds_per_megabyte * megabytes
        seconds += scoring if is_scored else usual.answers
        seconds += ATTEMPTS * usual.start if task.process == "attempts" else 0.0
        seconds += usual.start if task.process == "own" and not task.is_untimed else 0.0
    return seconds


def _find_size(card: Card) -> float:
    """How many times as much as the baseline of its name a network computes, by its width."""
    if card.network is None:
        return 1.0
    with suppress(LlmbenchError, OSError):
        base = (
            registry.resolve(card.name).network
            if card.name in registry.names("baselines")
            else None
        )
        own, usual = (
            network.arguments.get("width") if network else None for network in (card.network, base)
        )
        if isinstance(own, int) and isinstance(usual, int) and own > 0 and usual > 0:
            return float(own / usual) ** 2
    return 1.0


def _name_file(made: Plan) -> Path:
    facts = [made.suite.sha256, made.options.limit, made.options.device_kind, made.options.machine]
    return _name(made, facts)


def _name_paces(made: Plan) -> Path:
    return _name(made, ["paces", made.options.device_kind, made.options.machine])


def _name(made: Plan, facts: list[Any]) -> Path:
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
