"""Tables that fit a width: whole rows, the important columns, intervals where there is room."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from llmbench.leaderboard.renderers.terminal.grid import (
    GridColumn,
    cut_middle,
    draw_grid,
    print_grid,
    print_prose,
)

COLUMNS = [
    GridColumn("model", ["lstm", "transformer-decoder"], is_numeric=False, least=8),
    GridColumn("bits/byte", ["1.9690 ± 0.0536", "2.0395 ± 0.0505"], keeps_intervals=True),
    GridColumn("decode, bytes/s", ["2.71 k ± 12 %", "629 [571, 640]"], 30),
    GridColumn("TTFT, ms", ["6.62", "4.40"], 20),
    GridColumn("parameters", ["826 k", "807 k"], 10),
]


def lines(width, columns=COLUMNS):
    head, body = draw_grid(columns, {}, width)
    return head, body


@pytest.mark.parametrize("width", [*range(1, 30), 40, 60, 80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal(width):
    head, body = lines(width)
    assert max(map(cell_len, [*head, *body])) <= width
    assert len(body) == 2


def test_the_least_important_columns_go_first():
    found = {}
    for width in range(30, 100):
        head, _ = lines(width)
        text = " ".join(" ".join(head).split())
        found[width] = [word for word in ("bytes/s", "TTFT", "parameters") if word in text]
    assert found[99] == ["bytes/s", "TTFT", "parameters"]
    counts = [len(names) for names in found.values()]
    assert counts == sorted(counts)
    assert "bytes/s" in found[60]


def test_intervals_come_back_where_there_is_room_and_the_headline_keeps_its_own():
    narrow, wide = lines(50)[1], lines(100)[1]
    assert "1.9690 ± 0.0536" in narrow[0]
    assert "±" not in narrow[0].replace("1.9690 ± 0.0536", "")
    assert "2.71 k ± 12 %" in wide[0]
    assert "629 [571, 640]" in wide[1]


def test_names_are_cut_in_the_middle_before_the_headline_goes():
    (_, second) = lines(26)[1]
    assert "2.0395 ± 0.0505" in second
    assert second.startswith("transf")
    assert "…" in second


def test_a_cut_text_keeps_its_beginning_and_its_end():
    assert cut_middle("transformer-decoder", 40) == "transformer-decoder"
    assert cut_middle("transformer-decoder", 10) == "transf…der"
    assert [cell_len(cut_middle("transformer-decoder", width)) for width in range(1, 19)] == list(
        range(1, 19)
    )


def test_wide_letters_count_as_two():
    column = [GridColumn("模型", ["長い名前のモデル", "b"], is_numeric=False, least=4)]
    assert all(cell_len(line) <= 9 for part in lines(9, column) for line in part)


def test_a_heading_stands_before_its_row():
    body = draw_grid(COLUMNS, {1: "Stage 4: transformer"}, 100)[1]
    assert [line.split()[0] for line in body] == ["lstm", "Stage", "transformer-decoder"]


def test_heads_may_take_several_lines_and_rows_never_do():
    head, body = lines(60)
    assert len(head) == 3
    assert len(body) == 2


def test_prose_is_indented_in_all_of_its_lines():
    out = io.StringIO()
    print_prose(Console(file=out, width=20), "one two three four five six seven", indent=4)
    assert out.getvalue().splitlines() == ["    one two three", "    four five six", "    seven"]


def test_nothing_is_drawn_of_no_columns():
    out = io.StringIO()
    print_grid(Console(file=out, width=20), [])
    assert out.getvalue().strip() == ""
