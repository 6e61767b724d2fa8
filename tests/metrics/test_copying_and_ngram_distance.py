from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import types
from importlib import resources

import numpy as np
import pytest

from llmbench.data.text import Document, Text
from llmbench.errors import UsageError
from llmbench.metrics.copying import LongCopyShare, LongestCopy, longest_copy
from llmbench.metrics.ngram_distance import NgramDistance, _codes, _cut, _halves
from llmbench.metrics.registry import create_metric
from llmbench.stats import wilson_interval


def text(*documents):
    return Text("text", tuple(Document(str(i), document) for i, document in enumerate(documents)))


# copying


def longest_by_brute_force(raw, known, least):
    """Every span of one against every span of the other."""
    spans = {known[a:b] for a in range(len(known)) for b in range(a + 1, len(known) + 1)}
    lengths = [
        b - a for a in range(len(raw)) for b in range(a + 1, len(raw) + 1) if raw[a:b] in spans
    ]
    longest = max(lengths, default=0)
    return longest if longest >= least else 0


@pytest.mark.parametrize("seed", range(60))
def test_the_longest_copy_is_that_of_brute_force(seed):
    draw = random.Random(seed)
    letters = b"abcdef"[: draw.randint(1, 6)]
    known = bytes(draw.choices(letters, k=draw.randint(0, 70)))
    raw = bytes(draw.choices(letters, k=draw.randint(0, 40)))
    if seed % 3 == 0 and known:  # something learnt by heart in the middle
        at = draw.randrange(len(known))
        raw = raw[:10] + known[at : at + draw.randint(1, 30)] + raw[10:]
    for least in (1, 2, 5, 12):
        assert longest_copy(raw, known, least) == longest_by_brute_force(raw, known, least)


def test_the_longest_copy_by_hand():
    assert longest_copy(b"the fox saw a cat", b"a fox saw it") == len(b" fox saw ")
    assert (
        longest_copy(b"xyz", b"abc") == longest_copy(b"", b"abc") == longest_copy(b"abc", b"") == 0
    )
    assert longest_copy(b"abc", b"abc") == 3
    metric = LongestCopy(text("a fox saw it", "Grüße"))
    assert [metric.measure(said)[0] for said in ("the fox saw a cat", "Grüße", "", "\ud800")] == [
        9,
        len("Grüße".encode()),
        0,
        0,
    ]
    assert metric.value([[9.0, 1.0], [0.0, 1.0]]).value == 4.5


def test_no_span_is_copied_across_two_documents():
    for between in ("", "\0", "\n", "\n\n", "\ufffd"):
        assert LongestCopy(text("0123456789", "abcdefghij")).measure(f"56789{between}abcdef") == [
            6.0,
            1.0,
        ]


def test_a_sample_counts_as_copied_from_fifty_bytes_on():
    draw = random.Random(1)
    train = "".join(draw.choices("abcdefghijklmnop", k=5000))
    metric = LongCopyShare(text(train))
    said = ["#" * 20 + train[700 : 700 + size] + "#" * 20 for size in (49, 50, 51, 300)]
    assert [metric.measure(sample)[0] for sample in [*said, "", train[:49], train[:50]]] == [
        0,
        1,
        1,
        1,
        0,
        0,
        1,
    ]
    assert metric.value([metric.measure(sample) for sample in said]) == wilson_interval(3, 4)


def test_300_bytes_are_looked_up_in_a_megabyte_without_a_blow_up():
    draw = random.Random(2)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(1, 9))) for _ in range(3000)]
    known = " ".join(
        draw.choices(words, weights=[1 / (i + 1) for i in range(3000)], k=220_000)
    ).encode()[:1_000_000]
    new = " ".join(draw.choices(words, weights=[1 / (i + 1) for i in range(3000)], k=100)).encode()[
        :300
    ]
    begun = time.perf_counter()
    assert 10 < longest_copy(new, known) < 50
    assert longest_copy(known[5000:5300], known) == 300
    assert longest_copy(b"ab" * 150, b"a" * 1_000_000) == 1
    assert longest_copy(b"a" * 150 + b"b" + b"a" * 149, b"a" * 1_000_000) == 150
    assert (
        time.perf_counter() - begun < 5
    )  # 0.3 s on a quiet machine; a search of each span of its own takes minutes


# the distance of 3-grams


@pytest.fixture(scope="module")
def fables():
    lines = (
        resources.files("llmbench")
        .joinpath("data/texts/fables.jsonl")
        .read_text(encoding="utf-8")
        .splitlines()
    )
    return [json.loads(line)["text"] for line in lines]


def pieces(documents, count, size, seed):
    draw = random.Random(seed)
    chosen = [draw.choice(documents) for _ in range(count)]
    return [
        document[(at := draw.randrange(len(document) - size)) : at + size] for document in chosen
    ]


def distance(metric, samples):
    return metric.value([metric.measure(sample) for sample in samples])


