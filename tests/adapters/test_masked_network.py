"""The encoder that is trained here: it sees both sides, its lessons hide what they ask for, and a
run gives it pseudo-bits and no others.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.run_helpers import folder, llmbench, run_json
from support.toys import TEXT

from llmbench.adapter import BuildContext, Passage
from llmbench.adapters import bpe_network
from llmbench.adapters.masked_network import EncoderNetwork
from llmbench.config.model_card import NetworkSpec, Recipe, VocabularySpec
from llmbench.conformance import kit
from llmbench.conformance.check import Subject
from llmbench.data.text import Document, Text
from llmbench.errors import UsageError
from llmbench.models.networks.transformer_encoder import TransformerEncoder
from llmbench.models.tokenizers.bpe import Bpe
from llmbench.training.masked_lm import ASKED, HIDDEN, SWAPPED, Gaps

CLASS = "llmbench.models.networks.transformer_encoder:TransformerEncoder"
BPE = Bpe.learn([TEXT], 300)


def made(seed=0, **arguments):
    torch.manual_seed(seed)
    return EncoderNetwork(
        TransformerEncoder(
            BPE.symbols,
            **{"context": 48, "width": 32, "heads": 2, "layers": 2, "dropout": 0.0, **arguments},
        ),
        BPE,
    )


def test_every_symbol_sees_those_on_both_sides():
    net = made().network
    ids = torch.randint(0, BPE.symbols, (1, 9))
    with torch.inference_mode():
        base = net.hidden(ids, torch.ones_like(ids))
        for place in (0, 8):
            other = ids.clone()
            other[0, place] = (other[0, place] + 1) % BPE.symbols
            assert not torch.allclose(net.hidden(other, torch.ones_like(ids))[0, 4], base[0, 4])


def test_what_the_mask_hides_is_seen_by_nobody():
    net = made().network
    ids = torch.randint(0, BPE.symbols, (1, 9))
    longer, mask = torch.cat([ids, ids[:, :3]], dim=1), torch.tensor([[1] * 9 + [0] * 3])
    with torch.inference_mode():
        torch.testing.assert_close(
            net.hidden(longer, mask)[:, :9],
            net.hidden(ids, torch.ones_like(ids)),
            rtol=1e-4,
            atol=1e-5,
        )


def lessons(**arguments):
    adapter = made(**arguments)
    return Gaps(adapter.network, [BPE.encode(TEXT).ids, BPE.encode(TEXT[:40]).ids]), adapter.network


def test_of_each_window_about_a_seventh_is_asked_for_and_most_of_that_is_hidden():
    gaps, net = lessons()
    batches = gaps.batches(Recipe(steps=1, batch=32, length=40), 0)
    asked = hidden = swapped = kept = seen = 0
    for _ in range(40):
        ids, attention, targets = next(batches)
        wanted = targets >= 0
        seen += int((attention.sum(1) - 2).sum())
        asked += int(wanted.sum())
        hidden += int((ids[wanted] == net.mask).sum())
        kept += int((ids[wanted] == targets[wanted]).sum())
        swapped += int(((ids[wanted] != net.mask) & (ids[wanted] != targets[wanted])).sum())
        assert (ids[~wanted] != net.mask).all()
        assert (ids[:, 0] == net.edge).all()
        assert wanted.any(dim=1).all()
    assert asked / seen == pytest.approx(ASKED, abs=0.05)
    assert hidden / asked == pytest.approx(HIDDEN, abs=0.03)
    assert swapped / asked == pytest.approx(SWAPPED, abs=0.02)
    assert kept > 0


def test_windows_end_with_an_edge_and_stay_within_the_context():
    gaps, net = lessons()
    ids, attention, targets = next(gaps.batches(Recipe(steps=1, batch=16, length=400), 1))
    assert ids.shape[1] <= net.context
    for row, mask, wanted in zip(ids, attention, targets, strict=True):
        size = int(mask.sum())
        assert (row[0], row[size - 1]) == (net.edge, net.edge)
        assert (wanted[size - 1 :] < 0).all()


def test_the_seed_decides_the_windows():
    gaps, _ = lessons()
    recipe = Recipe(steps=1, batch=4, length=20)
    one, same, other = (next(gaps.batches(recipe, seed))[0] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert one.shape != other.shape or not torch.equal(one, other)


def test_without_a_text_it_does_not_begin():
    with pytest.raises(UsageError, match="nothing to train on"):
        Gaps(made().network, [np.array([], dtype=np.int64)])
    with pytest.raises(UsageError, match="needs a training text"):
        EncoderNetwork.build({"network": None, "recipe": None}, BuildContext())


def test_words_are_numbered_and_every_byte_is_asked_for_once():
    adapter = made()
    text = "The kettle, it said, «hums».\n\nAnd so on."
    words = adapter.words(text)
    assert len(words) == len(adapter.encode(text).ids)
    assert (np.diff(words) >= 0).all()
    ledger = next(adapter.pseudo_score([Passage(text, id="a")]))
    assert int((ledger.end - ledger.start).sum()) == len(text.encode())


def test_the_kit_finds_no_fault_in_it():
    results = list(kit.run(Subject(made(), lambda: made(), seed=0), kit.CHECKS, 60))
    assert not [result for result in results if result.state not in ("passed", "skipped")], results


ARGUMENTS = {
    "network": NetworkSpec.model_validate(
        {
            "class": CLASS,
            "arguments": {"context": 48, "width": 32, "heads": 2, "layers": 1, "dropout": 0.0},
        }
    ),
    "vocabulary": VocabularySpec(splitter="bpe", size=300),
    "recipe": Recipe(
        steps=80, batch=16, length=40, learning_rate=0.005, matrix_learning_rate=0.02, evaluations=2
    ),
}


def test_it_learns_and_is_the_same_from_the_cache(tmp_path):
    stuff = BuildContext(
        train=Text("train", (Document("a", TEXT), Document("b", TEXT[::-1]))), cache=tmp_path
    )
    adapter = EncoderNetwork.build(ARGUMENTS, stuff)
    passages = [Passage(TEXT[:200], id="a")]
    bits = sum(ledger.bits.sum() for ledger in adapter.pseudo_score(passages))
    torch.manual_seed(0)
    fresh = EncoderNetwork(
        TransformerEncoder(adapter.bpe.symbols, **ARGUMENTS["network"].arguments), adapter.bpe
    )
    assert bits < 0.7 * sum(ledger.bits.sum() for ledger in fresh.pseudo_score(passages))
    assert EncoderNetwork.build(ARGUMENTS, stuff).info.fingerprint == adapter.info.fingerprint
    assert adapter.training["steps"] == 80


RECIPE = Recipe(steps=4, batch=4, length=20, evaluations=1)
SUITE = """
name: gaps
version: 1
texts:
  train: {source: train.txt}
  valid: {source: valid.txt}
  test: {source: test.jsonl}
