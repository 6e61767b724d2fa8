"""lm-eval's protocol for WikiText: what is charged, and what it is divided by."""

from __future__ import annotations

import hashlib
import math

import pytest
from conftest import real

from llmbench.adapter import Window
from llmbench.adapters.trivial import Compressor, UniformBytes
from llmbench.data.text import Document, Text
from llmbench.tasks.likelihood import Likelihood
from llmbench.tasks.wikitext_lm_eval import WikitextLmEval, count_pieces, detokenise

PAGE = """\
 = Homarus gammarus =\x20
\x20
 It may grow to 60 cm ( 24 in ) and 6 @.@ 5 kilograms , at " 20 \u00b0 C " .\x20
 = = Life cycle = =\x20
 Its claws ' size : 1 @,@ 000 well @-@ known ones .\x20
"""
PLAIN = """\
 = Homarus gammarus =

It may grow to 60 cm (24 in) and 6.5 kilograms, at "20\u00b0C".
== Life cycle ==
Its claws' size: 1,000 well-known ones.
"""


def outcome(text, adapter):
    made = WikitextLmEval(text).run(adapter, lambda *said: None)
    return made, {row["metric"]: row for row in made.scores}


def test_a_page_is_detokenised():
    assert detokenise(PAGE) == PLAIN


@pytest.mark.parametrize(
    ("tokenised", "plain"),
    [
        ("Sullivan 's Island", "Sullivan's Island"),
        ("the boys ' school", "the boys' school"),
        ("she said ' no ' twice", "she said 'no' twice"),
        ("a [ sic ] { b } (  )", "a [sic] {b} ()"),
        ("wait ! what ? yes ; no", "wait! what? yes; no"),
        ("at the end .", "at the end ."),  # a sign is closed up only where a space follows it too
        (" = = = = Deep = = = = ", " ==== Deep ==== "),
        ("about N people", "about 1 people"),
        ("in /' 9/ and", "in /'[0-9]/ and"),
        ("( over\n two lines )", "(over\ntwo lines)"),
        ("\u00e9 \u00a0(\u2003x )", "\u00e9 \u00a0(x)"),
        ("", ""),
        (" ", " "),
    ],
)
def test_each_rule(tokenised, plain):
    assert detokenise(tokenised) == plain


def test_all_of_the_validation_text_is_detokenised_as_by_the_reference():
    """The hash is that of lm-eval 0.4.13's own function on the same file, whole."""
    text = real("wikitext2-valid/valid.txt").read_bytes().decode()
    plain = detokenise(text).encode()
    assert len(plain) == 1_078_379
    assert (
        hashlib.sha256(plain).hexdigest()
        == "690623f8b014db8936214a63f29caee6503f4b9a21f0e883957c278868a9be34"
    )
    assert count_pieces(text) == 213_888


def test_pieces_are_counted_as_the_reference_counts_them():
    assert count_pieces(" two words \n") == 4  # an empty piece at either edge
    assert count_pieces("two words") == 2
    assert count_pieces("") == 1


def test_bits_of_the_plain_text_are_divided_by_the_original():
    text = Text("t", (Document("a", PAGE), Document("b", PAGE * 2), Document("c", "no space")))
    made, scores = outcome(text, UniformBytes())
    assert set(scores) == {"word_perplexity", "byte_perplexity", "bits_per_byte"}
    plain, whole = (sum(len(f(d.text).encode()) for d in text.documents) for f in (detokenise, str))
    assert [ledger.bytes for ledger in made.ledgers] == [
        len(detokenise(d.text).encode()) for d in text.documents
    ]
    assert scores["bits_per_byte"]["value"] == pytest.approx(8 * plain / whole)
    assert scores["byte_perplexity"]["value"] == pytest.approx(2 ** (8 * plain / whole))
    pieces = sum(count_pieces(d.text) for d in text.documents)
    assert math.log2(scores["word_perplexity"]["value"]) == pytest.approx(8 * plain / pieces)
    assert scores["bits_per_byte"]["n"] == 3
    assert (
        scores["bits_per_byte"]["low"]
        < scores["bits_per_byte"]["value"]
        < scores["bits_per_byte"]["high"]
    )
    assert [sample["bytes"] for sample in made.samples] == [
        len(d.text.encode()) for d in text.documents
    ]


def test_gpt2s_published_figures_are_one_number():
    """word perplexity 37.3698, byte perplexity 1.9682, bits per byte 0.9769: the same bits over
    words and over bytes.
    """
    assert math.log2(1.9682) == pytest.approx(0.9769, abs=5e-5)
    assert math.log2(37.3698) / 0.9769 == pytest.approx(
        5.347, abs=5e-4
    )  # bytes a word of the original test pages


def test_nothing_is_shared_with_the_likelihood_task():
    text = Text("t", (Document("a", PAGE), Document("b", PAGE)))
    signatures = {row["signature"] for row in outcome(text, UniformBytes())[0].scores}
    assert all("protocol=wikitext-lm-eval/1;" in signature for signature in signatures)
    assert not signatures & {
        Likelihood(text, Window(rule)).signature for rule in ("half", "rolling")
    }


def test_a_compressor_is_marked_as_one():
    made, scores = outcome(Text("t", (Document("a", PAGE), Document("b", PAGE))), Compressor("bz2"))
    assert scores["bits_per_byte"]["charged"] == "code"
    assert len(made.samples) == 2


@pytest.mark.slow
def test_numbers_of_lm_eval_itself_for_the_same_model_and_pages(tmp_path):
    """Six pages and a GPT-2-shaped checkpoint; lm-eval 0.4.13, its own task `wikitext` on a JSON
    file with these pages, float32.
    """
    from support import checkpoints

    from llmbench.adapter import BuildContext
    from llmbench.data import loading
    from llmbench.plan import suite
    from llmbench.plan.resolved_model import make_adapter, resolve_model

    folder = checkpoints.gpt2_shape(tmp_path, real("gpt2-tokenizer"))
    split = suite.read("wikitext2").file.texts["test"].split.model_dump(exclude_none=True)
    pages = loading.load("test", real("wikitext2-valid/valid.txt"), split).documents[20:26]
    adapter = make_adapter(resolve_model(f"hf:{folder}"), BuildContext())
    _, scores = outcome(Text("t", pages), adapter)
    assert scores["bits_per_byte"]["value"] == pytest.approx(3.710716024819869, rel=1e-6)
    assert scores["byte_perplexity"]["value"] == pytest.approx(13.092929484131554, rel=1e-6)
    assert scores["word_perplexity"]["value"] == pytest.approx(697261.3988343925, rel=1e-5)
