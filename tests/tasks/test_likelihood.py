"""The likelihood task: items, words, signatures, and what a ledger may not do."""

from __future__ import annotations

import math

import pytest
from support.toys import TEXT, Uniform

from llmbench.adapter import Adapter, ModelInfo, Window
from llmbench.adapters.ngram import ByteNgram
from llmbench.adapters.trivial import Compressor, UniformBytes
from llmbench.data.text import Document, Text
from llmbench.errors import ModelError
from llmbench.ledger import TOKEN, Ledger, count_words
from llmbench.tasks.likelihood import Likelihood


def outcome(adapter, text, **options):
    made = Likelihood(text, options.pop("window", Window())).run(adapter, lambda *said: None)
    return made, {row["metric"]: row for row in made.scores}


LONG = Text("t", (Document("one", "Some words of a long text.\n\n" * 600),))
SHORT = Text("t", tuple(Document(str(i), TEXT[i * 7 :]) for i in range(5)))


@pytest.mark.parametrize("text", [LONG, SHORT])
def test_uniform_bytes_in_every_unit(text):
    made, scores = outcome(UniformBytes(), text)
    words = sum(count_words(document.text) for document in text.documents)
    assert scores["bits_per_byte"]["value"] == 8.0
    assert scores["byte_perplexity"]["value"] == 256.0
    assert math.log2(scores["word_perplexity"]["value"]) == pytest.approx(8 * text.bytes / words)
    assert (
        sum(sample["statistics"]["bits_per_byte"][0] for sample in made.samples) == 8 * text.bytes
    )


def test_items_are_documents_or_at_least_thirty_blocks():
    assert outcome(UniformBytes(), SHORT)[1]["bits_per_byte"]["n"] == 5
    assert outcome(UniformBytes(), LONG)[1]["bits_per_byte"]["n"] >= 30


@pytest.mark.parametrize(
    "content", ["x" * 900 + " " + "y" * 9000 + " z" * 30, "\u6c49\u5b57" * 3000]
)
def test_words_that_blocks_cut_are_counted_once(content):
    text = Text("t", (Document("a", content),))
    value = outcome(UniformBytes(), text)[1]["word_perplexity"]["value"]
    exponent = 8 * text.bytes / count_words(content)
    assert value == (math.inf if exponent >= 1024 else pytest.approx(2**exponent))


def test_a_compressor_shares_the_words_of_the_others_and_has_no_blocks():
    scores = outcome(Compressor("zlib"), LONG)[1]
    assert scores["bits_per_byte"]["n"] == 1
    assert scores["bits_per_byte"]["low"] is None
    assert scores["bits_per_byte"]["charged"] == "code"
    assert math.log2(scores["word_perplexity"]["value"]) == pytest.approx(
        scores["bits_per_byte"]["value"] * LONG.bytes / 3600
    )


def test_signatures_follow_text_window_and_sample_and_nothing_else():
    base = Likelihood(SHORT, Window("half")).signature
    assert base == Likelihood(Text("other name", SHORT.documents), Window("half")).signature
    assert base != Likelihood(LONG, Window("half")).signature
    assert base != Likelihood(SHORT, Window("rolling")).signature
    assert base != Likelihood(SHORT.sample(2, 0), Window("half")).signature
    assert Likelihood(SHORT.sample(9, 0), Window("half")).signature == base


class Cheat(Adapter):
    """Ledgers made by hand."""

    info = ModelInfo("cheat", "", "", None, None, None, "cpu", "")

    def __init__(self, change):
        self.change = change

    def score(self, passages, window=Window()):
        return [self.change(passage) for passage in passages]


