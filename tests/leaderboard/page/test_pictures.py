"""The page's pictures: axes that outliers leave readable, names that are nearest to their own
point, and curves on shared axes.
"""

from __future__ import annotations

import math
import random
import re

import pytest
from support.wide_record import build_record

from llmbench.leaderboard import board as leaderboard_board
from llmbench.leaderboard.plots import Curve
from llmbench.leaderboard.renderers.labels import (
    HEIGHT,
    LETTER,
    measure_distance,
    place_names,
)
from llmbench.leaderboard.renderers.page import curves, scatter
from llmbench.leaderboard.renderers.page.axes import Axis, find_range, make_axis, make_log_axis
from llmbench.leaderboard.renderers.page.frame import Titles
from llmbench.leaderboard.renderers.page.pictures import draw_pictures, draw_scaling
from llmbench.leaderboard.renderers.page.scatter import Spot, draw_scatter

FRAME = (40.0, 10.0, 600.0, 400.0)


def box_of(name):
    width = LETTER * len(name.text)
    left = name.x - {"start": 0, "middle": width / 2, "end": width}[name.anchor]
    return (left, name.y - HEIGHT / 2, left + width, name.y + HEIGHT / 2)


@pytest.mark.parametrize("count", [2, 13, 40])
@pytest.mark.parametrize("seed", range(5))
def test_a_name_is_nearer_to_its_own_point_than_to_any_other(count, seed):
    draw = random.Random(seed)
    points = [(draw.gauss(300, 90), draw.gauss(200, 60)) for _ in range(count)]
    names = ["m" * draw.randint(3, 24) for _ in points]
    placed = place_names(points, names, range(count), FRAME, 18)
    assert placed
    assert len(placed) <= 18
    boxes = [box_of(name) for name in placed]
    for name, box in zip(placed, boxes, strict=True):
        own = measure_distance(box, points[name.of])
        others = [measure_distance(box, p) for n, p in enumerate(points) if n != name.of]
        assert own < min(others)
        assert FRAME[0] <= box[0] <= box[2] <= FRAME[2]
        assert FRAME[1] <= box[1] <= box[3] <= FRAME[3]
    for number, one in enumerate(boxes):
        for other in boxes[:number]:
            apart = (
                one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3]
            )
            assert apart


def test_a_name_covers_an_error_bar_only_if_there_is_no_other_place():
    points, bar = [(100.0, 200.0), (118.0, 260.0)], (118.0, 150.0, 118.0, 300.0)
    (right,) = place_names(points, ["model", "b"], [0], FRAME, 1)
    (free,) = place_names(points, ["model", "b"], [0], FRAME, 1, [bar])
    assert right.x < bar[0] < right.x + LETTER * 5
    assert (free.of, free.anchor) == (0, "end")
    everywhere = (FRAME[0], FRAME[1], FRAME[2], FRAME[3])
    assert place_names(points, ["model", "b"], [0], FRAME, 1, [everywhere]) == [right]


def cluster(seed, count=13):
    draw = random.Random(seed)
    points = [(draw.gauss(300, 40), draw.gauss(200, 30)) for _ in range(count)]
    return points, ["m" * draw.randint(3, 16) for _ in points]


@pytest.mark.parametrize("seed", range(5))
def test_with_lines_every_name_of_a_crowd_has_a_place(seed):
    points, names = cluster(seed)
    near = place_names(points, names, range(13), FRAME, 18)
    placed = place_names(points, names, range(13), FRAME, 18, most_in_all=18)
    assert len(near) < 13
    assert placed[: len(near)] == near
    assert sorted(name.of for name in placed) == list(range(13))
    assert all((name.leader is None) == (name in near) for name in placed)


