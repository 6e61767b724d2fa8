"""Operations and bytes, counted and held against closed forms; what a state tells about its model;
shares of a limit.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from support import toys
from torch import nn
from torch.nn import functional as F

from llmbench.hardware import flops
from llmbench.hardware.flops import Work, count, kind_of_cache, parameters_of, passes
from llmbench.hardware.peaks import Ceilings
from llmbench.stats import Interval
from llmbench.tasks.performance import profile

ALL = Ceilings(
    "cpu", 2, [(1 << 18, 8e10), (1 << 24, 4e10), (1 << 28, 2e10)], {"float32": 6e10}, 1e-6, 0.01
)


def counted(module, *inputs):
    found = count(lambda: module(*inputs), [*module.parameters(), *module.buffers()])
    assert found.agrees, found
    return found


def test_a_gpt2_shape_at_128_tokens_has_the_operations_of_the_closed_form():
    transformers = pytest.importorskip("transformers")
    layers, width, vocabulary, length = 12, 768, 50_257, 128
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config()).eval()
    found = count(
        lambda: model(input_ids=torch.zeros(1, length, dtype=torch.long), use_cache=False),
        list(model.parameters()),
    )
    weights = layers * 12 * width**2 + vocabulary * width
    want = (
        2 * length * weights + layers * 4 * length**2 * width
    )  # Kaplan et al. 2020: 2 N a token, and the products of attention
    assert found.flops == pytest.approx(want, rel=0.005)
    assert found.expected == pytest.approx(want, rel=0.005)
    rows_unread = (
        (1024 - length) * width * 4
    )  # of the positions; the embedding is tied to the head, which reads all of it
    assert found.bytes == sum(p.numel() * 4 for p in model.parameters()) - rows_unread


@pytest.mark.parametrize(("cell", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_a_recurrent_layer_has_the_operations_of_its_gates(cell, gates):
    found = counted(cell(64, 384, 2, batch_first=True), torch.randn(3, 128, 64))
    assert found.flops == 2 * 3 * 128 * gates * 384 * (64 + 384 + 384 + 384)


def test_attention_is_counted_though_it_runs_fused():
    q = torch.randn(2, 4, 100, 16)
    found = count(lambda: F.scaled_dot_product_attention(q, q, q, is_causal=True), [])
    assert found.flops == found.expected == 2 * 2 * 4 * 100 * 100 * 32


def test_products_by_einsum_are_counted():
    q = torch.randn(2, 4, 10, 16)
    found = count(lambda: torch.einsum("bhqd,bhkd->bhqk", q, q), [])
    assert found.flops == found.expected == 2 * 2 * 4 * 10 * 10 * 16


def test_an_encoder_layer_has_no_fast_way_around_the_count():
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval()
    found = counted(layer, torch.randn(2, 10, 32))
    assert found.flops == 2 * 2 * 10 * (4 * 32 * 32 + 2 * 32 * 64) + 4 * 2 * 10 * 10 * 32


def test_of_an_embedding_the_rows_that_were_looked_up_are_read_and_of_a_tied_one_all():
    class Untied(nn.Module):
        def __init__(self, tied):
            super().__init__()
            self.embedding, self.head = nn.Embedding(1000, 16), nn.Linear(16, 1000, bias=False)
            if tied:
                self.head.weight = self.embedding.weight

        def forward(self, ids):
            return self.head(self.embedding(ids))

    ids = torch.tensor([[1, 2, 3]])
    assert counted(Untied(False), ids).bytes == 3 * 16 * 4 + 1000 * 16 * 4
    assert counted(Untied(True), ids).bytes == 1000 * 16 * 4


def test_parts_of_a_matrix_that_are_used_apart_are_read_once():
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(12, 4))

        def forward(self, x):
            q, k, _ = self.weight.chunk(3)
            return F.linear(x, q), F.linear(x, k), F.linear(x, q)

    assert counted(Parts(), torch.randn(2, 4)).bytes == 2 * 4 * 4 * 4


def test_where_the_two_counts_differ_they_do_not_agree():
    assert Work(100, 99, 1, "float32").agrees
    assert not Work(100, 97, 1, "float32").agrees
    assert not Work(0, 97, 1, "float32").agrees
    assert Work(0, 0, 1, "float32").agrees

    class Hidden(nn.Module):  # products that no call of torch's names shows
        def forward(self, x):
            return torch.tensordot(x, x, 1)

    assert not count(lambda: Hidden()(torch.randn(8, 8)), []).agrees


def test_counting_leaves_nothing_switched_off():
    before = (
        torch.backends.mkldnn.enabled,
        torch.backends.mha.get_fastpath_enabled(),
        torch.backends.cuda.flash_sdp_enabled(),
    )
    counted(nn.Linear(4, 4), torch.randn(1, 4))
    with pytest.raises(ZeroDivisionError):
        count(lambda: 1 // 0, [])
    assert (
        torch.backends.mkldnn.enabled,
        torch.backends.mha.get_fastpath_enabled(),
        torch.backends.cuda.flash_sdp_enabled(),
    ) == before


KINDS = {
    "char-ffn": "window",
    "word-ffn": "window",
    "rnn": "recurrent",
    "lstm": "recurrent",
    "transformer-decoder": "rolling",
    "windowed": "cached",
}


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_what_a_model_carries_is_seen_in_its_state(name, kind):
    model = toys.network(name)
    assert (
        kind_of_cache(model, [*model.bos_ids, *model.encode(toys.TEXT).ids.tolist()][:16]) == kind
    )


def test_a_model_without_a_cache_is_seen_to_read_everything_again():
    assert kind_of_cache(toys.OrderK(2, 64), list(range(20))) == "recompute"
    assert kind_of_cache(toys.OrderK(2, 64), [1]) is None


@pytest.mark.parametrize("name", KINDS)
def test_the_networks_of_the_roadmap_are_counted_and_the_counts_agree(name):
    model = toys.network(name)
    ids = [*model.bos_ids, *model.encode(toys.TEXT).ids.tolist()][:12]
    prefill, step = passes(model, ids, 12, 1, parameters_of(model))
    many = passes(model, ids, 12, 8, parameters_of(model))[1]
    assert prefill.agrees
    assert step.agrees
    assert 0 < step.flops < prefill.flops
    assert many.flops == 8 * step.flops
    assert many.bytes < 8 * step.bytes  # the parameters are read once for all rows


def test_a_step_of_a_transformer_costs_its_parameters_and_its_window():
    model = toys.network("transformer-decoder")
    width, layers, symbols, window, heads, taps = 32, 2, model.network.symbols, 8, 2, 2
    _, step = passes(model, [model.bos_ids[0]] * 30, 30, 1, parameters_of(model))
    weights = layers * 12 * width**2 + symbols * width
    assert step.flops == 2 * weights + layers * 4 * (window + 1) * width
    small = layers * (2 + taps + 1) * width + width  # norms and the weights of neighbours
    distances = heads * (window + 1)
    cache = layers * (2 * window + taps) * width  # keys, values, inputs of the convolution
    # and one row of the embedding
    assert step.bytes == 4 * (weights + small + distances + width + cache)


def test_the_least_time_is_the_larger_of_reading_and_multiplying():
    assert Work(60_000, 60_000, 1 << 10, "float32").seconds(ALL) == pytest.approx(1e-6)
    assert Work(1, 1, 1 << 28, "float32").seconds(ALL) == pytest.approx((1 << 28) / 2e10)
    assert Work(1, 1, 1, "bfloat16").seconds(ALL) is None


def test_bandwidth_is_that_of_the_working_set():
    assert [ALL.bytes_per_second(size) for size in (1, 1 << 18, 1 << 24, 1 << 28, 1 << 33)] == [
        8e10,
        8e10,
        4e10,
        2e10,
        2e10,
    ]
    assert ALL.bytes_per_second(1 << 21) == pytest.approx(6e10)
    assert ALL.bytes_per_second(1 << 26) == pytest.approx(3e10)


MEASURED = {
    "time_to_first_token": Interval(0.004, 0.003, 0.005, 8),
    "time_per_output_token": Interval(0.002, 0.001, 0.004, 8),
    "decode_tokens_per_second@8": Interval(2000, 1000, 4000, 8),
}


def test_a_share_is_the_least_time_over_the_measured_one_with_its_interval():
    model = toys.network("lstm")
    found = profile.dissect(model, toys.TEXT[:100], toys.TEXT[100:140], 8, MEASURED, ALL)
    assert (found.absent, found.cache) == ("", "recurrent")
    assert found.parts.keys() == {"tokenise", "prefill", "sample", "detokenise", "step"}
    assert all(seconds > 0 for seconds in found.parts.values())
    assert found.shares.keys() == {"prefill", "decode", "decode, best batch"}
    ids = [*model.bos_ids, *model.encode(toys.TEXT[:100]).ids.tolist()]
    least = passes(model, ids, len(ids) + 20, 1, parameters_of(model))[1].seconds(ALL)
    share = found.shares["decode"]
    assert (share.value, share.low, share.high) == pytest.approx(
        (least / 0.002, least / 0.004, least / 0.001)
    )
    many = passes(model, ids, len(ids) + 20, 8, parameters_of(model))[1].seconds(ALL)
    assert found.shares["decode, best batch"].value == pytest.approx(many / (8 / 2000))


def test_no_share_without_ceilings_parameters_or_passes_and_the_reason_is_said():
    lstm = toys.network("lstm")
    assert "llmbench doctor" in profile.dissect(lstm, "a b", "c d", 1, MEASURED, None).absent
    assert (
        "no floating-point parameters"
        in profile.dissect(toys.Uniform(), "a b", "c d", 1, MEASURED, ALL).absent
    )
    assert (
        "no passes"
        in profile.dissect(SimpleNamespace(token_model=None), "a b", "c d", 1, MEASURED, ALL).absent
    )
    half = Ceilings("cpu", 2, ALL.bandwidth, {"float64": 1e9}, 1e-6, 0.01)
    found = profile.dissect(lstm, "a b", "c d", 1, MEASURED, half)
    assert "float32 is not known" in found.absent
    assert found.shares == {}


def test_a_model_that_cannot_be_taken_apart_keeps_its_times():
    class Odd(toys.OrderK):
        def prefill(self, ids):
            raise RuntimeError("not like that")

    found = profile.dissect(Odd(2, 64), "a b c d", "e f", 1, MEASURED, ALL)
    assert "not like that" in found.absent


def test_counts_that_differ_give_unknown(monkeypatch):
    monkeypatch.setattr(flops, "_operations", lambda *call: 0)
    found = profile.dissect(toys.network("lstm"), toys.TEXT[:50], "c d", 1, MEASURED, ALL)
    assert found.absent.startswith("unknown")
    assert found.shares == {}