@pytest.fixture(scope="module")
def fables_distance(fables):
    return NgramDistance(text(*fables[:48]))


def test_human_text_is_within_noise_of_zero(fables, fables_distance):
    found = [
        distance(fables_distance, pieces(fables[48:], count, 300, seed))
        for seed in range(4)
        for count in (20, 60, 120)
    ]
    assert max(abs(interval.value) for interval in found) < 0.05
    assert abs(np.mean([interval.value for interval in found])) < 0.02
    assert all(interval.low < 0 < interval.high for interval in found)


def test_human_text_in_one_document_is_within_noise_of_zero_too(fables):
    found = distance(NgramDistance(text("\n\n".join(fables[:48]))), pieces(fables[48:], 60, 300, 1))
    assert found.low < 0 < found.high
    assert abs(found.value) < 0.05


def test_a_repeater_is_far_and_shuffled_letters_are_farther_than_shuffled_words(
    fables, fables_distance
):
    human = pieces(fables[48:], 60, 300, 7)
    draw = random.Random(0)
    words = [" ".join(draw.sample(sample.split(), len(sample.split()))) for sample in human]
    letters = ["".join(draw.sample(sample, len(sample))) for sample in human]
    natural, of_words, of_letters, repeated = (
        distance(fables_distance, said) for said in (human, words, letters, ["the fox said "] * 500)
    )
    assert natural.value < of_words.value < of_letters.value < repeated.value
    assert of_words.low > 0
    assert of_letters.low > of_words.high
    assert 0.6 < repeated.low < repeated.value < repeated.high <= 1


def test_samples_of_the_same_3_grams_are_equally_far(fables, fables_distance):
    samples = [*pieces(fables[48:], 20, 300, 2), *pieces(fables[48:], 20, 200, 3)]
    values = [
        distance(fables_distance, order).value
        for order in (samples, samples[::-1], random.Random(0).sample(samples, 40))
    ]
    assert values == pytest.approx([values[0]] * 3, abs=1e-12)


def test_the_distance_by_hand():
    """The reference has two 3-grams only, and the human text is like it but for rounding: what is
    left is the samples' own distance.
    """
    metric = NgramDistance(text(*["ab" * 500] * 20))
    for share, samples in (
        (1, ["c" * 250] * 10),
        (0, ["ab" * 125] * 10),
        (0.5, ["ab" * 125, "c" * 250] * 5),
        (0.5, ["a" * 250 + "ba" * 125] * 10),
    ):
        assert distance(metric, samples).value == pytest.approx(share, abs=0.01)


def test_too_little_text_has_no_distance(fables, fables_distance):
    human = pieces(fables[48:], 400, 300, 4)
    assert distance(fables_distance, human[:6]) is None  # 1,800 bytes
    assert distance(fables_distance, human) is None  # 120 KB, more than half of the held-out text
    assert distance(fables_distance, []) is None
    assert distance(fables_distance, ["", "a", "ab"] * 1000) is None
    assert distance(NgramDistance(text("ab")), human[:20]) is None
    assert distance(NgramDistance(text("")), human[:20]) is None


def test_few_samples_have_a_distance_without_an_interval(fables, fables_distance):
    found = distance(fables_distance, pieces(fables[48:], 4, 900, 5))
    assert (found.low, found.high, found.n) == (None, None, 4)


def test_the_reference_and_the_human_text_share_no_document(fables):
    human, reference = _halves(text(*fables))
    assert sorted(human + reference) == sorted(fables)
    assert sum(map(len, human)) == pytest.approx(sum(map(len, reference)), rel=0.05)


def test_pieces_are_of_all_documents_and_of_the_samples_bytes_and_overlap_nowhere():
    documents = [
        "".join(chr(0x4E00 + 400 * i + j) for j in range(100)) for i in range(10)
    ]  # no character stands twice: 300 bytes each
    found = _cut(documents, [30] * 40)
    grams = np.concatenate(found)
    assert len(found) == 10
    assert len(set(grams.tolist())) == len(grams)
    assert set(grams.tolist()) <= set(
        np.concatenate([_codes(document) for document in documents]).tolist()
    )
    assert (
        40 * 6 < len(grams) <= 40 * 8
    )  # pieces of ten characters have eight, one that goes on elsewhere has fewer
    assert sum(map(len, _cut(documents, [10_000]))) >= 10 * 96  # all that there is


# metrics of the library evaluate


class Fake:
    """What the library gives for a metric: `result` is what it computes."""

    name, _hash = "fake", "0123456789abcdef0123"

    def __init__(self, result, features=("predictions", "references")):
        self.result, self.features = result, features

    def _feature_names(self):
        return list(self.features)

    def compute(self, **texts):
        self.seen = texts
        return self.result(**texts) if callable(self.result) else self.result


@pytest.fixture
def plug(monkeypatch):
    def plug(fake, **how):
        module = types.ModuleType("evaluate")
        module.load = lambda name: fake
        monkeypatch.setitem(sys.modules, "evaluate", module)
        return create_metric("evaluate:fake", **how)

    return plug


