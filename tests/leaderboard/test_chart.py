"""The picture: what is on the front, what is written where, and that nothing in a name can run or
break out.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest
from support import hand_record
from support.wide_record import build_record

from llmbench.api import write_boards
from llmbench.leaderboard import board as leaderboard_board
from llmbench.leaderboard.plots import Curve, Point
from llmbench.leaderboard.renderers import html, labels
from llmbench.leaderboard.renderers.chart import chart, svg
from llmbench.leaderboard.renderers.labels import (
    HEIGHT,
    LETTER,
    measure_distance,
    place_labels,
)
from llmbench.leaderboard.renderers.page.pictures import draw_pictures
from llmbench.results.record import Score

POINTS = [
    Point("slow and good", 5, 1.0, 100.0, 2**30, True),
    Point("fast and poor", 1, 3.0, 9000.0, 2**28, True),
    Point("<script>alert(1)</script>", 3, 3.5, 500.0, None, False),
]


def test_the_picture_has_every_model_with_its_numbers():
    found = chart(POINTS)
    rows = (
        found["data"]["values"]
        if "values" in found["data"]
        else next(iter(found["datasets"].values()))
    )
    assert [
        (row["model"], row["bits per byte"], row["bytes per second"], row["peak memory (MiB)"])
        for row in rows
    ] == [
        ("fast and poor", 3.0, 9000.0, 256.0),
        ("<script>alert(1)</script>", 3.5, 500.0, None),
        ("slow and good", 1.0, 100.0, 1024.0),
    ]


def test_it_is_drawn_here_and_a_name_is_only_a_name():
    drawn = svg(POINTS)
    tree = ElementTree.fromstring(drawn)
    assert tree.tag.endswith("svg")
    assert "<script" not in drawn
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
    assert "slow and good" in "".join(tree.itertext())
    assert not re.search(r"(href|src)=|url\((?!#)", drawn)


@pytest.mark.parametrize(
    "name", ["a\x00b", "a\x1bb", "a\uffffb", "a\ud800b", "a\u202eb", "]]>", "a\nb"]
)
def test_a_name_that_no_file_can_hold_is_drawn_with_a_mark(name):
    tree = ElementTree.fromstring(svg([*POINTS, Point(name, None, 2.0, 50.0, None, False)]))
    written = {element.text for element in tree.iter() if element.text}
    assert (
        "".join(
            c if c.isprintable() and c != "\uffff" else "\N{REPLACEMENT CHARACTER}" for c in name
        )
        in written
    )
    assert tree.tag.endswith("svg")


def test_one_model_is_no_picture():
    assert svg(POINTS[:1]) == ""
    assert svg([]) == ""


def record(*rows):
    scores = []
    for name, bits, rate in rows:
        scores += [
            hand_record.score(name, "bits_per_byte", bits),
            hand_record.speed(name, "decode_bytes_per_second", rate),
        ]
    return hand_record.record(
        models=[hand_record.model(name, 1) for name, _, _ in rows],
        scores=scores,
        failures=[],
        notes={},
    )


def test_on_the_front_is_a_model_than_which_none_is_both_better_and_faster():
    board = leaderboard_board.build(
        record(
            ("a", 1.0, 10.0),
            ("b", 2.0, 20.0),
            ("c", 2.5, 15.0),
            ("d", 3.0, 30.0),
            ("same as d", 3.0, 30.0),
            ("e", 1.0, 9.0),
        )
    )
    assert {point.model for point in board.points if point.front} == {"a", "b", "d", "same as d"}


@pytest.mark.parametrize("missing", ["decode_bytes_per_second", "bits_per_byte"])
def test_a_model_without_one_of_the_numbers_is_not_in_the_picture(missing):
    made = record(("a", 1.0, 10.0), ("b", 2.0, 20.0))
    made.scores = [score for score in made.scores if score.model == "a" or score.metric != missing]
    assert [point.model for point in leaderboard_board.build(made).points] == ["a"]


def test_infinite_bits_are_not_drawn():
    assert [
        point.model
        for point in leaderboard_board.build(record(("a", 1.0, 10.0), ("b", "inf", 20.0))).points
    ] == ["a"]


def test_the_boards_show_it(tmp_path):
    board = leaderboard_board.build(record(("a", 1.0, 10.0), ("b", 2.0, 20.0)))
    write_boards(board, tmp_path)
    assert "![bits per byte" in (tmp_path / "leaderboard.md").read_text()
    assert (tmp_path / "leaderboard.svg").read_text().startswith("<svg")
    page = html.render(board)
    assert (
        page.count('<svg class="plot"') == 2
    )  # for a wide and for a narrow page; memory was not measured
    assert "These are: a, b." in page
    assert "http:" not in page
    assert "https:" not in page


def test_memory_lies_to_the_left_the_more_there_is_and_has_a_front_of_its_own():
    found = chart(POINTS, "memory")
    scales = [layer["encoding"]["x"]["scale"] for layer in found["layer"]]
    assert all(scale["reverse"] and scale["type"] == "log" for scale in scales)
    rows = (
        found["data"]["values"]
        if "values" in found["data"]
        else next(iter(found["datasets"].values()))
    )
    assert [row["model"] for row in rows] == [
        "fast and poor",
        "slow and good",
    ]  # of the third, memory is unknown
    assert svg(POINTS[1:], "memory") == ""


def test_on_the_front_of_memory_is_a_model_than_which_none_is_both_better_and_smaller():
    made = record(("a", 1.0, 10.0), ("b", 2.0, 20.0), ("c", 2.5, 30.0), ("d", 3.0, 5.0))
    held = [
        hand_record.speed(name, "peak_ram", size, task="memory")
        for name, size in (("a", 300), ("b", 400), ("c", 100))
    ]
    made = made.model_copy(
        update={"scores": [*made.scores, *(Score.model_validate(row) for row in held)]}
    )
    assert [
        (point.model, point.memory, point.lean) for point in leaderboard_board.build(made).points
    ] == [("a", 300.0, True), ("b", 400.0, False), ("c", 100.0, True), ("d", None, False)]


def test_a_picture_in_the_page_takes_its_colours_from_the_page_and_names_cannot_break_out():
    hostile = [
        "<script>alert(1)</script>",
        "</svg><img onerror=x>",
        "'\"; fill: red",
        "]]>&<!--",
        "a\ud800b\u202e",
    ]
    points = [
        Point(name, number, 1.0 + number, 10.0 * (number + 1), 2.0**20, True, True)
        for number, name in enumerate(hostile)
    ]
    board = leaderboard_board.Board("t", [], [], [], points=points)
    drawn = draw_pictures(board.points)
    assert [picture.axis for picture in drawn] == ["speed", "memory"]
    for picture in drawn:
        for part in (picture.wide, picture.narrow):
            tree = ElementTree.fromstring(part)
            assert {element.tag for element in tree.iter()} == {"svg", "g", "path", "text", "use"}
            assert not [
                name
                for element in tree.iter()
                for name, value in element.attrib.items()
                if name.startswith("on") or ("href" in name and value[:6] != "#mark-")
            ]
            assert 'class="spot s-3 ahead"' in part
            assert "</svg>" not in part[:-6]
    assert not re.search("https?:", html.render(board))


def test_names_in_the_file_are_nearest_to_their_own_bubble_with_forty_models():
    board = leaderboard_board.build(build_record())
    points = [(point.rate, point.bits) for point in board.points]
    names = [point.model for point in board.points]
    for mirrored in (False, True):
        found = place_labels(points, names, [p.front for p in board.points], (640, 360), mirrored)
        assert 5 <= len(found) <= 640 // 36
        assert board.points[found[0].of].front
        xs = labels._spread(
            [(-1 if mirrored else 1) * math.log(rate) for rate, _ in points], 640, 34
        )
        ys = labels._spread([bits for _, bits in points], 360, 24)
        for label in found:
            x, y = xs[label.of] + label.across, ys[label.of] + label.down
            width = LETTER * len(label.text)
            left = x - {"left": 0, "center": width / 2, "right": width}[label.align]
            box = (left, y - HEIGHT / 2, left + width, y + HEIGHT / 2)
            far = [measure_distance(box, place) for place in zip(xs, ys, strict=True)]
            assert min(range(len(far)), key=far.__getitem__) == label.of


def test_the_file_of_forty_models_has_all_bubbles_and_the_names_of_the_front_first():
    board = leaderboard_board.build(build_record())
    drawn = svg(board.points)
    tree = ElementTree.fromstring(drawn)
    written = {element.text for element in tree.iter() if element.text}
    assert len(written & {point.model for point in board.points}) >= 5
    assert drawn.count("bits/byte") >= 40


@pytest.mark.parametrize(
    "curve",
    [
        None,
        "x",
        [],
        [[1, 2.0]],
        [[1, 2.0], [1, 3.0]],
        [[1], 2, "ab", [1, "x"], [1, None]],
        [[1, float("inf")], [2, 2.0]],
    ],
)
def test_what_is_no_curve_is_not_drawn(curve):
    made = hand_record.record(
        models=[hand_record.model("a", 1, training={"seconds": 1.0, "curve": curve})]
    )
    assert leaderboard_board.build(made).curves == []


def test_curves_go_by_step_whatever_the_record_says():
    made = hand_record.record(
        models=[
            hand_record.model(
                "a", 1, training={"seconds": 1.0, "curve": [[20, 2.0], [10, 3], [30, 1.5]]}
            )
        ]
    )
    assert leaderboard_board.build(made).curves == [
        Curve("a", 1, [(10.0, 3.0), (20.0, 2.0), (30.0, 1.5)])
    ]
