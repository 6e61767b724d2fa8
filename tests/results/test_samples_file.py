"""The columns of samples: they say what the JSON lines say, and only of these very lines."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from support.comparisons import BETTER, RATES, compare_models
from support.hand_runs import ACCURACY, BITS, Hand, bits, right

from llmbench.results.ranking import Items, _find_usual, rank_scores
from llmbench.results.record import load
from llmbench.results.samples import read_items, read_samples
from llmbench.results.tables import samples_file
from llmbench.results.tables.items import ItemTable
from llmbench.results.tables.samples_file import columns_file, find_said, write_samples


def row(id, statistics, **more):
    return {"id": id, "bytes": 1, "statistics": statistics, **more}


SAMPLES = [
    row("a", {"bits": [1.5, 2]}, input="two\nlines \u2028 and \ud83d", session="one"),
    row("b", {"bits": [math.inf, 3], "right": [1.0, 1.0]}),
    row("a", {"bits": []}, output="\u00e9"),
    row("a", {"right": [0, 1.0], "ragged": [1.0]}, session="two"),
    row("a (2)", {"ragged": [1.0, 2.0, 3.0]}, output=None, reference="x"),
    row(7, {}),
    row("b", {"bits": [0.1, 0.2]}, **{"output:byte": "y"}),
]


def describe(table):
    """All that a table holds, row by row."""
    found = {name: table.find_rows(name) for name in sorted(table.columns)}
    return (
        list(table.keys),
        list(table.sessions),
        {
            name: (numbers.tolist(), [list(map(float, values)) for values in rows])
            for name, (numbers, rows) in found.items()
            if len(numbers)
        },
        [table.read_said(at) for at in range(len(table))],
    )


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
def test_columns_say_what_the_lines_say(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(samples_file, "ROWS", rows)
    lines = tmp_path / "samples" / "m" / "t.jsonl"
    assert write_samples(lines, SAMPLES) == [lines, columns_file(lines)]
    written = lines.read_text().split("\n")
    assert [json.loads(line)["id"] for line in written if line] == [s["id"] for s in SAMPLES]
    fast = describe(read_items(tmp_path, "m", "t"))
    some = describe(read_items(tmp_path, "m", "t", ["right"]))
    columns_file(lines).unlink()
    slow = describe(read_items(tmp_path, "m", "t"))
    assert fast == slow
    assert some[2] == {"right": fast[2]["right"]}
    items = read_samples(tmp_path, "m", "t")
    assert fast[0] == [item.key for item in items]
    assert fast[0] == ["a", "b", "a (2)", "a (3)", "a (2)", "7", "b (2)"]
    assert fast[1] == [item.session for item in items]
    assert fast[3] == [item.said for item in items]
    for name in ("bits", "right", "ragged"):
        kept = [item.statistics[name] for item in items if item.statistics.get(name)]
        assert fast[2][name][1] == kept


def test_the_lines_that_hold_texts_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(samples_file, "ROWS", 2)
    lines = tmp_path / "t.jsonl"
    write_samples(lines, SAMPLES)
    raw = lines.read_bytes()
    found = [json.loads(raw[place:].split(b"\n")[0])["id"] for place in find_said(lines)]
    assert found == ["a", "a", "a (2)", "b"]


def test_columns_of_other_lines_are_not_read(tmp_path):
    lines = tmp_path / "samples" / "m" / "t.jsonl"
    write_samples(lines, SAMPLES)
    with lines.open("a") as file:
        file.write(json.dumps(row("new", {})) + "\n")
    assert find_said(lines) is None
    assert list(read_items(tmp_path, "m", "t").keys)[-1] == "new"
    columns_file(lines).write_bytes(b"PAR1")
    assert len(read_items(tmp_path, "m", "t")) == 8
    lines.unlink()
    assert len(read_items(tmp_path, "m", "t")) == 0


@pytest.mark.parametrize("statistics", [{"a": ["x"]}, {"a": 3}, {"a": [None]}, [1.0]])
def test_samples_that_have_no_columns_leave_none_behind(tmp_path, statistics):
    lines = tmp_path / "t.jsonl"
    write_samples(lines, SAMPLES)
    assert write_samples(lines, [row("a", statistics)]) == [lines]
    assert not columns_file(lines).exists()


def test_no_samples_are_no_items(tmp_path):
    lines = tmp_path / "samples" / "m" / "t.jsonl"
    write_samples(lines, [])
    assert len(read_items(tmp_path, "m", "t")) == 0
    assert find_said(lines) == []


def test_ranks_and_comparisons_are_those_of_the_lines(tmp_path):
    hand = (
        Hand(tmp_path)
        .add("a", BITS, bits(*BETTER))
        .add("b", BITS, bits(*RATES))
        .add("a", ACCURACY, right("1011101110"))
        .add("b", ACCURACY, right("0010000101"))
    )
    slow, scores = compare_models(hand), load(tmp_path).scores
    ranks = rank_scores(scores, tmp_path)
    for lines in tmp_path.glob("samples/*/*.jsonl"):
        write_samples(lines, [json.loads(line) for line in lines.read_text().splitlines()])
    assert compare_models(hand) == slow
    assert rank_scores(scores, tmp_path) == ranks
    assert slow.moved
    assert slow.flips


def test_the_items_of_most_models_are_ranked_and_of_as_many_the_first():
    def items(*keys):
        table = ItemTable()
        for key in keys:
            table.add(key, {"bits_per_byte": [1.0, 2.0]}, "")
        table.add("left out", {}, "")
        return Items.of(table, "bits_per_byte")

    found = {"a": items("x"), "b": items("c", "d"), "c": items("c", "d"), "d": items("x", "y")}
    assert _find_usual("bits_per_byte", found) == {"b", "c"}
    assert _find_usual("bits_per_byte", {**found, "e": items("x"), "f": items()}) == {"b", "c"}
    assert np.asarray(found["b"].column(1)).tolist() == [2.0, 2.0]
