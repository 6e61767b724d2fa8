"""Where the bits go: pieces of one text by models with different tokenisers, laid under one
another.
"""

from __future__ import annotations

import json
import math

import pytest
from support.hand_record import charge, likelihood, model, passage, record
from support.toys import TEXT

from llmbench.adapter import Window
from llmbench.adapters.trivial import Compressor, UniformBytes
from llmbench.data.text import Document, Text
from llmbench.leaderboard import heatmap as passages
from llmbench.leaderboard.heatmap import (
    Heatmap,
    HeatmapRow,
    Piece,
    bits_of_bytes,
    bits_per_byte,
    line_ends,
    lines,
)
from llmbench.results.cell import CellHead, write_cell
from llmbench.results.record import ModelRow
from llmbench.results.tables.charges import write_charges
from llmbench.tasks.likelihood import Likelihood


def found(folder, *models, **changes):
    names = models or ("byte-ngram", "lstm", "zlib")
    return passages.build_heatmaps(
        record(models=[model(name, 3) for name in names], **changes), folder
    )


def test_pieces_of_different_models_cover_the_same_text(tmp_path):
    (one,) = found(passage(tmp_path))
    assert (one.task, one.id, one.text, one.left_out) == (
        "likelihood",
        "d0",
        "Tap,\né tap.",
        ["zlib"],
    )
    assert [row.model for row in one.rows] == ["byte-ngram", "lstm"]
    assert [len(row.pieces) for row in one.rows] == [12, 4]
    for row in one.rows:
        assert "".join(span.text for line in lines(one, row) for span in line) == one.text


def test_the_bits_of_a_piece_are_spread_evenly_over_its_bytes(tmp_path):
    (one,) = found(passage(tmp_path))
    assert bits_of_bytes(one, one.rows[1]) == [2.0] * 3 + [3.25] * 3 + [2.0] * 3 + [3.25] * 3
    assert bits_per_byte(one, one.rows[1]) == pytest.approx((6.0 + 9.75) / 6)
    assert bits_of_bytes(one, one.rows[0])[:4] == [4.0, 0.5, 1.25, 4.0]


def test_a_character_that_pieces_share_has_their_shares_of_it(tmp_path):
    (one,) = found(passage(tmp_path))
    (by_bytes,) = (span for line in lines(one, one.rows[0]) for span in line if span.text == "é")
    assert (by_bytes.bits, by_bytes.bytes, by_bytes.pieces) == (1.25 + 4.0, 2, 2)
    spans = [
        (span.text, span.piece, span.bits, span.pieces)
        for line in lines(one, one.rows[1])
        for span in line
    ]
    assert spans == [
        ("Tap", "Tap", 6.0, 1),
        (",\n", ",\n\ufffd", 9.75, 1),
        ("é", "é", 5.25, 2),
        (" t", "\ufffd t", 6.0, 1),
        ("ap.", "ap.", 9.75, 1),
    ]


def test_lines_end_behind_the_last_space_that_fits_and_hold_every_character():
    words = "word " * 60 + "x" * 250
    ends = line_ends(words)
    assert ends[:3] == [100, 200, 300]
    assert ends[-1] == len(words)
    assert all(words[end - 1] == " " for end in ends[:3])
    assert line_ends("") == []


def test_a_piece_across_two_lines_is_a_span_in_each():
    text = "a" * 60 + " " + "b" * 60
    one = Heatmap(
        "t",
        "d",
        text,
        [HeatmapRow("m", None, [Piece(0, 59, 5.0), Piece(59, 63, 8.0), Piece(63, 121, 5.0)])],
    )
    assert [
        [(span.text[:2], len(span.text), span.piece[:5]) for span in line]
        for line in lines(one, one.rows[0])
    ] == [[("aa", 59, "aaaaa"), ("a ", 2, "a bb")], [("bb", 2, "a bb"), ("bb", 58, "bbbbb")]]


def test_a_record_alone_and_a_run_that_kept_no_texts_have_no_passages(tmp_path):
    assert passages.build_heatmaps(record(), None) == []
    passage(tmp_path)
    for file in (tmp_path / "samples").glob("*/*.jsonl"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "input": None}) + "\n")
    assert found(tmp_path) == []


def test_cells_that_another_run_left_are_not_shown(tmp_path):
    passage(tmp_path)
    (one,) = found(tmp_path, notes={"cells": {"byte-ngram": ["likelihood"], "lstm": ["letters"]}})
    assert [row.model for row in one.rows] == ["byte-ngram"]


@pytest.mark.parametrize("damage", [b"", b"PAR1 no more", None])
def test_a_model_whose_charges_are_torn_or_absent_is_left_out(tmp_path, damage):
    file = passage(tmp_path) / "charges" / "lstm" / "likelihood.parquet"
    file.unlink() if damage is None else file.write_bytes(damage)
    assert [row.model for row in found(tmp_path)[0].rows] == ["byte-ngram"]


def test_charges_of_another_text_are_not_laid_over_this_one(tmp_path):
    passage(tmp_path)
    charge(tmp_path, "lstm", "short", [1.0, 2.0])
    file = tmp_path / "samples" / "lstm" / "likelihood.jsonl"
    file.write_text((tmp_path / "samples" / "byte-ngram" / "likelihood.jsonl").read_text())
    assert [row.model for row in found(tmp_path)[0].rows] == ["byte-ngram"]


