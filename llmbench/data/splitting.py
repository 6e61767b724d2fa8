"""Where a text is cut: at fractions of its bytes, and into blocks at natural breaks."""

from __future__ import annotations

LEAST_BLOCKS, BLOCK_BYTES, LEAST_BLOCK_BYTES = 30, 4096, 200


def cut_fraction(text: str, low: float, high: float) -> str:
    """The bytes from low to high, both ends moved forward to a character's first byte."""
    raw = text.encode()
    ends = []
    for share in (low, high):
        at = int(len(raw) * share + 1e-9)
        while at < len(raw) and raw[at] & 0xC0 == 0x80:
            at += 1
        ends.append(at)
    return raw[ends[0] : ends[1]].decode()


def block_edges(text: str) -> list[int]:
    """Byte offsets that cut one long text into items: at least 30 blocks, of at least 4 KB where
    the text allows it, at blank lines, else line ends, else spaces near the even places. [0, n]
    where the text is too short for two blocks of 200 bytes.
    """
    raw = text.encode()
    n = len(raw)
    count = min(max(LEAST_BLOCKS, n // BLOCK_BYTES), n // LEAST_BLOCK_BYTES)
    edges = [0]
    for i in range(1, count):
        ideal, reach = n * i // count, n // count // 3
        edges.append(_natural_break(raw, ideal, max(edges[-1] + 1, ideal - reach), ideal + reach))
    return [*edges, n]


def _natural_break(raw: bytes, ideal: int, low: int, high: int) -> int:
    for mark in (b"\n\n", b"\n", b" "):
        after = raw.find(mark, ideal - len(mark), high - len(mark))
        before = raw.rfind(mark, low - len(mark), ideal)
        places = [
            at + len(mark) for at in (before, after) if at >= 0 and low <= at + len(mark) < high
        ]
        if places:
            return min(places, key=lambda at: abs(at - ideal))
    while raw[ideal] & 0xC0 == 0x80:
        ideal += 1
    return ideal
