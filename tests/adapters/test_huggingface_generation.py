"""Checkpoints of every kind speak: alone and in a batch, within and beyond their context."""

from __future__ import annotations

import pytest
import torch
from support.small_checkpoints import said

from llmbench.adapter import Request

# Generation
# --------------------------------------------------------------------------------------------------


PROMPTS = (
    "The kettle",
    "It",
    "An unbelievable kettle, thought the tap, and dripped; dripping",
    "",
    "7 o'clock",
)


@pytest.mark.parametrize("name", ["gpt2", "llama", "t5", "bart"])
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_answers_do_not_depend_on_the_batch(models, name, temperature):
    prompts = PROMPTS if name in ("gpt2", "llama") else [prompt or "x" for prompt in PROMPTS]
    requests = [
        Request(prompt, max_tokens=45, temperature=temperature, seed=i)
        for i, prompt in enumerate(prompts)
    ]  # beyond any of their contexts
    together = said(models[name], requests)
    assert together == [said(models[name], [request])[0] for request in requests]
    assert together == said(models[name], requests[::-1])[::-1]


def test_an_encoder_decoder_ends_where_its_positions_do_and_reads_the_beginning_of_a_long_source(
    models,
):
    model = models["bart"]
    answers = list(
        model.generate(
            [Request("The kettle said nothing. " * 20, max_tokens=200, seed=3, temperature=2.0)]
        )
    )
    assert answers[-1].finish in ("stop", "length")
    assert answers[-1].tokens <= model.context


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_padding_and_cache_were_proven_and_are_used(models, name):
    model = models[name]
    assert model.caches
    assert model.supports_padding


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_greedy_text_is_that_of_transformers_own_generate(models, name):
    model = models[name]
    ids = [*model.bos_ids, *model.encode("The kettle").ids.tolist()]
    own = model.model.generate(
        torch.tensor([ids]), max_new_tokens=12, do_sample=False, pad_token_id=0
    )[0, len(ids) :].tolist()
    own = own[: own.index(model.eos_ids[0])] if model.eos_ids[0] in own else own
    assert said(model, [Request("The kettle", max_tokens=12)])[0] == model.decode(own).decode(
        errors="replace"
    )


def test_generation_goes_on_when_the_context_is_full(models):
    request = Request(
        "The kettle",
        forced_text="It had said nothing since Tuesday, which was the day the new tap came. " * 3,
    )
    assert (
        "".join(chunk.text for chunk in models["gpt2"].generate([request])) == request.forced_text
    )
    assert len(said(models["llama"], [Request("The", max_tokens=70)])[0]) > 0


def test_a_prompt_longer_than_the_context_is_read_from_its_end(models):
    model = models["gpt2"]
    prompt = "It had said nothing since Tuesday. " * 10
    ids = model.encode(prompt).ids.tolist()[-model.context :]
    with torch.inference_mode():
        want = int(model.logits(torch.tensor([ids]))[0, -1].argmax())
    assert said(model, [Request(prompt, max_tokens=1)])[0] == model.decode([want]).decode(
        errors="replace"
    )


def test_without_padding_prompts_of_one_length_run_together(models, monkeypatch):
    model = models["gpt2"]
    requests = [Request(prompt, max_tokens=6) for prompt in PROMPTS]
    padded = said(model, requests)
    monkeypatch.setitem(vars(model), "supports_padding", False)
    assert said(model, requests) == padded


def test_without_a_cache_the_text_is_the_same(models, monkeypatch):
    model = models["gpt2"]
    requests = [
        Request(prompt, max_tokens=6) for prompt in PROMPTS if len(prompt) < 15
    ]  # a full context is gone on with in different ways
    cached = said(model, requests)
    monkeypatch.setitem(vars(model), "caches", False)
    monkeypatch.setitem(vars(model), "supports_padding", False)
    assert said(model, requests) == cached
