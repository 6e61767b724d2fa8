"""Published figures: beside a score of the same protocol, with a verdict; listed apart where there
is none; ranked never.
"""

from __future__ import annotations

import csv
import io

import pytest
from support.hand_record import model, record, score
from support.many_runs_by_hand import run

from llmbench.leaderboard import board as leaderboard_board
from llmbench.leaderboard.merge.merge import merge
from llmbench.leaderboard.reference_scores import (
    compare,
    compare_all,
    is_of,
    list_incomparable,
    read_published,
)
from llmbench.leaderboard.renderers.registry import BUILT_IN, draw
from llmbench.plan import registry
from llmbench.results.record import ModelRow, Score

SIGNATURE = "text=0123456789abcdef;protocol=wikitext-lm-eval/1;limit=none"
FIGURE = {
    "metric": "word_perplexity",
    "value": 37.3698,
    "protocol": "wikitext-lm-eval/1",
    "source": "a harness",
}
BITS = {
    "metric": "bits_per_byte",
    "value": 0.9769,
    "protocol": "wikitext-lm-eval/1",
    "source": "a harness",
}
ELSEWHERE = {
    "metric": "word_perplexity",
    "value": 29.41,
    "protocol": "a paper: another text",
    "source": "the paper",
}


def measured(metric, value, half=None, **more):
    return score(
        "gpt2", metric, value, half, **{"task": "wikitext", "signature": SIGNATURE, **more}
    )


def of(figure, *scores):
    row = ModelRow.model_validate(model("gpt2", 5, published=[figure]))
    return compare_all(row, [Score.model_validate(one) for one in scores])


@pytest.fixture
def made():
    """GPT-2 with three figures, two of them of the protocol that it was measured by, and a model
    without any.
    """
    rows = [model("gpt2", 5, published=[FIGURE, BITS, ELSEWHERE]), model("mine", None)]
    scores = [
        measured("bits_per_byte", 0.9821, 0.003, rank=[1, 1]),
        measured("word_perplexity", 37.36984, unit="perplexity"),
    ]
    scores += [{**measured("bits_per_byte", 1.2, 0.003, rank=[2, 2]), "model": "mine"}]
    suite = {"name": "another-text", "version": 1, "sha256": "0" * 64}
    return record(suite=suite, models=rows, scores=scores, failures=[], notes={})


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict", "how"),
    [
        (37.36984, None, None, "match", "to its printed digits"),
        (
            37.36975,
            None,
            None,
            "match",
            "to its printed digits",
        ),  # half a unit of the last digit away, and no more
        (
            37.36974,
            None,
            None,
            "mismatch",
            "beyond its printed digits and the measured interval, by 0.00%",
        ),
        (
            37.9,
            37.2,
            38.6,
            "match",
            "within the measured interval, though not to its printed digits",
        ),
        (
            37.9,
            37.36984,
            38.6,
            "match",
            "within the measured interval, though not to its printed digits",
        ),  # the figure may be 37.36985
        (
            37.9,
            37.3699,
            38.6,
            "mismatch",
            "beyond its printed digits and the measured interval, by 1.42%",
        ),
        ("inf", None, None, "mismatch", "beyond its printed digits and the measured interval"),
    ],
)
def test_a_figure_matches_to_its_digits_or_within_the_interval_and_else_not(
    value, low, high, verdict, how
):
    (found,) = of(FIGURE, measured("word_perplexity", value, low=low, high=high))
    assert (found.verdict, found.how) == (verdict, how)


@pytest.mark.parametrize(
    ("value", "printed", "half"),
    [(37.3698, "37.3698", 0.00005), (0.98, "0.98", 0.005), (19.0, "19", 0.5), (8, "8", 0.5)],
)
def test_the_tolerance_is_half_a_unit_of_the_last_printed_digit(value, printed, half):
    (figure,) = read_published(
        ModelRow.model_validate(model("gpt2", 5, published=[{**FIGURE, "value": value}]))
    )
    assert figure.digits == printed
    assert figure.half_digit == pytest.approx(half)
    inside, outside = (
        Score.model_validate(measured("word_perplexity", value + 1.01 * sign * half))
        for sign in (0.98, 1)
    )
    assert compare(figure, inside).verdict == "match"
    assert compare(figure, outside).verdict == "mismatch"


