"""The floors, against the figures that stand beside the data and against the standard library."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from conftest import real
from support.toys import TEXT

from llmbench.adapter import BuildContext, Passage, Request
from llmbench.adapters.ngram import ByteNgram
from llmbench.adapters.trivial import Compressor, UniformBytes
from llmbench.data import loading
from llmbench.data.text import Document, Text
from llmbench.errors import UsageError
from llmbench.inference import scoring
from llmbench.ledger import CODE
from llmbench.plan import registry


@pytest.fixture(scope="module")
def halves():
    path = real("tinyshakespeare/input.txt")
    return tuple(
        loading.load(name, path, {"fraction": part})
        for name, part in (("train", [0.0, 0.9]), ("test", [0.9, 1.0]))
    )


def rate(adapter, text):
    ledgers = list(adapter.score([Passage(document.text) for document in text.documents]))
    for ledger in ledgers:
        ledger.check()
    return sum(ledger.total() for ledger in ledgers) / text.bytes


def test_uniform_bytes_is_exactly_eight(halves):
    assert rate(UniformBytes(), halves[1]) == 8.0


@pytest.mark.parametrize(("order", "want"), [(3, 2.5591), (4, 2.4076), (5, 2.4498)])
def test_byte_ngram_has_the_published_figure(halves, order, want):
    assert rate(
        ByteNgram.build({"order": order}, BuildContext(train=halves[0])), halves[1]
    ) == pytest.approx(want, abs=0.0005)


@pytest.mark.parametrize(("method", "want"), [("zlib", 3.190), ("bz2", 2.635), ("lzma", 2.943)])
def test_compressors_have_the_published_figures(halves, method, want):
    assert rate(Compressor(method), halves[1]) == pytest.approx(want, abs=0.0005)


def test_a_compressor_makes_one_charge_a_document():
    ledger = next(Compressor("zlib").score([Passage(TEXT)]))
    assert ledger.kind.tolist() == [CODE]
    assert ledger.bits[0] == 8 * len(zlib.compress(TEXT.encode(), 9))


def test_ngram_scores_as_its_own_distributions_do():
    model = ByteNgram([TEXT, "another"], order=4)
    for given in ("", "The"):
        fast = next(model.score([Passage("The kettle \N{SNOWMAN} said", context=given)]))
        slow = next(scoring.score(model, [Passage("The kettle \N{SNOWMAN} said", context=given)]))
        assert fast.bits == pytest.approx(slow.bits, rel=1e-9)
    symbols, p = model.next_distribution("The kett")
    assert p.sum() == pytest.approx(1.0)
    assert symbols[int(np.argmax(p))] == b"l"


def test_ngram_greedily_says_the_likeliest_byte_each_time():
    model, text = ByteNgram([TEXT], order=4), "The kettle"
    for _ in range(20):
        symbols, p = model.next_distribution(text)
        text += symbols[int(np.argmax(p))].decode()
    said = "".join(chunk.text for chunk in model.generate([Request("The kettle", max_bytes=20)]))
    assert "The kettle" + said == text


def test_ngram_without_a_training_text_says_so():
    with pytest.raises(UsageError, match="needs a training text"):
        ByteNgram.build({"order": 4}, BuildContext())


def test_fingerprints_follow_the_counts():
    one, two = ByteNgram(["abc"], 2), ByteNgram(["abd"], 2)
    assert one.info.fingerprint != two.info.fingerprint
    assert one.info.fingerprint == ByteNgram(["abc"], 2).info.fingerprint


def test_ngram_uses_all_of_the_training_text_and_an_empty_one_is_uniform():
    assert rate(ByteNgram([], 4), Text("t", (Document("a", "xyz"),))) == pytest.approx(8.0)


def test_a_class_that_inherits_a_floor_is_another_model_and_so_is_its_changed_code(tmp_path):
    def load(bits):
        file = tmp_path / f"{bits}.py"
        file.write_text(
            "from llmbench.adapters.trivial import UniformBytes\n\n\n"
            "class Own(UniformBytes):\n"
            f"    bits = {bits}\n"
        )
        return registry.adapter_class(f"{file}:Own")().info

    one, other = load(7), load(6)
    assert len({one.fingerprint, other.fingerprint, UniformBytes().info.fingerprint}) == 3
    assert load(7).fingerprint == one.fingerprint

    scope = {"__name__": "__main__", "UniformBytes": UniformBytes}
    exec("class Own(UniformBytes):\n    def score(self, passages): return 1", scope)
    first = scope["Own"]().info.fingerprint
    exec("class Own(UniformBytes):\n    def score(self, passages): return 2", scope)
    assert len({first, scope["Own"]().info.fingerprint, UniformBytes().info.fingerprint}) == 3
