"""Boards: exact pictures of a record made by hand, and whatever a model says stays harmless in
every format.

Golden files are written anew with LLMBENCH_WRITE_GOLDEN=1; read the difference before keeping it.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from support.hand_record import (
    PROMPT,
    SIGNATURE,
    charge,
    data,
    likelihood,
    model,
    passage,
    record,
    samples,
    say,
    score,
    speed,
)

from llmbench.leaderboard import board as leaderboard_board
from llmbench.leaderboard.merge import merge
from llmbench.leaderboard.renderers import chart, html, markdown, table
from llmbench.leaderboard.renderers import csv as renderers_csv
from llmbench.leaderboard.renderers.registry import BUILT_IN, draw
from llmbench.leaderboard.renderers.sanitise import show_html
from llmbench.results.record import Record
from llmbench.storage import write_lines

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = {"md": "board.md", "csv": "board.csv", "html": "board.html", "table": "board.txt"}
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


@pytest.fixture
def board(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    return leaderboard_board.build(record(), passage(samples(tmp_path)))


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
        model("byte-ngram", 0),
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


BOARDS = pytest.mark.parametrize(
    "draw", [hostile_board, hostile_merged_board], ids=["one run", "many runs"]
)


@pytest.mark.parametrize("form", FILES)
def test_the_board_is_the_golden_one(board, form):
    drawn, file = draw(form, board), GOLDEN / FILES[form]
    if os.environ.get("LLMBENCH_WRITE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        file.write_bytes(drawn.encode())
    assert drawn == file.read_bytes().decode(), (
        f"{file.name} differs: with LLMBENCH_WRITE_GOLDEN=1 it is written anew"
    )


def test_lines_go_by_stage_and_then_by_bits(board):
    names = ["byte-ngram", "zlib", "uniform-bytes", "lstm", "transformer-decoder", "mine"]
    assert [line.model for line in board.tables[0].lines] == names
    for form in ("md", "html", "table"):
        drawn = draw(form, replace(board, summary=[]))
        drawn = drawn.partition("<tbody>")[2] or drawn  # the page names all stages before
        places = [
            drawn.index(word)
            for word in (
                "Floors",
                *names[:3],
                "Stage 3",
                names[3],
                "Stage 4",
                names[4],
                "Models of one",
                names[5],
            )
        ]
        assert places == sorted(places), form


def test_a_compressor_and_an_infinite_model_have_no_rank(board):
    ranks = {line.model: line.cells["rank"].text for line in board.tables[0].lines}
    assert ranks == {
        "byte-ngram": "1-2",
        "zlib": "-",
        "uniform-bytes": "5",
        "lstm": "4",
        "transformer-decoder": "1-3",
        "mine": "-",
    }


def test_infinite_bits_are_shown_as_inf_without_a_bar(board):
    cells = {line.model: line.cells["bits_per_byte"] for line in board.tables[0].lines}
    assert cells["mine"].text == "inf"
    assert html.bar(board.tables[0], cells["mine"]) is None
    assert html.bar(board.tables[0], cells["uniform-bytes"]) == {
        "begin": 100.0,
        "width": 0.0,
        "value": 100.0,
    }
    page = html.render(board)
    assert 'data-sort="inf">inf</td>' in page
    assert not re.search(r"\bnan\b", page.lower())
    assert {
        row["bits_per_byte"]
        for row in csv.DictReader(io.StringIO(renderers_csv.render(board)))
        if row["model"] == "mine"
    } == {"inf"}


def test_a_board_of_infinite_models_alone_still_draws(tmp_path):
    rows = [score("mine", "bits_per_byte", "inf"), score("lstm", "bits_per_byte", "inf")]
    drawn = leaderboard_board.build(record(scores=rows))
    assert all("inf" in draw(form, drawn) for form in BUILT_IN)


@pytest.mark.parametrize("failures", [data()["failures"], []], ids=["failures", "nothing at all"])
def test_a_board_without_scores_still_draws(failures):
    empty = leaderboard_board.build(record(scores=[], failures=failures))
    for form in BUILT_IN:
        drawn = draw(form, empty)
        assert drawn
        assert ("Compressor" in drawn) == (bool(failures) and form != "csv")
        assert ("othing was measured" in drawn) == (form != "csv")


def test_the_page_refers_to_nothing_outside_itself(board):
    page = html.render(board)
    assert not re.search(
        r"https?:|//[a-z]|@import|url\(|<link|<img|<iframe|\bsrc=|\bhref=.(?!#)|fetch\(|XMLHttp",
        page,
    )
    assert "default-src 'none'" in page


def test_a_stage_of_a_later_llmbench_and_samples_that_are_nonsense_still_draw(tmp_path):
    for number, text in enumerate(
        ("", "{", "[]\n", '{"output": 3}\n', '{"output": "x"}\n', "\xff")
    ):
        place = tmp_path / "samples" / "lstm" / f"{number}.jsonl"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode("latin-1"))
    say(tmp_path, "lstm", "still heard")
    later = leaderboard_board.build(record(models=[model("lstm", 9)]), tmp_path)
    assert [saying.answers for saying in later.sayings] == [[("lstm", "still heard")]]
    assert all("Stage 9" in draw(form, later) for form in ("md", "html", "table"))


def test_what_models_said_is_whole_though_it_holds_odd_line_ends(board):
    assert [(s.prompt, [name for name, _ in s.answers]) for s in board.sayings] == [
        (PROMPT, ["byte-ngram", "transformer-decoder", "lstm"])
    ]
    assert "\u2028Tuesday" in dict(board.sayings[0].answers)["transformer-decoder"]


def test_of_a_task_with_many_prompts_the_first_are_shown(tmp_path):
    rows = [{"id": str(number), "input": f"p{number}", "output": "x"} for number in range(300)]
    write_lines(tmp_path / "samples" / "lstm" / "a.jsonl", rows)
    write_lines(tmp_path / "samples" / "lstm" / "b.jsonl", rows[50:51])
    shown = [saying.prompt for saying in leaderboard_board.build(record(), tmp_path).sayings]
    assert shown == [*(f"p{number}" for number in range(leaderboard_board.MOST_SAYINGS)), "p50"]


def test_a_page_of_many_long_curves_stays_small(tmp_path):
    curve = [[step, 9.0 - step / 1000] for step in range(5000)]
    models = [
        model(f"m{number}", 3, training={"seconds": 1.0, "curve": curve}) for number in range(40)
    ]
    page = html.render(leaderboard_board.build(record(models=models, scores=[], failures=[])))
    assert page.count("<figure data-model=") == 40
    assert len(page) < 1_500_000


@pytest.mark.parametrize(
    ("curve", "drawn"),
    [
        ([[-2, 3.0], [-1, 2.0]], 0),
        ([[-1, 3.0], [0, 2.0]], 0),
        ([[-1, 9.0], [0, 2.0], [5, 1.0]], 1),
        ([[0, 2.0], [0, 1.0]], 0),
    ],
)
def test_of_a_curve_what_is_before_the_first_step_is_left_out(curve, drawn):
    models = [model("m", 3, training={"seconds": 1.0, "curve": curve})]
    board = leaderboard_board.build(record(models=models, scores=[], failures=[]))
    assert [points for shown in board.curves for points in shown.points] == [
        (0.0, 2.0),
        (5.0, 1.0),
    ] * drawn
    assert html.render(board).count("<figure data-model=") == drawn


def test_a_rate_of_nothing_has_no_interval_in_percent():
    rows = [
        speed("m", "decode_bytes_per_second", 0.0, 0.0, batch=1),
        *likelihood("m", 2.0, 0.1, None),
    ]
    page = markdown.render(
        leaderboard_board.build(record(models=[model("m", 3)], scores=rows, failures=[]))
    )
    assert re.search(r"\| 0\.00 \|", page)
    assert "±" not in re.sub("2.0000 ± 0.1000", "", page)


@pytest.mark.parametrize(
    "name", ["../secret", "/secret", "..", ".", "", "a\0b", "x" * 300, "\U0001f600" * 90, "\ud800"]
)
def test_a_record_does_not_choose_which_other_files_are_shown(tmp_path, name):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/s.jsonl").write_text('{"id": "0", "input": "p", "output": "SECRET"}\n')
    (tmp_path / "run").mkdir()
    name = str(tmp_path / "secret") if name == "/secret" else name
    drawn = leaderboard_board.build(record(models=[model(name, 0)]), tmp_path / "run")
    assert drawn.sayings == []


@BOARDS
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_is_harmless_in_html(tmp_path, text, draw):
    page = html.render(draw(tmp_path / "hostile", text))
    found, tame = tags(page), tags(html.render(draw(tmp_path / "tame", "tame")))
    assert set(found) == set(tame)  # how many spans and facts there are is the text's affair
    assert [tag for tag in found if tag[0] in WHOLE] == [tag for tag in tame if tag[0] in WHOLE]
    assert "alert(1)</script" not in page
    assert not [c for c in page if not c.isprintable() and c not in "\n\t"]
    assert len(page) < 200_000
    page.encode()


WHOLE = ("meta", "style", "script", "section", "svg", "form")


class _Tags(HTMLParser):
    """Elements and the names of their attributes; scripts and styles whole."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, *(name for name, _ in attrs)))
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        if self.found and self.found[-1][0] in ("script", "style"):
            self.found.append((data.strip(),))


