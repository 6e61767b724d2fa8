"""What a server proves when it is connected.

Many servers accept a request for the log-probabilities of a prompt and answer it wrongly: one row
late, with those of an earlier prompt, with none at all. So a model behind a server writes a few
tokens after prompts of several lengths; then it is given what it wrote to read. It must give each
token the log-probability with which it wrote it, and the same when it is asked again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmbench.adapters.servers.client import Client, Refusal
from llmbench.adapters.servers.echo import (
    Echo,
    Unusable,
    Way,
    find_logprobs,
    is_number,
)
from llmbench.adapters.servers.logarithms import ASKED, find_likeliest, judge_base
from llmbench.adapters.servers.protocol import Counting, Dialect, read_usage, take_choice
from llmbench.adapters.servers.tokenizer import ServerTokenizer
from llmbench.data.probe_texts import PROSE
from llmbench.errors import ModelError

LENGTHS: tuple[int, ...] = (0, 1, 5, 16, 40, 120)  # tokens after BOS
LONG = 600  # the longest, if the context is known: engines cut prompts into pieces of up to 512
STRIDE = 17  # of the tokens after the text, which make no sense and so are no copy of it
SAME = 3  # tokens that share the lowest log-probability, if that is where a server's numbers end
WRITTEN = 6  # tokens after each
SAID = 60  # characters of a server's words in a cause
SHORT = 8  # tokens of a prompt that no server cuts
LEAST_LENGTHS, LEAST_TOKENS = 3, 8  # that must be compared
# Times the mean tolerance by which one token may differ. Logits from 32 to 64 are 0.25 apart in
# bfloat16, and either reading is rounded: 0.5 nats. SmolLM2-135M, written in steps and read whole,
# differs from itself by 0.020 nats on average and 0.30 at most in bfloat16, by 0.005 and 0.025 in
# float16, and by 3e-6 and 1e-5 in float32; rows one place too late differ by nats.
MOST = 10.0
APART = 5.0  # times that the rows beside a token's own must differ more than its own


class Unproven(Exception):
    """The server's log-probabilities of prompts cannot be used; the message says why."""


@dataclass(frozen=True)
class Written:
    """What a server wrote after a prompt's ids, with the nats of each token."""

    prompt: tuple[int, ...]
    ids: tuple[int, ...]
    nats: NDArray[np.float64]

    @property
    def whole(self) -> tuple[int, ...]:
        """The prompt and what follows it."""
        return (*self.prompt, *self.ids)


@dataclass
class Proof:
    """What was compared. `cause`: why text is not scored, "" if it is."""

    cause: str = ""
    way: Way | None = None
    takes_ids: bool = False
    tokens: int = 0
    lengths: list[int] = field(default_factory=list)
    mean: float | None = None  # difference in nats
    largest: float | None = None
    base: str = ""  # of the logarithms, and how that is known

    def to_record(self) -> dict[str, object]:
        """Return what the record says of it."""
        if self.cause:
            return {"likelihood": f"refused: {self.cause}"}
        return {
            "likelihood": f"log-probabilities of token ids by {self.way}",
            "tokens_compared": self.tokens,
            "prompt_lengths": self.lengths,
            "mean_difference_nats": self.mean,
            "largest_difference_nats": self.largest,
            "base_of_logarithms": self.base,
        }


