"""The networks, and what their adapter adds: causal, the same step by step as in one pass, honest
about themselves.
"""

from __future__ import annotations

import pytest
import torch
from support.toys import NETWORKS, SMALL, TEXT, network
from torch import nn

from llmbench.adapter import Passage
from llmbench.adapters.token import TokenAdapter, fingerprint


@pytest.mark.parametrize("name", NETWORKS)
def test_later_ids_change_no_earlier_row(name):
    model = network(name)
    ids = torch.randint(
        0, model.vocabulary.symbols, (2, 12), generator=torch.Generator().manual_seed(0)
    )
    changed = ids.clone()
    changed[:, 7:] = (changed[:, 7:] + 1) % model.vocabulary.symbols
    with torch.inference_mode():
        one, other = model.logits(ids), model.logits(changed)
    torch.testing.assert_close(one[:, :7], other[:, :7])
    assert not torch.allclose(one[:, 7], other[:, 7])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("pieces", [(1, 1, 10), (5, 4, 3), (12,)])
def test_pieces_with_a_state_equal_one_pass(name, pieces):
    net = network(name).network
    ids = torch.randint(0, net.symbols, (3, 12), generator=torch.Generator().manual_seed(1))
    state, rows = None, []
    with torch.inference_mode():
        for piece in ids.split(list(pieces), dim=1):
            out, state = net.hidden(piece, state)
            rows.append(out)
        torch.testing.assert_close(torch.cat(rows, dim=1), net.hidden(ids)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_state_can_be_used_twice(name):
    net = network(name).network
    ids = torch.randint(0, net.symbols, (1, 6), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        _, state = net.hidden(ids)
        one, two = net.hidden(ids[:, :1], state)[0], net.hidden(ids[:, :1], state)[0]
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize("name", ["char-ffn", "word-ffn"])
def test_a_feed_forward_network_sees_exactly_its_reach(name):
    net = network(name).network
    ids = torch.randint(0, net.symbols, (1, 12), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        base = net(ids)[0, -1]
        near, far = ids.clone(), ids.clone()
        near[0, -net.reach] = (near[0, -net.reach] + 1) % net.symbols
        far[0, -net.reach - 1] = (far[0, -net.reach - 1] + 1) % net.symbols
        assert not torch.allclose(net(near)[0, -1], base)
        torch.testing.assert_close(net(far)[0, -1], base)


def test_a_sliding_transformer_sees_exactly_its_reach():
    net = network("transformer-decoder").network
    ids = torch.randint(0, net.symbols, (1, 60), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        base = net(ids)[0, -1]
        for back, is_seen in ((net.reach, True), (net.reach + 1, False)):
            other = ids.clone()
            other[0, -back] = (other[0, -back] + 1) % net.symbols
            assert torch.equal(net(other)[0, -1], base) != is_seen
    assert net.reach == 2 * (8 + 2) + 1


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 35])
def test_sliding_attention_is_a_softmax_over_the_window(length):
    net = network("transformer-decoder").network
    layer, window, (heads, size) = net.layers[0], net.window, (2, 16)
    q, k, v = torch.randn(3, 2, heads, length, size, generator=torch.Generator().manual_seed(4))
    empty = torch.zeros(2, heads, window, size)
    keys, values = torch.cat([empty, k], dim=2), torch.cat([empty, v], dim=2)
    bias = net.bias if length >= window else net.bias[:, :length, : window + length]
    found = layer.attend(q, keys, values, bias)
    for head in range(heads):
        slope = 2.0 ** (-8 * (head + 1) / heads)
        for place in range(length):
            seen = slice(place, place + window + 1)
            logits = keys[1, head, seen] @ q[1, head, place] / size**0.5
            logits -= slope * torch.arange(window, -1, -1)
            expected = logits.softmax(0) @ values[1, head, seen]
            torch.testing.assert_close(found[1, head, place], expected, rtol=1e-4, atol=1e-5)


def test_a_sliding_state_has_one_size_and_is_cleared_row_by_row():
    net = network("transformer-decoder").network
    ids = torch.randint(0, net.symbols, (3, 40), generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        states = [net.hidden(ids[:, :length])[1] for length in (1, 8, 40)]
        assert len({tuple(part.shape for part in state) for state in states}) == 1
        cleared = net.clear_state(states[-1], torch.tensor([False, True, False]))
        after, fresh = net.hidden(ids, cleared)[0], net.hidden(ids)[0]
        kept = net.hidden(ids, states[-1])[0]
    torch.testing.assert_close(after[1], fresh[1])
    torch.testing.assert_close(after[[0, 2]], kept[[0, 2]])
    assert not torch.allclose(after[0], fresh[0])


@pytest.mark.parametrize("name", ["rnn", "lstm"])
def test_a_recurrent_network_remembers_beyond_any_window(name):
    net = network(name).network
    ids = torch.zeros(1, 40, dtype=torch.long)
    other = ids.clone()
    other[0, 0] = 1
    with torch.inference_mode():
        assert not torch.equal(net(ids)[0, 20], net(other)[0, 20])


@pytest.mark.parametrize("name", NETWORKS)
def test_info_is_true(name):
    model = network(name)
    info = model.info
    assert info.parameters == sum(p.numel() for p in model.network.parameters())
    assert info.weights_bytes == 4 * info.parameters
    assert info.context == (model.network.context or model.network.reach)
    assert info.tokenizer == ("words" if name == "word-ffn" else "characters")


def test_fingerprints_follow_weights_vocabulary_and_source():
    one, same, other_seed = network("lstm"), network("lstm"), network("lstm", seed=1)
    other_text = network("lstm", text=TEXT + "\N{SNOWMAN}")
    prints = [model.info.fingerprint for model in (one, same, other_seed, other_text)]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3
    assert fingerprint({}, b"a") != fingerprint({}, b"b")


def test_tied_weights_are_counted_once():
    class Tied(TokenAdapter):
        start = (0,)

        def __init__(self):
            self.embedding = nn.Embedding(7, 5)
            self.output = nn.Linear(5, 7, bias=False)
            self.output.weight = self.embedding.weight

        def encode(self, text): ...
        def decode(self, ids): ...
        def logits(self, ids): ...

    assert Tied().info.parameters == 35


@pytest.mark.parametrize("name", NETWORKS)
def test_next_distribution_is_what_scoring_charges(name):
    model = network(name)
    symbols, p = model.next_distribution("The ")
    assert p.sum() == pytest.approx(1.0)
    piece = "k" if model.vocabulary.splitter == "characters" else "kettle"
    ledger = next(model.score([Passage(piece, context="The ")]))
    if ledger.tokens == 1 and piece.encode() in symbols:
        assert 2 ** -ledger.bits[0] == pytest.approx(
            p[list(symbols).index(piece.encode())], rel=1e-4
        )


def test_every_card_of_a_network_builds_its_network():
    from llmbench.adapters.bpe_network import class_of
    from llmbench.plan import registry

    found = 0
    for name in registry.names("baselines"):
        card = registry.resolve(name)
        assert card.name == name
        if card.network:
            kind = registry.adapter_class(card.adapter).network_class
            net = class_of(card.network.cls, kind)(50, **card.network.arguments)
            assert net.symbols == 50
            found += 1
    # without the one of tests alone, and with the encoder and the encoder-decoder of stage 4
    assert found == len(SMALL) - 1 + 2
