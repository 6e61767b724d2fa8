"""The checkpoints of training runs in a picture: bits by step, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from llmbench.leaderboard.numbers import format_plain
from llmbench.leaderboard.renderers.page.axes import Axis, make_axis
from llmbench.leaderboard.renderers.page.curves import StepAxis
from llmbench.leaderboard.renderers.page.frame import Size, Titles, draw_grid, wrap_picture
from llmbench.leaderboard.renderers.page.marks import stage_class, stage_word
from llmbench.leaderboard.renderers.sanitise import clean_svg, show_html
from llmbench.leaderboard.training_runs import Checkpoint, TrainingRun
from llmbench.leaderboard.words import cut

WIDE = Size(860, 360, right=150)
NARROW = Size(320, 320, left=38, right=24)


def group_by_task(runs: Sequence[TrainingRun]) -> list[tuple[str, list[TrainingRun]]]:
    """Return the runs that are drawn together: those of a task, in the same unit."""
    found: dict[tuple[str, str], list[TrainingRun]] = {}
    for run in runs:
        found.setdefault((run.task, run.unit), []).append(run)
    return [(task, same) for (task, _), same in found.items()]


def draw_steps(runs: Sequence[TrainingRun], size: Size) -> Markup:
    """Return the picture of the runs of one task."""
    every = [one for run in runs for one in run.checkpoints]
    steps = [one.step for one in every]
    across = StepAxis(min(s for s in steps if s > 0), max(steps), size.left, size.far)
    ends = [end for one in every for end in one.ends or () if math.isfinite(end)]
    values = [*(one.value for one in every), *ends]
    down = make_axis(values, size.floor, size.top, values)
    titles = Titles(
        "training step", runs[0].unit, f"{runs[0].unit} of {runs[0].task} by training step"
    )
    drawn = [_draw_run(run, across, down, size) for run in runs]
    return wrap_picture(
        [draw_grid(across.ticks(), down.ticks(), titles, size), *drawn], titles, size
    )


def _draw_run(run: TrainingRun, across: StepAxis, down: Axis, size: Size) -> Markup:
    places = [(across.place(one.step), down.place(one.value)) for one in run.checkpoints]
    line = " ".join(f"{x:g},{y:g}" for x, y in places)
    x, y = places[-1]
    name = Markup('<text class="run" x="{}" y="{}" dy=".35em">{}</text>').format(
        x + 10, y, clean_svg(cut(run.name, 20))
    )
    return Markup('<g class="run {}" aria-hidden="true"><polyline points="{}"/>{}</g>{}').format(
        stage_class(None),
        line,
        name if size is WIDE else "",
        Markup("").join(
            _draw_checkpoint(one, place, run.unit, down)
            for one, place in zip(run.checkpoints, places, strict=True)
        ),
    )


def _draw_checkpoint(one: Checkpoint, place: tuple[float, float], unit: str, down: Axis) -> Markup:
    bar, (x, y) = Markup(""), place
    said = f"step {one.step:,}: {format_plain(one.value, 4)} {unit}"
    if one.ends is not None:
        low, high = one.ends
        said += f" [{format_plain(low, 4)}, {format_plain(high, 4)}]"
        bar = Markup('<path class="error" d="M0 {:.1f}V{:.1f}"/>').format(
            down.place(low) - y, down.place(high) - y
        )
    return Markup(
        '<g class="spot {}" data-model="{}" data-said="{}" role="img" aria-label="{}"'
        ' transform="translate({} {})">{}<use href="#mark-{}"/></g>'
    ).format(
        stage_class(None),
        show_html(one.model),
        said,
        f"{show_html(one.model)}; {said}",
        x,
        y,
        bar,
        stage_word(None),
    )