@pytest.mark.parametrize("name", ["../secret", "..", "/", "a\0b", "x" * 300, "\ud800"])
def test_a_record_does_not_choose_which_other_files_are_read(tmp_path, name):
    passage(tmp_path / "secret" / "run")
    (tmp_path / "run").mkdir()
    assert found(tmp_path / "run", name) == []


def test_a_page_of_many_models_has_shorter_and_fewer_passages(tmp_path):
    names = [f"m{number}" for number in range(100)]
    for name in names:
        charge(tmp_path, name, "A tap drips. " * 60, [1.0, 2.0])
        file = tmp_path / "samples" / name / "likelihood.jsonl"
        row = json.loads(file.read_text())
        file.write_text("".join(json.dumps({**row, "id": id}) + "\n" for id in ("d0", "d1", "d2")))
    shown = found(tmp_path, *names)
    assert [(one.id, len(one.text), len(one.rows)) for one in shown] == [("d0", 250, 100)]


def test_infinite_bits_stay_infinite(tmp_path):
    charge(tmp_path, "lstm", "tap tap", [math.inf, 1.0])
    (one,) = found(tmp_path, "lstm")
    assert bits_per_byte(one, one.rows[0]) == math.inf


def _kept(folder, name, adapter, text):
    made = Likelihood(text, Window()).run(adapter, lambda *said: None)
    write_cell(folder, CellHead("", "", "", "likelihood", ModelRow(name=name)), made, 0.0)
    return made


@pytest.mark.parametrize(
    "text",
    [
        Text("t", (Document("one@9", "Some words, \u00e9ven a long text.\n\n" * 600),)),
        Text(
            "t",
            tuple(
                Document(f"a@{i}", "é" * 500 + TEXT[i * 7 :] if i != 1 else "") for i in range(5)
            ),
        ),
    ],
    ids=["blocks of one document", "documents"],
)
def test_the_first_items_of_a_run_hold_their_opening_and_find_their_charges(tmp_path, text):
    class Odd(UniformBytes):
        def score(self, passages, window=Window()):
            for ledger in super().score(passages, window):
                ledger.bits[::3] = 2.0
                yield ledger

    made = _kept(tmp_path, "odd", Odd(), text)
    _kept(tmp_path, "zlib", Compressor("zlib"), text)
    inputs = [sample["input"] for sample in made.samples]
    assert all(inputs[:3])
    assert not any(inputs[3:])
    assert all(len(text.encode()) <= 600 for text in inputs[:3])
    shown = found(tmp_path, "odd", "zlib", scores=likelihood("odd", 6.0, 0.1, None))
    assert [one.text for one in shown] == inputs[:3]
    whole = "".join(document.text for document in text.documents)
    for one in shown:
        assert one.text in whole
        assert set(bits_of_bytes(one, one.rows[0])) == {2.0, 8.0}


def test_what_an_empty_charge_cost_goes_to_the_next_bytes(tmp_path):
    from llmbench.ledger import END, SPELLING, TOKEN, Ledger

    charge(tmp_path, "lstm", "tap tap", [1.0, 2.0])
    ledger = Ledger.build(
        [0, 3, 3, 7],
        [3, 3, 7, 7],
        [1.5, 4.0, 20.0, 9.0],
        [TOKEN, TOKEN, SPELLING, END],
        bytes=7,
        id="d0",
    )
    write_charges(tmp_path / "charges" / "lstm" / "likelihood.parquet", [ledger])
    (one,) = found(tmp_path, "lstm")
    assert one.rows[0].pieces == [Piece(0, 3, 1.5), Piece(3, 7, 24.0, True)]


@pytest.mark.parametrize(
    "columns",
    [
        {"document": ["d0"], "start": ["0"], "end": [12], "bits": [1.0], "kind": ["token"]},
        {"document": [0], "start": [0], "end": [12], "bits": [1.0], "kind": ["token"]},
        {"document": ["d0"], "start": [0], "end": [12]},
        {
            "document": ["d0"] * 2,
            "start": [0, 6],
            "end": [6, 12],
            "bits": [1.0, None],
            "kind": ["token"] * 2,
        },
        {
            "document": ["d0"] * 2,
            "start": [0, 6],
            "end": [6, 12],
            "bits": [1.0, math.nan],
            "kind": ["token"] * 2,
        },
        {
            "document": ["d0"] * 2,
            "start": [0, 6],
            "end": [6, 12],
            "bits": [1.0, -2.0],
            "kind": ["token"] * 2,
        },
        {
            "document": ["d0"] * 3,
            "start": [0, 9, 6],
            "end": [9, 6, 12],
            "bits": [1.0, 2.0, 3.0],
            "kind": ["token"] * 3,
        },
        {
            "document": ["d0"] * 2,
            "start": [0, 7],
            "end": [6, 12],
            "bits": [1.0, 2.0],
            "kind": ["token"] * 2,
        },
        {
            "document": ["d0"] * 2,
            "start": [0, 6],
            "end": [6, 12],
            "bits": [1.0, 2.0],
            "kind": ["pseudo"] * 2,
        },
    ],
)
def test_charges_that_are_none_are_not_drawn(tmp_path, columns):
    import pyarrow as pa
    import pyarrow.parquet as pq

    passage(tmp_path)
    pq.write_table(pa.table(columns), tmp_path / "charges" / "lstm" / "likelihood.parquet")
    assert [row.model for row in found(tmp_path)[0].rows] == ["byte-ngram"]
