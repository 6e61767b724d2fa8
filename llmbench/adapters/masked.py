"""Models that see both sides of a gap: pseudo-log-likelihood, in bits that share no column with
those of causal models.

Each token is masked together with the tokens to its right in the same word, and charged -log2 p of
itself: PLL-word-l2r (Kauf & Ivanova 2023, "A Better Way to Do Masked Language Model Scoring"). A
text longer than the context is read in windows that overlap by half; a token is charged in the
window in whose middle it stands most nearly.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmbench.adapter import Adapter, Passage
from llmbench.errors import ModelError
from llmbench.inference.batching import run_halving
from llmbench.inference.token_bits import token_bits
from llmbench.ledger import PSEUDO, Ledger
from llmbench.models.tokenizers.tokens import Tokens

TOKEN_BUDGET = 2048  # ids in one forward pass, padding included


@dataclass(frozen=True)
class _Gap:
    """A token to be charged: its place in its document's tokens, the window that it is read in, and
    which tokens are masked with it.
    """

    document: int
    token: int
    begin: int
    end: int
    word_end: int


class MaskedAdapter(Adapter):
    """A model over tokens that predicts masked ones. `context`: most ids at once, `before` and
    `after` included; `mask`: the id of a gap; `before`, `after`: ids around every text ([CLS],
    [SEP]).
    """

    context: int
    mask: int
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    device: str = "cpu"

    @abstractmethod
    def encode(self, text: str) -> Tokens:
        """Ids of `text`, without special ones; spans tile its bytes; `loss` says what the ids do
        not hold.
        """

    @abstractmethod
    def words(self, text: str) -> NDArray[np.int64]:
        """For each token of `encode(text)` the number of its word."""

    @abstractmethod
    def predict(self, ids: Tensor, attention: Tensor, rows: Tensor) -> Tensor:
        """(B, T) ids, their (B, T) attention mask and (N,) places in the flattened batch -> (N, V)
        logits of these places.
        """

    def pseudo_score(
        self, passages: Sequence[Passage], positions: int | None = None, seed: int = 0
    ) -> Iterator[Ledger]:
        """For each passage, in order, charges of kind pseudo: of every token, or of a seeded sample
        of `positions` tokens of all passages.
        """
        tokens = [self.encode(passage.text) for passage in passages]
        gaps = [
            gap
            for number, passage in enumerate(passages)
            for gap in self._gaps(number, tokens[number], self.words(passage.text))
        ]
        if positions is not None and positions < len(gaps):
            chosen = np.sort(
                np.random.default_rng(seed).choice(len(gaps), positions, replace=False)
            )
            gaps = [gaps[i] for i in chosen]
        bits = self._charge(tokens, gaps)
        for number, passage in enumerate(passages):
            own = [
                (gap.token, value)
                for gap, value in zip(gaps, bits, strict=True)
                if gap.document == number
            ]
            at = np.array([token for token, _ in own], dtype=np.int64)
            kind = np.full(len(own), PSEUDO, dtype=np.uint8)
            values = np.array([value for _, value in own], dtype=np.float64)
            size = len(passage.text.encode())
            ledger = Ledger(
                tokens[number].start[at],
                tokens[number].end[at],
                values,
                kind,
                size,
                passage.id,
                tokens[number].loss or "",
            )
            if own:  # a sample may leave a passage out
                ledger.check()
            yield ledger

    def _gaps(self, number: int, tokens: Tokens, words: NDArray[np.int64]) -> Iterator[_Gap]:
        count, room = len(tokens.ids), self.context - len(self.before) - len(self.after)
        if room < 1:
            raise ModelError(f"a context of {self.context} leaves no room for text")
        ends = np.append(np.flatnonzero(np.diff(words)) + 1, count)
        word_ends = ends[np.searchsorted(ends, np.arange(count), side="right")] if count else ends
        begins = window_begins(count, room)
        for token in range(count):
            begin = min(begins, key=lambda at: abs(2 * token + 1 - 2 * at - min(room, count)))
            end = min(begin + room, count)
            yield _Gap(number, token, begin, end, min(int(word_ends[token]), end))

    def _charge(self, tokens: Sequence[Tokens], gaps: Sequence[_Gap]) -> NDArray[np.float64]:
        """(N,) bits, in the order of the gaps; longest windows first, in batches of like length."""
        out = np.empty(len(gaps))
        order = sorted(range(len(gaps)), key=lambda i: gaps[i].begin - gaps[i].end)
        at = 0
        with torch.inference_mode():
            while at < len(order):
                longest = (
                    gaps[order[at]].end - gaps[order[at]].begin + len(self.before) + len(self.after)
                )
                batch = order[at : at + max(1, TOKEN_BUDGET // longest)]
                asked = [gaps[i] for i in batch]
                found = run_halving(
                    asked,
                    lambda some: self._forward(tokens, some),
                    lambda gap: f"window of {gap.end - gap.begin} ids",
                )
                out[batch] = np.concatenate(found)
                at += len(batch)
        return out

    def _forward(self, tokens: Sequence[Tokens], gaps: Sequence[_Gap]) -> NDArray[np.float64]:
        lines, rows, targets = [], [], []
        for gap in gaps:
            line = tokens[gap.document].ids[gap.begin : gap.end].copy()
            place = gap.token - gap.begin
            targets.append(int(line[place]))
            line[place : gap.word_end - gap.begin] = self.mask
            lines.append([*self.before, *line.tolist(), *self.after])
            rows.append(len(self.before) + place)
        longest = max(len(line) for line in lines)
        ids = torch.tensor(
            [line + [self.mask] * (longest - len(line)) for line in lines], device=self.device
        )
        attention = torch.tensor(
            [[1] * len(line) + [0] * (longest - len(line)) for line in lines], device=self.device
        )
        places = torch.tensor(
            [number * longest + row for number, row in enumerate(rows)], device=self.device
        )
        logits = self.predict(ids, attention, places)
        return token_bits(logits, np.asarray(targets, dtype=np.int64))


def window_begins(count: int, room: int) -> list[int]:
    """Where windows of `room` tokens begin that overlap by half, the last flush with the end."""
    last = max(0, count - room)
    return sorted({*range(0, last, max(1, room // 2)), last})
