"""Comparisons of runs made by hand: what is compared with what, what is said of it, and how it is
drawn.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from support.comparisons import BETTER, RATES, compare_models, find_row, print_comparison
from support.hand_runs import ACCURACY, BITS, BLEU, F1, RATE, Hand, bits, right
from support.sample_pairs import SENTENCES

from llmbench import storage
from llmbench.leaderboard.renderers import comparison, sections
from llmbench.metrics.sacrebleu import Bleu
from llmbench.results.compare import compare
from llmbench.results.matching import pair_runs
from llmbench.results.paired_tests import mcnemar_p
from llmbench.results.samples import open_results
from llmbench.results.signature import difference as signature_difference
from llmbench.stats import holm, sign_flip_p


def test_two_models_of_a_run_are_compared_document_by_document(tmp_path):
    hand = Hand(tmp_path).add("a", BITS, bits(*BETTER)).add("b", BITS, bits(*RATES))
    found = compare_models(hand, top=2)
    one = find_row(found, "bits_per_byte")
    assert (one.a, one.b) == pytest.approx((np.mean(BETTER), np.mean(RATES)))
    assert one.difference == pytest.approx(-0.145)
    assert one.low < one.difference < one.high < 0
    assert (one.p, one.n, one.test, one.verdict) == (2**-9, 10, "sign flips", "better")
    assert [(moved.id, round(moved.difference, 6)) for moved in found.moved] == [
        ("d9", -0.19),
        ("d8", -0.18),
    ]
    assert find_row(compare_models(hand, "b", "a"), "bits_per_byte").verdict == "worse"


def test_p_is_corrected_over_all_tests_of_the_comparison(tmp_path):
    a, b = "1" * 40 + "0" * 10, "1" * 30 + "0" * 20
    hand = (
        Hand(tmp_path)
        .add("a", BITS, bits(*BETTER))
        .add("b", BITS, bits(*RATES))
        .add("a", ACCURACY, right(a))
        .add("b", ACCURACY, right(b))
    )
    found = compare_models(hand)
    assert found.tests == 2
    assert [one.p for one in found.rows] == pytest.approx(
        holm([sign_flip_p(BETTER, RATES), mcnemar_p(10, 0)])
    )


def test_a_comparison_of_one_test_does_not_speak_of_a_correction(tmp_path):
    hand = Hand(tmp_path).add("a", BITS, bits(*BETTER)).add("b", BITS, bits(*RATES))
    found = compare_models(hand)
    assert found.tests == 1
    shown = sections.markdown(comparison.sections(found))
    assert "p is of a single test." in shown
    assert "corrected" not in shown
    two = sections.markdown(comparison.sections(replace(found, tests=2)))
    assert "p is corrected for 2 tests (Holm)." in two


def test_answers_that_flipped_are_shown_with_what_was_said(tmp_path):
    said = [f"{name} says {i}" for name in "ab" for i in range(6)]
    hand = (
        Hand(tmp_path)
        .add("a", ACCURACY, right("111000"), said=said[:6])
        .add("b", ACCURACY, right("100011"), said=said[6:])
    )
    found = compare_models(hand, top=1)
    assert [(flip.id, flip.right) for flip in found.flips] == [("d1", "a"), ("d4", "b")]
    assert (found.flipped[0].only_a, found.flipped[0].only_b) == (2, 2)
    flip = found.flips[0]
    assert (flip.input, flip.reference, flip.said_a, flip.said_b) == (
        "asked d1",
        "the truth",
        "a says 1",
        "b says 1",
    )


def test_answers_that_flipped_by_the_byte_are_those_that_were_chosen_by_the_byte(tmp_path):
    hand = Hand(tmp_path)
    for name, answers in (("a", "10"), ("b", "00")):
        hand.add(name, ACCURACY, right("00"), said=["by all bits"] * 2, norm="none")
        hand.add(name, ACCURACY, right(answers), said=[f"{name} by the byte"] * 2, norm="byte")
    (flip,) = compare_models(hand).flips
    assert (flip.metric, flip.said_a, flip.said_b) == (
        "accuracy:byte",
        "a by the byte",
        "b by the byte",
    )


def test_what_was_chosen_by_all_bits_is_not_shown_for_a_choice_by_the_byte(tmp_path):
    hand = Hand(tmp_path)
    for name, answers in (("a", "10"), ("b", "00")):
        hand.add(name, ACCURACY, right("00"), said=["by all bits"] * 2, norm="none").add(
            name, ACCURACY, right(answers), norm="byte"
        )
    (flip,) = compare_models(hand).flips
    assert (flip.said_a, flip.said_b) == ("", "")


def test_few_items_are_unclear_and_the_row_says_why(tmp_path):
    one = find_row(
        compare_models(
            Hand(tmp_path).add("a", BITS, bits(1.0, 1.1)).add("b", BITS, bits(7.0, 7.5))
        ),
        "bits_per_byte",
    )
    assert one.verdict == "unclear"
    assert one.reason == "2 items are too few to prove anything: 6 would be needed"


def test_accuracy_by_another_measure_is_read_from_its_own_statistics(tmp_path):
    hand = Hand(tmp_path)
    for name, usual, by_rate in (("a", "1" * 20, "0" * 20), ("b", "0" * 20, "1" * 20)):
        hand.add(name, ACCURACY, right(usual), norm="none").add(
            name, ACCURACY, right(by_rate), norm="byte"
        )
    found = compare_models(hand)
    assert {one.metric: one.verdict for one in found.rows} == {
        "accuracy": "better",
        "accuracy:byte": "worse",
    }
    assert [one.metric for one in compare_models(hand, metrics=("accuracy:byte",)).rows] == [
        "accuracy:byte"
    ]
    assert len(compare_models(hand, metrics=("accuracy",)).rows) == 2


def test_corpus_metrics_and_means_have_their_own_tests(tmp_path):
    scorer = Bleu()
    wanted = [wanted for _, wanted in SENTENCES if wanted]
    rows = {
        "a": [scorer.measure(text, text) for text in wanted],
        "b": [scorer.measure(text[:10], text) for text in wanted],
    }
    hand = Hand(tmp_path)
    for name, overlap in (("a", 0.9), ("b", 0.3)):
        hand.add(name, BLEU, rows[name]).add(
            name, F1, [[overlap + 0.001 * i, 1.0] for i in range(30)]
        )
    found = compare_models(hand)
    assert find_row(found, "bleu").test == "approximate randomisation"
    assert find_row(found, "f1").test == "sign flips"
    assert {one.verdict for one in found.rows} == {"better"}


def test_rates_are_paired_within_a_session_and_not_compared_between_two(tmp_path):
    blocks = [[1000.0 + 20 * i, 1] for i in range(16)]
    fast = [[1.5 * rate, 1] for rate, _ in blocks]
    hand = (
        Hand(tmp_path / "1").add("a", RATE, fast, session="s1").add("b", RATE, blocks, session="s1")
    )
    one = find_row(compare_models(hand), "decode_bytes_per_second")
    assert (one.verdict, one.test, one.relative) == ("better", "paired t", True)
    assert one.difference == pytest.approx(0.5)
    other = Hand(tmp_path / "2").add("a", RATE, blocks, session="s2").write()
    found = compare(("1", "2"), pair_runs(open_results(tmp_path / "1"), open_results(other)))
    one = find_row(found, "decode_bytes_per_second")
    assert (one.verdict, one.reason, one.difference, one.p) == (
        "not comparable",
        "measured in different sessions",
        None,
        None,
    )


def test_what_differs_in_a_signature_is_named(tmp_path):
    half, rolling = (
        f"text=01;protocol=likelihood/1;window={window};limit=none"
        for window in ("half", "rolling")
    )
    hand = (
        Hand(tmp_path)
        .add("a", BITS, bits(*BETTER), signature=half)
        .add("b", BITS, bits(*RATES), signature=rolling)
    )
    one = find_row(compare_models(hand), "bits_per_byte")
    assert (one.verdict, one.reason) == (
        "not comparable",
        "signatures differ in window (half against rolling)",
    )
    assert (one.difference, one.p) == (None, None)


def test_parts_of_signatures():
    old, new = (
        "text=1;template='{given}';nrefs:1|tok:13a|version:2.5.0",
        "text=1;template='Q: {given}';nrefs:1|tok:13a|version:2.6.0",
    )
    assert (
        signature_difference(old, new)
        == "template ('{given}' against 'Q: {given}'), version (2.5.0 against 2.6.0)"
    )
    assert signature_difference("a=1", "a=1;b=2") == "b (none against 2)"


def test_a_score_that_one_model_lacks_is_a_row_with_the_reason(tmp_path):
    failure = {
        "model": "b",
        "task": "choice",
        "reason": "timeout",
        "message": "took longer than 10 s",
        "hint": "",
    }
    hand = (
        Hand(tmp_path, failures=[failure])
        .add("a", BITS, bits(*BETTER))
        .add("b", BITS, bits(*RATES))
        .add("a", ACCURACY, right("1111"))
    )
    one = find_row(compare_models(hand), "accuracy")
    assert (one.b, one.verdict, one.reason) == (
        None,
        "not comparable",
        "b has no such score: timeout: took longer than 10 s",
    )


def test_reexpressions_and_metrics_without_a_direction_are_left_out_unless_named(tmp_path):
    hand = Hand(tmp_path)
    for name, rates in (("a", BETTER), ("b", RATES)):
        hand.add(name, BITS, bits(*rates))
        for metric, better in (("byte_perplexity", "lower"), ("token_perplexity", None)):
            hand.scores.append(
                {**hand.scores[-1], "metric": metric, "value": 3.0, "better": better}
            )
    assert [one.metric for one in compare_models(hand).rows] == ["bits_per_byte"]
    named = find_row(compare_models(hand, metrics=("byte_perplexity",)), "byte_perplexity")
    assert (named.verdict, named.reason) == ("unclear", "there is no paired test for it")


def test_peaks_of_memory_are_shown_and_not_judged(tmp_path):
    hand = Hand(tmp_path)
    for name, peak in (("a", 300), ("b", 200)):
        hand.add(name, BITS, bits(*RATES))
        hand.scores.append(
            {
                **hand.scores[-1],
                "task": "memory",
                "metric": "peak_ram",
                "unit": "bytes",
                "value": peak << 20,
            }
        )
    one = find_row(compare_models(hand), "peak_ram")
    assert (one.verdict, one.reason, one.difference) == (
        "unclear",
        "measured once, so without a test",
        pytest.approx(0.5),
    )


@pytest.mark.parametrize(
    ("metric", "unit"),
    [("answer_bytes", "bytes"), ("longest_copy_bytes", "bytes"), ("distinct_2", "share")],
)
def test_what_has_no_direction_has_a_test_and_no_verdict(tmp_path, metric, unit):
    hand = Hand(tmp_path)
    for name, level in (("a", 0.9), ("b", 0.2)):
        hand.add(name, ("continuation", metric, unit, None), [[level, 1.0]] * 10)
    assert compare_models(hand).rows == []
    one = find_row(compare_models(hand, metrics=(metric,)), metric)
    assert (one.verdict, one.reason, one.relative) == (
        "unclear",
        "neither less nor more of it is better",
        False,
    )
    assert (one.p, one.difference) == (2**-9, pytest.approx(0.7))


@pytest.mark.parametrize("better", [None, "lower", "higher"])
def test_a_metric_from_outside_has_a_verdict_only_with_a_direction(tmp_path, better):
    hand = Hand(tmp_path)
    for name, hit in (("a", 1.0), ("b", 0.0)):
        facts = {"value": hit, "definition": {"label": "shouts", "test": "share"}}
        hand.add(name, ("answer", "shouts", "share", better), [[hit, 1.0]] * 10, **facts)
    found, asked = compare_models(hand), compare_models(hand, metrics=("shouts",))
    verdict = {None: "unclear", "lower": "worse", "higher": "better"}[better]
    assert find_row(asked, "shouts").verdict == verdict
    assert bool(asked.flipped) is (better == "higher")  # else more is not what is right
    assert "not compared" not in dict(asked.facts)
    if better is None:
        assert found.rows == []
        assert dict(found.facts)["not compared"].startswith("shouts (neither less nor more")
    else:
        assert find_row(found, "shouts").verdict == verdict


def test_two_runs_are_compared_model_by_model_and_changed_weights_are_named(tmp_path):
    def run(name, rates):
        hand = Hand(tmp_path / name)
        return (
            hand.add("lstm", BITS, bits(*rates))
            .add("rnn", BITS, bits(*RATES))
            .add(f"only-{name}", BITS, bits(*RATES))
        )

    new, old = run("new", BETTER), run("old", RATES)
    data = json.loads((old.write() / "run.json").read_text())
    data["models"][0]["fingerprint"] = "e" * 64
    storage.write_sealed(tmp_path / "old" / "run.json", data)
    found = compare(
        ("new", "old"), pair_runs(open_results(new.write()), open_results(tmp_path / "old"))
    )
    assert [(one.model_a, one.verdict) for one in found.rows] == [
        ("lstm", "better"),
        ("rnn", "tie"),
    ]
    assert dict(found.facts)["other weights"] == "lstm"
    assert dict(found.facts)["machine"] == "the same"
    text = print_comparison(tmp_path / "new", tmp_path / "old", "--only", "rnn")
    assert "tie" in text
    assert "better" not in text


def test_a_difference_within_the_noise_of_an_engine_is_no_proof(tmp_path):
    for noise, verdict in ((0.05, "better"), (0.2, "unclear")):
        hand = Hand(tmp_path / verdict).add("a", BITS, bits(*BETTER), noise=noise)
        hand.add("b", BITS, bits(*RATES))
        one = find_row(compare_models(hand), "bits_per_byte")
        plain = find_row(
            compare_models(
                Hand(tmp_path / f"plain {verdict}")
                .add("a", BITS, bits(*BETTER))
                .add("b", BITS, bits(*RATES))
            ),
            "bits_per_byte",
        )
        assert one.verdict == verdict
        assert one.proven == (verdict == "better")
        assert (one.low, one.high) == pytest.approx((plain.low - noise, plain.high + noise))
        assert ("noise is up to" in one.reason) == (verdict == "unclear")


def test_a_total_that_is_no_mean_has_no_paired_test_and_the_row_says_why(tmp_path):
    facts = {"label": "mcc", "help": "", "bounds": [None, None], "format": "number", "test": ""}
    total = ("cola", "mcc", "", "higher")
    hand = Hand(tmp_path)
    for name, value in (("a", 0.4), ("b", 0.1)):
        hand.add(name, total, [], value=value, definition={**facts, "tie": 0.0})
    (row,) = compare_models(hand).rows
    assert (row.verdict, row.p) == ("unclear", None)
    assert row.reason == "no paired test: it is not a mean over the items"
    assert row.difference == pytest.approx(0.3)
