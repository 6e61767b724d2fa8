"""Boards: exact pictures of a record made by hand.

Golden files are written anew with LLMBENCH_WRITE_GOLDEN=1; read the difference before keeping it.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.hand_record import (
    PROMPT,
    SIGNATURE,
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
from llmbench.leaderboard.renderers import csv as renderers_csv
from llmbench.leaderboard.renderers import html, markdown, table
from llmbench.leaderboard.renderers.page import ranking
from llmbench.leaderboard.renderers.registry import BUILT_IN, draw
from llmbench.storage import write_lines

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = {"md": "board.md", "csv": "board.csv", "html": "board.html", "table": "board.txt"}


@pytest.fixture
def board(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("COLUMNS", "120")
    time.tzset()
    return leaderboard_board.build(record(), passage(samples(tmp_path)))


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
    drawn = table.render(board, by="stage").partition("─\n")[2]
    parts = ("Floors", *names[:3], "Stage 3", names[3], "Stage 4", names[4], "Models of", names[5])
    places = [drawn.index(word) for word in parts]
    assert places == sorted(places)


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
    scale = ranking.find_scale(board.tables[0])
    assert ranking.draw_interval(scale, cells["mine"]) is None
    assert ranking.draw_interval(scale, cells["uniform-bytes"]).beyond == "high"
    page = html.render(board)
    assert 'data-sort="inf">inf</td>' in page
    assert not re.search(r"\bnan\b", page.partition("<script>")[0].lower())
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
        r"https?:|//[a-z]|@import|url\(|<link|<img|<iframe|\bsrc=|fetch\(|XMLHttp",
        page,
    )
    assert "default-src 'none'" in page
    assert set(re.findall(r'\bhref="([^#"][^"]*)"', page)) == {"leaderboard.md", "leaderboard.csv"}


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
    assert "Stage 9" in draw("html", later)
    assert "Stage 9" in table.render(later, by="stage")
    assert "| lstm | 9 |" in draw("md", later)


def test_lines_go_by_rank_in_the_terminal_and_in_markdown(board):
    names = ["byte-ngram", "transformer-decoder", "lstm", "uniform-bytes", "zlib", "mine"]
    for form in ("md", "table"):
        drawn = draw(form, replace(board, summary=[])).partition("bits/byte")[2]
        drawn = drawn.partition("─\n")[2] or drawn
        found = [line for line in drawn.splitlines() if any(f" {name} " in line for name in names)]
        rows = [next(name for name in names if f" {name} " in line) for line in found][:6]
        assert rows == names, form


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
    assert page.count('<g class="curve ') == 2 * 40  # for a wide and for a narrow page
    assert len(page) < 500_000


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
    assert html.render(board).count('<g class="curve ') == 2 * drawn


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
