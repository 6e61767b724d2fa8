"""The picture: what is on the front, what is written where, and that nothing in a name can run or break out."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import hand_record
import pytest

from llmbench import leaderboard
from llmbench.api import write_boards
from llmbench.leaderboard import Point
from llmbench.renderers import html
from llmbench.renderers.chart import chart, svg

POINTS = [
    Point("slow and good", 5, 1.0, 100.0, 2**30, True),
    Point("fast and poor", 1, 3.0, 9000.0, 2**28, True),
    Point("<script>alert(1)</script>", 3, 3.5, 500.0, None, False),
]


def test_the_picture_has_every_model_with_its_numbers():
    found = chart(POINTS)
    rows = found["data"]["values"] if "values" in found["data"] else next(iter(found["datasets"].values()))
    assert [(row["model"], row["bits per byte"], row["bytes per second"], row["peak memory (MiB)"]) for row in rows] == [
        ("fast and poor", 3.0, 9000.0, 256.0),
        ("<script>alert(1)</script>", 3.5, 500.0, None),
        ("slow and good", 1.0, 100.0, 1024.0),
    ]


def test_it_is_drawn_here_and_a_name_is_only_a_name():
    drawn = svg(POINTS)
    tree = ElementTree.fromstring(drawn)
    assert tree.tag.endswith("svg")
    assert "<script" not in drawn
    assert {element.tag.rpartition("}")[2] for element in tree.iter()} <= {"svg", "g", "path", "text", "rect", "line", "defs", "clipPath", "style"}
    assert "slow and good" in "".join(tree.itertext())
    assert not re.search(r"(href|src)=|url\((?!#)", drawn)


@pytest.mark.parametrize("name", ["a\x00b", "a\x1bb", "a\uffffb", "a\ud800b", "a\u202eb", "]]>", "a\nb"])
def test_a_name_that_no_file_can_hold_is_drawn_with_a_mark(name):
    tree = ElementTree.fromstring(svg([*POINTS, Point(name, None, 2.0, 50.0, None, False)]))
    written = {element.text for element in tree.iter() if element.text}
    assert "".join(c if c.isprintable() and c != "\uffff" else "\N{REPLACEMENT CHARACTER}" for c in name) in written
    assert tree.tag.endswith("svg")


def test_one_model_is_no_picture():
    assert svg(POINTS[:1]) == ""
    assert svg([]) == ""


def record(*rows):
    scores = []
    for name, bits, rate in rows:
        scores += [hand_record.score(name, "bits_per_byte", bits), hand_record.speed(name, "decode_bytes_per_second", rate)]
    return hand_record.record(models=[hand_record.model(name, 1) for name, _, _ in rows], scores=scores, failures=[], notes={})


def test_on_the_front_is_a_model_than_which_none_is_both_better_and_faster():
    board = leaderboard.build(
        record(("a", 1.0, 10.0), ("b", 2.0, 20.0), ("c", 2.5, 15.0), ("d", 3.0, 30.0), ("same as d", 3.0, 30.0), ("e", 1.0, 9.0))
    )
    assert {point.model for point in board.points if point.front} == {"a", "b", "d", "same as d"}


@pytest.mark.parametrize("missing", ["decode_bytes_per_second", "bits_per_byte"])
def test_a_model_without_one_of_the_numbers_is_not_in_the_picture(missing):
    made = record(("a", 1.0, 10.0), ("b", 2.0, 20.0))
    made.scores = [score for score in made.scores if score.model == "a" or score.metric != missing]
    assert [point.model for point in leaderboard.build(made).points] == ["a"]


def test_infinite_bits_are_not_drawn():
    assert [point.model for point in leaderboard.build(record(("a", 1.0, 10.0), ("b", "inf", 20.0))).points] == ["a"]


def test_the_boards_show_it(tmp_path):
    board = leaderboard.build(record(("a", 1.0, 10.0), ("b", 2.0, 20.0)))
    write_boards(board, tmp_path)
    assert "![bits per byte" in (tmp_path / "leaderboard.md").read_text()
    assert (tmp_path / "leaderboard.svg").read_text().startswith("<svg")
    page = html.render(board)
    assert page.count('<svg class="vega"') == 2  # for a wide and for a narrow page; memory was not measured
    assert "None is better in both: <b>a</b>, <b>b</b>." in page
    assert "http:" not in page
    assert "https:" not in page
