"""How far the letters of what a model says are from those of human text: a distance of 3-grams of
characters, with human text at zero.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llmbench.data.splitting import block_edges
from llmbench.data.text import Text
from llmbench.metrics.facts import FACTS
from llmbench.metrics.text import TextMetric, as_numbers, as_text, bootstrap
from llmbench.stats import Interval

if TYPE_CHECKING:  # scipy is imported where it is needed
    from scipy.sparse import csr_array

N = 3
SEED = 0
# of all samples together: fables then lie at 0 with a standard deviation of 0.014, and with their
# words shuffled at 0.03
LEAST_BYTES = 2000
FEW_DOCUMENTS = (
    16  # with fewer in the held-out text, what a half of them says of human text is chance
)
AT_ONCE = 50  # resamples: a matrix of so many rows and a column for each 3-gram
_BITS = 21  # of a character's code point: three fit into 63

Codes = NDArray[np.int64]
Shares = NDArray[np.float64]


class NgramDistance(TextMetric):
    """Total variation distance, 1/2 sum |p - q|, from the 3-grams of all samples together to those
    of held-out text, minus the same distance of human text cut like the samples. 0: as close as
    human text is, and by chance slightly below; up to 1: no 3-gram shared.

    Profiles of character n-grams: Cavnar & Trenkle 1994. Total variation (Levin, Peres & Wilmer,
    Markov Chains and Mixing Times, ch. 4), and not Jensen-Shannon divergence, because it is a
    share: of the 3-grams that would have to be others. Both stay finite where one side lacks a
    3-gram.

    Either grows with the noise of few 3-grams, and only a human text of the same size takes that
    away again. So the documents of the held-out text are dealt by a seed into two halves: one is
    what all is compared with, and from the other are cut pieces of as many bytes as the samples
    have, from all its documents in turn. A text of few documents is dealt in the blocks that are
    its items elsewhere too. Pieces begin at seeded places inside documents, as continuations do:
    the beginnings of documents, with their titles, are further away (0.04 for 20 of the fables).

    The bootstrap draws samples, and the documents of the pieces, and is centred: what is drawn
    twice makes every distance larger. The interval holds the noise of the human text, too: two
    models whose intervals overlap may differ nevertheless.
    """

    metric = FACTS["ngram_distance"]
    needs_reference = False

    def __init__(self, held_out: Text):
        self.signature = f"held-out:{held_out.sha256[:16]}|n:{N}|distance:tv|seed:{SEED}"
        self._human, reference = _halves(held_out)
        self._grams, counts = np.unique(
            np.concatenate([_codes(text) for text in ("", *reference)]), return_counts=True
        )
        self._shares: Shares = counts / max(1, counts.sum())

    def statistics(self, output: str, reference: str) -> list[float]:
        return as_numbers(output) if len(output) >= N else []

    def combine(self, rows: Sequence[Sequence[float]]) -> list[float]:
        return [number for row in rows for number in row]

    def value(self, rows: Sequence[Sequence[float]]) -> Interval | None:
        """None also where the samples have fewer than 2000 bytes together, or more than half of the
        held-out text has.
        """
        said = [as_text(row) for row in rows if row]
        sizes = [_size(text) for text in said]
        if (
            sum(sizes) < LEAST_BYTES
            or sum(sizes) > sum(map(_size, self._human))
            or not self._grams.size
        ):
            return None
        models, humans = (
            self._count_grams([_codes(text) for text in said]),
            self._count_grams(_cut(self._human, sorted(sizes))),
        )
        rng, documents = np.random.default_rng(SEED), humans[0].shape[0]

        def totals(counts: NDArray[np.int64]) -> list[float]:
            others = rng.multinomial(documents, np.full(documents, 1 / documents), size=len(counts))
            return [
                float(number)
                for number in _distances(counts, *models) - _distances(others, *humans)
            ]

        whole = [
            _distances(np.ones((1, side[0].shape[0]), dtype=np.int64), *side)[0]
            for side in (models, humans)
        ]
        return bootstrap(float(whole[0] - whole[1]), len(said), totals, centred=True)

    def _count_grams(self, items: Sequence[Codes]) -> tuple[csr_array, Shares]:
        """Return (how often each item has each 3-gram found in any item, the reference's share of
        each of these 3-grams).
        """
        from scipy.sparse import csr_array

        grams, columns = np.unique(np.concatenate(items), return_inverse=True)
        places = np.minimum(np.searchsorted(self._grams, grams), len(self._grams) - 1)
        shares = np.where(self._grams[places] == grams, self._shares[places], 0.0)
        rows = np.repeat(np.arange(len(items)), [len(item) for item in items])
        return (
            csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(items), len(grams))),
            shares,
        )


def _distances(counts: NDArray[np.int64], items: csr_array, shares: Shares) -> Shares:
    """Of each row's choice of the items from the reference, a 3-gram that only the reference has
    being away by its whole share.
    """
    found = []
    for first in range(0, len(counts), AT_ONCE):
        sums = counts[first : first + AT_ONCE] @ items
        apart = np.abs(sums / np.maximum(1, sums.sum(axis=1, keepdims=True)) - shares).sum(axis=1)
        found.append((apart + 1 - shares.sum()) / 2)
    return np.concatenate(found)


def _codes(text: str) -> Codes:
    """Each 3-gram as one number."""
    points = np.fromiter(map(ord, text), dtype=np.int64, count=len(text))
    return (
        (points[:-2] << 2 * _BITS) | (points[1:-1] << _BITS) | points[2:]
        if len(text) >= N
        else np.empty(0, dtype=np.int64)
    )


def _size(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _halves(held_out: Text) -> tuple[list[str], list[str]]:
    """Its documents, or the blocks of few, dealt in a seeded order to whichever half has fewer
    bytes.
    """
    texts = [document.text for document in held_out.documents]
    if len(texts) < FEW_DOCUMENTS:
        texts = [
            text.encode()[a:b].decode() for text in texts for a, b in pairwise(block_edges(text))
        ]
    random.Random(SEED).shuffle(texts)
    halves: tuple[list[str], list[str]] = ([], [])
    sizes = [0, 0]
    for text in texts:
        least = int(sizes[1] < sizes[0])
        halves[least].append(text)
        sizes[least] += _size(text)
    return halves


def _cut(texts: Sequence[str], sizes: Sequence[int]) -> list[Codes]:
    """The 3-grams of pieces of so many bytes, by the text that they are from. Texts have their
    turns; a piece that reaches the end of one goes on in the next, without 3-grams across. Borders
    move on to those of characters.
    """
    rng, found = random.Random(SEED), list[list[Codes]]([] for _ in texts)
    raws = [text.encode() for text in texts]
    places = [_border(raw, rng.randrange(max(1, len(raw)))) for raw in raws]
    left = deque([(i, raw[at:]) for i, (raw, at) in enumerate(zip(raws, places, strict=True))])
    left.extend((i, raw[:at]) for i, (raw, at) in enumerate(zip(raws, places, strict=True)))
    for size in sizes:
        while size > 0 and left:
            i, raw = left.popleft()
            end = _border(raw, size)
            found[i].append(_codes(raw[:end].decode()))
            size -= end
            if raw[end:]:
                left.append((i, raw[end:]))
    return [np.concatenate(parts) for parts in found if parts]


def _border(raw: bytes, at: int) -> int:
    """The next border of a character, at the end at the latest."""
    while at < len(raw) and raw[at] & 0xC0 == 0x80:
        at += 1
    return min(at, len(raw))
