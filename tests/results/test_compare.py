"""Comparisons of runs made by hand: what is compared with what, what is said of it, and how it is
drawn.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from support.hand_runs import ACCURACY, BITS, BLEU, F1, RATE, REPETITION, Hand, bits, right
from support.sample_pairs import SENTENCES

from llmbench import storage
from llmbench.cli.main import cli
from llmbench.errors import UsageError
from llmbench.metrics.sacrebleu import Bleu
from llmbench.results.compare import compare
from llmbench.results.matching import pair_runs, within
from llmbench.results.paired_tests import mcnemar_p
from llmbench.results.samples import open_results
from llmbench.results.signature import difference as signature_difference
from llmbench.stats import holm, sign_flip_p

RATES = (2.0, 2.1, 1.9, 2.4, 2.2, 2.0, 1.8, 2.3, 2.1, 2.5)
BETTER = tuple(rate - 0.1 - 0.01 * i for i, rate in enumerate(RATES))


def of_one_run(hand, a="a", b="b", **how):
    return compare((a, b), within(open_results(hand.write()), a, b), **how)


def row(found, metric):
    (one,) = [row for row in found.rows if row.metric == metric]
    return one


def printed(*arguments):
    done = CliRunner().invoke(cli, ["compare", *map(str, arguments)], standalone_mode=False)
    if done.exception:
        raise done.exception
    assert done.return_value == 0
    return done.output


def test_two_models_of_a_run_are_compared_document_by_document(tmp_path):
    hand = Hand(tmp_path).add("a", BITS, bits(*BETTER)).add("b", BITS, bits(*RATES))
    found = of_one_run(hand, top=2)
    one = row(found, "bits_per_byte")
    assert (one.a, one.b) == pytest.approx((np.mean(BETTER), np.mean(RATES)))
    assert one.difference == pytest.approx(-0.145)
    assert one.low < one.difference < one.high < 0
    assert (one.p, one.n, one.test, one.verdict) == (2**-9, 10, "sign flips", "better")
    assert [(moved.id, round(moved.difference, 6)) for moved in found.moved] == [
        ("d9", -0.19),
        ("d8", -0.18),
    ]
    assert row(of_one_run(hand, "b", "a"), "bits_per_byte").verdict == "worse"


def test_p_is_corrected_over_all_tests_of_the_comparison(tmp_path):
    a, b = "1" * 40 + "0" * 10, "1" * 30 + "0" * 20
    hand = (
        Hand(tmp_path)
        .add("a", BITS, bits(*BETTER))
        .add("b", BITS, bits(*RATES))
        .add("a", ACCURACY, right(a))
        .add("b", ACCURACY, right(b))
    )
    found = of_one_run(hand)
    assert found.tests == 2
    assert [one.p for one in found.rows] == pytest.approx(
        holm([sign_flip_p(BETTER, RATES), mcnemar_p(10, 0)])
    )


def test_answers_that_flipped_are_shown_with_what_was_said(tmp_path):
    said = [f"{name} says {i}" for name in "ab" for i in range(6)]
    hand = (
        Hand(tmp_path)
        .add("a", ACCURACY, right("111000"), said=said[:6])
        .add("b", ACCURACY, right("100011"), said=said[6:])
    )
    found = of_one_run(hand, top=1)
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
    (flip,) = of_one_run(hand).flips
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
    (flip,) = of_one_run(hand).flips
    assert (flip.said_a, flip.said_b) == ("", "")


def test_few_items_are_unclear_and_the_row_says_why(tmp_path):
    one = row(
        of_one_run(Hand(tmp_path).add("a", BITS, bits(1.0, 1.1)).add("b", BITS, bits(7.0, 7.5))),
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
    found = of_one_run(hand)
    assert {one.metric: one.verdict for one in found.rows} == {
        "accuracy": "better",
        "accuracy:byte": "worse",
    }
    assert [one.metric for one in of_one_run(hand, metrics=("accuracy:byte",)).rows] == [
        "accuracy:byte"
    ]
    assert len(of_one_run(hand, metrics=("accuracy",)).rows) == 2


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
    found = of_one_run(hand)
    assert row(found, "bleu").test == "approximate randomisation"
    assert row(found, "f1").test == "sign flips"
    assert {one.verdict for one in found.rows} == {"better"}


def test_rates_are_paired_within_a_session_and_not_compared_between_two(tmp_path):
    blocks = [[1000.0 + 20 * i, 1] for i in range(16)]
    fast = [[1.5 * rate, 1] for rate, _ in blocks]
    hand = (
        Hand(tmp_path / "1").add("a", RATE, fast, session="s1").add("b", RATE, blocks, session="s1")
    )
    one = row(of_one_run(hand), "decode_bytes_per_second")
    assert (one.verdict, one.test, one.relative) == ("better", "paired t", True)
    assert one.difference == pytest.approx(0.5)
    other = Hand(tmp_path / "2").add("a", RATE, blocks, session="s2").write()
    found = compare(("1", "2"), pair_runs(open_results(tmp_path / "1"), open_results(other)))
    one = row(found, "decode_bytes_per_second")
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
    one = row(of_one_run(hand), "bits_per_byte")
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


def test_items_that_one_side_lacks_are_named_and_nothing_is_compared(tmp_path):
    hand = Hand(tmp_path).add("a", BITS, bits(*BETTER)).add("b", BITS, bits(*RATES[:8]))
    found = of_one_run(hand)
    assert row(found, "bits_per_byte").verdict == "not comparable"
    assert row(found, "bits_per_byte").reason == "items are missing: 2 of b (d8, d9)"
    assert [(one.model, one.side, one.ids) for one in found.missing] == [("b", "b", ["d8", "d9"])]


def test_an_answer_that_the_metric_leaves_out_is_no_missing_item(tmp_path):
    shares = [[0.1 + 0.01 * i, 1.0] for i in range(10)]
    less = [[share / 4, 1.0] for share, _ in shares]
    hand = (
        Hand(tmp_path).add("a", REPETITION, [*less[:9], []]).add("b", REPETITION, [[], *shares[1:]])
    )
    found = of_one_run(hand)
    one = row(found, "repetition_4")
    assert (one.verdict, one.n, one.left_out, one.reason) == ("better", 8, 2, "")
    assert one.a == pytest.approx(np.mean([share for share, _ in less[:9]]))  # of all that it has
    assert one.difference == pytest.approx(
        np.mean([x[0] - y[0] for x, y in zip(less[1:9], shares[1:9], strict=True)])
    )
    assert found.missing == []
    assert "2 of 10 items left out" in printed(tmp_path, "a", "b", "--format", "md")


def test_the_items_that_only_one_side_counts_must_give_its_score_too(tmp_path):
    shares = [[0.1 + 0.01 * i, 1.0] for i in range(10)]
    hand = (
        Hand(tmp_path)
        .add("a", REPETITION, shares, value=0.3)
        .add("b", REPETITION, [*shares[:9], []])
    )
    assert (
        row(of_one_run(hand), "repetition_4").reason
        == "the items of a do not give its score: they are of another run"
    )


def test_where_no_item_counts_on_both_sides_nothing_is_tested(tmp_path):
    hand = (
        Hand(tmp_path).add("a", REPETITION, [[0.5, 1.0], []]).add("b", REPETITION, [[], [0.5, 1.0]])
    )
    assert (
        row(of_one_run(hand), "repetition_4").reason
        == "there is no item that the metric counts on both sides: no test can be run"
    )


def test_documents_of_another_size_are_not_the_same_items(tmp_path):
    hand = Hand(tmp_path).add("a", BITS, bits(*BETTER)).add("b", BITS, bits(*RATES, size=90))
    assert row(of_one_run(hand), "bits_per_byte").reason == "the items are not of the same size"


def test_infinite_bits_prove_nothing(tmp_path):
    hand = (
        Hand(tmp_path)
        .add("a", BITS, bits(*BETTER))
        .add("b", BITS, [*bits(*RATES[1:]), [math.inf, 100]], value="inf")
    )
    one = row(of_one_run(hand), "bits_per_byte")
    assert (one.verdict, one.reason, one.difference) == (
        "unclear",
        "infinite: no test can be run",
        None,
    )
    assert json.loads(printed(tmp_path, "a", "b", "--format", "json"))["rows"][0]["b"] == "inf"


def test_without_samples_values_are_shown_and_nothing_is_proven(tmp_path):
    hand = Hand(tmp_path).add("a", BITS, bits(*BETTER)).add("b", BITS, bits(*RATES))
    hand.write()
    (tmp_path / "samples" / "b" / "likelihood.jsonl").unlink()
    one = row(compare(("a", "b"), within(open_results(tmp_path), "a", "b")), "bits_per_byte")
    assert one.verdict == "unclear"
    assert one.reason == "the samples of b are missing, so no test is possible"
    assert one.difference == pytest.approx(-0.145)


def test_samples_of_another_run_are_not_believed(tmp_path):
    hand = Hand(tmp_path).add("a", BITS, bits(*BETTER)).add("b", BITS, bits(*RATES), value=1.5)
    assert (
        row(of_one_run(hand), "bits_per_byte").reason
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
        row(compare(("a", "b"), within(open_results(tmp_path), "a", "b")), "bits_per_byte").verdict
        == "unclear"
    )


def test_a_record_does_not_choose_which_files_are_read(tmp_path):
    hand = (
        Hand(tmp_path / "run")
        .add("../../outside", BITS, bits(*BETTER))
        .add("b", BITS, bits(*RATES))
    )
    found = of_one_run(hand, "../../outside", "b")
    assert "outside are missing, so no test is possible" in row(found, "bits_per_byte").reason


def test_an_id_that_comes_twice_is_two_items(tmp_path):
    hand = Hand(tmp_path).add("a", BITS, bits(2.0, 3.0)).add("b", BITS, bits(2.0, 3.0))
    hand.write()
    for name in "ab":
        rows = [
            {"id": "same", "statistics": {"bits_per_byte": [value, 100]}}
            for value in (200.0, 300.0)
        ]
        storage.write_lines(tmp_path / "samples" / name / "likelihood.jsonl", rows)
    one = row(compare(("a", "b"), within(open_results(tmp_path), "a", "b")), "bits_per_byte")
    assert (one.n, one.difference, one.test) == (2, 0.0, "sign flips")


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
    one = row(of_one_run(hand), "accuracy")
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
    assert [one.metric for one in of_one_run(hand).rows] == ["bits_per_byte"]
    named = row(of_one_run(hand, metrics=("byte_perplexity",)), "byte_perplexity")
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
    one = row(of_one_run(hand), "peak_ram")
    assert (one.verdict, one.reason, one.difference) == (
        "unclear",
        "measured once, so without a test",
        pytest.approx(0.5),
    )


def test_bytes_of_memory_are_drawn_in_mebibytes_and_bytes_of_text_as_they_are(tmp_path):
    hand = Hand(tmp_path)
    for name, peak, length in (("a", 300, 240.0), ("b", 200, 100.0)):
        hand.add(
            name,
            ("continuation", "answer_bytes", "bytes", None),
            [[length + i % 2, 1.0] for i in range(10)],
        )
        hand.scores.append(
            {
                **hand.scores[-1],
                "task": "memory",
                "metric": "peak_ram",
                "better": "lower",
                "value": peak << 20,
            }
        )
    hand.write()
    text = printed(
        tmp_path, "a", "b", "--metric", "answer_bytes", "--metric", "peak_ram", "--format", "md"
    )
    assert "| 240.5 bytes | 100.5 bytes | +140.00 \\[+140.00, +140.00\\] |" in text
    assert "| 300 MiB | 200 MiB | +50.0 % |" in text


@pytest.mark.parametrize(
    ("metric", "unit"),
    [("answer_bytes", "bytes"), ("longest_copy_bytes", "bytes"), ("distinct_2", "share")],
)
def test_what_has_no_direction_has_a_test_and_no_verdict(tmp_path, metric, unit):
    hand = Hand(tmp_path)
    for name, level in (("a", 0.9), ("b", 0.2)):
        hand.add(name, ("continuation", metric, unit, None), [[level, 1.0]] * 10)
    assert of_one_run(hand).rows == []
    one = row(of_one_run(hand, metrics=(metric,)), metric)
    assert (one.verdict, one.reason, one.relative) == (
        "unclear",
        "neither less nor more of it is better",
        False,
    )
    assert (one.p, one.difference) == (2**-9, pytest.approx(0.7))


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
    (tmp_path / "old" / "run.json").write_text(json.dumps(data))
    found = compare(
        ("new", "old"), pair_runs(open_results(new.write()), open_results(tmp_path / "old"))
    )
    assert [(one.model_a, one.verdict) for one in found.rows] == [
        ("lstm", "better"),
        ("rnn", "tie"),
    ]
    assert dict(found.facts)["other weights"] == "lstm"
    assert dict(found.facts)["machine"] == "the same"
    text = printed(tmp_path / "new", tmp_path / "old", "--only", "rnn")
    assert "tie" in text
    assert "better" not in text


HOSTILE = "[red]x[/red] \x1b[2J | <b>& `code`\n# title \u202e"


def test_everything_drawn_is_escaped(tmp_path):
    hand = Hand(tmp_path).add("a", ACCURACY, right("10"), ids=[HOSTILE, "q"], said=[HOSTILE, "x"])
    hand.add("b", ACCURACY, right("01"), ids=[HOSTILE, "q"], said=["y", HOSTILE]).write()
    for form in ("table", "md"):
        text = printed(tmp_path, "a", "b", "--format", form)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "[red]" in text.replace("\\", "")
    assert "\\<b\\>" in text
    assert "\n# title" not in text
    assert (
        json.loads(printed(tmp_path, "a", "b", "--format", "json"))["flips"][0]["said_a"] == HOSTILE
    )


@pytest.mark.parametrize("form", ["table", "md", "json"])
def test_half_a_character_in_an_id_is_printed(tmp_path, form):
    ids = ["half \ud800", "whole"]
    Hand(tmp_path).add("a", BITS, bits(1.0, 2.0), ids=ids).add(
        "b", BITS, bits(1.5, 2.0), ids=ids
    ).write()
    for name in "ab":  # a run writes them in full; other programs write JSON's escape
        place = tmp_path / "samples" / name / "likelihood.jsonl"
        assert "\\ud800" in place.read_text()
    text = printed(tmp_path, "a", "b", "--format", form)
    assert "half" in text
    if form == "json":
        assert json.loads(text)["moved"][0]["id"] == ids[0]


def test_markdown_has_a_table_for_scores_and_for_what_moved(tmp_path):
    Hand(tmp_path).add("a", BITS, bits(*BETTER)).add("b", BITS, bits(*RATES)).write()
    text = printed(tmp_path, "a", "b", "--format", "md", "--top", "1")
    assert text.startswith("## A: a, B: b\n")
    assert (
        "| likelihood | bits\\_per\\_byte | 1.9850 | 2.1300 | -0.1450 \\[-0.1667, -0.1233\\] |"
        " 0.0020 | better |  |" in text
    )
    assert "### likelihood, bits\\_per\\_byte: largest differences" in text
    assert "| d9 | 2.3100 | 2.5000 | -0.1900 |" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["RUN", "a", "c"], "this run has no model 'c'"),
        (["RUN", "a", "b", "c"], "compare takes RUN MODEL_A MODEL_B, or RUN_1 RUN_2"),
        (["RUN", "nowhere"], "nowhere: no such run"),
        (["nowhere", "a", "b"], "cannot read the record"),
        (
            ["RUN", "a", "b", "--metric", "bits_per_bite"],
            "no score is called 'bits_per_bite' here .did you mean 'bits_per_byte'",
        ),
        (["RUN", "a", "b", "--only", "a"], "--only is for comparing two runs"),
        (["RUN", "RUN", "--only", "c"], "do not both have a model 'c'"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_line(tmp_path, arguments, said):
    Hand(tmp_path).add("a", BITS, bits(*BETTER)).add("b", BITS, bits(*RATES)).write()
    with pytest.raises(UsageError, match=said) as caught:
        printed(*(str(tmp_path) if word == "RUN" else word for word in arguments))
    assert "\n" not in str(caught.value)


def test_a_line_that_quotes_a_record_does_not_speak_to_the_terminal(tmp_path):
    Hand(tmp_path).add("\x1b[2J\u202ename", BITS, bits(*RATES)).write()
    with pytest.raises(UsageError) as caught:
        printed(tmp_path, "a", "b")
    assert str(caught.value).endswith("this run has no model 'a' (known: [2J name)")


def test_runs_without_a_model_in_common_are_refused(tmp_path):
    one = Hand(tmp_path / "1").add("a", BITS, bits(*RATES)).write()
    other = Hand(tmp_path / "2").add("b", BITS, bits(*RATES)).write()
    with pytest.raises(UsageError, match="no model in common"):
        printed(one, other)


def test_comparing_loads_no_torch(tmp_path):
    Hand(tmp_path).add("a", BITS, bits(*BETTER)).add("b", BITS, bits(*RATES)).write()
    lines = [
        "import sys, llmbench.cli.main",
        "try: llmbench.cli.main.main()",
        "except SystemExit: print('torch' in sys.modules)",
    ]
    command = [sys.executable, "-c", "\n".join(lines), "compare", str(tmp_path), "a", "b"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.endswith("False\n")
