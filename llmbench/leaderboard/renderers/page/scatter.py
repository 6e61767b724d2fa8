"""A picture of models as points: marks, intervals as error bars, names, and the front as a line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from llmbench.leaderboard.renderers.labels import Box, Name, place_names
from llmbench.leaderboard.renderers.page.axes import Axis, find_range, make_axis, make_log_axis
from llmbench.leaderboard.renderers.page.frame import Size, Titles, draw_grid, wrap_picture
from llmbench.leaderboard.renderers.page.marks import stage_class, stage_word
from llmbench.leaderboard.renderers.sanitise import clean_svg, show_html

Ends = tuple[float, float]


@dataclass(frozen=True)
class Spot:
    """A model as a point: x above 0, y of which the lesser is the better, drawn upwards. `said`:
    the lines of its tip. `is_front`: drawn full, named first.
    """

    model: str
    stage: int | None
    x: float
    y: float
    said: Sequence[str]
    is_front: bool = False
    x_ends: Ends | None = None
    y_ends: Ends | None = None


WIDE, NARROW, SMALL = Size(640, 400), Size(320, 340, left=38), Size(340, 280, left=40)

PER_NAME = 36  # pixels of a picture's width for each name beside its point
MOST_NAMES = 17  # those with a line included; more are in the tips and tables alone


def draw_scatter(
    spots: Sequence[Spot], titles: Titles, size: Size, reverse: bool = False, front: bool = False
) -> Markup:
    """Return the picture. `reverse`: less is better across too, so it lies to the right. `front`:
    join the models of the front that no other is ahead of by its numbers.
    """
    begin, end = (size.far, size.left) if reverse else (size.left, size.far)
    across = make_log_axis([spot.x for spot in spots], begin, end)
    down = _make_down(spots, size)
    points = [(across.place(spot.x), down.place(spot.y)) for spot in spots]
    order = sorted(
        range(len(spots)), key=lambda number: (not spots[number].is_front, spots[number].y)
    )
    names = place_names(
        points,
        [spot.model for spot in spots],
        order,
        (size.left, size.top - 8, size.width - 2, size.floor),
        size.width // PER_NAME,
        [
            bar
            for spot, point in zip(spots, points, strict=True)
            for bar in _list_bars(spot, point, across, down)
        ],
        MOST_NAMES,
    )
    parts = [
        draw_grid(across.ticks(4 if size.width < 400 else 7), down.ticks(), titles, size),
        _draw_front(spots, (across, down), reverse, size.floor) if front else Markup(""),
        *(_draw_name(name, spots[name.of]) for name in names),
        *(
            _draw_spot(spot, point, across, down)
            for spot, point in sorted(
                zip(spots, points, strict=True), key=lambda pair: pair[0].is_front
            )
        ),
    ]
    return wrap_picture(parts, titles, size)


def _list_bars(spot: Spot, point: tuple[float, float], across: Axis, down: Axis) -> list[Box]:
    """Return the error bars of a point, as boxes without a width."""
    (x, y), found = point, list[Box]()
    if spot.y_ends is not None and down.holds(spot.y):
        one, other = sorted(map(down.place, spot.y_ends))
        found.append((x, one, x, other))
    if spot.x_ends is not None and spot.x_ends[0] > 0:
        one, other = sorted(map(across.place, spot.x_ends))
        found.append((one, y, other, y))
    return found


def _make_down(spots: Sequence[Spot], size: Size) -> Axis:
    """Return the axis of y: it holds the intervals of all that it holds."""
    front = [spot.y for spot in spots if spot.is_front]
    low, high = find_range([spot.y for spot in spots], front)
    ends = [
        end
        for spot in spots
        if spot.y_ends is not None and low <= spot.y <= high
        for end in spot.y_ends
        if math.isfinite(end)
    ]
    return make_axis([low, high, *ends], size.top, size.floor, [low, high, *ends])


def _draw_front(
    spots: Sequence[Spot], axes: tuple[Axis, Axis], reverse: bool, floor: float
) -> Markup:
    """Return the steps around all that is worse in both than a model of the front."""
    across, down = axes
    way = -1.0 if reverse else 1.0
    ahead, best = [], float("-inf")
    for spot in sorted((s for s in spots if s.is_front), key=lambda s: (s.y, -way * s.x)):
        if way * spot.x > best:
            ahead.append((across.place(spot.x), down.place(spot.y)))
            best = way * spot.x
    if not ahead:
        return Markup("")
    path = f"M{min(across.begin, across.end):g} {ahead[0][1]:g}"
    for (x, _), (_, after) in zip(ahead, [*ahead[1:], (0.0, floor)], strict=True):
        path += f"H{x:g}V{after:g}"
    return Markup('<path class="front" d="{}" aria-hidden="true"/>').format(path)


def _draw_name(name: Name, spot: Spot) -> Markup:
    line = Markup("")
    if name.leader is not None:
        (x, y), (end, low) = name.leader
        line = Markup('<path class="leader" d="M{:.1f} {:.1f}L{:.1f} {:.1f}"/>').format(
            x, y, end, low
        )
    return Markup(
        '<g class="name{}" data-model="{}" aria-hidden="true">{}<text x="{:.1f}" y="{:.1f}"'
        ' text-anchor="{}" dy=".35em">{}</text></g>'
    ).format(
        " ahead" if spot.is_front else "",
        show_html(spot.model),
        line,
        name.x,
        name.y,
        name.anchor,
        clean_svg(name.text),
    )


def _draw_spot(spot: Spot, point: tuple[float, float], across: Axis, down: Axis) -> Markup:
    """Return a point with its error bars; one beyond the range has an arrow at the edge."""
    x, y = point
    bars = ""
    if spot.y_ends is not None and down.holds(spot.y):
        bars += f"M0 {down.place(spot.y_ends[0]) - y:.1f}V{down.place(spot.y_ends[1]) - y:.1f}"
    if spot.x_ends is not None and spot.x_ends[0] > 0:
        bars += f"M{across.place(spot.x_ends[0]) - x:.1f} 0H{across.place(spot.x_ends[1]) - x:.1f}"
    bar = Markup('<path class="error" d="{}"/>').format(bars) if bars else Markup("")
    if not down.holds(spot.y):
        bar = Markup('<path class="beyond" d="M-3.5 10 0 15 3.5 10"/>')
    said = [show_html(line) for line in spot.said]
    return Markup(
        '<g class="spot {}{}" data-model="{}" data-said="{}" role="img" aria-label="{}"'
        ' transform="translate({} {})">{}<use href="#mark-{}"/></g>'
    ).format(
        stage_class(spot.stage),
        " ahead" if spot.is_front else "",
        show_html(spot.model),
        "\n".join(said),
        "; ".join([show_html(spot.model), *said]),
        x,
        y,
        bar,
        stage_word(spot.stage),
    )
