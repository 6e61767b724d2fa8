"""A LaTeX table for each task that ranks its models: booktabs, 95 % intervals, sets of ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llmbench.integrations.exports.entries import group_by_task, list_keys
from llmbench.integrations.exports.target import Export, File, Source, name_file
from llmbench.leaderboard.numbers import format_plain
from llmbench.leaderboard.renderers.sanitise import clean_terminal
from llmbench.results.record import Score, is_ranked_by, metric_of

SIGNS = {
    **{sign: f"\\{sign}" for sign in "{}$&#%_"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    '"': r"\textquotedbl{}",
    "|": r"\textbar{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
}
SMALL = 1000  # values beyond are written without decimals
TABLE = r"""%% needs \usepackage{booktabs} and, of pdfTeX, \usepackage[T1]{fontenc} and {textcomp}
\begin{table}
\centering
\caption{%(caption)s}
\begin{tabular}{lrcc}
\toprule
model & %(unit)s & 95\,\%% interval & rank \\
\midrule
%(rows)s
\bottomrule
\end{tabular}
\end{table}
"""


def make(source: Source) -> Export:
    """Return a file for each task and metric by which models are ranked. What nothing is proven
    to be better than is bold.
    """
    record = source.opened.record
    files = []
    for task, scores in group_by_task(record.scores):
        keys = list_keys(scores)
        for wanted in dict.fromkeys(
            key for key, score in zip(keys, scores, strict=True) if is_ranked_by(score)
        ):
            found = [score for key, score in zip(keys, scores, strict=True) if key == wanted]
            text = _draw(record.suite.name, task, found)
            files.append(File(f"{name_file(f'{task}-{wanted}')}.tex", text.encode()))
    notes = (
        [] if files else ["no table: no task of this run has a metric that models are ranked by"]
    )
    return Export(files, notes=notes)


def escape_latex(text: str) -> str:
    """Return the text as one line that means only itself in LaTeX's text mode."""
    escaped = "".join(SIGNS.get(sign, sign) for sign in clean_terminal(text))
    return escaped.replace("--", "{-}{-}")  # no ligature


def _draw(suite: str, task: str, scores: Sequence[Score]) -> str:
    facts = metric_of(scores[0])
    order = sorted(
        scores, key=lambda s: (s.rank or (len(scores) + 1,) * 2, _sign(s) * s.value, s.model)
    )
    ns = sorted({score.n for score in scores})
    items = f"{ns[0]}" if len(ns) == 1 else f"{ns[0]} to {ns[-1]}"
    digits = 4 if min((abs(s.value) for s in scores if s.value), default=0.0) < SMALL else 0
    caption = (
        f"{facts.label} on {task} of {suite}, {items} items; {scores[0].better or 'no direction'}"
        f"{' is better' if scores[0].better else ''}. Bold: nothing is significantly better."
    )
    return TABLE % {
        "caption": escape_latex(caption),
        "unit": escape_latex(scores[0].unit),
        "rows": "\n".join(_draw_row(score, digits) for score in order),
    }


def _sign(score: Score) -> int:
    return -1 if score.better == "higher" else 1


def _draw_row(score: Score, digits: int) -> str:
    value = _show(score.value, digits)
    if score.rank is not None and score.rank[0] == 1:
        value = rf"\textbf{{{value}}}"
    interval = "--"
    if score.low is not None and score.high is not None:
        interval = f"[{_show(score.low, digits)}, {_show(score.high, digits)}]"
    rank = "--" if score.rank is None else "--".join(map(str, dict.fromkeys(score.rank)))
    return rf"{escape_latex(score.model)} & {value} & {interval} & {rank} \\"


def _show(value: float, digits: int) -> str:
    return r"$\infty$" if math.isinf(value) else format_plain(value, digits)
