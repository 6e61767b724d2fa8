from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import small_checkpoints
from support.toys import TEXT, network
from torch.nn import functional as F

from llmbench.adapter import Passage
from llmbench.inference import packing, scoring
from llmbench.inference.blocked_attention import CausalBlocks
from llmbench.inference.text.lines import encode_lines
from llmbench.models.networks.network import Network


def line(*ids: int, first: int) -> SimpleNamespace:
    return SimpleNamespace(ids=np.array(ids), first=first)


def test_neighbours_with_the_same_prompt_share_a_row_and_others_do_not():
    lines = [
        line(9, 1, 2, 3, first=2),
        line(9, 1, 4, first=2),
        line(9, 5, 2, 3, first=2),
        line(9, 1, 6, first=2),
        line(9, 7, 8, first=1),
    ]
    packs, alone = packing.pack(lines, None)
    assert [list(pack.lines) for pack in packs] == [lines[:2]]
    assert alone == lines[2:]
    assert (
        packs[0].length == 3
    )  # two of the prompt; of `2 3` the 3 is predicted and not read; of `4` nothing is read


def test_no_row_is_longer_than_the_context():
    lines = [
        line(9, 1, 2, 3, 4, first=2) for _ in range(7)
    ]  # two ids of the prompt, two that each text adds
    packs, alone = packing.pack(lines, 6)
    assert [len(pack.lines) for pack in packs] == [2, 2, 2]
    assert len(alone) == 1
    assert max(pack.length for pack in packs) <= 6


def test_a_row_is_laid_out_as_by_hand():
    pack = packing.Pack([line(9, 1, 2, 3, first=2), line(9, 1, 4, 5, 6, first=2)])
    bundle = packing.Bundle((pack,))
    other = packing.Bundle((packing.Pack([line(9, 8, first=1)]),))
    ids, positions, mask = packing.rows([bundle, other], fill=9)
    assert ids.tolist() == [[9, 1, 2, 4, 5], [9, 9, 9, 9, 9]]
    assert positions.tolist()[0] == [0, 1, 2, 2, 3]
    seen = [[0], [0, 1], [0, 1, 2], [0, 1, 3], [0, 1, 3, 4]]
    assert [np.flatnonzero(row).tolist() for row in mask[0, 0].numpy()] == seen
    assert (
        mask[1, 0].any(dim=1).all()
    )  # padding sees itself: a row that saw nothing would be no number
    assert [at.tolist() for at in packing.places(bundle)] == [[1, 2], [1, 3, 4]]


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    more = {"context": 64} if request.param == "gpt2" else {}
    return small_checkpoints.load(small_checkpoints.MAKERS[request.param](folder, **more))


def plain(model, passage: Passage) -> list[float]:
    """Bits by one pass over prompt and text, alone, from the last border before the text on."""
    whole = model.encode(passage.context + passage.text)
    before = int((whole.end <= len(passage.context.encode())).sum())
    ids = torch.tensor([[*model.bos_ids, *whole.ids.tolist()]])
    with torch.inference_mode():
        logs = torch.log_softmax(model.logits(ids)[0].double(), -1)
    first = len(model.bos_ids) + before
    return [-float(logs[t - 1, ids[0, t]]) / np.log(2) for t in range(first, ids.shape[1])]


def test_texts_packed_after_one_prompt_cost_what_each_costs_alone(model):
    assert model.supports_packing
    prompts = ["The kettle said nothing.", "The tap", "No, said the kettle;"]
    texts = [" It had.", " I am waiting for", " k", " dripping; dripping was", ""]
    passages = [
        Passage(text, context=prompt, id=f"{prompt}{text}") for prompt in prompts for text in texts
    ]
    packs, _ = packing.pack(encode_lines(model, passages), model.context)
    assert sum(len(pack.lines) for pack in packs) >= 8
    for passage, ledger in zip(passages, scoring.score(model, passages), strict=True):
        assert ledger.id == passage.id
        assert ledger.bits == pytest.approx(plain(model, passage), rel=1e-4, abs=1e-4)


