"""One number outside a run: a model that sees later tokens is refused before it gives any."""

from __future__ import annotations

import json

import pytest
from support import honest_tokenizers, saboteurs, zoo
from support.checkpoints import draw
from support.run_helpers import llmbench
from transformers import BertConfig, BertLMHeadModel, XLNetConfig, XLNetLMHeadModel

import llmbench as package
from llmbench.adapter import Request
from llmbench.errors import Unsupported
from llmbench.runner import screening
from llmbench.runner.screening import screen

TEXT = "The kettle said nothing."
SMALL = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 32}


def bert():
    """A BERT with a causal head that still reads both sides."""
    config = BertConfig(
        vocab_size=size(), intermediate_size=48, max_position_embeddings=64, **SMALL
    )
    return BertLMHeadModel(config)


def xlnet():
    return XLNetLMHeadModel(XLNetConfig(vocab_size=size(), d_model=32, n_layer=1, n_head=2))


def size():
    return len(honest_tokenizers.tokenizer_of("llama3"))


@pytest.mark.parametrize("make", [bert, xlnet])
def test_an_object_that_sees_both_sides_is_refused(make):
    model = make()
    draw(model, 0.3, 0)
    adapter = package.wrap(model, honest_tokenizers.tokenizer_of("llama3"))
    with pytest.raises(Unsupported, match=r"causality failed.*sees what it is to predict"):
        package.score(adapter, text=TEXT)


def test_a_leak_blind_to_order_is_refused():
    with pytest.raises(Unsupported, match="causality failed"):
        package.score(saboteurs.CountsWhatComes(), text=TEXT)


def test_a_start_symbol_given_twice_is_refused():
    with pytest.raises(Unsupported, match="single-bos failed"):
        package.score(saboteurs.AddsTheStart(), text=TEXT)


@pytest.mark.slow
def test_score_and_generate_refuse_a_checkpoint_in_one_line(tmp_path):
    model = bert()
    draw(model, 0.3, 0)
    model.save_pretrained(tmp_path / "bert")
    honest_tokenizers.tokenizer_of("llama3").save_pretrained(tmp_path / "bert")
    (tmp_path / "text.txt").write_text(TEXT)
    for command in (
        ("score", f"hf:{tmp_path / 'bert'}", "text.txt"),
        ("generate", f"hf:{tmp_path / 'bert'}", "The"),
    ):
        done = llmbench(*command, cwd=tmp_path)
        assert done.returncode == 2
        assert not done.stdout
        assert done.stderr.startswith("llmbench: bert: the check causality failed")
        assert len(done.stderr.splitlines()) == 1


def test_a_model_that_passed_is_not_asked_again(tmp_path, monkeypatch):
    screen(zoo.Windowed(), "honest", cache=tmp_path)
    (kept,) = (tmp_path / "screened").glob("*.json")

    def run(*arguments):
        raise AssertionError("asked again")

    monkeypatch.setattr(screening.kit, "run", run)
    screen(zoo.Windowed(), "honest", cache=tmp_path)
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "stamp": "of other code"}))
    with pytest.raises(AssertionError, match="asked again"):
        screen(zoo.Windowed(), "honest", cache=tmp_path)


def test_an_object_is_asked_once(monkeypatch):
    model, asked = zoo.Windowed(), []
    whole = screening.kit.run
    monkeypatch.setattr(screening.kit, "run", lambda *given: asked.append(1) or whole(*given))
    for _ in range(2):
        package.score(model, text=TEXT)
    assert len(asked) == 1


def test_a_model_that_scores_nothing_is_not_asked():
    class Talks(package.Adapter):
        @property
        def info(self):
            raise AssertionError

        def generate(self, requests: list[Request]):
            yield from ()

    assert screen(Talks(), "talks") is None  # its `info` raises if it is asked
