"""Spans of pretrained tokenizers: exact to the byte, or known to be lossy."""

from __future__ import annotations

import json

import pytest
from conftest import real
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import small_checkpoints
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, BertTokenizer, GPT2Tokenizer, PreTrainedTokenizerFast

from llmbench.models.tokenizers import byte_offsets
from llmbench.models.tokenizers.byte_offsets import ByteTokenizer, _exact, byte_alphabet

TORTURE = (
    "Once upon <s> a time\n\nthe 😀 end▁x  yy",
    " leading and trailing  ",
    "",
    "\n",
    " ",
    "▁",
    " ▁ ▁",
    "e\u0301 \u0301 ﬁ ß İ",
    "one\r\ntwo\r three\ttab",
    "\ufeffbom and \x00 nul",
    "<|endoftext|> </s> <unk> [MASK] <0x0A>",
    "日本語 한국어 \U0001f468\u200d\U0001f469\u200d\U0001f467",
)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    place = tmp_path_factory.mktemp("tokenizers")
    return {
        name: ByteTokenizer(AutoTokenizer.from_pretrained(make(place / name)))
        for name, make in small_checkpoints.MAKERS.items()
    }


def tiles(tokens, text):
    raw = text.encode()
    edges = [0, *tokens.end.tolist()]
    assert tokens.start.tolist() == edges[:-1]
    assert edges[-1] == len(raw) or not len(tokens.ids)
    return raw


@pytest.mark.parametrize("name", ["gpt2", "llama", "roberta", "bart"])
@pytest.mark.parametrize("text", TORTURE)
def test_byte_level_and_byte_fallback_account_for_every_byte(tokenizers, name, text):
    text_of = tokenizers[name]
    tokens = text_of.encode(text)
    raw = tiles(tokens, text)
    assert bool(tokens.loss) == (
        name == "llama" and "▁" in text
    )  # which SentencePiece writes like a space
    for id, start, end in zip(tokens.ids.tolist(), tokens.start, tokens.end, strict=True):
        piece = text_of.piece(id)
        assert raw[start:end] in (
            piece,
            piece.removeprefix(b" "),
            piece.replace(b" ", "▁".encode()),
            piece.replace(b" ", "▁".encode(), 1),
        )
    assert not set(tokens.ids.tolist()) & text_of.special


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.text(
        alphabet=st.one_of(
            st.sampled_from(" ▁\n\r\tthe"), st.characters(exclude_categories=["Cs"])
        ),
        max_size=24,
    )
)
def test_any_text_tiles_or_is_known_to_be_lossy(tokenizers, text):
    for name, text_of in tokenizers.items():
        tokens = text_of.encode(text)
        tiles(tokens, text)
        if name in ("gpt2", "llama", "roberta", "bart"):
            assert bool(tokens.loss) == (name == "llama" and "▁" in text)
        elif not tokens.loss:
            back = text_of.decode(tokens.ids.tolist()).decode().strip(" ")
            assert text_of.tokenizer.decode(tokens.ids.tolist()) == text or back == text.replace(
                "▁", " "
            ).strip(" ")


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(st.text(max_size=30) | st.sampled_from(TORTURE), max_size=8))
def test_texts_encoded_at_once_are_what_each_is_by_itself(tokenizers, texts):
    for tokenizer in tokenizers.values():
        for together, alone in zip(
            tokenizer.encode_all(texts), [tokenizer.encode(text) for text in texts], strict=True
        ):
            assert together.loss == alone.loss
            for field in ("ids", "start", "end", "spelling"):
                assert getattr(together, field).tolist() == getattr(alone, field).tolist()


def test_more_texts_than_are_encoded_at_once_keep_their_order(tokenizers, monkeypatch):
    monkeypatch.setattr(byte_offsets, "PORTION", 3)
    texts = [f"The {number}" for number in range(10)]
    found = tokenizers["llama"].encode_all(texts)
    assert [
        tokenizers["llama"].decode(tokens.ids.tolist()).decode().strip() for tokens in found
    ] == texts


def test_a_piece_that_is_not_in_the_text_is_not_walked_over():
    assert _exact([b"x", b"abc"], b"abc") is None
    assert _exact([b" ", b"abc"], b"abc").tolist() == [0, 3]
    assert _exact([b"ab", b"x"], b"ab") is None
    assert _exact([b" a", b" b"], "a▁b".encode()) == [1, 5]