@pytest.mark.parametrize(
    ("protocol", "signature", "same"),
    [
        ("wikitext-lm-eval/1", SIGNATURE, True),
        ("protocol=wikitext-lm-eval/1", SIGNATURE, True),
        ("wikitext-lm-eval/2", SIGNATURE, False),
        ("wikitext-lm-eval", SIGNATURE, False),
        ("wikitext-lm-eval/1;text=0123456789abcdef", SIGNATURE, True),
        ("wikitext-lm-eval/1;text=fedcba9876543210", SIGNATURE, False),
        ("wikitext-lm-eval/1;window=half", SIGNATURE, False),
        (
            "wikitext-lm-eval/1",
            SIGNATURE.replace("none", "100@seed0"),
            False,
        ),  # of a sample of the text
        ("wikitext-lm-eval/1;limit=100@seed0", SIGNATURE.replace("none", "100@seed0"), True),
        ("GPT-2 paper: LAMBADA; perplexity = of the last word", SIGNATURE, False),
        ("", "text=0", False),
    ],
)
def test_a_protocol_is_the_same_where_all_that_the_figure_names_is_in_the_signature(
    protocol, signature, same
):
    assert is_of(protocol, signature) is same


def test_figures_of_another_metric_model_or_protocol_stand_beside_nothing():
    assert of(FIGURE, measured("byte_perplexity", 37.3698)) == []
    assert of(ELSEWHERE, measured("word_perplexity", 29.41)) == []
    assert of({**FIGURE, "metric": "accuracy"}, measured("accuracy", 37.3698, norm="byte")) == []
    (found,) = list_incomparable(
        [ModelRow.model_validate(model("gpt2", 5, published=[ELSEWHERE]))],
        {"gpt2": [Score.model_validate(measured("word_perplexity", 1.0))]},
        {"another-text"},
    )
    assert found.protocol == "a paper: another text"
    assert (
        list_incomparable(
            [ModelRow.model_validate(model("gpt2", 5, published=[ELSEWHERE]))],
            {},
            {"another-text"},
        )
        == []
    )  # of a model that was not measured


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": "37"},
        {"value": True},
        {"value": float("inf")},
        {"value": 10**400},
        {"value": float("nan")},
        {"metric": 3},
        {"protocol": None},
        {"source": []},
    ],
)
def test_a_figure_that_is_nonsense_is_left_out(wrong):
    assert of({**FIGURE, **wrong}, measured("word_perplexity", 37.3698)) == []


def test_the_table_says_match_and_mismatch_and_ranks_only_what_was_measured(made):
    (table,) = leaderboard_board.build(made).tables
    assert {
        line.model: (line.cells["rank"].text, line.cells["published"].text) for line in table.lines
    } == {"gpt2": ("1", "0.9769: mismatch"), "mine": ("2", "-")}
    said = [note for note in table.notes if "published" in note]
    assert said == [
        (
            "gpt2: word_perplexity 37.3698 was published by the same protocol (a harness); measured"
            " here 37.3698: match, to its printed digits."
        ),
        (
            "gpt2: bits_per_byte 0.9769 was published by the same protocol (a harness); measured"
            " here 0.9821: mismatch, beyond its printed digits and the measured interval, by 0.53%."
        ),
    ]


def test_another_metrics_figure_is_named_where_the_table_goes_by_one_without(made):
    made.models[0].published = [FIGURE]
    (table,) = leaderboard_board.build(made).tables
    assert table.lines[0].cells["published"].text == "word_perplexity 37.3698: match"


@pytest.mark.parametrize("form", BUILT_IN)
def test_every_format_shows_figures_beside_and_apart(made, form):
    drawn = draw(form, leaderboard_board.build(made)).replace("\\_", "_").replace("\\", "")
    assert "0.9769: mismatch" in drawn
    if form == "csv":
        assert [row["published"] for row in csv.DictReader(io.StringIO(drawn))] == [
            "0.9769: mismatch",
            "",
        ]
        assert "29.41" not in drawn  # what was measured alone
    else:
        assert drawn.index("29.41") > drawn.index("0.9769")
        assert "another text" in drawn
        assert "ublished elsewhere" in drawn