def charge(size, bits, start=0):
    return Ledger.build([start], [size], [bits], [TOKEN], bytes=size)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda p: charge(2 * len(p.text), 1.0), "bytes, the text has"),  # doubles the denominator
        (
            lambda p: Ledger(*map(_array, ([1], [len(p.text)], [1.0], [0])), bytes=len(p.text)),
            "breaks a rule",
        ),  # skips the first byte
        (
            lambda p: Ledger(*map(_array, ([0], [len(p.text)], [-5.0], [0])), bytes=len(p.text)),
            "bits are >= 0",
        ),  # not normalised
    ],
)
def test_ledgers_that_cheat_are_caught(change, complaint):
    with pytest.raises(ModelError, match=complaint):
        outcome(Cheat(change), SHORT)


def test_too_few_ledgers_are_caught():
    class Lazy(Cheat):
        def score(self, passages, window=Window()):
            return super().score(passages[:-1])

    with pytest.raises(ModelError, match="4 ledgers for 5 passages"):
        outcome(Lazy(lambda p: charge(len(p.text.encode()), 1.0)), SHORT)


def test_ids_of_items_are_those_of_the_documents_whatever_the_ledger_says():
    made, _ = outcome(Cheat(lambda p: charge(len(p.text.encode()), 1.0)), SHORT)
    assert [sample["id"] for sample in made.samples] == list("01234")
    assert outcome(Uniform(), SHORT)[1]["bits_per_byte"]["value"] == pytest.approx(8.0)


def _array(values):
    import numpy as np

    return np.array(values)


def rows_of(made, place):
    """Samples, and all rows of the charges file."""
    import pyarrow.parquet as pq

    made.charges.copy_to(place)
    return list(made.samples), pq.read_table(place).to_pydict()


@pytest.mark.parametrize("text", [LONG, SHORT], ids=["one document", "five"])
@pytest.mark.parametrize("kind", ["uniform", "n-gram", "words", "zlib"])
def test_a_long_document_in_pieces_costs_what_it_costs_whole(tmp_path, monkeypatch, text, kind):
    class Words(Adapter):
        """Tokens of several bytes, some of them spelled."""

        info = ModelInfo("words", "", "", None, None, None, "cpu", "")

        def score(self, passages, window=Window()):
            for passage in passages:
                n = len(passage.text.encode())
                ends = [*range(5, n, 5), n]
                bits = [0.1 + 7.3 * (i % 11) for i in range(len(ends))]
                kinds = [i % 2 for i in range(len(ends))]
                yield Ledger.build([0, *ends[:-1]], ends, bits, kinds, n, passage.id)

    made = {
        "uniform": UniformBytes,
        "n-gram": lambda: ByteNgram([TEXT], order=3),
        "words": Words,
        "zlib": lambda: Compressor("zlib"),
    }
    whole, _ = outcome(made[kind](), text)
    for module in ("llmbench.ledger", "llmbench.adapters.trivial", "llmbench.adapters.ngram"):
        monkeypatch.setattr(f"{module}.PIECE", 50)
    monkeypatch.setattr("llmbench.tasks.passages.AT_ONCE", 2)
    pieces, _ = outcome(made[kind](), text)
    assert pieces.scores == whole.scores
    assert rows_of(pieces, tmp_path / "b") == rows_of(whole, tmp_path / "a")


def test_a_model_that_fails_halfway_leaves_no_file(tmp_path):
    task = Likelihood(SHORT, Window())
    task.scratch = tmp_path
    with pytest.raises(ModelError):
        task.run(Cheat(lambda p: charge(len(p.text.encode()) - 1, 1.0)), lambda *said: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [4, 6])
def test_portions_do_not_hide_a_wrong_number_of_ledgers(monkeypatch, count):
    class Some(Cheat):
        def score(self, passages, window=Window()):
            wanted = 2 if len(passages) == 2 else count - 4
            return [*super().score(passages), *super().score(passages)][:wanted]

    monkeypatch.setattr("llmbench.tasks.passages.AT_ONCE", 2)
    with pytest.raises(ModelError, match=f"score gave {count} ledgers for 5 passages"):
        outcome(Some(lambda p: charge(len(p.text.encode()), 1.0)), SHORT)
