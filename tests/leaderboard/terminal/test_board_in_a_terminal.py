"""Boards in terminals of every width: each model on one line, the best first."""

from __future__ import annotations

import re
from itertools import takewhile

import pytest
from rich.cells import cell_len
from support.hand_record import likelihood, model, record, score, speed

from llmbench.leaderboard.board import build
from llmbench.leaderboard.renderers.table import render

LONG = "a-model-of-ones-own-with-a-rather-long-name"
NAMES = ["lstm", "transformer-decoder", LONG, "rnn", "zlib"]
IN_ORDER = ["bits/byte", "perplexity", "tokens/s", "bytes/s", "TTFT", "RAM", "GPU", "parameters"]


def data(names=NAMES):
    """A board of bits and speed with everything that people come for."""
    scores = []
    for number, name in enumerate(names):
        bits, rank = 1.5 + number / 10, [number + 1, number + 1]
        code = {"charged": "code"} if name == "zlib" else {}
        scores += likelihood(name, bits, 0.05, None if code else rank, **code)
        scores.append(score(name, "word_perplexity", 1000.0 * bits, unit="perplexity"))
        if code:
            continue
        rate = 90_000.0 - 100 * number
        scores += [
            speed(name, "decode_bytes_per_second", rate, 900.0, rank=rank),
            speed(name, "decode_tokens_per_second", rate / 4, 10.0, unit="tokens/s"),
            speed(name, "time_to_first_token", 0.004, unit="seconds"),
            score(name, "peak_ram", 300 << 20, task="memory", unit="bytes"),
            score(name, "peak_gpu_reserved", 1 << 30, task="memory", unit="bytes"),
        ]
    models = [
        model(name, number % 7 if number % 5 else None, parameters=10**6)
        for number, name in enumerate(names)
    ]
    return record(models=models, scores=scores, failures=[], notes={"tasks": {}})


def rows_of(text, title):
    """The rows of a table: the lines between its rule and its notes."""
    after = text.partition(f"\n{title}")[2].partition("─\n")[2]
    return list(takewhile(lambda line: "±" in line, after.splitlines()))


@pytest.mark.parametrize("width", [80, 100, 120])
def test_every_model_has_one_line_that_fits(width):
    drawn = render(build(data()), width)
    assert max(map(cell_len, drawn.splitlines())) <= width
    rows = rows_of(drawn, "likelihood")
    assert len(rows) == len(NAMES)
    for row, name in zip(rows, NAMES, strict=True):
        assert name[:6] in row


@pytest.mark.parametrize(("width", "count"), [(80, 4), (100, 7), (120, 8)])
def test_the_columns_people_come_for_are_there_in_order(width, count):
    wanted = IN_ORDER[:count]
    names = [name if len(name) < 20 else "own" for name in NAMES]
    drawn = render(build(data(names)), width)
    head = drawn.partition("\nlikelihood")[2].partition("─")[0]
    words = re.sub(r"[,─]", " ", head).split()
    assert set(wanted) <= set(words)
    places = [max(line.find(word) for line in head.splitlines()) for word in wanted]
    assert places == sorted(places)


def test_models_go_by_rank_and_those_without_one_come_last():
    rows = rows_of(render(build(data()), 120), "likelihood")
    assert [row.split()[0] for row in rows] == ["1", "2", "3", "4", "-"]


def test_stages_are_marks_and_explained():
    drawn = render(build(data()), 120)
    marks = [row.split()[1] for row in rows_of(drawn, "likelihood")]
    assert marks == ["·", "1", "2", "3", "4"]
    legend = " ".join(drawn.partition("S: stage of the roadmap")[2].split())
    assert legend.startswith("(1 characters, feed-forward; 2 words, feed-forward; 3 recurrent;")
    assert "· models of one's own" in legend


def test_by_stage_they_stand_under_headings():
    drawn = render(build(data()), 100, by="stage")
    places = [drawn.index(word) for word in ("Stage 1: characters", "Stage 2: words", "Models of")]
    assert places == sorted(places)
    assert "S: stage" not in drawn


def test_a_model_without_speed_has_dashes_and_no_failure():
    zlib = rows_of(render(build(data()), 120), "likelihood")[-1]
    assert zlib.split()[-4:] == ["-", "-", "-", "-"] or zlib.count(" -") >= 4


def test_the_verdict_is_the_first_line_and_each_other_table_has_its_own():
    drawn = render(build(data()), 120)
    assert drawn.splitlines()[0].startswith("lstm is best, proven")
    assert re.search(r"\nspeed, decode, bytes/s: \S+ is fastest, proven", drawn)


def test_a_hundred_models_have_a_hundred_lines():
    names = [f"model-{number:03}" for number in range(100)]
    assert len(rows_of(render(build(data(names)), 80), "likelihood")) == 100


def test_columns_without_room_are_named_once():
    narrow = " ".join(render(build(data()), 60).split())
    assert narrow.count("No room here for ") == 1
    named = narrow.partition("No room here for ")[2].partition(":")[0].split("; ")
    first = render(build(data()), 60).splitlines()
    head = "\n".join(takewhile(lambda line: "──" not in line, first))
    assert named
    assert not any(title in head for title in named)
    assert "see leaderboard.md or leaderboard.html" in narrow


def test_where_all_columns_have_room_nothing_is_said_of_it():
    assert "No room here" not in render(build(data()), 600)
