"""A shape and a colour for each stage of the roadmap, so that neither alone has to tell."""

from __future__ import annotations

from markupsafe import Markup

OTHER = "other"
# paths around (0, 0), of about the same area
SHAPES = {
    "0": "M0-2.6 3-5.6 5.6-3 2.6 0 5.6 3 3 5.6 0 2.6-3 5.6-5.6 3-2.6 0-5.6-3-3-5.6Z",
    "1": "M-4.6-4.6H4.6V4.6H-4.6Z",
    "2": "M0-6 5.8 4.4H-5.8Z",
    "3": "M0-6.4 5.4 0 0 6.4-5.4 0Z",
    "4": "M-5.2 0A5.2 5.2 0 1 1 5.2 0 5.2 5.2 0 1 1-5.2 0Z",
    "5": "M0 6-5.8-4.4H5.8Z",
    "6": "M-2-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",
    OTHER: "M0-6.6 1.7-2.3 6.3-2 2.7.9 3.9 5.4 0 2.9-3.9 5.4-2.7.9-6.3-2-1.7-2.3Z",
}


def stage_word(stage: int | None) -> str:
    """Return the last part of the names of a stage's shape, colour and class."""
    return str(stage) if str(stage) in SHAPES else OTHER


def stage_class(stage: int | None) -> str:
    """Return the CSS class with a stage's colour."""
    return f"s-{stage_word(stage)}"


def define_marks() -> Markup:
    """Return the shapes, to be referred to from all over the page."""
    return Markup("").join(
        Markup('<path id="mark-{}" d="{}"/>').format(word, path) for word, path in SHAPES.items()
    )


def draw_mark(stage: int | None) -> Markup:
    """Return a stage's mark, to stand before a model's name."""
    return Markup(
        '<svg class="mark {}" viewBox="-7 -7 14 14" aria-hidden="true"><use href="#mark-{}"/></svg>'
    ).format(stage_class(stage), stage_word(stage))