class Prober:
    """Asks a server for the log-probabilities of what it wrote, and holds them against it."""

    def __init__(
        self,
        client: Client,
        dialect: Dialect,
        tokenizer: ServerTokenizer,
        counting: Counting,
        context: int | None,
        tolerance: float,
    ):
        self.client, self.dialect, self.tokenizer = client, dialect, tokenizer
        self.counting = counting
        self.tolerance = tolerance
        ids = tokenizer.text.encode(" ".join(PROSE)).ids.tolist()
        most = len(ids) - WRITTEN
        lengths = LENGTHS
        if context is not None:
            rest = LONG + WRITTEN - len(ids)
            ids += [ids[STRIDE * at % len(ids)] for at in range(rest)]
            most = min(len(ids), context - 2 - len(tokenizer.bos_ids)) - WRITTEN
            lengths = (*LENGTHS, LONG)
        self.lengths = sorted({min(length, most) for length in lengths if most > 0})
        self.text_ids: list[int] = ids
        self._asks_ids, self._asked = True, list(ASKED)
        self._likeliest: list[list[float]] = []

    def prove(self) -> Proof:
        """Return what the server proves; never raises for what is wrong with its numbers."""
        proof = Proof()
        try:
            written = list(self._write(proof))
            self._require_enough(written)
            self._compare(written, proof)
            cause, proof.base = judge_base(self._likeliest)
            if cause:
                raise Unproven(cause)
        except Unproven as error:
            proof.cause = str(error)
        return proof

    # What it writes
    # ------------------------------------------------------------------------------------------

    def _write(self, proof: Proof) -> Iterator[Written]:
        for length in self.lengths:
            prompt = (*self.tokenizer.bos_ids, *self.text_ids[:length])
            try:
                choice = self._ask(prompt)
            except ModelError as error:  # some refuse with 500
                said = error.said if isinstance(error, Refusal) else error.what
                raise Unproven(f"it refuses token ids: {said[:SAID]}") from None
            proof.takes_ids = True
            found = self._read_written(prompt, choice)
            if found is not None:
                yield found

    def _ask(self, prompt: Sequence[int]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.dialect.model,
            "prompt": list(prompt),
            self.dialect.limit: WRITTEN,
            "temperature": 0.0,
        }
        answer = self._ask_as_it_likes(body)
        self.dialect.check_model(answer)
        self._check_usage(answer, len(prompt))
        choice = dict(take_choice(answer, self.client.where))
        self._likeliest += find_likeliest(choice)
        return choice

    def _ask_as_it_likes(self, body: dict[str, Any]) -> dict[str, Any]:
        """Ask for ids and for the likeliest tokens; without them from when that was refused."""
        while True:
            asked = {**body, "logprobs": self._asked[0]}
            if self._asks_ids:
                asked["return_token_ids"] = True
            try:
                return self.client.ask(self.dialect.path, asked)
            except Refusal as refusal:
                if self._asks_ids and "return_token_ids" in refusal.said:
                    self._asks_ids = False
                elif len(self._asked) > 1 and "logprobs" in refusal.said:
                    del self._asked[0]
                else:
                    raise

    def _check_usage(self, answer: dict[str, Any], count: int) -> None:
        """Note a wrong count of a prompt that is too short to have been cut."""
        usage = answer.get("usage")
        read = read_usage(usage).get("prompt_tokens") if isinstance(usage, dict) else None
        if read is not None and read != count and count <= SHORT and not self.counting.wrong:
            self.counting.wrong = f"prompt_tokens {read} for a prompt of {count}"

    def _read_written(self, prompt: tuple[int, ...], choice: dict[str, Any]) -> Written | None:
        """What was written, as ids; None if nothing was, or its ids cannot be known."""
        nats = find_logprobs(choice)
        if nats is None:
            raise Unproven("it ignores 'logprobs': what it writes has no log-probabilities")
        text = choice.get("text")
        if not nats or not isinstance(text, str):
            return None
        ids = choice.get("token_ids")
        if isinstance(ids, list) and len(ids) == len(nats):
            self._check_spelling(ids, text)
        else:
            ids = self._spell(prompt, text, len(nats))
        if ids is None or not all(is_number(value) for value in nats):
            return None
        return Written(prompt, tuple(ids), np.asarray(nats, dtype=np.float64))

    def _check_spelling(self, ids: Sequence[int], text: str) -> None:
        """Raise Unproven if the ids are not those of the tokenizer that was given."""
        known = range(self.tokenizer.text.size)
        if odd := [id for id in ids if type(id) is not int or id not in known]:
            raise Unproven(
                f"its tokenizer is not the one that was given: it wrote the id {odd[0]!r:.40}, and"
                f" there are {len(known)}"
            )
        plain = [id for id in ids if id not in self.tokenizer.text.special]
        got = self.tokenizer.text.decode(plain).decode(errors="replace")
        if got.strip() and text.strip() and got.strip() != text.strip():
            raise Unproven(
                f"its tokenizer is not the one that was given: it wrote {text[:40]!r}, whose ids"
                f" stand for {got[:40]!r}"
            )

    def _spell(self, prompt: tuple[int, ...], text: str, count: int) -> list[int] | None:
        """The ids of what was written, if the tokenizer leaves no doubt about them."""
        own = list(prompt[len(self.tokenizer.bos_ids) :])
        before = self.tokenizer.text.decode_text(own).decode(errors="replace")
        ids = self.tokenizer.text.encode(before + text).ids.tolist()
        return ids[len(own) :] if ids[: len(own)] == own and len(ids) == len(own) + count else None

    def _require_enough(self, written: Sequence[Written]) -> None:
        lengths, tokens = len(written), sum(len(one.ids) for one in written)
        if lengths < LEAST_LENGTHS or tokens < LEAST_TOKENS:
            raise Unproven(
                f"it could not be verified: the ids of only {tokens} tokens that it wrote, after"
                f" {lengths} prompts, are known"
            )

    # What it reads
    # ------------------------------------------------------------------------------------------

    def _compare(self, written: Sequence[Written], proof: Proof) -> None:
        """Read what was written, in the first way that the server knows. Fill in the proof."""
        causes = []
        for way in ("echo", "prompt_logprobs"):
            echo = Echo(self.client, self.dialect, way)
            try:
                rows = [self._read_twice(echo, one) for one in written]
            except Refusal as refusal:
                causes.append(f"it refuses {way!r}: {refusal.said[:SAID]}")
                continue
            except Unusable as error:
                causes.append(error.cause)
                continue
            self._hold_against(written, rows, proof)
            proof.way = way
            return
        raise Unproven(causes[0])

    def _read_twice(self, echo: Echo, one: Written) -> NDArray[np.float64]:
        """The nats of what was written, asked twice, each time after another text that begins like
        it and is at least as long: a cache that is keyed by beginnings would give its nats.
        """
        size = WRITTEN + max(len(one.prompt), min(self.lengths[-1], LENGTHS[-1]))
        other = [*self.text_ids, *self.text_ids][-size:]
        echo.read([*one.prompt, *reversed(other)][:size])
        first = echo.read(one.whole)
        echo.read([*one.prompt, *other][:size])
        again = echo.read(one.whole)
        gap = _largest_gap(first[1:], again[1:])
        if gap > MOST * self.tolerance:
            raise Unproven(
                f"the same prompt has other log-probabilities when it is asked again (by {gap:.3g}"
                " nats): a cache of another prompt's may be read"
            )
        return again

    def _hold_against(
        self, written: Sequence[Written], rows: Sequence[NDArray[np.float64]], proof: Proof
    ) -> None:
        """Raise Unproven unless each token has the nats with which it was written."""
        self._compare_beginnings(written, rows)
        _check_floor(written[-1], rows[-1])
        own = np.concatenate(
            [row[len(one.prompt) :] for one, row in zip(written, rows, strict=True)]
        )
        nats = np.concatenate([one.nats for one in written])
        gaps = np.abs(own - nats)
        proof.tokens, proof.lengths = len(nats), [len(one.prompt) for one in written]
        proof.mean, proof.largest = float(gaps.mean()), float(gaps.max())
        if not (proof.mean <= self.tolerance and proof.largest <= MOST * self.tolerance):
            raise Unproven(
                "a prompt's tokens have other log-probabilities than when it writes them:"
                f" {int((gaps > self.tolerance).sum())} of {len(gaps)} differ, by up to"
                f" {proof.largest:.3g} nats; they may be read one row too late, or from a cache"
            )
        beside = min(_find_gap_beside(written, rows, step) for step in (-1, 1))
        if beside < APART * proof.mean:
            raise Unproven(
                f"it could not be verified: a token's own row fits ({proof.mean:.3g} nats), and so"
                f" does the one beside it ({beside:.3g})"
            )

    def _compare_beginnings(
        self, written: Sequence[Written], rows: Sequence[NDArray[np.float64]]
    ) -> None:
        """Raise Unproven if the same beginning has other nats in a longer prompt."""
        longest = rows[-1]
        for one, row in zip(written, rows, strict=True):
            size = min(len(one.prompt), len(written[-1].prompt))
            gap = _largest_gap(row[1:size], longest[1:size])
            if gap > MOST * self.tolerance:
                raise Unproven(
                    f"the first {size} tokens have other log-probabilities in a longer prompt (by"
                    f" {gap:.3g} nats): a cache of another prompt's may be read"
                )