def test_spans_cut_inside_a_character(tokenizers):
    tokens = tokenizers["gpt2"].encode("a😀b")
    assert tokens.end.tolist() == [1, 2, 3, 4, 5, 6]


def test_the_space_that_sentencepiece_puts_before_a_text_stands_for_nothing(tokenizers):
    assert tokenizers["llama"].opens == b" "
    assert tokenizers["llama"].encode("\n").end.tolist() == [0, 1]
    assert tokenizers["gpt2"].opens == b""


@pytest.mark.parametrize(
    ("text", "loss"),
    [
        ("the kettle", ""),
        ("The kettle", "byte 0"),
        ("the  kettle", "byte 4"),
        ("the kettle ", "byte 10"),
        ("the tap.", ""),
        ("the\nkettle", "byte 3"),
    ],
)
def test_a_lower_casing_wordpiece_tokenizer_loses_capitals_and_white_space(tokenizers, text, loss):
    assert tokenizers["bert"].encode(text).loss.startswith(loss)
    assert bool(tokenizers["bert"].encode(text).loss) == bool(loss)


def test_spans_of_a_lossy_tokenizer_tile_too(tokenizers):
    tokens = tokenizers["bert"].encode("  The \n kettle  ")
    assert tokens.end.tolist()[-1] == 16
    assert tokens.start.tolist()[0] == 0


def test_the_alphabet_of_bytes_has_256_letters():
    assert sorted(byte_alphabet().values()) == list(range(256))
    assert byte_alphabet()["\u0120"] == 0x20
    assert byte_alphabet()["A"] == 0x41


def test_gpt2s_own_tokenizer_on_a_page_of_wikitext():
    vocabulary = real("gpt2-tokenizer/vocab.json")
    text = real("wikitext2-valid/valid.txt").read_bytes()[:20_000].decode(errors="ignore")
    tokenizer = GPT2Tokenizer(vocab=str(vocabulary), merges=str(vocabulary.with_name("merges.txt")))
    found = ByteTokenizer(tokenizer)
    tokens = found.encode(text)
    assert tokens.ids.tolist() == tokenizer(text)["input_ids"]
    assert tokens.loss == ""
    assert found.decode(tokens.ids.tolist()) == text.encode()
    assert (
        json.loads(vocabulary.read_text(encoding="utf-8"))["Hello"] == found.encode("Hello").ids[0]
    )


def test_berts_own_vocabulary_is_lossy_on_prose_and_lossless_on_what_it_writes_itself():
    found = ByteTokenizer(BertTokenizer(vocab=str(real("bert-vocab/vocab.txt"))))
    assert found.alphabet == "wordpiece"
    assert found.encode("The unbelievable kettle, said Lily.").loss
    assert found.encode("an unbelievable kettle").loss == ""
    assert found.words("an unbelievable kettle").max() == 2


# A text that spells a special token
# -------------------------------------------------------------------------------------------------


def unigram(pieces):
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return ByteTokenizer(PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names))


@pytest.mark.parametrize("text", ["the </s> tap", "<s><unk> tap", "no </s></s>", "the tap"])
def test_a_unigram_model_cuts_special_tokens_as_sentencepiece(tmp_path, text):
    sentencepiece = pytest.importorskip("sentencepiece")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(small_checkpoints.LINES),
        model_prefix=str(tmp_path / "m"),
        vocab_size=340,
        hard_vocab_limit=False,
        normalization_rule_name="identity",
        byte_fallback=True,
        minloglevel=2,
    )
    model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "m.model"))
    pieces = [(model.id_to_piece(i), model.get_score(i)) for i in range(model.get_piece_size())]
    tokenizer = unigram(pieces)
    tokens = tokenizer.encode(text)
    assert tokens.ids.tolist() == model.encode(text)
    assert tokens.loss == ""
    assert tokenizer.encode_all([text])[0].ids.tolist() == tokens.ids.tolist()


def test_no_special_id_comes_from_a_text_whatever_the_model_of_the_tokenizer():
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("\u2581", -2.0)]
    pieces += [(letter, -3.0) for letter in "abs</>"]
    tokenizer = unigram(pieces)
    assert tokenizer.encode("a </s> b<s>").ids.tolist() == [3, 4, 3, 7, 8, 6, 9, 3, 5, 7, 6, 9]
    words = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1, "tap": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>", unk_token="<unk>")
    assert ByteTokenizer(fast)._encode("tap </s>")[0] == [2, 0]
