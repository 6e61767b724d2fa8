"""What unknown pieces cost. A closed vocabulary V pays for a piece w outside it: the bits of "unknown", and then the bits of its bytes,
-log2 [q(w) / (1 - sum of q(v) over v in V or empty)], so that all pieces together have probability 1.

q is a byte-level Witten-Bell 5-gram with an end symbol, down to uniform over 257 symbols, trained on the training types outside V;
where there are none, on the types seen once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmbench.witten_bell import WittenBell

END = 256  # the symbol after a piece's last byte
ORDER = 4  # bytes of history: a 5-gram


class Speller:
    """Probabilities of pieces as byte strings, the known ones and the empty one ruled out."""

    def __init__(self, examples: Collection[bytes], known: Iterable[bytes]):
        """`examples`: the types q is trained on. `known`: the pieces of V, which never need spelling."""
        self._model = WittenBell([[*piece, END] for piece in sorted(examples)], ORDER, END + 1)
        ruled_out = math.fsum(2.0 ** self._log2(sorted({*known, b""})))
        self._log_rest = math.log2(1.0 - ruled_out)
        self._bits: dict[bytes, float] = {}

    def _log2(self, pieces: Sequence[bytes]) -> NDArray[np.float64]:
        """log2 q of each piece, its end included: all symbols of all pieces asked for at once."""
        sizes = np.array([len(piece) + 1 for piece in pieces])
        symbols = np.concatenate([[*piece, END] for piece in pieces]).astype(np.int64)
        ends = np.cumsum(sizes)
        known = np.arange(len(symbols)) - np.repeat(ends - sizes, sizes)
        padded = np.concatenate([np.zeros(ORDER, dtype=np.int64), symbols[:-1]])
        histories = np.lib.stride_tricks.sliding_window_view(padded, ORDER)
        logs = np.log2(self._model.conditional(histories, np.minimum(known, ORDER), symbols))
        return np.add.reduceat(logs, ends - sizes)

    def probability(self, piece: bytes) -> float:
        """q(piece), its end included."""
        return float(2.0 ** self._log2([piece])[0])

    def bits(self, piece: bytes) -> float:
        """Bits of spelling `piece`, given that it is in need of spelling."""
        if piece not in self._bits:
            self._bits[piece] = self._log_rest - float(self._log2([piece])[0])
        return self._bits[piece]


def spelling_examples(counts: Mapping[bytes, int], known: Collection[bytes]) -> list[bytes]:
    """The types a speller learns from: the training types outside V, else those seen once, else all of them."""
    members = set(known)
    for chosen in ([p for p in counts if p not in members], [p for p, n in counts.items() if n == 1]):
        if chosen:
            return sorted(chosen)
    return sorted(counts)


def escape_probability(counts: Counter[Any]) -> float:
    """(n1 + 1)/(N + 2): what a model without an unknown symbol sets aside; n1 of N training pieces were seen once."""
    return (sum(1 for n in counts.values() if n == 1) + 1) / (counts.total() + 2)