def test_prompts_that_begin_alike_share_their_beginning_as_by_hand():
    packs = [
        packing.Pack([line(9, 1, 2, 5, 6, first=3), line(9, 1, 2, 7, first=3)]),
        packing.Pack([line(9, 1, 3, 5, 6, first=3)]),
    ]
    (bundle,) = packing.bundle(packs, None)
    assert (bundle.shared, bundle.length) == (2, 6)
    ids, positions, mask = packing.rows([bundle], fill=9)
    assert ids.tolist() == [[9, 1, 2, 5, 3, 5]]
    assert positions.tolist() == [[0, 1, 2, 3, 2, 3]]
    seen = [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 4], [0, 1, 4, 5]]
    assert [np.flatnonzero(row).tolist() for row in mask[0, 0].numpy()] == seen
    assert [at.tolist() for at in packing.places(bundle)] == [[2, 3], [2], [4, 5]]
    assert [one.packs for one in packing.bundle(packs, 5)] == [(packs[0],), (packs[1],)]
    far = packing.Pack([line(8, 1, 3, 5, 6, first=3)])
    assert len(packing.bundle([packs[0], far], None)) == 2


def test_examples_before_all_questions_are_read_once_and_change_no_bits(model):
    header = "The tap: dripping. The kettle: nothing. "
    prompts = [f"{header}{name}:" for name in ("A tap", "The kettle", "No", "A kettle")]
    passages = [
        Passage(text, context=prompt, id=f"{prompt}{text}")
        for prompt in prompts
        for text in (" dripping", " it had")[: 1 + (prompt != prompts[2])]
    ]
    lines = encode_lines(model, passages)
    packs, alone = packing.pack(lines, model.context)
    bundles = packing.bundle([*packs, *(packing.Pack((one,)) for one in alone)], 1000)
    assert sum(one.length for one in bundles) < 0.7 * sum(pack.length for pack in packs)
    read = []
    forward = model.forward_packed
    model.forward_packed = lambda ids, *rest: (read.append(ids.numel()), forward(ids, *rest))[1]
    try:
        found = list(scoring.score(model, passages))
    finally:
        del model.forward_packed
    assert sum(read) > 0
    for passage, ledger in zip(passages, found, strict=True):
        assert ledger.id == passage.id
        assert ledger.bits == pytest.approx(plain(model, passage), rel=1e-4, abs=1e-4)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=12),
    st.integers(1, 200),
)
@settings(max_examples=30, deadline=None)
def test_packing_changes_no_bits_whatever_the_order_and_the_budget(asked, budget):
    model = packing_model()
    passages = [
        Passage(
            " dripping was the tap's way"[: 2 * size],
            context="The tap the kettle"[: 8 + p],
            id=str(i),
        )
        for i, (p, size) in enumerate(asked)
    ]
    together = [ledger.bits for ledger in scoring.score(model, passages, budget=budget)]
    alone = [next(scoring.score(model, [passage])).bits for passage in passages]
    for one, other in zip(together, alone, strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-4)


_kept: list = []


def packing_model():
    if not _kept:
        import tempfile
        from pathlib import Path

        with tempfile.TemporaryDirectory() as folder:
            _kept.append(
                small_checkpoints.load(small_checkpoints.gpt2(Path(folder) / "made", context=64))
            )
    return _kept[0]


def test_a_model_with_a_sliding_window_is_not_packed(model, monkeypatch):
    fresh = type(model)(model.loaded)
    monkeypatch.setattr(fresh.loaded.config, "sliding_window", 8, raising=False)
    assert not fresh.supports_packing


def test_a_model_that_ignores_positions_given_to_it_is_not_packed(model, monkeypatch):
    fresh = type(model)(model.loaded)
    body = fresh.parts.body
    monkeypatch.setattr(
        fresh.parts,
        "body",
        lambda ids, **given: body(ids, **{k: v for k, v in given.items() if k != "position_ids"}),
    )
    assert not fresh.supports_packing


