"""Whatever a model, a card, a text or an exception says stays harmless on every board."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt
from support.hand_record import (
    charge,
    data,
    likelihood,
    model,
    say,
    speed,
)

from llmbench.leaderboard import board as leaderboard_board
from llmbench.leaderboard.merge.merge import merge
from llmbench.leaderboard.renderers import chart, html, markdown, table
from llmbench.leaderboard.renderers import csv as renderers_csv
from llmbench.leaderboard.renderers.sanitise import show_html
from llmbench.results.record import Record

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "attribute": '" onmouseover="alert(1)" \'',
    "control": "\x1b[31mred\x1b]0;title\x07\x00\x08\x85end",
    "override": "abc\u202etxt.exe\u2066\u200f",
    "pipes": "a | b || c \\| d `e` **f**\n| new | row |\r\n\u2028---",
    "formula": "=cmd()|' /C calc'!A0",
    "tabbed formula": "\t\r+1+1",
    "markup": "[bold red]x[/] [/nothing] :bomb: \\",
    "jinja": "{{ 7 * 7 }}{% raw %}",
    "link": "[x](javascript:alert(1)) ![y](http://evil.example/z)",
    "half a pair": "\ud800",
    "megabyte": "<&|=" * 250_000,
}


def hostile(text):
    """`text` wherever a model, a card, a text or an exception can put it."""
    whole = data()
    figures = [
        {"metric": metric, "value": 2.0, "protocol": text, "source": text}
        for metric in (text, "bits_per_byte")
    ]
    trained = {"seconds": 1.0, "device": text, "curve": [[1, 2.0], [2, 1.0]]}
    whole["models"] = [
        model(text, 0, tokenizer=text, training=trained, origin={text: text}, published=figures),
        model("byte-ngram", 0, family="n-gram"),
    ]
    whole["scores"] = [
        *likelihood(text, 2.0, 0.1, [1, 1], task=text, signature=text),
        *likelihood("byte-ngram", 3.0, 0.1, [2, 2], task=text),
    ]
    whole["failures"] = [
        {"model": text, "task": text, "reason": "error", "message": text, "hint": text}
    ]
    whole["machine"] |= {"cpu": text, "gpus": [{"name": text}]}
    whole["suite"]["name"] = whole["llmbench"] = text
    whole["notes"] = {"tasks": {text: {"better_than": {"byte-ngram": [text]}}}}
    whole["options"] |= {text: text}
    return whole


def hostile_board(folder, text):
    """Of one run."""
    whole = hostile(text)
    whole["models"][0]["published"][1]["protocol"] = "likelihood/1"
    whole["scores"][0]["signature"] = f"protocol=likelihood/1;{text}"
    say(folder, "byte-ngram", text, text)
    charge(folder, "byte-ngram", f"{text} ", [1.0, 2.0, 9.0], task="tales")
    return leaderboard_board.build(Record.model_validate(whole), folder)


def hostile_merged_board(folder, text):
    """Of two runs that share nothing but names, each on a machine of its own, with speeds and so a
    picture.
    """
    for number in range(2):
        whole = hostile(text)
        for row in whole["models"]:
            row["fingerprint"] = str(number) * 64
        for row in whole["scores"]:
            row["signature"] = f"{text};window={text}{number}"
        whole["scores"] += [
            speed(name, "decode_bytes_per_second", rate, signature=text)
            for name, rate in ((text, 9.0), ("byte-ngram", 8.0))
        ]
        whole["machine"]["cores"] = number
        Record.model_validate(whole).write(folder / str(number))
        say(folder / str(number), "byte-ngram", text, text)
    board, warnings = merge([folder / "0", folder / "1"])
    assert len(board.tables) == 4
    assert warnings == []
    return board


TEXTS = pytest.mark.parametrize(
    "text",
    [
        pytest.param(text, id=name, marks=[pytest.mark.slow] if len(text) > 10_000 else [])
        for name, text in HOSTILE.items()
    ],
)
BOARDS = pytest.mark.parametrize(
    "draw", [hostile_board, hostile_merged_board], ids=["one run", "many runs"]
)


@BOARDS
@TEXTS
def test_a_hostile_text_is_harmless_in_html(tmp_path, text, draw):
    page = html.render(draw(tmp_path / "hostile", text))
    found, tame = tags(page), tags(html.render(draw(tmp_path / "tame", "tame")))
    assert set(found) == set(tame)  # how many spans and facts there are is the text's affair
    assert list_whole(found) == list_whole(tame)
    assert "alert(1)</script" not in page
    assert not [c for c in page if not c.isprintable() and c not in "\n\t"]
    assert len(page) < 300_000
    page.encode()


WHOLE = ("meta", "style", "script", "section", "svg", "form")
STAGE_MARK = ("svg", "class", "viewbox", "aria-hidden")  # one a row, and long texts have more rows


def list_whole(found):
    return [tag for tag in found if tag[0] in WHOLE and tag != STAGE_MARK]


class _Tags(HTMLParser):
    """Elements and the names of their attributes; scripts and styles whole."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, *(name for name, _ in attrs)))
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        if self.found and self.found[-1] == ("script", "type", "id"):
            assert not data.strip() or json.loads(data)
            assert not set(data) & set("<>&")
        elif self.found and self.found[-1][0] in ("script", "style"):
            self.found.append((data.strip(),))


