"""Values at a border, and texts that a metric's tokenizer does not see."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import sacrebleu
from scipy.stats import binomtest
from support.known import Known, quiet, text

from llmbench.errors import UsageError
from llmbench.ledger import TOKEN, Ledger
from llmbench.metrics.facts import FACTS
from llmbench.metrics.likelihood import Item, intervals
from llmbench.metrics.registry import (
    NAMES,
    check_metric,
    create_metric,
    create_metrics,
    read_metric,
)
from llmbench.plan.suite import read
from llmbench.stats import ratio_interval
from llmbench.tasks.answers.text_prompts import Prompt
from llmbench.tasks.continuation import Continuation, Decoding
from llmbench.tasks.last_word import LastWord
from llmbench.tasks.prompts import Asking
from llmbench.tasks.reference_based import Answer, Translation

CHINESE = (
    "今天天气很好，我们去公园散步。",
    "他昨天买了一本新书。",
    "这个问题很难回答。",
    "我喜欢喝茶。",
    "北京是中国的首都。",
    "学生们正在教室里上课。",
    "她每天早上跑步。",
    "火车晚点了两个小时。",
    "请把门关上。",
)


@pytest.mark.parametrize("name", ["f1", "rouge1", "rougeL", "chrf", "bleu"])
def test_perfect_answers_have_the_interval_of_a_perfect_share(name):
    metric = create_metric(name)
    said = "the king went home today"
    scale = metric.metric.bounds[1]
    for n in (8, 100):
        found = metric.value([metric.measure(said, said)] * n)
        wilson = binomtest(n, n).proportion_ci(method="wilson")
        assert found.value == pytest.approx(scale)
        assert found.low == pytest.approx(scale * wilson.low)
        assert found.high == scale
        nothing = metric.value([metric.measure("zzzz", "king went over there")] * n)
        if nothing.value == 0:
            assert nothing.low == 0
            assert nothing.high == pytest.approx(scale * (1 - wilson.low))


def test_samples_that_are_all_alike_inside_the_bounds_have_width_too():
    metric = create_metric("f1")
    found = metric.value([[0.5, 1.0]] * 8)
    assert found.low < 0.5 < found.high
    assert metric.value([[0.5, 1.0]] * 7).low is None


def test_no_interval_is_given_where_the_worst_has_no_end():
    metric = create_metric("ter")
    found = metric.value([metric.measure("a b", "a b")] * 9)
    assert (found.value, found.low, found.high) == (0.0, None, None)


def test_a_border_interval_holds_the_truth_in_95_of_100_cases():
    rng, metric, held = np.random.default_rng(0), create_metric("f1"), 0
    for _ in range(400):  # nearly perfect: most samples of ten have no wrong answer
        right = rng.random(10) < 0.97
        found = metric.value([[float(hit), 1.0] for hit in right])
        held += found.low <= 0.97 <= found.high
    assert held / 400 >= 0.9


def test_bits_have_no_interval_below_zero_and_perplexities_none_below_one():
    items = [Item("a", 100.0, 10, 2), Item("b", 0.0, 10, 2), Item("c", 0.0, 10, 2)]
    raw = ratio_interval([item.bits for item in items], [item.bytes for item in items])
    assert raw.low < 0
    row = FACTS["bits_per_byte"].row(raw.value, 3, "s", raw.low, raw.high)
    assert (row["low"], row["high"]) == (0.0, raw.high)

    n = 30
    ledger = Ledger.build(range(n), range(1, n + 1), [1.0] * n, [TOKEN] * n, n, "a")
    assert ledger.total() == n
    costs = {("one", " two"): 0.0, ("one two", " three"): 20.0, ("a", " b"): 0.0}
    outcome = LastWord(text(("one two",), ("one two three",), ("a b",))).run(
        Known(costs=costs), quiet
    )
    perplexity = next(row for row in outcome.scores if row["metric"] == "word_perplexity")
    assert perplexity["low"] == 1.0
    assert math.isfinite(perplexity["value"])
    assert intervals(items, _Totals())["byte_perplexity"].value > 1


class _Totals:
    words = 0
    token_perplexity = spelling_share = unknown_share = None


@pytest.mark.parametrize("tokenizer", ["zh", "char", "13a"])
def test_bleu_by_another_tokenizer_is_sacrebleus(tokenizer):
    metric = create_metric(f"bleu:{tokenizer}")
    said = [*CHINESE[:-1], "请关上门。"]
    rows = [metric.measure(a, b) for a, b in zip(said, CHINESE, strict=True)]
    want = sacrebleu.corpus_bleu(said, [list(CHINESE)], tokenize=tokenizer).score
    assert metric.value(rows).value == pytest.approx(want)
    assert f"tok:{tokenizer}" in metric.signature
    assert check_metric(f"bleu:{tokenizer}", False) == "bleu"
    assert metric.full_name == ("bleu" if tokenizer == "13a" else f"bleu:{tokenizer}")


def test_bleu_by_several_tokenizers_stands_side_by_side():
    lines = [f"the cat number {i} sat on the mat" for i in range(9)]
    said = [line.replace("sat", "sits") for line in lines]
    pairs = text(*((line, f"satz {i}") for i, line in enumerate(lines)))
    model = Known({f"satz {i}": line for i, line in enumerate(said)})
    names = ["bleu", "bleu:char", "bleu:intl"]
    outcome = Translation(pairs, Asking(), ["\n"], 300, names).run(model, quiet)
    assert [(row["metric"], row.get("variant", "")) for row in outcome.scores] == [
        ("bleu", ""),
        ("bleu", ":char"),
        ("bleu", ":intl"),
    ]
    for row, tokenizer in zip(outcome.scores, ("13a", "char", "intl"), strict=True):
        want = sacrebleu.corpus_bleu(said, [lines], tokenize=tokenizer).score
        assert row["value"] == pytest.approx(want)
        assert f"tok:{tokenizer}" in row["signature"]
        assert row["low"] <= want <= row["high"]
    assert outcome.scores[0]["value"] < outcome.scores[1]["value"]
    assert [*outcome.samples[0]["statistics"]] == names
    ways = Decoding(300, (0.0, 1.0))
    prompts = [Prompt(f"satz {i}", line) for i, line in enumerate(lines)]
    shown = Continuation(prompts, ways, create_metrics(names[:2])).run(model, quiet)
    variants = [":greedy", ":char:greedy", "", ":char"]
    assert [row["variant"] for row in shown.scores] == variants
    assert {f"bleu{variant}" for variant in variants} == {
        name for sample in shown.samples for name in sample["statistics"]
    }


@pytest.mark.parametrize("twice", ['bleu, "bleu:13a"', '"bleu:zh", "bleu:zh"', "bleu, chrf, bleu"])
def test_the_same_bleu_twice_is_refused(tmp_path, twice):
    suite = """name: s
