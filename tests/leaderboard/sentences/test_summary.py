"""A board begins with who is best, whether that is significant, and what it costs."""

from __future__ import annotations

import math

import pytest
from markdown_it import MarkdownIt
from support.hand_record import data, likelihood, model, proven, record, score, speed

from llmbench.leaderboard import board as leaderboard_board
from llmbench.leaderboard.renderers import html, markdown, table
from llmbench.leaderboard.sentences.summary import Contender, summarise

NAMES = ("a", "b", "c")
NO_COST = "Its speed and memory were not measured."


def board(scores, better_than=None, **changes):
    notes = {} if better_than is None else {"likelihood": {"better_than": better_than}}
    changes = {"failures": [], "models": [model(name, 3) for name in NAMES], **changes}
    return leaderboard_board.build(record(scores=scores, notes={"tasks": notes}, **changes))


def bits(*ranks):
    """Scores of a, b, c: 1, 2 and 3 bits/byte ± 0.1, with these ranks."""
    return [
        score(name, "bits_per_byte", float(value), 0.1, rank=rank)
        for value, (name, rank) in enumerate(zip(NAMES, ranks, strict=False), 1)
    ]


def test_a_proven_best_model_is_called_best():
    proven = {"a": ["b", "c"], "b": ["c"], "c": []}
    assert board(bits([1, 1], [2, 2], [3, 3]), proven).summary == [
        "a is best on likelihood (bits/byte 1.0000 ± 0.1000): the difference from the other 2"
        f" ranked models is statistically significant. {NO_COST}"
    ]


def test_of_equal_values_none_is_called_the_best():
    scores = [score(name, "bits_per_byte", 1.0, 0.1, rank=[1, 3]) for name in NAMES]
    assert board(scores, {name: [] for name in NAMES}).summary == [
        f"a, b and c share the best bits/byte on likelihood (1.0000 ± 0.1000). {NO_COST}"
    ]


def test_a_lead_that_is_not_significant_is_called_so():
    some = {"a": ["c"], "b": [], "c": []}
    assert board(bits([1, 2], [1, 3], [2, 3]), some).summary == [
        "a has the best bits/byte on likelihood (1.0000 ± 0.1000), but the difference from b is"
        f" not statistically significant; it is significantly better than the other model."
        f" {NO_COST}"
    ]
    none = {"a": [], "b": [], "c": []}
    assert board(bits([1, 3], [1, 3], [1, 3]), none).summary == [
        "a has the best bits/byte on likelihood (1.0000 ± 0.1000), but the difference from the"
        f" other 2 ranked models is not statistically significant. {NO_COST}"
    ]


def test_two_models_are_named_both():
    assert (
        board(bits([1, 1], [2, 2]), {"a": ["b"], "b": []})
        .summary[0]
        .startswith("a is best on likelihood (bits/byte 1.0000 ± 0.1000): the difference from b is")
    )


def test_a_record_without_notes_proves_only_what_its_ranks_say():
    assert (
        "the difference from the other 2 ranked models is statistically significant"
        in (board(bits([1, 1], [2, 2], [3, 3])).summary[0])
    )
    assert "the record does not say whether" in board(bits([1, 2], [1, 2], [3, 3])).summary[0]


def test_of_one_model_nothing_is_compared():
    assert board(bits(None)).summary == [
        f"a is the only model measured on likelihood (bits/byte 1.0000 ± 0.1000). {NO_COST}"
    ]


def test_without_ranks_significance_was_not_tested():
    assert board(bits(None, None)).summary == [
        "a has the best bits/byte on likelihood (1.0000 ± 0.1000); whether the difference is"
        f" statistically significant was not tested here. {NO_COST}"
    ]


def test_an_unranked_model_with_a_better_value_is_named():
    rows = bits(None, [1, 1], [2, 2])
    assert (
        "c is statistically significant. a has a better value but is not ranked."
        in (board(rows, {"b": ["c"], "c": []}).summary[0])
    )


def test_infinite_models_are_not_best():
    rows = [score("a", "bits_per_byte", "inf"), score("b", "bits_per_byte", "inf")]
    assert board(rows).summary == ["No model has a finite bits/byte on likelihood."]


REFUSED_A = [model("a", 3, certificate=proven("sees later bytes")), model("b", 3), model("c", 3)]


def test_a_refused_model_is_not_best_where_nothing_was_ranked():
    two = board(bits(None, None), models=REFUSED_A).summary
    assert two == [
        "b is the only model that can be ranked on likelihood (bits/byte 2.0000 ± 0.1000)."
        f" a has a better value but is not ranked. {NO_COST}"
    ]
    three = board(bits(None, None, None), models=REFUSED_A).summary[0]
    assert three.startswith("b has the best bits/byte on likelihood (2.0000 ± 0.1000); whether")
    assert "a has a better value but is not ranked." in three


def test_a_refused_model_is_not_best_even_if_a_record_ranks_it():
    (said,) = board(bits([1, 1], [2, 2], [3, 3]), models=REFUSED_A).summary
    assert said.startswith("b ")