def has_room(points, number):
    """Whether no other mark touches the mark of this point."""
    return all(
        math.dist(points[number], point) > 15 for at, point in enumerate(points) if at != number
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_line_leads_from_its_mark_to_its_name_and_meets_nothing_else(seed):
    points, names = cluster(seed)
    placed = place_names(points, names, range(13), FRAME, 18, most_in_all=18)
    boxes = {name.of: box_of(name) for name in placed}
    for name in placed:
        if name.leader is None or not has_room(points, name.of):
            continue
        begin, end = name.leader
        assert math.dist(begin, points[name.of]) == pytest.approx(7.5)
        assert measure_distance(boxes[name.of], end) <= 2.0
        for share in (step / 50 for step in range(51)):
            dot = tuple(a + share * (b - a) for a, b in zip(begin, end, strict=True))
            for other, point in enumerate(points):
                assert other == name.of or math.dist(dot, point) > 7.0
            for other, box in boxes.items():
                assert other == name.of or measure_distance(box, dot) > 0


def test_a_picture_draws_the_lines_of_its_names():
    ring = [(1000 * 1.1 ** math.cos(turn), 2 + 0.05 * math.sin(turn)) for turn in range(7)]
    ends = [(1000, 2), (100, 1), (9000, 3)]
    spots = [Spot(f"model-{n}", 3, x, y, ["said"]) for n, (x, y) in enumerate([*ring, *ends])]
    picture = draw_scatter(spots, Titles("x", "y", "said"), scatter.WIDE)
    assert all(f">model-{number}</text>" in picture for number in range(10))
    assert 'class="leader" d="M' in picture


def test_a_point_amid_others_has_no_name_rather_than_a_wrong_one():
    ring = [(300 + 11.0 * math.cos(turn), 200 + 11.0 * math.sin(turn)) for turn in range(7)]
    assert 7 not in [
        name.of for name in place_names([*ring, (300.0, 200.0)], ["x"] * 8, [7], FRAME, 18)
    ]


def test_a_model_far_worse_than_the_others_does_not_squeeze_them():
    bits = [2.0, 2.1, 2.2, 2.4, 2.6, 2.9, 8.0]
    assert find_range(bits) == (2.0, 2.9)
    assert find_range(bits, kept=[8.0]) == (2.0, 8.0)
    assert find_range([0.1, 0.8, 0.82, 0.85, 0.9, 0.99], better="higher") == (0.8, 0.99)
    assert find_range([2.0, 3.0, 9.0]) == (2.0, 9.0)  # too few to call one an outlier
    axis = make_axis(bits, 0, 100)
    assert axis.place(8.0) == 100
    assert axis.place(2.9) < 96


def test_better_is_never_called_an_outlier():
    assert find_range([0.2, 2.0, 2.1, 2.2, 2.3, 2.4])[0] == 0.2


@pytest.mark.parametrize(
    ("axis", "wanted"),
    [
        (Axis(1.93, 3.02, 0, 109), ["2.0", "2.2", "2.4", "2.6", "2.8", "3.0"]),
        (Axis(0, 10, 0, 100), ["0", "2", "4", "6", "8", "10"]),
        (Axis(90, 11_000, 0, 100, log=True), ["100", "300", "1 k", "3 k", "10 k"]),
        (Axis(1e6, 5e8, 0, 100, log=True), ["1 M", "3 M", "10 M", "30 M", "100 M", "300 M"]),
    ],
)
def test_ticks_are_round_numbers(axis, wanted):
    assert [text for _, text in axis.ticks()] == wanted


def test_a_logarithmic_axis_gives_equal_ratios_equal_widths():
    axis = make_log_axis([10.0, 1000.0], 0, 100)
    assert axis.place(100.0) == pytest.approx(50)
    assert axis.place(10.0) + axis.place(1000.0) == pytest.approx(100)


def spot(name, x, y, **more):
    return Spot(name, 3, x, y, [f"{y} bits/byte"], **more)


def test_error_bars_end_where_the_interval_ends():
    spots = [
        spot("a", 10.0, 2.0, is_front=True, y_ends=(1.9, 2.2), x_ends=(5.0, 20.0)),
        spot("b", 1000.0, 3.0),
    ]
    drawn = draw_scatter(spots, Titles("x", "y", "said"), scatter.WIDE)
    down = make_axis([1.9, 2.2, 3.0], scatter.WIDE.top, scatter.WIDE.floor)
    across = make_log_axis([10.0, 1000.0], scatter.WIDE.left, scatter.WIDE.far)
    x, y = across.place(10.0), down.place(2.0)
    assert f"translate({x} {y})" in drawn
    assert f"M0 {down.place(1.9) - y:.1f}V{down.place(2.2) - y:.1f}" in drawn
    assert f"M{across.place(5.0) - x:.1f} 0H{across.place(20.0) - x:.1f}" in drawn


def test_a_point_beyond_the_range_stands_at_the_edge_with_an_arrow():
    spots = [spot(f"m{n}", 10.0 + n, 2.0 + n / 10) for n in range(6)] + [spot("far", 50.0, 9.0)]
    drawn = draw_scatter(spots, Titles("x", "y", "said"), scatter.WIDE)
    assert drawn.count('class="beyond"') == 1
    assert re.search(r'data-model="far"[^>]*translate\([\d.]+ 358\.0\)', drawn)


def test_stages_differ_by_shape_as_well_as_by_colour():
    board = leaderboard_board.build(build_record(16, 1))
    (wide, *_) = [picture.wide for picture in draw_pictures(board.points)]
    assert set(re.findall(r"#mark-(\w+)", wide)) == {*"0123456", "other"}
    for stage, mark in re.findall(r'class="spot s-(\w+).*?#mark-(\w+)', wide, re.DOTALL):
        assert stage == mark


def test_forty_models_are_all_in_the_picture_and_the_front_is_named_first():
    board = leaderboard_board.build(build_record())
    for picture in draw_pictures(board.points):
        for drawn in (picture.wide, picture.narrow):
            assert drawn.count('class="spot') == 40
            assert len(drawn) < 40_000
        named = re.findall(r'class="name( ahead)?"', picture.wide)
        assert len(named) <= scatter.WIDE.width // scatter.PER_NAME
        assert named[0] == " ahead"


def test_scaling_is_drawn_against_parameters_training_and_weights():
    board = leaderboard_board.build(build_record(16, 1))
    drawn = draw_scaling(board.sizes)
    assert [picture.title for picture in drawn] == ["Parameters", "Training", "Weights"]
    assert [picture.drawn.count('class="spot') for picture in drawn] == [16, 12, 16]


def test_curves_share_their_axes_and_a_step_zero_has_its_place():
    first = Curve("a", 1, [(0.0, 3.0), (10.0, 2.0), (30.0, 1.0)])
    second = Curve("b", 2, [(10.0, 2.5), (30.0, 2.0)])
    drawn = curves.draw_curves([first, second], curves.WIDE)
    lines = {
        name: [tuple(map(float, place.split(","))) for place in line.split(" ")]
        for name, line in re.findall(r'data-model="(\w)" data-said.*?points="([^"]*)"', drawn)
    }
    size = curves.WIDE
    assert [x for x, _ in lines["a"]] == pytest.approx(
        [size.left, (size.left + size.far) / 2, size.far]
    )
    assert lines["b"][1][1] == lines["a"][1][1]  # 2.0 bits at either
    assert lines["a"][0][1] < lines["b"][0][1] < lines["a"][1][1] < lines["a"][2][1]
    assert "best 1.000 bits/byte at step 30 of 30" in drawn
    assert curves.draw_curves([], curves.WIDE) == ""


def test_of_a_long_curve_the_best_and_the_last_point_stay():
    points = [(float(step), abs(step - 701) / 100 + 1) for step in range(1000)]
    kept = curves.choose_points(points)
    assert len(kept) <= curves.MOST_DOTS + 2
    assert kept[0] == points[0]
    assert kept[-1] == points[-1]
    assert points[701] in kept
    assert curves.choose_points(points[:60]) == points[:60]


def test_names_at_the_ends_of_curves_do_not_overlap_and_stay_in_the_picture():
    ends = [30.0, 31.0, 31.5, 100.0, 199.0, 200.0]
    placed = curves.spread(ends, 14, 30, 200)
    assert placed == sorted(placed)
    assert all(b - a >= 14 - 1e-9 for a, b in zip(placed, placed[1:], strict=False))
    assert placed[0] >= 30
    assert placed[-1] <= 200
    assert placed[3] == 100.0
