"""The steps of a single row: the numbers of the networks' own, and used only where they apply."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.toys import SMALL, network
from torch.utils.flop_counter import FlopCounterMode

from llmbench.adapter import Request
from llmbench.adapters import network as adapter_module
from llmbench.models.networks.recurrent import LSTM
from llmbench.models.networks.transformer_decoder import TransformerDecoder
from llmbench.models.steps.begin import begin_step
from llmbench.models.steps.row_step import RowStep

STEPPED = [name for name in SMALL if name != "windowed"]
LENGTH = 45  # several times the window of 8, so that every place of a ring is used again


def read_alone(decoder, ids):
    """The logits after the last id, in float64, from the definition: each layer looks back at
    `window` inputs, and before a text there are zeros.
    """
    weights = {name: part.double().numpy() for name, part in decoder.state_dict().items()}
    window, taps, heads = decoder.window, decoder.taps, decoder.heads

    def normalise(x, scale=1.0):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale

    x = weights["embedding.weight"][ids]
    slopes = 2.0 ** (-8 * np.arange(1, heads + 1) / heads)
    for at in range(len(decoder.layers)):
        own = {name.removeprefix(f"layers.{at}."): part for name, part in weights.items()}
        line = np.pad(normalise(x, own["norm1.weight"]), ((taps, 0), (0, 0)))
        mixed = sum(own["neighbours"][i] * line[i : i + len(x)] for i in range(taps + 1))
        parts = (mixed @ own["qkv.weight"].T).reshape(len(x), 3, heads, -1)
        q, k, v = normalise(parts[:, 0]), normalise(parts[:, 1]), parts[:, 2]
        k, v = (np.pad(part, ((window, 0), (0, 0), (0, 0))) for part in (k, v))
        seen = np.arange(len(x))[:, None] + np.arange(window + 1)
        scores = np.einsum("thd,tshd->ths", q, k[seen]) / np.sqrt(q.shape[-1])
        scores -= slopes[:, None] * np.arange(window, -1, -1)
        share = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        found = np.einsum("ths,tshd->thd", share, v[seen]).reshape(x.shape)
        x = x + found @ own["out.weight"].T
        inner = np.maximum(normalise(x, own["norm2.weight"]) @ own["up.weight"].T, 0) ** 2
        x = x + inner @ own["down.weight"].T
    return weights["output.weight"] @ normalise(x[-1], weights["norm.weight"])


def choose_ids(net, length=LENGTH):
    return torch.randint(0, net.symbols, (length,), generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("begin", [1, 5, 20])
@pytest.mark.parametrize("name", STEPPED)
def test_a_row_alone_has_the_logits_of_a_row_among_others(name, begin):
    model = network(name)
    ids = choose_ids(model.network)
    with torch.inference_mode():
        one, _ = model.prefill(ids[None, :begin])
        two, _ = model.prefill(ids[None, :begin].repeat(2, 1))
        for symbol in ids[begin:]:
            one, got = model.step(one, symbol[None])
            two, want = model.step(two, symbol.repeat(2))
            assert isinstance(one, RowStep)
            assert got.shape == (1, model.network.symbols)
            scale = float(want.abs().max())
            torch.testing.assert_close(got[0] / scale, want[0] / scale, rtol=0, atol=1e-5)


def test_the_sliding_transformer_steps_as_its_definition_says():
    model = network("transformer-decoder")
    ids = choose_ids(model.network)
    with torch.inference_mode():
        state, _ = model.prefill(ids[None, :1])
        for end in range(2, LENGTH + 1):
            state, got = model.step(state, ids[end - 1 : end])
            want = read_alone(model.network, ids[:end].numpy())
            np.testing.assert_allclose(got[0], want, rtol=1e-5, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("name", STEPPED)
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_an_answer_is_the_one_that_the_networks_own_step_writes(name, temperature, monkeypatch):
    model = network(name)
    request = Request("The kettle", max_tokens=LENGTH, temperature=temperature)

    def write():
        return "".join(chunk.text for chunk in model.generate([request]))

    used = []
    monkeypatch.setattr(
        adapter_module, "begin_step", lambda *given: used.append(given) or begin_step(*given)
    )
    fast = write()
    assert len(used) == 1
    monkeypatch.setattr(adapter_module, "begin_step", lambda *given: None)
    assert write() == fast


@pytest.mark.parametrize("name", STEPPED)
def test_a_step_leaves_the_state_that_it_began_from_and_earlier_logits(name):
    model = network(name)
    ids = choose_ids(model.network)
    with torch.inference_mode():
        state, _ = model.prefill(ids[None, :9])
        one, first = model.step(state, ids[9:10])
        kept = first.clone()
        model.step(one, ids[10:11])
        again = model.step(state, ids[9:10])[1]
    assert torch.equal(first, kept)
    assert torch.equal(again, kept)


@pytest.mark.parametrize("name", STEPPED)
def test_a_step_begun_in_inference_mode_goes_on_outside_it(name):
    model = network(name)
    with torch.inference_mode():
        state, _ = model.step(model.prefill(choose_ids(model.network)[None])[0], torch.tensor([1]))
    logits = model.step(state, torch.tensor([2]))[1]
    assert not logits.requires_grad


def test_several_rows_are_stepped_by_the_network_itself():
    model = network("lstm")
    with torch.inference_mode():
        state, _ = model.prefill(torch.zeros(2, 3, dtype=torch.long))
        state, _ = model.step(state, torch.tensor([1, 2]))
    assert not isinstance(state, RowStep)


@pytest.mark.parametrize("name", STEPPED)
@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_other_numbers_are_stepped_by_the_network_itself(name, dtype):
    model = network(name).to("cpu", dtype)
    with torch.inference_mode():
        state, _ = model.step(model.prefill(torch.tensor([[1, 2]]))[0], torch.tensor([3]))
    assert not isinstance(state, RowStep)


def test_other_devices_training_subclasses_and_counting_have_no_step():
    class Other(LSTM):
        """It may compute something else."""

    net = network("lstm").network
    state = net.hidden(torch.tensor([[1]]))[1]
    assert isinstance(begin_step(net, state), RowStep)
    with FlopCounterMode(display=False):
        assert begin_step(net, state) is None
    assert begin_step(net.train(), state) is None
    assert begin_step(net.eval().to("meta"), state) is None
    assert begin_step(Other(5).eval(), state) is None
    assert begin_step(network("windowed").network, None) is None


def test_weights_that_change_between_answers_are_followed():
    torch.manual_seed(0)
    net = TransformerDecoder(11, window=4, width=8, heads=2, layers=1).eval()
    state = net.hidden(torch.tensor([[1]]))[1]
    assert not begin_step(net, state)(2).any()  # its head begins as zeros
    with torch.no_grad():
        net.output.weight.normal_()
    assert begin_step(net, state)(2).any()