def test_a_compressor_is_not_best_where_nothing_was_ranked():
    rows = [score("a", "bits_per_byte", 1.0, charged="code"), score("b", "bits_per_byte", 2.0)]
    (said,) = board(rows).summary
    assert said.startswith("b is the only model that can be ranked on likelihood")


def test_without_a_model_that_can_be_ranked_none_is_named():
    rows = [score("a", "bits_per_byte", 1.0), score("b", "bits_per_byte", 2.0, charged="code")]
    said = ["No model with a finite bits/byte on likelihood can be ranked."]
    assert board(rows, models=REFUSED_A).summary == said
    assert board(rows[:1], models=REFUSED_A).summary == said


def test_speed_is_compared_of_refused_models_too():
    rows = [
        speed(name, "decode_bytes_per_second", rate) for name, rate in (("a", 90.0), ("b", 80.0))
    ]
    assert board(rows, models=REFUSED_A).summary[0].startswith("a has the best decode speed")


def test_a_value_that_is_no_number_is_not_best():
    models = [Contender("a", math.nan, "nan"), Contender("b", 2.0, "2"), Contender("c", 3.0, "3")]
    for better, best in (("lower", "b has the best m"), ("higher", "c has the best m")):
        assert summarise("t", "m", better, models).startswith(best)
    assert summarise("t", "m", "lower", models[:2]).startswith("b is the only model with a finite")


def test_costs_are_those_that_were_measured():
    rows = [
        *bits([1, 1], [2, 2]),
        speed("a", "decode_bytes_per_second", 12_345.6),
        score("a", "peak_ram", 261 << 20, task="memory", unit="bytes"),
    ]
    models = [model("a", 3, training={"seconds": 75.4}), model("b", 3)]
    assert (
        board(rows, {"a": ["b"], "b": []}, models=models)
        .summary[0]
        .endswith("significant. Cost: 12,346 bytes/s decode, 261 MiB peak RAM, 75 s of training.")
    )
    assert (
        board(rows[:3], {"a": ["b"], "b": []})
        .summary[0]
        .endswith("Cost: 12,346 bytes/s decode. Its memory was not measured.")
    )


def test_a_board_of_speed_alone_says_who_is_fastest():
    rows = [
        speed(name, "decode_bytes_per_second", rate) for name, rate in (("a", 9.0), ("b", 80.0))
    ]
    assert (
        board(rows)
        .summary[0]
        .startswith("b has the best decode speed on speed (80.0 bytes/s); whether")
    )


def test_a_task_without_ranks_has_no_sentence_beside_ranked_ones():
    rows = [*bits([1, 1], [2, 2]), *likelihood("b", 2.0, 0.1, None, task="other")]
    (sentence,) = board(rows, {"a": ["b"], "b": []}).summary
    assert sentence.startswith("a is best on likelihood")


@pytest.mark.parametrize(
    ("failures", "said"),
    [
        (0, "Nothing was measured."),
        (1, "Nothing was measured: the only cell failed."),
        (2, "Nothing was measured: all 2 cells failed."),
    ],
)
def test_a_board_without_scores_says_so(failures, said):
    assert board([], failures=data()["failures"][:failures]).summary == [said]


def test_a_metric_without_a_direction_has_no_best_model():
    assert summarise("t", "m", None, [Contender("a", 1.0, "1")]) == ""


def test_more_is_better_if_the_metric_says_so():
    models = [Contender("a", 0.5, "50 %", (2, 2), ()), Contender("b", 0.7, "70 %", (1, 1), ("a",))]
    assert summarise("quiz", "accuracy", "higher", models) == (
        "b is best on quiz (accuracy 70 %): the difference from a is statistically significant."
    )


def test_many_close_models_are_counted():
    names = [f"m{number}" for number in range(9)]
    models = [Contender(name, 1.0 + at, "x", (1, 9), names[8:]) for at, name in enumerate(names)]
    assert "from m1, m2, m3, m4 and 3 more is not" in summarise("t", "bits/byte", "lower", models)


def test_each_task_has_its_sentence_and_speed_none():
    rows = [*bits([1, 1], [2, 2]), *likelihood("b", 2.0, 0.1, [1, 1], task="other")]
    rows.append(speed("a", "decode_bytes_per_second", 9.0))
    found = board(rows, {"a": ["b"], "b": []}).summary
    assert [sentence.partition(" (")[0] for sentence in found] == [
        "a is best on likelihood",
        "b is the only model measured on other",
    ]


def test_every_format_begins_with_the_verdict_or_the_sentence():
    drawn = board(bits([1, 1], [2, 2], [3, 3]), {"a": ["b", "c"]})
    (sentence,) = drawn.summary
    assert table.render(drawn).startswith("a is best, proven\n")
    tokens = MarkdownIt().parse(markdown.render(drawn))
    texts = ["".join(c.content for c in t.children) for t in tokens if t.type == "inline"]
    assert texts[1:3] == ["a is best, proven.", sentence]
    page = html.render(drawn)
    assert page.index(f'<p class="summary">{sentence}</p>') < page.index('class="facts"')
