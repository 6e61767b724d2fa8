from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from support.sample_pairs import SENTENCES

from llmbench.data.text import Document, Text
from llmbench.errors import UsageError
from llmbench.metrics.diversity import Distinct2, Repetition4
from llmbench.metrics.exact_match import F1, Accuracy, ExactMatch, normalise
from llmbench.metrics.registry import NAMES, create_metric
from llmbench.metrics.text import TextMetric, as_numbers, as_text
from llmbench.stats import Interval, wilson_interval

OUTPUTS, REFERENCES = ([pair[i] for pair in SENTENCES] for i in (0, 1))
KNOWN = Text(
    "known",
    tuple(Document(str(i), reference) for i, reference in enumerate(REFERENCES) if reference),
)
ALONE = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1"}
STRANGE = [
    "",
    "   ",
    "\n",
    "\t\u00a0\u2003",
    ".",
    "\ud800",
    "half \udc00 a pair",
    "\ufffd\ufffd",
    "\0",
    "a",
    "🐱",
]


def rows(metric, pairs=SENTENCES):
    return [metric.measure(output, reference) for output, reference in pairs]


def asked(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=ALONE,
        timeout=60,
        check=True,
    )
    return done.stdout


def written(folder, **texts):
    for name, lines in texts.items():
        (folder / name).write_text(
            "".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n"
        )
    return [str(folder / name) for name in texts]


@pytest.fixture(scope="module")
def printed_by_sacrebleu(tmp_path_factory):
    reference, output = written(
        tmp_path_factory.mktemp("sacrebleu"), reference=REFERENCES, output=OUTPUTS
    )
    said = asked(
        "sacrebleu",
        reference,
        "-i",
        output,
        "-m",
        "bleu",
        "chrf",
        "ter",
        "--width",
        "17",
        "--format",
        "json",
        "--quiet",
    )
    return {entry["name"]: entry for entry in json.loads(said)}


@pytest.mark.parametrize(("name", "theirs"), [("bleu", "BLEU"), ("chrf", "chrF2"), ("ter", "TER")])
def test_what_sacrebleus_command_prints_is_our_number_to_the_last_digit_with_its_signature(
    printed_by_sacrebleu, name, theirs
):
    metric, printed = create_metric(name), printed_by_sacrebleu[theirs]
    found = metric.value(rows(metric))
    assert (found.value, metric.signature) == (printed["score"], printed["signature"])
    assert found.n == len(SENTENCES) >= 60
    assert 1 < found.value < 99


@pytest.mark.parametrize("name", ["bleu", "chrf", "ter"])
def test_totals_of_any_choice_of_samples_are_sacrebleus_corpus_scores(name):
    from sacrebleu.metrics import BLEU, CHRF, TER

    metric, theirs, statistics = (
        create_metric(name),
        {"bleu": BLEU, "chrf": CHRF, "ter": TER}[name](),
        rows(create_metric(name)),
    )
    assert all(number.is_integer() for row in statistics for number in row)
    draw = np.random.default_rng(0)
    for size in (1, 2, 7, 64):
        chosen = draw.integers(len(SENTENCES), size=size)
        score = theirs.corpus_score(
            [OUTPUTS[i] for i in chosen], [[REFERENCES[i] for i in chosen]]
        ).score
        assert metric.value([statistics[i] for i in chosen]).value == score


def test_the_interval_of_bleu_is_about_sacrebleus_own():
    from sacrebleu.metrics import BLEU

    metric = create_metric("bleu")
    found, theirs = (
        metric.value(rows(metric)),
        BLEU().corpus_score(OUTPUTS, [REFERENCES], n_bootstrap=1000),
    )
    assert (found.high - found.low) / 2 == pytest.approx(theirs._ci, rel=0.15)


def test_what_the_command_of_rouge_score_prints_of_each_sample_is_our_number_to_the_last_digit(
    tmp_path,
):
    reference, output = written(tmp_path, reference=REFERENCES, output=OUTPUTS)
    scores = tmp_path / "scores.csv"
    flags = (
        f"--target_filepattern={reference}",
        f"--prediction_filepattern={output}",
        f"--output_filename={scores}",
    )
    asked("rouge_score.rouge", *flags, "--use_stemmer=False", "--aggregate=False")
    with scores.open(encoding="utf-8") as file:
        printed = list(csv.DictReader(file))
    assert len(printed) == len(SENTENCES)
    for name in ("rouge1", "rouge2", "rougeL"):
        ours = [f"{value:f}" for value, _ in rows(create_metric(name))]
        assert ours == [row[f"{name}-F"] for row in printed]
        assert len(set(ours)) > 15
        assert create_metric(name).value(rows(create_metric(name))).value == pytest.approx(
            np.mean([float(row[f"{name}-F"]) for row in printed]), abs=1e-6
        )


