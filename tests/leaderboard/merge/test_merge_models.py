"""Models of many runs: which are the same, what each row is called, and what is left out."""

from __future__ import annotations

from support.hand_record import model, proven, score
from support.many_runs_by_hand import (
    bits,
    likelihood_run,
    quality,
    ranks,
    run,
    said,
    sample,
    values,
)

from llmbench.leaderboard.merge.merge import merge

HALF = "text=0123456789abcdef;protocol=likelihood/1;window=half;limit=none"


def test_one_name_with_two_fingerprints_is_two_rows_that_are_told_apart(tmp_path):
    one = run(tmp_path / "one", [model("a", 1, fingerprint="1" * 64)], [quality("a", bits(1.0))])
    two = run(tmp_path / "two", [model("a", 1, fingerprint="2" * 64)], [quality("a", bits(2.0))])
    (table,) = merge([one, two])[0].tables
    assert list(values(table)) == ["a [11111111]", "a [22222222]"]


def test_one_fingerprint_in_two_precisions_is_two_rows(tmp_path):
    halves = [
        run(tmp_path / dtype, [model("a", 1, dtype=dtype)], [quality("a", bits(1.0))])
        for dtype in ("float32", "bfloat16")
    ]
    board, warnings = merge(halves)
    assert set(values(board.tables[0])) == {"a [float32]", "a [bfloat16]"}
    assert warnings == []


def test_names_that_are_told_apart_are_no_other_models_names(tmp_path):
    alike = "2" * 8
    rows = [model("a", 1, fingerprint=alike + "3" * 56), model("a [22222222]", 1)]
    one = run(tmp_path / "one", rows, [quality("a", bits(1.0)), quality("a [22222222]", bits(1.5))])
    two = run(
        tmp_path / "two", [model("a", 1, fingerprint=alike + "4" * 56)], [quality("a", bits(2.0))]
    )
    assert len(values(merge([one, two])[0].tables[0])) == 3


def test_the_note_on_the_counter_holds_where_its_name_had_to_be_told_apart(tmp_path):
    trained = {"seconds": 1.0}
    for name, print_, levels in (("one", "1", (1.0, 2.0)), ("two", "2", (3.0, 4.0))):
        rows = [
            model("byte-ngram", 0, family="n-gram", fingerprint=print_ * 64),
            model("net", 3, training=trained, fingerprint=print_ * 64),
        ]
        found = dict(zip(("byte-ngram", "net"), levels, strict=True))
        for model_name, level in found.items():
            sample(tmp_path / name, model_name, bits(level))
        signature = HALF.replace("0123", name)
        run(
            tmp_path / name,
            rows,
            [quality(n, bits(level), signature=signature) for n, level in found.items()],
            notes=by("byte-ngram", "net"),
        )
    for table in merge([tmp_path / "one", tmp_path / "two"])[0].tables:
        assert "which only counts, is significantly better than net [" in said(table)


def by(better, worse):
    return {"tasks": {"likelihood": {"better_than": {better: [worse], worse: []}}}}


def test_a_column_that_has_another_signature_is_left_out_of_its_line_and_that_is_said(tmp_path):
    for name, counter in (("a", "whitespace"), ("b", "whitespace"), ("c", "letters")):
        words = score(name, "word_perplexity", 30.0, signature=f"{HALF};words={counter}")
        run(tmp_path / name, [model(name, 1)], [quality(name, bits(1.0)), words])
    (table,) = merge([tmp_path / name for name in "abc"])[0].tables
    assert values(table, "word_perplexity") == {"a": 30.0, "b": 30.0, "c": None}
    assert (
        "word_perplexity of c is left out: its signature differs from the others' in words."
        in table.notes
    )


def test_a_refused_certificate_in_any_run_carries_over(tmp_path):
    for name, day, certificate in (
        ("old", 1, proven("normalised: a sum of 1.2")),
        ("new", 2, proven()),
    ):
        rows = [model("a", 1, certificate=certificate), model("b", 1), model("c", 1)]
        found = {"a": 1.0, "b": 2.0, "c": 3.0}
        for n, level in found.items():
            sample(tmp_path / name, n, bits(level))
        scores = [
            quality(n, bits(level), rank=[place, place])
            for place, (n, level) in enumerate(found.items(), 1)
        ]
        run(tmp_path / name, rows, scores, finished=f"2026-01-0{day}T00:00:00+00:00")
    (table,) = merge([tmp_path / "old", tmp_path / "new"])[0].tables
    assert ranks(table) == {"a": "-", "b": "1", "c": "2"}
    assert "a failed certificate A2" in said(table)
    assert ranks(merge([tmp_path / "new"])[0].tables[0]) == {"a": "1", "b": "2", "c": "3"}


def test_failures_of_all_runs_are_there_once_but_for_cells_that_another_run_filled(tmp_path):
    failed = [
        {
            "model": "b",
            "task": "likelihood",
            "reason": "unavailable",
            "message": "no weights",
            "hint": "fetch them",
        },
        {"model": "c", "task": "likelihood", "reason": "crashed", "message": "killed", "hint": ""},
    ]
    one = likelihood_run(tmp_path / "one", {"a": 1.0}, failures=failed)
    two = likelihood_run(tmp_path / "two", {"b": 2.0}, failures=failed[1:])
    board, _ = merge([one, two])
    assert [(row.model, row.task, row.reason) for row in board.failures] == [
        ("c", "likelihood", "crashed")
    ]
    assert (
        "filled",
        "1 cell failed in one run and is here from another",
    ) in board.facts


def test_the_board_names_its_runs_the_newest_first(tmp_path):
    paths = [
        likelihood_run(tmp_path / place / "run", {"a": 1.0}, day=day)
        for day, place in enumerate(("x", "y"), 1)
    ]
    facts = merge([*paths, paths[0]])[0].facts
    assert facts[0] == ("runs", "2")
    assert [value.partition(":")[0] for key, value in facts if key == "run"] == ["y/run", "x/run"]
    many = [likelihood_run(tmp_path / f"r{i}", {"a": 1.0}, day=i + 1) for i in range(20)]
    facts = merge(many)[0].facts
    assert ("older runs", "r7, r6, r5, r4 and 4 more") in facts


def test_a_date_that_is_none_is_the_oldest(tmp_path):
    odd = likelihood_run(tmp_path / "odd", {"a": 1.0}, finished="one day")
    board, _ = merge(
        [odd, likelihood_run(tmp_path / "new", {"a": 1.0}, finished="2026-01-01T00:00:00")]
    )
    assert board.tables[0].lines[0].run == "new"


def test_what_does_not_apply_to_a_kind_of_model_is_no_failure_on_a_merged_board(tmp_path):
    failed = [
        {
            "model": "zlib",
            "task": task,
            "reason": "unsupported",
            "message": "Compressor does not generate text",
            "hint": "",
        }
        for task in ("continuation", "chat")
    ]
    notes = {"cells": {"a": ["likelihood", "continuation"], "zlib": ["likelihood"]}}
    one = likelihood_run(tmp_path / "one", {"a": 1.0, "zlib": 2.0}, failures=failed, notes=notes)
    board, _ = merge([one])
    assert [(row.model, row.task) for row in board.failures] == [("zlib", "chat")]
    assert board.title == "llmbench: 1 run"