@pytest.mark.parametrize("length", [5, 24, 61, 100])
def test_attention_under_a_mask_without_later_keys_in_blocks_is_that_of_one_call(length):
    torch.manual_seed(length)
    query, key, value = (torch.randn(2, 4, length, 8) for _ in range(3))
    mask = (torch.rand(2, 1, length, length) > 0.4).tril() | torch.eye(length, dtype=torch.bool)
    want = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    with CausalBlocks(mask) as blocks:
        got = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, :, :, :length])
    assert blocks._masks  # it took the other way
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


class Counting:
    """How many ids a network was asked to read."""

    def __init__(self, model, monkeypatch):
        self.ids, carry = 0, model.forward_with_state

        def counted(ids, state):
            self.ids += ids.numel()
            return carry(ids, state)

        monkeypatch.setattr(model, "forward_with_state", counted)


@pytest.mark.parametrize("name", ["rnn", "lstm"])
@pytest.mark.parametrize("budget", [64, 700, 4096])
def test_texts_after_one_prompt_go_on_from_its_state_and_cost_what_each_costs_alone(
    name, budget, monkeypatch
):
    model = network(name)
    assert model.can_fork_state
    prompts = ["The kettle said nothing. ", "The tap", "A spoon and a jug, ", "The tap, which "]
    texts = ["It had.", "I am waiting for Tuesday", "k", "dripping; dripping was", "no"]
    passages = [
        Passage(text, context=prompt, id=f"{prompt}{text}") for prompt in prompts for text in texts
    ]
    passages += [
        Passage("alone, after nothing"),
        Passage("alone", context="After something else, "),
    ]
    alone = [next(scoring.score(model, [passage])).bits for passage in passages]
    counting = Counting(model, monkeypatch)
    together = list(scoring.score(model, passages, budget=budget))
    for passage, one, ledger in zip(passages, alone, together, strict=True):
        assert ledger.id == passage.id
        assert ledger.bits == pytest.approx(one, rel=1e-4, abs=1e-4)
    if budget == 4096:
        # the prompts once, the texts padded to the longest of those after prompts of one length,
        # and the two that stand alone
        longest = max(map(len, texts))
        assert (
            counting.ids
            <= sum(len(prompt) + 1 for prompt in prompts)
            + len(prompts) * len(texts) * longest
            + 2 * 30
        )


def test_a_network_whose_state_cannot_be_parted_reads_each_prompt_again(monkeypatch):
    model = network("lstm")
    monkeypatch.setattr(type(model.network), "select_state", Network.select_state)
    assert not model.can_fork_state
    passages = [Passage(text, context="The tap ") for text in ("drips", "dripped")]
    for passage, ledger in zip(passages, scoring.score(model, passages), strict=True):
        assert ledger.bits == pytest.approx(
            next(scoring.score(model, [passage])).bits, rel=1e-4, abs=1e-4
        )


def test_long_prompts_and_texts_are_read_in_pieces(monkeypatch):
    model = network("lstm")
    widest, carry, taken = [0], model.forward_with_state, []

    def watched(ids, state):
        widest[0] = max(widest[0], ids.numel())
        return carry(ids, state)

    passages = [Passage(TEXT[:500] + end, context=TEXT[:900]) for end in ("a", "b")]
    documents = [Passage(TEXT[i:700]) for i in range(3)]
    alone = [next(scoring.score(model, [passage])).bits for passage in (*passages, *documents)]
    monkeypatch.setattr(model, "forward_with_state", watched)
    together = list(scoring.score(model, [*passages, *documents], budget=256))
    assert widest[0] <= 256
    for one, ledger in zip(alone, together, strict=True):
        assert ledger.bits == pytest.approx(one, rel=1e-4, abs=1e-4)
    monkeypatch.setattr(model, "select_state", lambda *given: taken.append(given))
    list(scoring.score(model, documents))
    assert not taken


def test_a_row_is_no_longer_than_one_pass(model, monkeypatch):
    longest, packed = [0], model.forward_packed

    def watched(ids, positions, mask):
        longest[0] = max(longest[0], ids.shape[1])
        return packed(ids, positions, mask)

    monkeypatch.setattr(model, "forward_packed", watched)
    list(
        scoring.score(
            model, [Passage(" k", context="The tap", id=str(i)) for i in range(40)], budget=20
        )
    )
    assert 0 < longest[0] <= 20