def test_bleu_chrf_and_ter_by_hand():
    bleu, chrf, ter = (create_metric(name) for name in ("bleu", "chrf", "ter"))
    pair = [("a b c d e", "a b c d f")]
    assert bleu.value(rows(bleu, pair)).value == pytest.approx(
        100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    )
    precisions = [
        4 / 5,
        3 / 4,
        2 / 3,
        1 / 2,
        0,
    ]  # of 1 to 5 characters: white space does not count, and none has six
    assert chrf.value(rows(chrf, pair)).value == pytest.approx(100 * sum(precisions) / 5)
    assert ter.value(rows(ter, [("b c d a e", "a b c d e")])).value == 20  # one shift, five words


def test_an_empty_output_counts_in_every_metric_that_compares():
    for name, worst in (
        ("bleu", 0),
        ("chrf", 0),
        ("ter", 100),
        ("exact_match", 0),
        ("f1", 0),
        ("accuracy", 0),
        ("rouge1", 0),
        ("rougeL", 0),
    ):
        metric = create_metric(name)
        for nothing in ("", "  \n "):
            found = metric.value(
                rows(
                    metric,
                    [
                        (nothing, "four words of text"),
                        ("some more words here", "some more words here"),
                    ],
                )
            )
            assert found.n == 2, name
            assert metric.value(rows(metric, [(nothing, "four words of text")])).value == worst, (
                name
            )


def test_accuracy_and_exact_match_differ_by_case_punctuation_and_articles():
    pairs = [
        ("Paris", "Paris"),
        (" Paris\n", "Paris"),
        ("paris", "Paris"),
        ("The Paris.", "Paris"),
        ("London", "Paris"),
        ("", "Paris"),
    ]
    assert [row[0] for row in rows(Accuracy(), pairs)] == [1, 1, 0, 0, 0, 0]
    assert [row[0] for row in rows(ExactMatch(), pairs)] == [1, 1, 1, 1, 0, 0]


def test_f1_by_hand():
    pairs = [
        ("the black cat", "a cat"),
        ("cat cat", "cat"),
        ("dog", "cat"),
        ("The", "a"),
        ("", "cat"),
    ]
    assert [row[0] for row in rows(F1(), pairs)] == pytest.approx([2 / 3, 2 / 3, 0, 1, 0])
    assert normalise("The U.S. can't!") == ["us", "cant"]


@pytest.mark.parametrize(
    ("hits", "n"),
    [(0, 1), (1, 1), (0, 20), (20, 20), (7, 20), (1, 500), (263, 500), (99999, 100000)],
)
def test_wilsons_interval_is_scipys(hits, n):
    theirs = scipy.stats.binomtest(hits, n).proportion_ci(method="wilson")
    found = wilson_interval(hits, n)
    assert (found.value, found.low, found.high, found.n) == pytest.approx(
        (hits / n, theirs.low, theirs.high, n), rel=1e-12, abs=1e-15
    )


def test_wilsons_interval_by_hand_and_its_limits():
    z = 1.959963984540054
    assert wilson_interval(0, 10).high == pytest.approx(z * z / (10 + z * z))
    for hits, n in ((0, 0), (-1, 5), (6, 5)):
        with pytest.raises(ValueError, match="no share"):
            wilson_interval(hits, n)


def test_a_metric_says_which_interval_it_has_and_shares_have_wilsons():
    for metric in (Accuracy(), ExactMatch(), create_metric("long_copy_share", train=KNOWN)):
        assert metric.interval == "wilson"
        assert metric.value([[1.0, 1.0]] * 7 + [[0.0, 1.0]] * 13) == wilson_interval(7, 20)
        with pytest.raises(ValueError, match="either is so or is not"):
            metric.value([[0.5, 1.0]])
    assert {create_metric(name).interval for name in ("bleu", "f1", "rougeL", "distinct_2")} == {
        "bootstrap"
    }


def test_the_bootstrap_of_a_mean_is_about_its_t_interval_and_always_the_same():
    values = np.random.default_rng(3).normal(0.4, 0.1, 40)
    statistics = [[value, 1.0] for value in values.tolist()]
    found = F1().value(statistics)
    low, high = scipy.stats.t.interval(0.95, 39, loc=values.mean(), scale=scipy.stats.sem(values))
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))
    assert F1().value(statistics) == found


