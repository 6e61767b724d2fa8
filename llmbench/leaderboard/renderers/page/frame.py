"""The frame of a picture: its size, its grid, and what is written at its axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

Ticks = Sequence[tuple[float, str]]

_ACROSS = Markup(
    '<path class="grid" d="M{x} {top}V{bottom}"/>'
    '<text class="tick" x="{x}" y="{below}" text-anchor="middle">{text}</text>'
)
_DOWN = Markup(
    '<path class="grid" d="M{left} {y}H{right}"/>'
    '<text class="tick" x="{before}" y="{y}" dy=".35em" text-anchor="end">{text}</text>'
)
_TITLES = Markup(
    '<text class="title" x="{right}" y="{below}" text-anchor="end">{across}</text>'
    '<text class="title" x="{left}" y="{above}">{up}</text>'
)


@dataclass(frozen=True)
class Size:
    """A picture's size in pixels and the room around its axes."""

    width: int
    height: int
    left: int = 46
    right: int = 14
    top: int = 28
    bottom: int = 42

    @property
    def far(self) -> int:
        """The right end of the axes."""
        return self.width - self.right

    @property
    def floor(self) -> int:
        """The lower end of the axes."""
        return self.height - self.bottom


@dataclass(frozen=True)
class Titles:
    """What is written at the axes, and what the picture is, for those who do not see it."""

    x: str
    y: str
    said: str


def draw_grid(across: Ticks, down: Ticks, titles: Titles, size: Size) -> Markup:
    """Return the lines and numbers of both axes, with their titles."""
    parts = [
        _ACROSS.format(x=x, top=size.top, bottom=size.floor, below=size.floor + 15, text=text)
        for x, text in across
    ]
    parts += [
        _DOWN.format(y=y, left=size.left, right=size.far, before=size.left - 6, text=text)
        for y, text in down
    ]
    words = _TITLES.format(
        right=size.far,
        below=size.height - 8,
        across=titles.x,
        left=4,
        above=14,
        up=titles.y,
    )
    return Markup('<g aria-hidden="true">{}{}</g>').format(Markup("").join(parts), words)


def wrap_picture(parts: Sequence[Markup], titles: Titles, size: Size) -> Markup:
    """Return the picture as part of a page."""
    return Markup(
        '<svg class="plot" viewBox="0 0 {} {}" role="group" aria-label="{}">{}</svg>'
    ).format(size.width, size.height, titles.said, Markup("\n").join(parts))
