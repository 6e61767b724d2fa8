"""Models in memory: wrapped, they give the numbers of the same model from files."""

from __future__ import annotations

import math

import pytest
import torch
from support import small_checkpoints
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
)

from llmbench import ModelError, Passage, Request, Unsupported, UsageError, Window
from llmbench.adapters.wrap import wrap

CLASSES = {
    "gpt2": AutoModelForCausalLM,
    "llama": AutoModelForCausalLM,
    "roberta": AutoModelForMaskedLM,
    "bart": AutoModelForSeq2SeqLM,
}
PASSAGES = [Passage(text) for text in small_checkpoints.TEXTS]
PAIRS = [Passage(text, context="A kettle.") for text in ("The new tap came.", "", "k")]


def load(folder):
    """The model and the tokenizer as a user has them in a notebook."""
    kind = CLASSES[folder.name]
    return kind.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def bits(adapter):
    """Every charge of the texts, in order."""
    if adapter.info.family in ("bert", "roberta"):
        ledgers = adapter.pseudo_score(PASSAGES)
    else:
        ledgers = adapter.score(PAIRS if adapter.info.family == "bart" else PASSAGES)
    return [float(b) for ledger in ledgers for b in ledger.bits]


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_transformers_model_scores_as_its_checkpoint_does(name, folders, models):
    model, tokenizer = load(folders[name])
    assert bits(wrap(model, tokenizer)) == pytest.approx(bits(models[name]), abs=1e-9)


def test_a_transformers_model_generates_as_its_checkpoint_does(folders, models):
    asked = [Request("The kettle", max_tokens=12), Request("No", max_tokens=5, temperature=1.0)]
    wrapped = wrap(*load(folders["gpt2"]), name="mine")
    said = [[chunk.text for chunk in one.generate(asked)] for one in (wrapped, models["gpt2"])]
    assert said[0] == said[1]
    assert wrapped.info.name == "mine"
    assert wrapped.info.context == models["gpt2"].info.context


def test_wrapping_leaves_the_model_as_it_was_and_sees_its_training(folders):
    model, tokenizer = load(folders["gpt2"])
    model.train()
    classes = [type(module) for module in model.modules()]
    wrapped = wrap(model, tokenizer)
    before, mark = bits(wrapped), wrapped.info.fingerprint
    assert model.training
    assert [type(module) for module in model.modules()] == classes
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert bits(wrapped) == before
    with torch.no_grad():
        model.transformer.wte.weight.mul_(3.0)
    assert bits(wrapped) != before
    assert wrapped.info.fingerprint != mark


class Tiny(nn.Module):
    """Bytes, untrained; dropout, so that its mode matters."""

    def __init__(self, symbols=257, width=8):
        super().__init__()
        self.embedding, self.drop = nn.Embedding(symbols, width), nn.Dropout(0.5)
        self.out = nn.Linear(width, symbols)

    def forward(self, ids):
        return self.out(self.drop(self.embedding(ids)))


def by_hand(model, ids):
    """Bits of all ids but the first."""
    logs = torch.log_softmax(model.eval()(torch.tensor([ids]))[0].double(), -1)
    return [-logs[t, ids[t + 1]].item() / math.log(2) for t in range(len(ids) - 1)]


def test_a_module_on_bytes_is_scored_in_evaluation_mode():
    model = Tiny()
    wrapped = wrap(model, "bytes", bos_ids=[256], context=8)
    [ledger] = wrapped.score([Passage("Tapö")], Window())
    assert model.training
    want = by_hand(model, [256, *"Tapö".encode()])
    assert ledger.bits == pytest.approx(want, abs=1e-5)
    assert (wrapped.info.name, wrapped.info.context, wrapped.info.tokenizer) == ("Tiny", 8, "bytes")