tasks:
  - {task: likelihood, text: test}
  - {task: memory, text: test, prompt_bytes: 60, answer_bytes: 20}
models:
  - byte-ngram
  - model: transformer-encoder
    network: {arguments: {context: 48, width: 32, layers: 1}}
    vocabulary: {size: 300}
    recipe: {steps: 40, batch: 8, length: 40, evaluations: 2}
"""


@pytest.mark.slow
def test_a_run_gives_it_pseudo_bits_in_a_table_of_their_own(tmp_path):
    place = folder(tmp_path)
    (place / "gaps.yaml").write_text(SUITE)
    done = llmbench("run", "gaps.yaml", "--out", "out", cwd=place)
    assert done.returncode == 0, done.stderr
    found = {(score["model"], score["metric"]) for score in run_json(place / "out")["scores"]}
    assert ("transformer-encoder", "pseudo_bits_per_byte") in found
    assert ("transformer-encoder", "bits_per_byte") not in found
    assert ("byte-ngram", "bits_per_byte") in found
    failures = {
        (failure["model"], failure["task"], failure["reason"])
        for failure in run_json(place / "out")["failures"]
    }
    assert failures == {
        ("transformer-encoder", "memory", "unsupported")
    }  # it neither goes on with a text nor charges one


def test_a_damaged_checkpoint_is_made_anew_and_kept(tmp_path):
    stuff = BuildContext(
        train=Text("train", (Document("a", TEXT), Document("b", TEXT[::-1]))), cache=tmp_path
    )
    first = EncoderNetwork.build({**ARGUMENTS, "recipe": RECIPE}, stuff).info.fingerprint
    weights = next((tmp_path / "networks").glob("*/model.safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-8])
    assert EncoderNetwork.build({**ARGUMENTS, "recipe": RECIPE}, stuff).info.fingerprint == first
    assert weights.read_bytes() == whole


def test_a_full_disk_costs_the_cache_and_says_so(tmp_path, monkeypatch):
    stuff = BuildContext(
        train=Text("train", (Document("a", TEXT), Document("b", TEXT[::-1]))), cache=tmp_path
    )

    def full(*what):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bpe_network, "save_file", full)
    with pytest.warns(UserWarning, match="No space left"):
        assert EncoderNetwork.build({**ARGUMENTS, "recipe": RECIPE}, stuff).training["steps"] == 4


def test_a_vocabulary_of_words_is_refused(tmp_path):
    stuff = BuildContext(train=Text("train", (Document("a", TEXT),)), cache=tmp_path)
    with pytest.raises(UsageError, match="byte-level BPE"):
        EncoderNetwork.build(
            {**ARGUMENTS, "vocabulary": VocabularySpec(splitter="words", size=9)}, stuff
        )