version: 1
texts: {test: {source: storyworld, select: {part: pairs}}}
tasks: [{task: translation, metrics: [%s]}]
models: [zlib]
"""
    (tmp_path / "s.yaml").write_text(suite % twice)
    with pytest.raises(UsageError, match=r"two metrics are called 'bleu(:zh)?'"):
        read(str(tmp_path / "s.yaml"))
    (tmp_path / "s.yaml").write_text(suite % 'bleu, "bleu:zh", "bleu:char"')
    assert read(str(tmp_path / "s.yaml")).tasks[0].metric_names()


def test_a_tokenizer_that_bleu_has_not_is_named():
    with pytest.raises(UsageError, match="BLEU has no tokenizer 'zhh'") as caught:
        check_metric("bleu:zhh", False)
    assert "zh" in caught.value.hint


def test_perfect_chinese_is_100_by_the_right_tokenizer_and_warned_of_by_13a():
    pairs = text(*((line, f"satz {i}") for i, line in enumerate(CHINESE)))
    model = Known({f"satz {i}": line for i, line in enumerate(CHINESE)})
    rows = {}
    for name in ("bleu", "bleu:zh"):
        (row,) = Translation(pairs, Asking(), ["\n"], 300, [name]).run(model, quiet).scores
        rows[name] = row
    assert rows["bleu:zh"]["value"] == pytest.approx(100)
    assert "blind" not in rows["bleu:zh"]
    assert (rows["bleu"]["blind"], rows["bleu"]["n"]) == (9, 9)


@pytest.mark.parametrize(
    ("name", "seen", "unseen"),
    [
        ("rouge1", "The king, 3 times", "Die Prüfung"),
        ("rouge2", "", "Кошка"),
        ("bleu", "Кошка сидит на ковре", "我喜欢喝茶。"),
        ("bleu", "The city of 北京", "ภาษาไทย"),
        ("exact_match", "Hamlet", "the"),
        ("f1", "", "..."),
        ("f1", "the 北京 hotel", "我喜欢喝茶"),
        ("rouge1", "3 + 4 = 7 (%)", "١٢٣ and १२३"),
        ("rouge1", "a_b", "well 🎉"),
        ("rougeL", "it costs 5", "it costs €5"),
        ("rouge2", "x2", "x²"),
        ("rouge1", " ", "+"),
        ("bleu", "well done 🎉 🎉", "🎉🎉🎉"),
        ("bleu", "3 4 5", "๑๒๓"),
        ("bleu:intl", "🎉🎉🎉", "ภาษาไทย"),
        ("bleu:zh", "我喜欢喝茶。", "ภาษาไทย"),
        ("bleu:zh", "Кошка", "これはひらがなです"),
        ("bleu:none", "a b", "བཀྲ་ཤིས་བདེ་ལེགས"),
        ("ter", "The city of 北京", "我喜欢喝茶。"),
    ],
)
def test_a_metric_knows_what_its_tokenizer_does_not_see(name, seen, unseen):
    metric = create_metric(name)
    assert metric.is_blind_to(unseen)
    assert not metric.is_blind_to(seen)


def test_metrics_that_see_everything_are_blind_to_nothing():
    for name in ("chrf", "accuracy", "bleu:char"):
        assert name.partition(":")[0] in NAMES
        assert not create_metric(name).is_blind_to("我喜欢喝茶 the ... 🎉🎉")


def test_answers_that_squads_normalisation_empties_are_counted():
    asked = text(("A", "q1"), ("A", "q2"), ("3.14", "q3"), ("!!!", "q4"))
    model = Known({"q1": "the", "q2": "B", "q3": "314", "q4": ""})
    outcome = Answer(asked, Asking(), ["\n"], 60).run(model, quiet)
    assert {row["blind"] for row in outcome.scores} == {3}


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"bleu": {"tok": "zh"}}, "`bleu` has no setting 'tok': write bleu: {tokenize: zh}"),
        ({"bleu": "zh"}, "write bleu: {tokenize: NAME}"),
        ({"bleu": {"tokenize": None}}, "write bleu: {tokenize: NAME}"),
        ({"chrf": {"tokenize": "zh"}}, "a mapping with 'chrf' is no metric"),
        ({"bleu": {"tokenize": "zh"}, "ter": None}, "a mapping with 'bleu', 'ter' is no metric"),
    ],
)
def test_a_wrong_setting_of_a_metric_is_told_with_the_right_one(entry, complaint):
    with pytest.raises(ValueError, match=re.escape(complaint)):
        read_metric(entry)
