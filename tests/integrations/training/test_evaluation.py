"""Bits per byte inside a training are right, and nothing of the training changes."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from support.small_checkpoints import gpt2
from torch import nn

import llmbench
from llmbench.errors import Unsupported, UsageError
from llmbench.integrations.training import evaluation as module
from llmbench.integrations.training.evaluation import Evaluation, unpack

HELD_OUT = "The kettle said nothing. It had said nothing since Tuesday.\n" * 12


class Bytes(nn.Module):
    """The next byte from this one, with dropout; `leak`: also from the byte that follows."""

    def __init__(self, leak=False):
        super().__init__()
        self.embedding, self.head = nn.Embedding(257, 24), nn.Linear(24, 257)
        self.dropout, self.leak = nn.Dropout(0.3), leak
        self.register_buffer("scale", torch.ones(()))

    def forward(self, ids):
        rows = self.embedding(ids)
        if self.leak:
            rows = rows + torch.roll(rows, -1, dims=1)
        nothing = 0 * (torch.rand(()) + random.random() + np.random.rand())  # but drawn, always
        return self.head(self.dropout(rows)) * self.scale + nothing


def make(leak=False):
    torch.manual_seed(3)
    return Bytes(leak), Evaluation("bytes", text=HELD_OUT, bos_ids=(256,))


def step(model, optimizer):
    ids = torch.randint(0, 128, (4, 17))
    loss = nn.functional.cross_entropy(model(ids[:, :-1]).reshape(-1, 257), ids[:, 1:].reshape(-1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def train(evaluates):
    """The losses of a short training, with or without evaluations in between."""
    random.seed(1)
    np.random.seed(1)
    model, evaluation = make()
    torch.manual_seed(4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses, bits = [], []
    for _ in range(4):
        losses.append(step(model, optimizer))
        if evaluates:
            bits.append(evaluation.score(model).value)
    return losses, bits, random.random(), np.random.rand(), model.state_dict()


def test_a_training_is_the_same_to_the_last_bit_with_evaluations():
    alone, _, *numbers_alone, weights_alone = train(evaluates=False)
    losses, bits, *numbers, weights = train(evaluates=True)
    assert losses == alone
    assert numbers == numbers_alone
    assert all(torch.equal(weights[name], weights_alone[name]) for name in weights)
    assert len(set(bits)) == 4  # each is of the weights of its step


def test_the_bits_are_those_of_score_with_its_interval():
    model, evaluation = make()
    step(model, torch.optim.SGD(model.parameters(), lr=0.5))
    found = evaluation.score(model)
    wanted = llmbench.score(llmbench.wrap(model, "bytes", bos_ids=(256,)), text=HELD_OUT)
    assert found.value == pytest.approx(wanted["bits_per_byte"], abs=1e-12)
    assert (found.low, found.high) == pytest.approx((wanted["low"], wanted["high"]), abs=1e-12)
    assert found.low < found.value < found.high
    assert found.to_metrics("eval_") == {
        "eval_bits_per_byte": found.value,
        "eval_bits_per_byte_low": found.low,
        "eval_bits_per_byte_high": found.high,
    }


def test_mode_gradients_device_and_generators_stay_as_they_were():
    model, evaluation = make()
    step(model, torch.optim.SGD(model.parameters(), lr=0.1))
    model.dropout.eval()  # a part that is not trained
    model.embedding.weight.requires_grad_(False)
    modes = [part.training for part in model.modules()]
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())
    evaluation.score(model)
    assert [part.training for part in model.modules()] == modes
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert gradient is None or torch.equal(parameter.grad, gradient)
        assert parameter.device.type == "cpu"
        assert not parameter.is_inference()
    assert not model.embedding.weight.requires_grad
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]


def test_a_model_is_checked_once_and_not_at_every_step(monkeypatch):
    model, evaluation = make()
    asked = []
    monkeypatch.setattr(module, "screen", lambda adapter, name: asked.append(name))
    for _ in range(3):
        evaluation.score(model)
    model.head = nn.Linear(24, 257)
    evaluation.score(model)
    assert asked == ["Bytes", "Bytes"]


def test_a_model_that_sees_what_follows_is_refused():
    model, evaluation = make(leak=True)
    with pytest.raises(Unsupported, match="causality"):
        evaluation.score(model)


def test_a_replica_and_a_compiled_model_are_unpacked():
    model, evaluation = make()
    wanted = evaluation.score(model)
    replica = nn.DataParallel(model)
    compiled = nn.Module()  # as torch.compile makes one
    compiled._orig_mod = replica
    assert unpack(compiled) is model
    assert evaluation.score(compiled) == wanted


def test_weights_in_parts_are_refused_with_the_name_of_one():
    model, evaluation = make()
    model.head.weight = nn.Parameter(torch.empty(0))
    with pytest.raises(UsageError, match=r"the weight head\.weight is in parts"):
        evaluation.score(model)


def test_autocast_around_it_changes_nothing():
    model, evaluation = make()
    wanted = evaluation.score(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert evaluation.score(model) == wanted


def test_a_transformers_model_is_read_by_its_tokenizer(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gpt2(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path).train()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    found = Evaluation(tokenizer, text=HELD_OUT).score(model)
    wanted = llmbench.score(llmbench.wrap(model, tokenizer), text=HELD_OUT)
    assert found.value == pytest.approx(wanted["bits_per_byte"], abs=1e-12)
    assert model.training


@pytest.mark.parametrize("given", [{}, {"file": "x.txt", "text": "x"}, {"text": ""}])
def test_a_missing_text_is_refused_before_the_training(given):
    with pytest.raises(UsageError):
        Evaluation("bytes", **given)
