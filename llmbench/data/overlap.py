"""How much of one text occurs word for word in another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llmbench.data.text import Text

OVERLAP_BYTES = 50


def overlap_share(test: Text, train: Text, length: int = OVERLAP_BYTES) -> float | None:
    """Share of the test's substrings of `length` bytes that also occur in the training text; None
    where the test has none so long.

    Substrings are compared by a 64-bit polynomial hash: a false match is a matter of 1e-7 even for
    a gigabyte of text.
    """
    wanted = _hashes(test, length)
    if not wanted.size:
        return None
    return float(np.isin(wanted, np.unique(_hashes(train, length))).mean())


def _hashes(text: Text, length: int) -> NDArray[np.uint64]:
    parts = []
    for document in text.documents:
        data = np.frombuffer(document.text.encode(), dtype=np.uint8).astype(np.uint64)
        if len(data) < length:
            continue
        windows = np.zeros(len(data) - length + 1, dtype=np.uint64)
        for offset in range(length):
            windows = (
                windows * np.uint64(0x9E3779B97F4A7C15)
                + data[offset : offset + len(windows)]
                + np.uint64(1)
            )
        parts.append(windows)
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint64)