def test_characters_by_a_pair_of_functions():
    letters = sorted("Tap dripped.")
    wrapped = wrap(
        Tiny(len(letters)),
        (
            lambda text: [letters.index(c) for c in text],
            lambda ids: "".join(letters[i] for i in ids),
        ),
        bos_ids=[0],
    )
    [ledger] = wrapped.score([Passage("Tap")])
    assert ledger.bytes == len(ledger.bits) == 3
    said = "".join(chunk.text for chunk in wrapped.generate([Request("Tap", max_tokens=4)]))
    assert len(said) == 4
    with pytest.raises(Unsupported, match="cannot encode this text: ValueError"):
        list(wrapped.score([Passage("Kettle")]))


def test_the_tokenizers_of_libraries_are_taken(folders):
    fast = AutoTokenizer.from_pretrained(folders["gpt2"])
    whole = wrap(Tiny(400), fast).score([Passage("The kettle ö")])
    plain = wrap(Tiny(400), fast.backend_tokenizer, bos_ids=[0]).score([Passage("The kettle ö")])
    [a], [b] = whole, plain
    assert list(a.end) == list(b.end)

    class LikeTiktoken:
        def encode_ordinary(self, text):
            return fast(text)["input_ids"]

        def decode_bytes(self, ids):
            return wrapped_bytes.decode(ids)

    wrapped_bytes = wrap(Tiny(400), fast)
    [c] = wrap(Tiny(400), LikeTiktoken(), bos_ids=[0]).score([Passage("The kettle ö")])
    assert list(c.end) == list(a.end)


def test_a_tokenizer_that_splits_characters_needs_bytes():
    fields = (lambda text: list(text.encode()), lambda ids: bytes(ids).decode(errors="replace"))
    with pytest.raises(Unsupported, match="give a `decode` that returns bytes"):
        list(wrap(Tiny(), fields, bos_ids=[256]).score([Passage("ö")]))


def test_a_wrapped_model_shows_itself_in_one_line(folders):
    tiny = Tiny()
    size = sum(parameter.numel() for parameter in tiny.parameters())
    assert repr(wrap(tiny, "bytes", bos_ids=[256], name="mine")) == (
        f"<WrappedModule 'mine': {size:,} parameters, tokenizer bytes>"
    )
    model = AutoModelForCausalLM.from_pretrained(folders["gpt2"])
    shown = repr(wrap(model, AutoTokenizer.from_pretrained(folders["gpt2"]), name="small"))
    assert (
        shown
        == f"<WrappedCausalLM 'small': {model.num_parameters():,} parameters, tokenizer bytes>"
    )


class Pair(Tiny):
    def forward(self, ids):
        return super().forward(ids), None


class Last(Tiny):
    def forward(self, ids):
        return super().forward(ids)[:, -1]


class Positions(Tiny):
    def __init__(self):
        super().__init__()
        self.places = nn.Embedding(6, 8)

    def forward(self, ids):
        places = self.places(torch.arange(ids.shape[1]))
        return self.out(self.embedding(ids) + places)


@pytest.mark.parametrize(
    ("model", "tokenizer", "given", "words"),
    [
        (Tiny(), "bytes", {}, "`bos_ids` is missing"),
        (Pair(), "bytes", {"bos_ids": [256]}, "it gave tuple"),
        (Last(), "bytes", {"bos_ids": [256]}, r"for ids \(2, 4\) it gave \(2, 257\)"),
        (Tiny(), 7, {"bos_ids": [256]}, "cannot use int as a tokenizer"),
        ("gpt2", "bytes", {}, "expected a torch module, got str"),
    ],
)
def test_what_cannot_be_wrapped_is_a_usage_error(model, tokenizer, given, words):
    with pytest.raises(UsageError, match=words):
        wrap(model, tokenizer, **given)


def test_a_context_that_is_missing_is_named():
    wrapped = wrap(Positions(), "bytes", bos_ids=[256])
    with pytest.raises(ModelError, match=r"wrap\(\.\.\., context=N\)"):
        list(wrapped.score([Passage("long enough")]))
    [ledger] = wrap(Positions(), "bytes", bos_ids=[256], context=6).score([Passage("long enough")])
    assert len(ledger.bits) == 11