PAIRS = [("ab", "abc"), ("", "x"), ("ü\ud800", "\ufffd")]


def plugged_value(metric, pairs=PAIRS):
    return metric.value([metric.measure(*pair) for pair in pairs])


def test_a_plugged_metric_sees_the_samples_as_they_are_but_for_half_characters(plug):
    fake = Fake({"fake": 3})
    found = plugged_value(plug(fake))
    assert fake.seen == {"predictions": ["ab", "", "ü\ufffd"], "references": ["abc", "x", "\ufffd"]}
    assert (found.value, found.low, found.high, found.n) == (3, None, None, 3)
    assert plugged_value(plug(fake), []) is None


def test_a_list_of_values_has_their_mean_and_an_interval(plug):
    lengths = plug(
        Fake(lambda predictions, references: {"lengths": [len(said) for said in predictions]})
    )
    found = plugged_value(lengths, [("a" * n, "") for n in range(1, 21)])
    assert found.value == 10.5
    assert 7 < found.low < 10.5 < found.high < 14
    with pytest.raises(UsageError, match="gave 1 numbers for 3 samples"):
        plugged_value(plug(Fake({"fake": [1.0]})))


def test_which_of_several_numbers_is_meant(plug):
    several = {
        "precision": 0.5,
        "recall": np.float64(0.25),
        "words": "none",
        "counts": [[1], [2, 3]],
    }
    assert plugged_value(plug(Fake({**several, "fake": 0.75}))).value == 0.75
    assert plugged_value(plug(Fake(several), key="recall")).value == 0.25
    assert plug(Fake(several), key="recall").metric.name == "evaluate:fake:recall"
    with pytest.raises(UsageError, match=r"say which, as in evaluate:NAME:KEY: precision, recall"):
        plugged_value(plug(Fake(several)))
    with pytest.raises(UsageError, match=r"'recal'.*did you mean 'recall'"):
        plugged_value(plug(Fake(several), key="recal"))
    for nothing in (None, {}, {"fake": "high"}):
        with pytest.raises(UsageError, match="gave no number"):
            plugged_value(plug(Fake(nothing)))


def test_a_metric_of_other_things_than_text_is_refused_and_its_failure_told(plug):
    with pytest.raises(
        UsageError, match="takes predictions and references, and this one model, predictions"
    ):
        plug(Fake({}, ("predictions", "model")))
    alone = plug(Fake({"fake": 1.0}, ("predictions",)))
    assert not alone.needs_reference
    assert alone.value([alone.measure("a")]).value == 1

    def fails(**texts):
        raise ValueError("no numbers in texts")

    with pytest.raises(
        UsageError, match="evaluate:fake: the metric failed: ValueError: no numbers in texts"
    ):
        plugged_value(plug(Fake(fails)))


def test_a_metric_that_cannot_be_loaded_is_an_error_with_a_hint(monkeypatch):
    module = types.ModuleType("evaluate")
    monkeypatch.setitem(sys.modules, "evaluate", module)  # without `load`
    with pytest.raises(
        UsageError,
        match=r"evaluate:nothing: the metric cannot be loaded: .*name on the hub.*a directory DIR",
    ):
        create_metric("evaluate:nothing")


SCRIPT = """
import datasets
import evaluate


class LengthShare(evaluate.Metric):
    def _info(self):
        features = datasets.Features(
            {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
        )
        return evaluate.MetricInfo(
            description="", citation="", inputs_description="", features=features
        )

    def _compute(self, predictions, references):
        shares = [len(a) / len(b) for a, b in zip(predictions, references)]
        return {"length_share": shares, "total": len(predictions)}
"""
ASKING = """
import sys
from llmbench.metrics.registry import create_metric
metric = create_metric("evaluate:" + sys.argv[1])
pairs = [("ab", "abcd"), ("", "x"), ("half \\ud800", "half")] * 4
found = metric.value([metric.measure(a, b) for a, b in pairs])
print(metric.metric.name, found.value, found.low < found.value < found.high, found.n)
print(create_metric("evaluate:" + sys.argv[1], key="total").value([metric.measure("a", "b")]))
try:
    create_metric("evaluate:no_such_metric_anywhere")
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
def test_the_library_itself_loads_a_directory_offline(tmp_path):
    folder = tmp_path / "length_share"
    folder.mkdir()
    (folder / "length_share.py").write_text(SCRIPT, encoding="utf-8")
    alone = {**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ASKING, str(folder)],
        capture_output=True,
        text=True,
        env=alone,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert first == f"evaluate:length_share {(0.5 + 0 + 1.5) / 3} True 12"
    assert second == "Interval(value=1.0, low=None, high=None, n=1)"
    assert third.startswith(
        "UsageError evaluate:no_such_metric_anywhere: the metric cannot be loaded"
    )
