"""The table on people's ratings from 1 to 5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from llmbench.leaderboard.numbers import format_plain, show_interval
from llmbench.leaderboard.votes.parts import HUMAN, Part, name_contestant, show_rank
from llmbench.votes.kinds import STARS, Criterion, Rating

if TYPE_CHECKING:
    from llmbench.stats import Interval
    from llmbench.votes.strengths.ratings import Rated

CRITERIA: dict[Criterion, str] = {"fluency": "fluency", "sense": "sense", "follows": "fit"}
TITLES = ("criterion", "rank", "model", "mean rating", "ratings")
HELP = (
    "what was rated",
    "best and worst rank that the ratings allow: all pairs tested, Holm-corrected",
    "who wrote the answers",
    "mean rating, 1 (bad) to 5 (good)",
    "how often it was rated",
)


def list_ratings(title: str, rated: Mapping[Criterion, Mapping[str, Rated]]) -> Part:
    """Return the table of ratings: a row for each criterion and contestant."""
    rows, models = [], []
    for kind, word in CRITERIA.items():
        for model, one in rated.get(kind, {}).items():
            name = name_contestant(model)
            rows.append([word, show_rank(one.rank), name, _show_mean(one.mean), str(one.mean.n)])
            models.append("" if name == HUMAN else name)
    numeric = [one not in ("criterion", "model") for one in TITLES]
    return Part(f"People's ratings, 1 to 5: {title}", TITLES, rows, numeric, models, HELP)


def _show_mean(mean: Interval) -> str:
    if mean.low is None or mean.high is None:
        return format_plain(mean.value, 2)
    return show_interval(
        mean.value,
        mean.low,
        mean.high,
        (float(STARS[0]), float(STARS[1])),
        lambda value: format_plain(value, 2),
        lambda half: format_plain(half, 2),
    )


def describe_ratings(ratings: Sequence[Rating]) -> str:
    """Return whose ratings they are, and what their intervals hold."""
    raters = len({one.rater for one in ratings})
    answers = len({(one.rater, one.prompt, one.model) for one in ratings})
    who = "1 rater" if raters == 1 else f"{raters} raters"
    over = "prompts" if raters == 1 else "prompts and raters"
    return (
        f"Ratings: {answers} answers by {who}. Intervals: 95 % over {over}; a mean without one is"
        " of a single prompt, or of equal ratings."
    )
