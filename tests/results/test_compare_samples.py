"""Comparisons that depend on the samples: items missing, left out, torn, or of another run."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from support.comparisons import BETTER, RATES, compare_models, find_row, print_comparison
from support.hand_runs import BITS, REPETITION, Hand, bits

from llmbench import storage
from llmbench.results.compare import compare
from llmbench.results.matching import within
from llmbench.results.samples import open_results


def test_items_that_one_side_lacks_are_named_and_nothing_is_compared(tmp_path):
    hand = Hand(tmp_path).add("a", BITS, bits(*BETTER)).add("b", BITS, bits(*RATES[:8]))
    found = compare_models(hand)
    assert find_row(found, "bits_per_byte").verdict == "not comparable"
    assert find_row(found, "bits_per_byte").reason == "items are missing: 2 of b (d8, d9)"
    assert [(one.model, one.side, one.ids) for one in found.missing] == [("b", "b", ["d8", "d9"])]


def test_an_answer_that_the_metric_leaves_out_is_no_missing_item(tmp_path):
    shares = [[0.1 + 0.01 * i, 1.0] for i in range(10)]
    less = [[share / 4, 1.0] for share, _ in shares]
    hand = (
        Hand(tmp_path).add("a", REPETITION, [*less[:9], []]).add("b", REPETITION, [[], *shares[1:]])
    )
    found = compare_models(hand)
    one = find_row(found, "repetition_4")
    assert (one.verdict, one.n, one.left_out, one.reason) == ("better", 8, 2, "")
    assert one.a == pytest.approx(np.mean([share for share, _ in less[:9]]))  # of all that it has
    assert one.difference == pytest.approx(
        np.mean([x[0] - y[0] for x, y in zip(less[1:9], shares[1:9], strict=True)])
    )
    assert found.missing == []
    assert "2 of 10 items left out" in print_comparison(tmp_path, "a", "b", "--format", "md")


def test_the_items_that_only_one_side_counts_must_give_its_score_too(tmp_path):
    shares = [[0.1 + 0.01 * i, 1.0] for i in range(10)]
    hand = (
        Hand(tmp_path)
        .add("a", REPETITION, shares, value=0.3)
        .add("b", REPETITION, [*shares[:9], []])
    )
    assert (
        find_row(compare_models(hand), "repetition_4").reason
        == "the items of a do not give its score: they are of another run"
    )


def test_where_no_item_counts_on_both_sides_nothing_is_tested(tmp_path):
    hand = (
        Hand(tmp_path).add("a", REPETITION, [[0.5, 1.0], []]).add("b", REPETITION, [[], [0.5, 1.0]])
    )
    assert (
        find_row(compare_models(hand), "repetition_4").reason
        == "there is no item that the metric counts on both sides: no test can be run"
    )


def test_documents_of_another_size_are_not_the_same_items(tmp_path):
    hand = Hand(tmp_path).add("a", BITS, bits(*BETTER)).add("b", BITS, bits(*RATES, size=90))
    assert (
        find_row(compare_models(hand), "bits_per_byte").reason
        == "the items are not of the same size"
    )


def test_infinite_bits_prove_nothing(tmp_path):
    hand = (
        Hand(tmp_path)
        .add("a", BITS, bits(*BETTER))
        .add("b", BITS, [*bits(*RATES[1:]), [math.inf, 100]], value="inf")
    )
    one = find_row(compare_models(hand), "bits_per_byte")
    assert (one.verdict, one.reason, one.difference) == (
        "unclear",
        "infinite: no test can be run",
        None,
    )
    assert (
        json.loads(print_comparison(tmp_path, "a", "b", "--format", "json"))["rows"][0]["b"]
        == "inf"
    )


def test_without_samples_values_are_shown_and_nothing_is_proven(tmp_path):
    hand = Hand(tmp_path).add("a", BITS, bits(*BETTER)).add("b", BITS, bits(*RATES))
    hand.write()
    (tmp_path / "samples" / "b" / "likelihood.jsonl").unlink()
    one = find_row(compare(("a", "b"), within(open_results(tmp_path), "a", "b")), "bits_per_byte")
    assert one.verdict == "unclear"
    assert one.reason == "the samples of b are missing, so no test is possible"
    assert one.difference == pytest.approx(-0.145)


def test_samples_of_another_run_are_not_believed(tmp_path):
    hand = Hand(tmp_path).add("a", BITS, bits(*BETTER)).add("b", BITS, bits(*RATES), value=1.5)
    assert (
        find_row(compare_models(hand), "bits_per_byte").reason
        == "the items of b do not give its score: they are of another run"
    )


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"id": 1}',
        '{"id": "d0", "statistics": {"bits_per_byte": ["x", 1]}}',
        '{"id": "d0", "statistics": 3}',
    ],
)
def test_torn_samples_are_none(tmp_path, line):
    hand = Hand(tmp_path).add("a", BITS, bits(*BETTER)).add("b", BITS, bits(*RATES))
    hand.write()
    (tmp_path / "samples" / "b" / "likelihood.jsonl").write_text(line + "\n")
    assert (
        find_row(
            compare(("a", "b"), within(open_results(tmp_path), "a", "b")), "bits_per_byte"
        ).verdict
        == "unclear"
    )


def test_a_record_does_not_choose_which_files_are_read(tmp_path):
    hand = (
        Hand(tmp_path / "run")
        .add("../../outside", BITS, bits(*BETTER))
        .add("b", BITS, bits(*RATES))
    )
    found = compare_models(hand, "../../outside", "b")
    assert "outside are missing, so no test is possible" in find_row(found, "bits_per_byte").reason


def test_an_id_that_comes_twice_is_two_items(tmp_path):
    hand = Hand(tmp_path).add("a", BITS, bits(2.0, 3.0)).add("b", BITS, bits(2.0, 3.0))
    hand.write()
    for name in "ab":
        rows = [
            {"id": "same", "statistics": {"bits_per_byte": [value, 100]}}
            for value in (200.0, 300.0)
        ]
        storage.write_lines(tmp_path / "samples" / name / "likelihood.jsonl", rows)
    one = find_row(compare(("a", "b"), within(open_results(tmp_path), "a", "b")), "bits_per_byte")
    assert (one.n, one.difference, one.test) == (2, 0.0, "sign flips")