def tags(page):
    parser = _Tags()
    parser.feed(page)
    return parser.found


@BOARDS
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
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
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_is_one_row_and_no_formula_in_csv(tmp_path, text, draw):
    rows = list(csv.reader(io.StringIO(renderers_csv.render(draw(tmp_path, text)))))
    assert [len(row) for row in rows] == [len(rows[0])] * (3 if draw is hostile_board else 9)
    assert not [field for row in rows for field in row if field.strip()[:1] in tuple("=+-@")]
    assert not [c for row in rows for field in row for c in field if not c.isprintable()]
    assert [float(row[rows[0].index("bits_per_byte")]) for row in rows[1:3]] == [2.0, 3.0]


@BOARDS
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_is_harmless_on_the_terminal(tmp_path, text, draw):
    drawn = table.render(draw(tmp_path, text))
    assert not [c for c in drawn if not c.isprintable() and c != "\n"]
    assert max(len(line) for line in drawn.split("\n")) <= 120
    if text == HOSTILE["markup"]:
        assert "[/nothing] :bomb:" in drawn


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
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


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00 k"),
        (70_649, "70.6 k"),
        (999_499, "999 k"),
        (999_999, "1.00 M"),
        (124_439_808, "124 M"),
        (10**9 - 1, "1.00 G"),
    ],
)
def test_parameters_are_counted_in_round_numbers(count, text):
    drawn = leaderboard_board.build(record(models=[model("lstm", 3, parameters=count)]))
    assert drawn.tables[0].lines[0].cells["parameters"].text == text


def test_rows_of_different_protocols_are_called_not_comparable():
    rows = [
        score("lstm", "bits_per_byte", 2.0),
        score("mine", "bits_per_byte", 1.0, signature=SIGNATURE.replace("half", "rolling")),
    ]
    notes = leaderboard_board.build(record(scores=rows)).tables[0].notes
    assert any("not comparable" in note and "window=rolling" in note for note in notes)


def test_no_number_is_made_up_where_none_was_measured(board):
    cells = board.tables[0].lines[0].cells
    assert cells["spelling_share"].text == "-"
    assert cells["spelling_share"].value is None
    assert math.isinf(
        leaderboard_board.build(record(scores=[score("mine", "bits_per_byte", "inf")]))
        .tables[0]
        .lines[0]
        .cells["bits_per_byte"]
        .value
    )


def test_a_narrow_terminal_gets_fewer_columns_and_whole_names():
    shown = table.render(leaderboard_board.build(record()), width=60)
    assert max(len(line) for line in shown.splitlines()) <= 60
    assert "byte-ngram" in shown
