"""ROUGE-Lsum, chrF++, BLEU's tokenizer as a mapping: against the reference programs."""

from __future__ import annotations

import pytest

from llmbench.metrics.registry import create_metric
from llmbench.tasks.reference_based import Answer

SAID = ["The cat sat.\nIt was late.", "A dog ran home", "Nothing"] * 3
RIGHT = ["It was late.\nA cat sat there.", "A dog ran to its home.", "Something else"] * 3


def test_rouge_lsum_takes_each_line_for_a_sentence():
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeLsum", "rougeL"])
    pairs = [scorer.score(right, said) for right, said in zip(RIGHT, SAID, strict=True)]
    for name in ("rougeLsum", "rougeL"):
        metric = create_metric(name)
        rows = [metric.measure(said, right) for said, right in zip(SAID, RIGHT, strict=True)]
        want = sum(pair[name].fmeasure for pair in pairs) / len(pairs)
        assert metric.value(rows).value == pytest.approx(want)
    assert pairs[0]["rougeLsum"].fmeasure > pairs[0]["rougeL"].fmeasure


def test_chrf_plus_plus_is_sacrebleus():
    sacrebleu = pytest.importorskip("sacrebleu")
    metric = create_metric("chrf_pp")
    rows = [metric.measure(said, right) for said, right in zip(SAID, RIGHT, strict=True)]
    want = sacrebleu.corpus_chrf(SAID, [RIGHT], word_order=2).score
    assert metric.value(rows).value == pytest.approx(want)
    assert "nw:2" in metric.signature
    assert metric.is_blind_to("猫が座っていた。")
    assert not metric.is_blind_to(RIGHT[0])
    assert create_metric("rougeLsum").is_blind_to("猫が座っていた。")


@pytest.mark.parametrize("name", ["f1", "rouge1", "rougeLsum", "chrf", "chrf_pp", "exact_match"])
def test_answers_that_are_all_right_have_an_interval_with_width(name):
    metric = create_metric(name)
    found = metric.value([metric.measure(text, text) for text in RIGHT])
    assert found.value == pytest.approx(metric.metric.bounds[1])
    assert found.low < found.value - 0.1 * metric.metric.bounds[1]


def test_bleu_takes_its_tokenizer_as_a_mapping():
    entry = {"bleu": {"tokenize": "char"}}
    settings = Answer.Settings(task="answer", metrics=[entry, "f1"])
    assert settings.metrics == ["bleu:char", "f1"]
    assert Answer.Settings.model_json_schema()["properties"]["metrics"]
    with pytest.raises(ValueError, match="no setting 'tokenise': write bleu"):
        Answer.Settings(task="answer", metrics=[{"bleu": {"tokenise": "char"}}])