def test_the_bootstrap_holds_the_mean_in_about_95_of_100_cases():
    draw = np.random.default_rng(5)
    found = [
        F1().value([[value, 1.0] for value in draw.normal(0, 1, 12).tolist()]) for _ in range(200)
    ]
    assert 0.9 <= np.mean([interval.low <= 0 <= interval.high for interval in found]) <= 0.98


def test_fewer_than_eight_samples_have_no_bootstrap_interval_and_none_has_no_value():
    assert F1().value([[0.5, 1.0]] * 7) == Interval(0.5, None, None, 7)
    assert F1().value([[0.4, 1.0], [0.6, 1.0]] * 4).low is not None
    assert F1().value([]) is None
    assert Accuracy().value([]) is None
    assert Distinct2().value([[], []]) is None


def test_a_ratio_of_sums_is_not_the_mean_of_ratios():
    class Ratio(TextMetric):
        name = "ratio"

        def statistics(self, output, reference):
            return [1.0, float(len(output))]

    assert Ratio().value([[1.0, 1.0], [1.0, 3.0]]).value == 0.5


def test_distinct_pairs_of_the_first_thirty_words_by_hand():
    metric, words = Distinct2(), [str(i) for i in range(40)]
    assert metric.measure(" ".join(words)) == [1.0, 1.0]
    assert metric.measure(" ".join(["a", "b"] * 20)) == [2 / 29, 1.0]
    assert metric.measure(" ".join(words[:30] + ["0", "1"] * 50)) == [
        1.0,
        1.0,
    ]  # what comes later does not count
    assert metric.measure(" ".join(words[:29])) == []
    assert metric.value([[1.0, 1.0], [], [0.5, 1.0]]) == Interval(0.75, None, None, 2)


def test_repeated_runs_of_four_words_by_hand():
    metric = Repetition4()
    assert metric.measure("a b c d a b c d") == [pytest.approx(1 / 5), 1.0]
    assert metric.measure("no no no no no no no") == [pytest.approx(3 / 4), 1.0]
    assert metric.measure("one two three") == []
    assert metric.value(
        rows(metric, [("a b c d", None), ("no " * 103, None)])
    ).value == pytest.approx(0.495)  # each sample weighs the same


@pytest.mark.parametrize("name", NAMES)
def test_no_text_is_too_strange(name):
    metric = create_metric(name, train=KNOWN, held_out=KNOWN)
    statistics = [
        metric.measure(output, reference)
        for output in STRANGE
        for reference in ("", " ", "a word", "\udfff", "\ufffd")
    ]
    found = metric.value(statistics)
    assert found is None or math.isfinite(found.value)
    assert json.loads(json.dumps(statistics)) == statistics


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_reference_is_an_error_where_the_metric_compares_and_nowhere_else(name):
    metric = create_metric(name, train=KNOWN, held_out=KNOWN)
    if metric.needs_reference:
        with pytest.raises(UsageError, match=f"{name} compares with a reference"):
            metric.measure("something")
        metric.measure("something", "")
    else:
        assert metric.measure("something") == metric.measure("something", "else")


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_its_metrics_and_its_signature_is_text(name):
    metric = create_metric(name, train=KNOWN, held_out=KNOWN)
    assert metric.metric.name == name
    assert metric.metric.help
    assert metric.signature
    assert not {";", "\n", "None"} & {*metric.signature, *metric.signature.split(":")}


def test_unknown_names_and_missing_texts_are_told():
    with pytest.raises(UsageError, match=r"'blue'.*did you mean 'bleu'"):
        create_metric("blue")
    with pytest.raises(UsageError, match="did you mean 'rougeL'"):
        create_metric("rouge-L")
    for name, role in (
        ("longest_copy_bytes", "train"),
        ("long_copy_share", "train"),
        ("ngram_distance", "held_out"),
    ):
        with pytest.raises(UsageError, match=f"{name}.*`{role}`"):
            create_metric(name)


def test_a_degenerate_output_does_not_hold_ter_up():
    metric = create_metric("ter")
    assert (
        metric.total(metric.measure("a b " * 250, "b a " * 250)) == 0.4
    )  # two edits; the scorer gives the search for shifts up


def test_texts_come_back_from_their_numbers():
    assert [as_text(json.loads(json.dumps(as_numbers(text)))) for text in STRANGE] == STRANGE


def test_the_catalogue_imports_no_library_of_metrics():
    libraries = {"sacrebleu", "rouge_score", "evaluate", "nltk", "torch", "datasets"}
    code = f"import sys, llmbench.metrics.registry; print(sorted({libraries} & {{*sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