@pytest.mark.parametrize("form", BUILT_IN)
def test_a_board_without_figures_says_nothing_of_them(form):
    assert "ublished, not" not in draw(form, leaderboard_board.build(record()))


def test_figures_of_a_metric_that_the_board_has_no_column_of_are_left_out():
    rows = [
        ModelRow.model_validate(model("gpt2", 5, published=[{**BITS, "protocol": "other"}])),
        ModelRow.model_validate(model("mine", None)),
    ]
    last_words = [measured("accuracy", 0.3), measured("word_perplexity", 40.0)]
    scores = {"gpt2": [Score.model_validate(one) for one in last_words]}
    assert list_incomparable(rows, scores, {"other"}) == []
    scores["mine"] = [Score.model_validate(measured("bits_per_byte", 1.0))]
    assert [figure.value for figure in list_incomparable(rows, scores, {"other"})] == [0.9769]


def test_boards_of_many_runs_show_them_too(tmp_path, made):
    one = run(
        tmp_path / "one",
        [model("gpt2", 5, published=[FIGURE, ELSEWHERE])],
        [measured("bits_per_byte", 0.9769)],
    )
    two = run(
        tmp_path / "two",
        [model("gpt2", 5, published=[BITS, ELSEWHERE])],
        [measured("bits_per_byte", 0.9769), measured("word_perplexity", 40.0, signature="s")],
        finished="2026-02-01T00:00:00+00:00",
        suite={"name": "another-text", "version": 1, "sha256": "0" * 64},
    )
    board, _ = merge([one, two])
    assert [line.cells["published"].text for line in board.tables[0].lines] == ["0.9769: match"]
    assert {(figure.metric, figure.value) for figure in board.published} == {
        ("word_perplexity", 37.3698),
        ("word_perplexity", 29.41),
    }


def test_the_cards_figures_of_the_shipped_protocol_are_those_that_the_docs_name():
    card = registry.resolve("gpt2")
    row = ModelRow(name="gpt2", published=[figure.model_dump() for figure in card.published])
    found = [
        Score.model_validate(measured(metric, value))
        for metric, value in (("word_perplexity", 37.37), ("bits_per_byte", 0.9769))
    ]
    assert [one.figure.value for one in compare_all(row, found)] == [37.3698, 0.9769]
    shown = [one for one in card.published if one.metric in ("word_perplexity", "bits_per_byte")]
    both = {"wikitext2", "lambada", "enwik8"}
    assert len(list_incomparable([row], {"gpt2": found}, both)) == len(shown) - 2
    of_lambada = list_incomparable([row], {"gpt2": found}, {"lambada"})
    assert len(of_lambada) >= 2
    assert all("lambada" in one.protocol.casefold() for one in of_lambada)


def test_a_figure_of_a_text_that_nobody_asked_about_is_not_shown(made):
    (figure,) = leaderboard_board.build(made).published
    assert figure.protocol == ELSEWHERE["protocol"]
    made.suite.name = "standard"
    assert leaderboard_board.build(made).published == []
    ngram = registry.resolve("byte-ngram")
    row = ModelRow(name="byte-ngram", published=[figure.model_dump() for figure in ngram.published])
    scores = {"byte-ngram": [Score.model_validate(measured("bits_per_byte", 2.0))]}
    assert list_incomparable([row], scores, {"standard"}) == []
    assert len(list_incomparable([row], scores, {"shakespeare"})) == 1


def test_a_figure_of_a_protocol_that_was_followed_on_a_sample_is_shown_apart():
    row = ModelRow.model_validate(model("gpt2", 5, published=[FIGURE]))
    sampled = SIGNATURE.replace("none", "100@seed0")
    scores = {"gpt2": [Score.model_validate(measured("word_perplexity", 1.0, signature=sampled))]}
    assert len(list_incomparable([row], scores, {"mine"})) == 1