def tags(page):
    parser = _Tags()
    parser.feed(page)
    return parser.found


@BOARDS
@TEXTS
def test_a_hostile_text_is_harmless_in_markdown(tmp_path, text, draw):
    hostile, tame = (
        markdown.render(draw(tmp_path / str(len(words)), words)) for words in (text, "tame")
    )
    assert len(hostile.split("\n")) == len(tame.split("\n"))
    assert not [c for c in hostile if not c.isprintable() and c != "\n"]
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    shapes = [[token.type for token in parser.parse(board)] for board in (hostile, tame)]
    assert shapes[0] == shapes[1]
    children = [child for token in parser.parse(hostile) for child in token.children or ()]
    assert {child.attrs["src"] for child in children if child.type == "image"} <= {
        "leaderboard.svg"
    }  # our own
    assert {child.type for child in children} - {"image"} <= {
        "text",
        "text_special",
        "strong_open",
        "strong_close",
        "code_inline",
        "hardbreak",
        "softbreak",
    }


@BOARDS
@TEXTS
def test_a_hostile_text_is_one_row_and_no_formula_in_csv(tmp_path, text, draw):
    rows = list(csv.reader(io.StringIO(renderers_csv.render(draw(tmp_path, text)))))
    assert [len(row) for row in rows] == [len(rows[0])] * (3 if draw is hostile_board else 9)
    assert not [field for row in rows for field in row if field.strip()[:1] in tuple("=+-@")]
    assert not [c for row in rows for field in row for c in field if not c.isprintable()]
    assert [float(row[rows[0].index("bits_per_byte")]) for row in rows[1:3]] == [2.0, 3.0]


@BOARDS
@TEXTS
def test_a_hostile_text_is_harmless_on_the_terminal(tmp_path, text, draw):
    drawn = table.render(draw(tmp_path, text))
    assert not [c for c in drawn if not c.isprintable() and c != "\n"]
    assert max(len(line) for line in drawn.split("\n")) <= 120
    if text == HOSTILE["markup"]:
        assert "[/nothing] :bomb:" in drawn


@TEXTS
def test_a_hostile_name_is_only_a_name_in_the_picture(tmp_path, text):
    drawn = chart.svg(hostile_merged_board(tmp_path, text).points)
    tree = ElementTree.fromstring(drawn)
    assert {element.tag.rpartition("}")[2] for element in tree.iter()} <= {
        "svg",
        "g",
        "path",
        "text",
        "rect",
        "line",
        "defs",
        "clipPath",
        "style",
    }
    assert not re.search(
        r"(href|src)=|url\((?!#)|\son\w+=", re.sub(r">[^<]*<|aria-label=\"[^\"]*\"", "", drawn)
    )
    assert not [c for c in drawn if not c.isprintable() and c != "\n"]
    assert len(drawn) < 100_000


def test_texts_are_cut_where_no_reader_would_follow(tmp_path):
    long = hostile_board(tmp_path, HOSTILE["megabyte"])
    assert [len(line.model) for line in long.tables[0].lines] == [
        leaderboard_board.NAME_CHARACTERS,
        len("byte-ngram"),
    ]
    assert {
        len(long.sayings[0].prompt),
        len(long.sayings[0].answers[0][1]),
        len(long.failures[0].message),
    } == {leaderboard_board.SAMPLE_CHARACTERS}


def test_letters_of_every_script_are_shown_as_they_are():
    for text in (
        "« non »".replace(" ", "\u00a0"),
        "全角\u3000空白",
        "می\u200cخواهم",
        "\U0001f469\u200d\U0001f680",
        "a\n\tb",
    ):
        assert show_html(text) == text
    assert show_html("\u202e\x07") == "\ufffd202e\ufffd7"