def _check_floor(one: Written, row: NDArray[np.float64]) -> None:
    """Raise Unproven if several tokens share the lowest log-probability: rows are not alike, and
    a server which has no lower ones gives that in place of its model's.
    """
    values, ids = row[1:], one.whole
    known = values[np.isfinite(values)]
    if not len(known):
        return
    lowest = float(known.min())
    pairs = {ids[at : at + 2] for at in np.flatnonzero(values == lowest).tolist()}
    if len(pairs) >= SAME:
        raise Unproven(
            f"it could not be verified: {len(pairs)} tokens of a prompt share the lowest"
            f" log-probability, {lowest:.4g} nats, as if lower ones were cut off"
        )


def _find_gap_beside(
    written: Sequence[Written], rows: Sequence[NDArray[np.float64]], step: int
) -> float:
    """Mean nats between tokens and the rows one place beside theirs."""
    gaps = []
    for one, row in zip(written, rows, strict=True):
        places = np.arange(len(one.prompt), len(row)) + step
        inside = (places >= 1) & (places < len(row))
        gaps.append(np.abs(row[places[inside]] - one.nats[inside]))
    found = np.concatenate(gaps)
    return float(found.mean()) if len(found) else 0.0


def _largest_gap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Largest difference; of two that are minus infinity, none."""
    with np.errstate(invalid="ignore"):  # infinity less itself
        gaps = np.where(one == other, 0.0, np.abs(one - other))
    return float(gaps.max()) if len(gaps) else 0.0
