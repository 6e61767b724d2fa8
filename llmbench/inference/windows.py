"""Cut a line of tokens longer than the context into windows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Piece:
    """One forward pass over line[a:b] that charges the targets line[first:b+1]; the row of target t
    is t - 1 - a.
    """

    a: int
    b: int
    first: int


def windows(length: int, first: int, context: int, stride: int) -> list[Piece]:
    """Pieces that charge each target first .. length-1 of a line of `length` ids exactly once.

    The first piece starts with the line and charges all it can; each later one is as long as the
    context allows and charges its last `stride` targets; the last charges what is left. With stride
    = context this is lm-eval's rolling rule.
    """
    pieces = []
    target = first
    if first <= context and first < length:
        end = min(context, length - 1)
        pieces.append(Piece(0, end, first))
        target = end + 1
    while target < length:
        end = min(target + stride, length)  # exclusive end of this piece's targets
        pieces.append(Piece(max(0, end - 1 - context), end - 1, target))
        target = end
    return pieces
