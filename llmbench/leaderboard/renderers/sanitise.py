"""Make text of a model, a card, a data set or an exception harmless in what a board is written to:
one function a target. Nothing else in the package may escape or filter text that is shown.
"""

from __future__ import annotations

import unicodedata

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
NOT_IN_XML = "\ufffe\uffff"  # printable to Python, forbidden in XML
KEPT_IN_HTML = "\n\t\u200c\u200d"  # the joiners, which some scripts need
FORMULA_SIGNS = tuple("=+-@＝＋－＠")  # with which a spreadsheet begins a formula
_MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_{}[]<>#|~$&!"})


def clean_terminal(text: str) -> str:
    """Return the text as one line without control characters, ANSI escapes or bidi marks."""
    return " ".join(_spaces(text).split())


def escape_markdown(text: str) -> str:
    """Return the text as one line that means only itself, in a table cell too."""
    return clean_terminal(text).translate(_MARKDOWN)


def quote_markdown(text: str) -> str:
    """Return the text as inline code on one line. Backticks become spaces."""
    return f"`{_spaces(text).replace('`', ' ')}`"


def escape_csv(value: object) -> object:
    """Return a field for csv.writer: "" for None, numbers as they are, texts without control
    characters.

    A text that a spreadsheet would take for a formula gets a leading apostrophe; "-" alone is none.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    text = _spaces(value)
    return f"'{text}" if text.lstrip()[:1] in FORMULA_SIGNS and text != "-" else text


def clean_svg(text: str) -> str:
    """Return text that XML can hold: what it cannot becomes U+FFFD. Markup is escaped by Vega."""
    return "".join(c if c.isprintable() and c not in NOT_IN_XML else REPLACEMENT for c in text)


def show_html(text: str) -> str:
    """Return the text with control characters and bidi marks shown as U+FFFD and their number.

    Line breaks, tabs, joiners and all kinds of spaces stay. Markup is escaped by Jinja.
    """
    return "".join(
        c
        if c.isprintable() or c in KEPT_IN_HTML or unicodedata.category(c) == "Zs"
        else f"{REPLACEMENT}{ord(c):x}"
        for c in text
    )


def _spaces(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
