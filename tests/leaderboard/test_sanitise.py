"""Whatever a text holds, each target's sanitiser makes it harmless there."""

from __future__ import annotations

import csv
import io
import unicodedata
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from xml.sax.saxutils import escape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markupsafe import escape as escape_html

from llmbench.leaderboard.renderers.sanitise import (
    clean_svg,
    clean_terminal,
    escape_csv,
    escape_markdown,
    quote_markdown,
    show_html,
)

BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
SIGNS = "\x00\x07\x08\x1b[31m]0;\x7f\x85\x9b\r\n\t\u2028\u2029|`*_<>&#~$!\\=+-@＝＋－＠\ufffe\uffff"
NASTY = st.text(st.sampled_from(SIGNS + BIDI + "ab \u00a0\u200d\ud800"), max_size=30)
TEXTS = st.text(max_size=40) | NASTY


def unsafe(text, kept=""):
    """The characters of categories that control a terminal or the direction of text."""
    return [
        c
        for c in text
        if c not in kept and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    ]


@given(TEXTS)
@example("\x1b[31mred\x1b]0;title\x07 \u202e")
def test_a_terminal_text_is_one_line_without_controls(text):
    clean = clean_terminal(text)
    assert not unsafe(clean)
    assert len(clean.splitlines()) <= 1
    assert clean == clean_terminal(clean)


def test_only_the_escape_of_an_ansi_sequence_is_taken():
    assert clean_terminal("\x1b[31mred\x1b[0m\nline") == "[31mred [0m line"


@given(TEXTS)
@example("a | b `c` <script> [x](javascript:1) ![y](z) **w** \n- item")
def test_a_markdown_text_is_one_cell_with_no_markup(text):
    escaped = escape_markdown(text)
    assert not unsafe(escaped)
    tokens = (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .parse(f"| a | b |\n| --- | --- |\n| {escaped} | x |\n")
    )
    cells = [t for t in tokens if t.type == "inline"]
    assert len(cells) == 4
    shown = list(cells[2].children or ())
    assert {child.type for child in shown} <= {"text", "text_special"}
    assert "".join(child.content for child in shown) == clean_terminal(text)


@given(TEXTS)
def test_quoted_markdown_is_one_code_span(text):
    (inline,) = [t for t in MarkdownIt().parse(f"x {quote_markdown(f'a{text}b')} y") if t.children]
    assert [child.type for child in inline.children or ()] == ["text", "code_inline", "text"]


@given(TEXTS)
@example("\t\r+1+1")
@example("＝cmd()")
def test_a_csv_text_is_one_field_and_no_formula(text):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([escape_csv(text), "end"])
    ((field, end),) = csv.reader(io.StringIO(out.getvalue()))
    assert end == "end"
    assert not unsafe(field)
    assert field == "-" or field.strip()[:1] not in (*"=+-@＝＋－＠",) or not field.strip()


@pytest.mark.parametrize("value", [-1.5, 0, 3])
def test_a_csv_number_stays_a_number(value):
    assert escape_csv(value) is value
    assert escape_csv(None) == ""


@given(TEXTS)
@example("\ufffe\uffff\ud800\x00")
def test_an_svg_text_can_be_parsed_as_xml(text):
    clean = clean_svg(text)
    element = ElementTree.fromstring(f"<text>{escape(clean)}</text>")
    assert (element.text or "") == clean
    assert not unsafe(clean)


class _Text(HTMLParser):
    def __init__(self):
        super().__init__()
        self.text = ""

    def handle_starttag(self, tag, attrs):
        raise AssertionError(tag)

    def handle_data(self, data):
        self.text += data


@given(TEXTS)
@example("<script>alert(1)</script>\u202e")
def test_an_html_text_holds_no_element_and_no_bidi_mark(text):
    parser = _Text()
    parser.feed(str(escape_html(show_html(text))))
    parser.close()
    assert parser.text == show_html(text)
    assert not unsafe(parser.text, kept="\n\t\u200c\u200d")
