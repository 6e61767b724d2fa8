from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from support.toys import NETWORKS, ByteModel, network

from llmbench.adapter import Request
from llmbench.errors import ModelError, UsageError
from llmbench.inference.sampling import sample


def say(model, *requests):
    texts, finishes, tokens = [""] * len(requests), [None] * len(requests), [0] * len(requests)
    for chunk in model.generate(list(requests)):
        assert finishes[chunk.row] is None, "a chunk after the last one"
        texts[chunk.row] += chunk.text
        finishes[chunk.row], tokens[chunk.row] = chunk.finish, chunk.tokens
    return texts, finishes, tokens


class Script(ByteModel):
    """Says its script, whatever the prompt, one byte after another."""

    def __init__(self, script: bytes, prompt_length: int = 0):
        self.script, self.begin = script, prompt_length + 1

    def logits(self, ids):
        at = torch.arange(ids.shape[1]) + 1 - self.begin
        script = torch.tensor([*self.script])
        logits = torch.full((*ids.shape, 256), -50.0)
        logits[:, torch.arange(ids.shape[1]), script[at.clamp(0) % len(script)]] = 0.0
        return logits


@pytest.mark.parametrize("name", NETWORKS)
def test_cached_generation_equals_recomputing_everything(name):
    model = network(name)
    plain = type(model)(model.network, model.vocabulary)
    base = type(
        "Recomputing",
        (type(model),),
        {"step": lambda self, s, i: super(type(model), self).step(s, i)},
    )
    slow = base(model.network, model.vocabulary)
    slow.prefill = lambda ids: (ids, slow._last(ids))
    limit = (
        10 if model.context else 40
    )  # beyond its context a cache and a sliding window differ by design
    fast_text = say(plain, Request("The ", max_tokens=limit, temperature=0.7, seed=3))[0]
    slow.step = lambda state, ids: ((line := torch.cat([state, ids[:, None]], 1)), slow._last(line))
    assert fast_text == say(slow, Request("The ", max_tokens=limit, temperature=0.7, seed=3))[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_one_by_one_equals_in_a_batch(name):
    model = network(name)
    requests = [
        Request(prompt, max_bytes=50, temperature=0.9, seed=i)
        for i, prompt in enumerate(["The kettle", "", "It had said", "A", "tea"])
    ]
    together = say(model, *requests)[0]
    assert together == [say(model, request)[0][0] for request in requests]
    assert len(set(together)) > 1


def test_a_long_answer_goes_on_beyond_the_context():
    texts, finishes, tokens = say(
        network("windowed"),
        Request("The kettle said nothing at all", max_tokens=70, temperature=0.8),
    )
    assert finishes == ["length"]
    assert tokens == [70]
    assert len(texts[0]) == 70


def test_seeds_decide_and_greedy_needs_none():
    model = network("lstm")
    a, b, c = (
        say(model, Request("T", max_bytes=40, temperature=1.0, seed=seed))[0] for seed in (1, 1, 2)
    )
    assert a == b != c
    greedy = [say(model, Request("T", max_bytes=40, seed=seed))[0] for seed in (1, 2)]
    assert greedy[0] == greedy[1]


def test_of_a_long_prompt_no_more_than_its_last_tokens_are_read():
    model = network("lstm")
    whole, end = "The kettle said nothing", "nothing"
    said = say(model, Request(whole, max_tokens=8, add_bos=False, prompt_tokens=len(end)))
    assert said == say(model, Request(end, max_tokens=8, add_bos=False))
    assert said != say(model, Request(whole, max_tokens=8, add_bos=False))


def test_stop_strings_end_the_text_before_them_even_across_chunks():
    model = Script(b"tea for two, and two for tea")
    assert say(model, Request("", max_tokens=50, stop=("two, and",)))[:2] == (
        ["tea for "],
        ["stop"],
    )
    assert say(model, Request("", max_tokens=50, stop=("zzz", "for")))[:2] == (["tea "], ["stop"])
    texts, finishes, _ = say(model, Request("", max_tokens=9, stop=("two, and",)))
    assert texts == ["tea for t"], "what only began like a stop string is given in the end"
    assert finishes == ["length"]


def test_bytes_are_limited_at_a_character():
    model = Script("ab\N{SNOWMAN}cd".encode())
    texts, finishes, _ = say(model, Request("", max_bytes=4))
    assert texts == ["ab"]
    assert finishes == ["length"]
    assert say(model, Request("", max_bytes=5))[0] == ["ab\N{SNOWMAN}"]


def test_no_chunk_holds_half_a_character():
    chunks = [
        chunk.text
        for chunk in Script("\N{SNOWMAN}\N{SNOWMAN}".encode()).generate([Request("", max_tokens=6)])
    ]
    assert "".join(chunks) == "\N{SNOWMAN}\N{SNOWMAN}"
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(chunks)


def test_a_model_that_only_says_nothing_still_ends():
    class Mute(ByteModel):
        def logits(self, ids):
            logits = torch.full((*ids.shape, 257), -50.0)
            logits[..., 256] = 0.0  # an id without bytes
            return logits

    texts, finishes, _ = say(Mute(), Request("", max_bytes=10))
    assert texts == [""]
    assert finishes == ["length"]


def test_end_symbols_stop():
    model = Script(b"hi\x00never")
    model.eos_ids = (0,)
    assert say(model, Request("", max_tokens=20))[:2] == (["hi"], ["stop"])


def test_forced_text_is_fed_and_never_sampled():
    texts, finishes, tokens = say(Script(b"x"), Request("", forced_text="given text"))
    assert texts == ["given text"]
    assert finishes == ["length"]
    assert tokens == [10]


def test_the_unknown_word_is_never_said():
    model = network("word-ffn")
    assert model.unknown is not None
    with torch.no_grad():
        model.network.bias[model.unknown] = 100.0
    text = say(model, Request("The", max_tokens=30, temperature=1.0))[0][0]
    assert text


def test_sampling_follows_temperature_top_k_and_top_p():
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05]))

    def counts(**settings):
        rng, request = np.random.default_rng(0), Request("", max_tokens=1, **settings)
        return np.bincount([sample(logits, request, rng) for _ in range(4000)], minlength=4)

    assert stats.chisquare(counts(temperature=1.0), 4000 * np.exp(logits)).pvalue > 0.001
    sharp = np.exp(logits / 0.5)
    assert stats.chisquare(counts(temperature=0.5), 4000 * sharp / sharp.sum()).pvalue > 0.001
    assert (counts(temperature=1.0, top_k=2) > 0).tolist() == [True, True, False, False]
    assert (counts(temperature=1.0, top_p=0.79) > 0).tolist() == [True, True, False, False]
    assert (counts(temperature=1.0, top_p=0.4) > 0).tolist() == [True, False, False, False]
    assert sample(logits, Request("", max_tokens=1), np.random.default_rng(0)) == 0


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"max_bytes": 1, "temperature": -1},
        {"max_bytes": 1, "top_k": 0},
        {"max_bytes": 1, "top_p": 1.5},
        {"max_bytes": 1, "stop": ("a", "")},
    ],
)
def test_requests_that_make_no_sense_are_refused(settings):
    with pytest.raises(UsageError):
        Request("", **settings)


def test_nan_while_generating_is_named():
    class Bad(ByteModel):
        def logits(self, ids):
            return torch.full((*ids.shape, 256), math.nan)

    with pytest.raises(ModelError, match="NaN"):
        say(Bad(), Request("", max_bytes=3))


def test_a_text_that_ends_the_prompt_s_last_word_is_written_on_its_own():
    prompt, more = "the unheardof", "ness"
    for name in ("word-ffn", "char-ffn"):
        texts, _, tokens = say(network(name), Request(prompt, forced_text=more))
        assert texts == [more]
        assert tokens[0] > 0
