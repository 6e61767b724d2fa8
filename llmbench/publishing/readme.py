"""What a published folder says of itself: its README, and a badge as a picture of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from llmbench.leaderboard.renderers.sanitise import clean_svg, clean_terminal, escape_markdown
from llmbench.leaderboard.words import cut
from llmbench.publishing.manifest import NAME, PAGE, README, RECORD
from llmbench.results.record import Record
from llmbench.votes import ballots
from llmbench.votes.judges import judgements

BADGE = "badge.svg"
TITLE_CHARACTERS = 80
SAID = {
    ballots.FILE: "what people said in blind votes",
    judgements.FILE: "what judges said of the same answers",
}
HEIGHT, LETTER, PADDING = 20, 6.6, 8  # pixels; a letter of 11 px, at most on average


def draw_badge(record: Record) -> str:
    """Return a badge as SVG, which loads nothing: the suite, and how many models."""
    left, right = "llmbench", _describe(record)
    widths = [len(text) * LETTER + 2 * PADDING for text in (left, right)]
    whole = sum(widths)
    label = escape(f"{left}: {right}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole:.0f}" height="{HEIGHT}" role="img"'
        f' aria-label="{label}"><title>{label}</title>'
        f'<rect width="{whole:.0f}" height="{HEIGHT}" rx="3" fill="#2457a6"/>'
        f'<path d="M0 3a3 3 0 0 1 3-3h{widths[0] - 3:.1f}v{HEIGHT}H3a3 3 0 0 1-3-3z"'
        ' fill="#3a3f45"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11"'
        ' text-anchor="middle">'
        + "".join(
            f'<text x="{middle:.1f}" y="14" textLength="{width - 2 * PADDING:.1f}">{escape(text)}'
            "</text>"
            for text, middle, width in (
                (left, widths[0] / 2, widths[0]),
                (right, widths[0] + widths[1] / 2, widths[1]),
            )
        )
        + "</g></svg>\n"
    )


def _describe(record: Record) -> str:
    count = len(record.models)
    name = cut(clean_svg(clean_terminal(record.suite.name)), TITLE_CHARACTERS)
    return f"{name} {record.suite.version}, {count} model{'' if count == 1 else 's'}"


def write_readme(record: Record, verdict: str, has_samples: bool, said: Sequence[str] = ()) -> str:
    """Return the README: front matter for a static Space, the badge, the verdict, what is in the
    folder, and how to check it. verdict: the first sentence of the board. said: the files of what
    people and judges said, if there are any.
    """
    name = cut(clean_terminal(record.suite.name), TITLE_CHARACTERS)
    title = json.dumps(f"llmbench: {name}")  # JSON's strings are YAML's
    rows = [
        (PAGE, "the board; it loads nothing from elsewhere"),
        (f"{RECORD}, leaderboard.csv, leaderboard.md", "every number, with its interval"),
        *(
            [("samples/, charges/, events/", "what each model did on each item")]
            if has_samples
            else []
        ),
        *((name, SAID[name]) for name in said),
        (NAME, "the sha256 of every file"),
    ]
    lines = [
        "---",
        f"title: {title}",
        "sdk: static",
        f"app_file: {PAGE}",
        "pinned: false",
        "---",
        "",
        f"# {escape_markdown(name)}",
        "",
        f"[![llmbench: {escape_markdown(_describe(record))}]({BADGE})]({PAGE})",
        "",
        *([escape_markdown(verdict), ""] if verdict else []),
        f"Measured {escape_markdown(record.finished)} with llmbench"
        f" {escape_markdown(record.llmbench)} on {escape_markdown(record.machine.cpu)}.",
        "",
        "| file | what it is |",
        "|---|---|",
        *(f"| {files} | {what} |" for files, what in rows),
        "",
        "Check it: every file against its digest, every figure against the samples it was made of,"
        " and some of them measured again.",
        "",
        "```sh",
        "llmbench verify . --recompute 3",
        "```",
        "",
    ]
    return "\n".join(lines)


__all__ = ["BADGE", "README", "draw_badge", "write_readme"]
