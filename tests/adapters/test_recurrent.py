"""RWKV and Mamba carry their state past the length in their config."""

from __future__ import annotations

import math

import pytest
import torch
import transformers
from support.checkpoints import draw
from support.small_checkpoints import END, byte_level, said
from transformers import (
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    PreTrainedTokenizerFast,
    RwkvConfig,
    RwkvForCausalLM,
)

import llmbench
from llmbench.adapter import Passage, Request
from llmbench.inference import scoring

TEXTS = ("The kettle said nothing. " * 12, "You might at least hum, said the tap.", "k")
CONTEXT = 16
# from 5.24 on, a second piece of Mamba 2 does not give what the whole does, which a trial finds
READS_MAMBA2 = tuple(map(int, transformers.__version__.split(".")[:2])) < (5, 24)


def rwkv(size):
    shape = {"hidden_size": 32, "attention_hidden_size": 32, "num_hidden_layers": 2}
    return RwkvForCausalLM(RwkvConfig(vocab_size=size, context_length=CONTEXT, **shape))


def mamba(size):
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}
    return MambaForCausalLM(MambaConfig(vocab_size=size, **shape))


def mamba2(size):
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "state_size": 4}
    heads = {"num_heads": 8, "head_dim": 8, "n_groups": 1}
    return Mamba2ForCausalLM(Mamba2Config(vocab_size=size, **shape, **heads))


@pytest.fixture(scope="module")
def tokenizer():
    return PreTrainedTokenizerFast(tokenizer_object=byte_level(), bos_token=END, eos_token=END)


@pytest.mark.parametrize(("make", "pieces"), [(rwkv, True), (mamba, False), (mamba2, READS_MAMBA2)])
def test_a_document_is_read_whole_by_its_state(tokenizer, make, pieces):
    network = make(len(tokenizer)).eval()
    draw(network, 0.3, 0)
    model = llmbench.wrap(network, tokenizer)
    assert model.info.context is None
    assert model.is_stateful is pieces
    budget = 64 * len(TEXTS)  # ids in one pass: the first text is read in several pieces
    for text, ledger in zip(
        TEXTS, scoring.score(model, [Passage(text) for text in TEXTS], budget=budget), strict=True
    ):
        ids = torch.tensor([[0, *tokenizer(text)["input_ids"]]])
        nats = network(ids, labels=ids).loss.item() * (ids.shape[1] - 1)
        assert ledger.total() == pytest.approx(nats / math.log(2), rel=1e-5)
    assert len(tokenizer(TEXTS[0])["input_ids"]) > 2 * CONTEXT


def test_what_it_says_is_what_plain_passes_say(tokenizer):
    network = rwkv(len(tokenizer)).eval()
    draw(network, 0.3, 0)
    model = llmbench.wrap(network, tokenizer)
    assert model.caches
    prompts = ["The tap", "The tap", "It had said"]
    answers = said(model, [Request(prompt, max_tokens=20) for prompt in prompts])
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = [0, *tokenizer(prompt)["input_ids"]]
        begin = len(ids)
        with torch.inference_mode():
            for _ in range(20):
                ids.append(int(network(torch.tensor([ids])).logits[0, -1].argmax()))
        assert answer == model.decode(ids[begin:]).decode(errors="replace")
