"""How long a run still takes: what each piece of work is expected to take, put right by what the
pieces before it took.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from threading import RLock
from typing import Literal

Kind = Literal["train", "measure", "prove", "warm", "rounds", "compare"]
Piece = tuple[str, Kind]  # a model, "" for all of them together, and what is done with it
WEIGHT = 0.7  # seconds of work as expected that experience of any work is mixed with at first
OWN_WEIGHT = 3.0  # seconds of work of any kind that experience of one kind is mixed with
SURE = 0.1  # share of a piece from which on its own pace tells more than the expectation
TRAINING = ("training", "vocabulary", "fine-tuning")
PROVING = ("checking", "proving")
IN_BLOCKS = 0.92  # share of the rounds that blocks take: afterwards their cells are written
LOADING = "loading all models"  # for the rounds


class Forecast:
    """What is left of a run.

    Args:
        expected: Seconds of each piece of work, in any order.
        clock: Seconds since any beginning.
        groups: What pieces have in common besides their kind, such as that a network is loaded:
            those of one group and kind tell more about each other than about the rest.
    """

    def __init__(
        self,
        expected: Mapping[Piece, float],
        clock: Callable[[], float] = time.monotonic,
        groups: Mapping[Piece, str] | None = None,
    ):
        self._expected, self._clock, self._groups = dict(expected), clock, dict(groups or {})
        self._lock = RLock()  # a thread that draws asks, too
        self._spent: dict[Piece, float] = {}
        self._over: set[Piece] = set()
        self._given_up: set[Piece] = set()
        self._piece: Piece | None = None
        self._share = 0.0
        self._begun = self._since = clock()

    @property
    def elapsed(self) -> float:
        """Seconds since it was made."""
        return self._clock() - self._begun

    @property
    def spent(self) -> Mapping[Piece, float]:
        """Seconds that each piece took, of those that are over."""
        return {piece: self._spent.get(piece, 0.0) for piece in self._over}

    def turn_to(self, piece: Piece, share: float = 0.0) -> None:
        """Note that this piece is worked on from now on, and which share of it is done."""
        with self._lock:
            self._book()
            self._piece, self._share = piece, share
            self._over.discard(piece)
            self._given_up.discard(piece)
            self._expected.setdefault(piece, 0.0)

    def finish(self, *pieces: Piece) -> None:
        """Note that nothing is left of these pieces."""
        with self._lock:
            self._book()
            self._over.update(pieces)

    def give_up(self, *pieces: Piece) -> None:
        """Note that nothing more is done of these pieces. Those that were not over never will be,
        and what they took so far says nothing.
        """
        with self._lock:
            self._book()
            self._given_up.update(piece for piece in pieces if piece not in self._over)
            if self._piece in self._given_up:
                self._piece = None

    def estimate_left(self) -> float:
        """Return the seconds that are left."""
        with self._lock:
            self._book()
            return sum(
                max(0.0, self._guess(piece) - self._spent.get(piece, 0.0))
                for piece in self._expected
                if piece not in self._over | self._given_up
            )

    def _book(self) -> None:
        now = self._clock()
        if self._piece is not None:
            self._spent[self._piece] = self._spent.get(self._piece, 0.0) + now - self._since
        self._since = now

    def _guess(self, piece: Piece) -> float:
        """The seconds that a piece takes as a whole."""
        guess = self._expected[piece] * self._find_pace(piece)
        if piece == self._piece and self._share > 0:
            by_share = self._spent.get(piece, 0.0) / self._share
            trust = min(1.0, self._share / SURE)
            return trust * by_share + (1 - trust) * guess
        return guess

    def _find_pace(self, piece: Piece) -> float:
        """How many times as long as expected a piece takes: by pieces of its kind and group that
        are over, and, the fewer these are, by those of its group, and by all.
        """
        pace, (_, kind), group = 1.0, piece, self._groups.get(piece)
        circles: tuple[Callable[[Piece], bool], ...] = (
            # blocks of a fixed time say nothing about other work, nor it about them
            lambda other: (other[1] == "rounds") == (kind == "rounds"),
            lambda other: self._groups.get(other) == group,
            lambda other: self._groups.get(other) == group and other[1] == kind,
        )
        for number, holds in enumerate(circles):
            took = wanted = 0.0
            for other in self._find_told(pace):
                spent, expected = self._spent.get(other, 0.0), self._expected.get(other, 0.0)
                # a proof that was not made says that proofs are kept; of training, which is in the
                # cache or not, each model's is its own affair
                is_told = spent or (number == len(circles) - 1 and kind == "prove")
                if holds(other) and is_told and expected:
                    took, wanted = took + spent, wanted + expected
            weight = OWN_WEIGHT if number else WEIGHT
            pace = (took + weight * pace) / (wanted + weight)
        return pace

    def _find_told(self, pace: float) -> set[Piece]:
        """The pieces that tell something about the pace: those that are over. Those of the model at
        work tell it together, once they take longer than at this pace: some take less, some more.
        """
        if self._piece is None:
            return self._over
        name = self._piece[0]
        own = {piece for piece in self._spent if piece[0] == name}
        spent = sum(self._spent[piece] for piece in own)
        expected = sum(self._expected[piece] for piece in own)
        before = {piece for piece in self._over if piece[0] != name}
        return before | own if spent > pace * expected else before


class Follower:
    """Tells a forecast what a run is doing, from what its watcher is told.

    Args:
        models: Names of the run's models. Another one, or one that comes again, belongs to the
            rounds in which all take turns.
    """

    def __init__(self, forecast: Forecast, models: Collection[str]):
        self.forecast, self._models = forecast, frozenset(models)
        self._begun: set[str] = set()
        self._now, self._is_comparing, self._is_stopped = "", False, False

    def begin(self, name: str) -> None:
        """Note that it is the turn of a model."""
        self._leave()
        if name in self._models and name not in self._begun:
            self._begun.add(name)
            self._now = name
            self.forecast.turn_to((name, "measure"))
        else:
            self._end_turns()
            self.forecast.turn_to(("", "warm"))

    def advance(self, what: str, share: float) -> None:
        """Note what is done with the model, and how far it is."""
        if what == LOADING:
            self._leave()
            self._end_turns()
            self.forecast.turn_to(("", "warm"))
        elif what == "comparing":
            self._leave()
            if not self._is_stopped:
                self._end_turns()
                self.forecast.finish(("", "warm"), ("", "rounds"))
            self.forecast.turn_to(("", "compare"), share)
            self._is_comparing = True
        elif what.startswith("measuring speed"):
            self.forecast.finish(("", "warm"))
            self.forecast.turn_to(("", "rounds"), IN_BLOCKS * share)
        elif self._now:
            is_training, is_proof = what.startswith(TRAINING), what.startswith(PROVING)
            kind: Kind = "train" if is_training else "prove" if is_proof else "measure"
            if not is_training:
                self.forecast.finish((self._now, "train"))
            if is_proof:  # the last thing, as a rule
                self.forecast.finish((self._now, "measure"))
            self.forecast.turn_to((self._now, kind), share if is_training else 0.0)

    def stop(self) -> None:
        """Note that the run was interrupted: what was not done is left for another run."""
        self._is_stopped, self._now = True, ""
        kinds: tuple[Kind, ...] = ("train", "measure", "prove")
        models = ((name, kind) for name in self._models for kind in kinds)
        self.forecast.give_up(*models, ("", "warm"), ("", "rounds"))

    def end(self) -> None:
        """Note that the run is over. Fewer answers are compared after an interrupt."""
        if self._is_comparing and not self._is_stopped:
            self.forecast.finish(("", "compare"))

    def _leave(self) -> None:
        """The model's turn is over."""
        if self._now:
            self.forecast.finish((self._now, "train"), (self._now, "measure"), (self._now, "prove"))
        self._now = ""

    def _end_turns(self) -> None:
        """No model has a turn of its own any more."""
        for name in self._models - self._begun:
            self.forecast.finish((name, "train"), (name, "measure"), (name, "prove"))


def describe_left(seconds: float) -> str:
    """Return a time that is left in words, no more exact than it is."""
    if seconds < 8:
        return "a few seconds left"
    if seconds < 90:
        return f"about {5 * round(seconds / 5)} s left"
    if seconds < 600:
        minutes, rest = divmod(10 * round(seconds / 10), 60)
        return f"about {minutes} min{f' {rest} s' if rest else ''} left"
    if seconds < 7200:
        return f"about {round(seconds / 60)} min left"
    return f"about {seconds / 3600:.1f} h left"
