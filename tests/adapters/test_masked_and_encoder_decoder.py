"""Checkpoints that see both sides, and those that read a source: pseudo-bits and conditional bits
against plain loops.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support.small_checkpoints import TEXTS, passages

from llmbench.adapter import Passage
from llmbench.errors import OutOfMemory, Unsupported
from llmbench.ledger import END, PSEUDO

# Masked
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_pseudo_bits_are_those_of_masking_each_token_and_the_rest_of_its_word(models, name):
    model = models[name]
    text = "the unbelievable kettle"
    tokens, words = model.encode(text), model.words(text)
    want = []
    for t, id in enumerate(tokens.ids):
        line = [
            model.mask if u >= t and words[u] == words[t] else int(other)
            for u, other in enumerate(tokens.ids)
        ]
        ids = torch.tensor([[*model.before, *line, *model.after]])
        with torch.inference_mode():
            logits = model.model(input_ids=ids).logits[0, len(model.before) + t].double()
        want.append(-torch.log_softmax(logits, 0)[id].item() / math.log(2))
    ledger = next(iter(model.pseudo_score([Passage(text)])))
    assert np.allclose(ledger.bits, want, rtol=1e-4)
    assert set(ledger.kind.tolist()) == {PSEUDO}
    assert ledger.total() == 0.0
    assert ledger.bytes_charged == len(text)


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_pseudo_bits_do_not_change_with_what_else_is_scored(models, name):
    texts = [text for text in TEXTS if text]
    together = [ledger.total(PSEUDO) for ledger in models[name].pseudo_score(passages(texts))]
    assert together == pytest.approx(
        [next(iter(models[name].pseudo_score([Passage(text)]))).total(PSEUDO) for text in texts],
        rel=1e-4,
    )


def test_a_sample_of_positions_is_seeded_and_a_part_of_the_whole(models):
    model = models["roberta"]
    every = {
        (i, at): bits
        for i, led in enumerate(model.pseudo_score(passages()))
        for at, bits in zip(led.start, led.bits, strict=True)
    }
    some = {
        (i, at): bits
        for i, led in enumerate(model.pseudo_score(passages(), 12, seed=3))
        for at, bits in zip(led.start, led.bits, strict=True)
    }
    assert len(some) == 12
    assert all(every[key] == pytest.approx(bits, rel=1e-4) for key, bits in some.items())
    again, other = (
        [led.total(PSEUDO) for led in model.pseudo_score(passages(), 12, seed=s)] for s in (3, 4)
    )
    assert again == pytest.approx(
        [led.total(PSEUDO) for led in model.pseudo_score(passages(), 12, seed=3)]
    )
    assert again != pytest.approx(other)


def test_robertas_positions_begin_behind_its_padding(models):
    assert models["roberta"].context == 24
    assert models["bert"].context == 24


def test_a_masked_model_scores_nothing_and_a_causal_one_fills_no_gaps(models):
    with pytest.raises(Unsupported, match="does not score"):
        list(models["bert"].score(passages()))
    with pytest.raises(Unsupported, match="does not fill gaps"):
        list(models["gpt2"].pseudo_score(passages()))


# Encoder-decoder
# --------------------------------------------------------------------------------------------------

PAIRS = (
    ("the new tap", "the kettle"),
    ("k", "an unbelievable kettle said nothing"),
    ("the day the new tap came", "no"),
)


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_conditional_bits_are_those_of_the_models_own_loss(models, name):
    model = models[name]
    asked = [Passage(target, context=source, id=source, score_eos=True) for source, target in PAIRS]
    for passage, ledger in zip(asked, model.score(asked), strict=True):
        ids = [*model.bos_ids[1:], *model.encode(passage.text).ids.tolist(), model.eos_ids[0]]
        source = torch.tensor([model.encode_source(passage.context)])
        with torch.inference_mode():
            logits = model.model(input_ids=source, labels=torch.tensor([ids])).logits[0].double()
        each = -torch.log_softmax(logits, 1)[torch.arange(len(ids)), torch.tensor(ids)] / math.log(
            2
        )
        want = each[len(model.bos_ids) - 1 :]
        assert np.allclose(ledger.bits, want.numpy(), rtol=1e-4)
        assert ledger.total() + ledger.total(END) == pytest.approx(want.sum().item(), rel=1e-5)


def test_an_encoder_decoder_needs_a_source(models):
    with pytest.raises(Unsupported, match="needs a source"):
        list(models["t5"].score(passages()))


def test_a_pair_longer_than_the_context_is_said_to_be(models):
    with pytest.raises(
        Unsupported, match=r"the source of 'long' has \d+ tokens, and the model reads 40"
    ):
        list(
            models["bart"].score(
                [
                    Passage(
                        "no",
                        context="dripping was the tap's way of thinking aloud " * 9,
                        id="long",
                        score_eos=True,
                    )
                ]
            )
        )


def test_a_target_that_the_tokenizer_loses_is_refused(models):
    with pytest.raises(Unsupported, match="lossy tokenizer"):
        list(models["t5"].score([Passage("日本語", context="the tap", score_eos=True)]))


@pytest.mark.parametrize("name", ["bert", "t5"])
def test_passes_that_find_no_memory_are_halved_and_give_the_same(models, name, monkeypatch):
    model = models[name]
    asked = [
        Passage(text, context="the kettle" if name == "t5" else "")
        for text in ("the tap", "a kettle", "the kettle said nothing", "tap")
    ]
    score, forward, sizes = model.score if name == "t5" else model.pseudo_score, model._forward, []
    want = [ledger.bits for ledger in score(asked)]

    def short_of_memory(*arguments, most=2):
        jobs = arguments[-1]
        if len(jobs) > most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        sizes.append(len(jobs))
        return forward(*arguments)

    monkeypatch.setattr(model, "_forward", short_of_memory)
    for found, expected in zip([ledger.bits for ledger in score(asked)], want, strict=True):
        assert found == pytest.approx(expected, rel=1e-4)
    assert max(sizes) == 2
    monkeypatch.setattr(model, "_forward", lambda *arguments: short_of_memory(*arguments, most=0))
    with pytest.raises(OutOfMemory, match=r"no memory for one (pair|window) of .* ids"):
        list(score(asked))
