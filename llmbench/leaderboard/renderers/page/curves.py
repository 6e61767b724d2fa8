"""Training curves in one picture, on axes that all share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from llmbench.leaderboard.numbers import format_plain
from llmbench.leaderboard.plots import Curve
from llmbench.leaderboard.renderers.page.axes import Axis, make_axis, shorten
from llmbench.leaderboard.renderers.page.frame import Size, Titles, draw_grid, wrap_picture
from llmbench.leaderboard.renderers.page.marks import stage_class, stage_word
from llmbench.leaderboard.renderers.sanitise import clean_svg, show_html
from llmbench.leaderboard.words import cut

MOST_DOTS = 60  # of a curve: of a longer one every so-manieth, with its best and its last
LINE = 14.0  # pixels of a name
WIDE = Size(860, 400, right=170)
NARROW = Size(320, 340, left=38, right=104)


@dataclass(frozen=True)
class StepAxis:
    """Steps from 0 on: log(1 + step / `unit`)."""

    unit: float
    last: float
    begin: float
    end: float

    def place(self, step: float) -> float:
        """Return the pixel of a step."""
        share = math.log1p(max(step, 0.0) / self.unit) / math.log1p(self.last / self.unit)
        return round(self.begin + share * (self.end - self.begin), 1)

    def ticks(self) -> list[tuple[float, str]]:
        """Return the pixels of round steps, and what is written there."""
        ticks: list[tuple[float, str]] = []
        decade = 10.0 ** math.floor(math.log10(self.unit))
        while decade <= self.last:
            for step in (decade, 2 * decade, 5 * decade):
                at = self.place(step)
                if step <= self.last and at - (ticks[-1][0] if ticks else self.begin) > 34:
                    ticks.append((at, shorten(step)))
            decade *= 10
        return ticks


def describe_curve(curve: Curve) -> str:
    """Return in words how a training went."""
    step, best = min(curve.points, key=lambda point: point[1])
    last = max(x for x, _ in curve.points)
    return f"best {format_plain(best, 3)} bits/byte at step {step:g} of {last:g}"


def draw_curves(curves: Sequence[Curve], size: Size) -> Markup:
    """Return the picture; empty without curves."""
    if not curves:
        return Markup("")
    steps = [max(x, 0.0) for curve in curves for x, _ in curve.points]
    across = StepAxis(min(step for step in steps if step > 0), max(steps), size.left, size.far)
    best = [min(y for _, y in curve.points) for curve in curves]
    down = make_axis([y for curve in curves for _, y in curve.points], size.floor, size.top, best)
    order = sorted(zip(curves, best, strict=True), key=lambda pair: pair[1])
    drawn = [_draw_curve(curve, across, down) for curve, _ in reversed(order)]
    names = _draw_names([curve for curve, _ in order], across, down, size)
    titles = Titles(
        "training step", "bits per byte", "Bits per byte of the validation text by training step"
    )
    return wrap_picture(
        [draw_grid(across.ticks(), down.ticks(), titles, size), names, _clip(drawn, size)],
        titles,
        size,
    )


def _clip(drawn: Sequence[Markup], size: Size) -> Markup:
    """Return curves without what lies above the axes: an inner picture with the same pixels."""
    box = (size.left - 8, size.top - 2, size.far - size.left + 16, size.floor - size.top + 10)
    return Markup(
        '<svg x="{0}" y="{1}" width="{2}" height="{3}" viewBox="{0} {1} {2} {3}">{4}</svg>'
    ).format(*box, Markup("").join(drawn))


def choose_points(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that are drawn: all of a short curve; of a long one some, among them the
    first, the best and the last.
    """
    if len(points) <= MOST_DOTS:
        return list(points)
    stride = math.ceil(len(points) / (MOST_DOTS - 2))
    best = min(range(len(points)), key=lambda number: points[number][1])
    kept = {*range(0, len(points), stride), best, len(points) - 1}
    return [points[number] for number in sorted(kept)]


def _draw_curve(curve: Curve, across: StepAxis, down: Axis) -> Markup:
    points = choose_points(curve.points)
    places = [(across.place(x), down.extend(y)) for x, y in points]
    line = " ".join(f"{x:g},{y:g}" for x, y in places)
    values = " ".join(f"{x:g}:{format_plain(y, 4)}" for x, y in points)
    best = min(range(len(points)), key=lambda number: points[number][1])
    said = describe_curve(curve)
    return Markup(
        '<g class="curve {}" data-model="{}" data-said="{}" data-values="{}" role="img"'
        ' aria-label="{}"><polyline points="{}"/><use href="#mark-{}" x="{}" y="{}"/></g>'
    ).format(
        stage_class(curve.stage),
        show_html(curve.model),
        said,
        values,
        f"{show_html(curve.model)}: {said}",
        line,
        stage_word(curve.stage),
        *places[best],
    )


def _draw_names(order: Sequence[Curve], across: StepAxis, down: Axis, size: Size) -> Markup:
    """Return the names at the ends of the curves, the best first, one above the other; those of
    which there is no room are left to the tips.
    """
    top, bottom, right = size.top, size.floor, size.far
    shown = list(order)[: int((bottom - top) // LINE)]
    ends = sorted(((down.place(curve.points[-1][1]), curve) for curve in shown), key=lambda e: e[0])
    heights = spread([end for end, _ in ends], LINE, top, bottom)
    return Markup("").join(
        Markup(
            '<g class="name" data-model="{}" aria-hidden="true"><path class="leader"'
            ' d="M{} {}H{}L{} {:.1f}"/><text x="{}" y="{:.1f}" dy=".35em">{}</text></g>'
        ).format(
            show_html(curve.model),
            across.place(curve.points[-1][0]) + 7,
            end,
            right + 4,
            right + 15,
            height,
            right + 18,
            height,
            clean_svg(cut(curve.model, 24 if size is WIDE else 14)),
        )
        for (end, curve), height in zip(ends, heights, strict=True)
    )


def spread(heights: Sequence[float], least: float, top: float, bottom: float) -> list[float]:
    """Return places from top to bottom in the same order, at least so far apart, each as near to
    where it should be as the others let it. They must fit.
    """
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + least if placed else top))
    limit = bottom
    for number in range(len(placed) - 1, -1, -1):
        placed[number] = min(placed[number], limit)
        limit = placed[number] - least
    return placed
