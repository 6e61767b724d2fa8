"""The encoder-decoder that is trained here: its vocabulary, its two ways of writing, its lessons,
and a run from pairs to BLEU.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.run_helpers import folder, llmbench, run_json

from llmbench.adapter import BuildContext, Passage, Request
from llmbench.adapters.seq2seq_network import Seq2SeqNetwork
from llmbench.config.model_card import NetworkSpec, Recipe, VocabularySpec
from llmbench.conformance import kit
from llmbench.conformance.check import Subject
from llmbench.data.loading import load
from llmbench.data.text import Document, Text
from llmbench.errors import UsageError
from llmbench.ledger import END
from llmbench.models.networks.transformer_seq2seq import TransformerSeq2Seq
from llmbench.models.tokenizers.bpe import Bpe
from llmbench.training.seq2seq_lm import Pairs

CLASS = "llmbench.models.networks.transformer_seq2seq:TransformerSeq2Seq"
WORDS = ["kettle", "tap", "spoon", "cellar", "stove", "ladder", "goat", "cheese"]
PAIRS = [(f"{a} und {b}", f"the {b} saw the {a}") for a in WORDS for b in WORDS if a != b]
BPE = Bpe.learn([part for pair in PAIRS for part in pair], 330)


def made(seed=0, **arguments):
    torch.manual_seed(seed)
    return Seq2SeqNetwork(
        TransformerSeq2Seq(
            BPE.symbols,
            **{"context": 64, "width": 32, "heads": 2, "layers": 2, "dropout": 0.0, **arguments},
        ),
        BPE,
    )


@given(st.text(max_size=60))
def test_the_vocabulary_loses_nothing_of_any_text(text):
    tokens = BPE.encode(text)
    assert BPE.decode(tokens.ids.tolist()) == text.encode()
    assert tokens.start.tolist() == [0, *tokens.end.tolist()][: len(tokens.ids)]
    assert not len(tokens.ids) or tokens.end[-1] == len(text.encode())


def test_the_vocabulary_is_the_same_after_being_kept():
    again = Bpe(BPE.to_json())
    assert again.symbols == BPE.symbols
    assert again.encode("kettle und tap").ids.tolist() == BPE.encode("kettle und tap").ids.tolist()
    assert BPE.symbols > 256
    assert len(BPE.encode("the kettle").ids) < len("the kettle")


def test_step_by_step_equals_one_pass():
    net = made().network
    source, target = torch.randint(0, BPE.symbols, (2, 7)), torch.randint(0, BPE.symbols, (2, 6))
    with torch.inference_mode():
        whole = net(source, torch.ones_like(source), target)
        cache, mask = net.encode(source, torch.ones_like(source))
        rows = []
        for at in range(6):
            row, cache = net.decode(target[:, at : at + 1], cache, mask)
            rows.append(net.head(row))
    torch.testing.assert_close(torch.cat(rows, dim=1), whole, rtol=1e-4, atol=1e-5)


def test_later_targets_change_nothing_before_them_and_the_source_changes_all():
    net = made().network
    source, target = torch.randint(0, BPE.symbols, (1, 7)), torch.randint(0, BPE.symbols, (1, 6))
    other, moved = target.clone(), source.clone()
    other[:, 4:] = (other[:, 4:] + 1) % BPE.symbols
    moved[:, -1] = (moved[:, -1] + 1) % BPE.symbols
    with torch.inference_mode():
        one, later, read = (
            net(s, torch.ones_like(s), t)
            for s, t in ((source, target), (source, other), (moved, target))
        )
    torch.testing.assert_close(one[:, :4], later[:, :4])
    assert not torch.allclose(one[:, 0], read[:, 0])


def test_padding_of_a_source_is_seen_by_nobody():
    net = made().network
    source, target = torch.randint(0, BPE.symbols, (1, 7)), torch.randint(0, BPE.symbols, (1, 5))
    longer = torch.cat([source, torch.full((1, 3), net.eos_id)], dim=1)
    mask = torch.tensor([[1] * 7 + [0] * 3])
    with torch.inference_mode():
        torch.testing.assert_close(
            net(source, torch.ones_like(source), target),
            net(longer, mask, target),
            rtol=1e-4,
            atol=1e-5,
        )


def test_the_kit_finds_no_fault_in_it():
    results = list(kit.run(Subject(made(), lambda: made(), seed=0), kit.CHECKS, 60))
    assert not [result for result in results if result.state not in ("passed", "skipped")], results
    assert sum(result.state == "passed" for result in results) >= 5


def test_every_pair_comes_once_before_any_comes_again_and_the_seed_decides_the_order():
    lessons = Pairs(
        made().network, [(BPE.encode(a).ids.tolist(), BPE.encode(b).ids.tolist()) for a, b in PAIRS]
    )
    recipe = Recipe(steps=1, batch=8)
    batches = lessons.batches(recipe, 1)
    seen = [i for _ in range(7) for i in next(batches)]
    assert sorted(seen) == list(range(len(PAIRS)))
    again = lessons.batches(recipe, 1)
    assert [i for _ in range(7) for i in next(again)] == seen
    other = lessons.batches(recipe, 2)
    assert [i for _ in range(7) for i in next(other)] != seen


def test_the_loss_is_that_of_each_target_and_its_end():
    adapter = made()
    ids = [(BPE.encode(a).ids.tolist(), BPE.encode(b).ids.tolist()) for a, b in PAIRS[:3]]
    with torch.inference_mode():
        loss = float(Pairs(adapter.network, ids).loss([0, 1, 2], None)[0])
    ledgers = list(adapter.score([Passage(b, context=a, score_eos=True) for a, b in PAIRS[:3]]))
    bits = sum(ledger.total() + ledger.total(END) for ledger in ledgers)
    count = sum(len(target) + 1 for _, target in ids)
    assert loss == pytest.approx(bits * np.log(2) / count, rel=1e-5)


def build_context(tmp_path, train):
    documents = tuple(Document(str(i), target, source) for i, (source, target) in enumerate(train))
    return BuildContext(train=Text("train", documents), cache=tmp_path)


ARGUMENTS = {
    "network": NetworkSpec.model_validate(
        {
            "class": CLASS,
            "arguments": {"context": 32, "width": 64, "heads": 4, "layers": 1, "dropout": 0.0},
        }
    ),
    "vocabulary": VocabularySpec(splitter="bpe", size=330),
    "recipe": Recipe(
        steps=150,
        batch=16,
        learning_rate=0.005,
        matrix_learning_rate=0.02,
        evaluations=3,
        hold_out=0.1,
    ),
}


def test_it_learns_to_put_words_in_another_order_and_is_the_same_from_the_cache(tmp_path):
    adapter = Seq2SeqNetwork.build(ARGUMENTS, build_context(tmp_path, PAIRS))
    curve = [bits for _, bits in adapter.training["curve"]]
    assert curve[-1] < curve[0]
    said = ["" for _ in PAIRS[:12]]
    for chunk in adapter.generate([Request(source, max_bytes=60) for source, _ in PAIRS[:12]]):
        said[chunk.row] += chunk.text
    assert sum(text == target for text, (_, target) in zip(said, PAIRS[:12], strict=True)) >= 9
    again = Seq2SeqNetwork.build({**ARGUMENTS}, build_context(tmp_path, PAIRS))
    assert again.info.fingerprint == adapter.info.fingerprint
    assert again.training["steps"] == 150
    kept = next((tmp_path / "networks").glob("*/model.safetensors"))
    kept.write_bytes(kept.read_bytes()[:-8])
    assert (
        Seq2SeqNetwork.build(ARGUMENTS, build_context(tmp_path, PAIRS)).info.fingerprint
        == adapter.info.fingerprint
    )


def test_without_pairs_it_says_what_it_learns_from(tmp_path):
    with pytest.raises(UsageError, match="learns from pairs"):
        Seq2SeqNetwork.build(ARGUMENTS, build_context(tmp_path, [("", "no source")]))
    with pytest.raises(UsageError, match="needs a training text"):
        Seq2SeqNetwork.build(ARGUMENTS, BuildContext(cache=tmp_path))


def test_stories_in_another_language_are_pairs_and_questions_about_them_have_answers():
    pairs = load("pairs", "storyworld", select={"part": "pairs", "split": "valid"})
    stories = load("stories", "storyworld", select={"part": "stories", "split": "valid"})
    assert [document.text for document in pairs.documents] == [
        document.text for document in stories.documents
    ]
    assert all(document.context for document in pairs.documents)
    questions = load("questions", "storyworld", select={"part": "questions", "split": "valid"})
    assert len(questions.documents) >= 12 * len(stories.documents)
    assert all(document.text for document in questions.documents)
    assert len({document.id for document in questions.documents}) == len(questions.documents)


def test_no_story_of_one_split_stands_in_another_and_each_knows_its_bits():
    splits = {
        name: load(name, "storyworld", select={"split": name})
        for name in ("train", "valid", "test")
    }
    texts = {name: {document.text for document in text.documents} for name, text in splits.items()}
    assert not texts["train"] & texts["test"]
    assert not texts["valid"] & (texts["train"] | texts["test"])
    assert all(
        document.truth and document.truth >= 60
        for text in splits.values()
        for document in text.documents
    )
    assert splits["test"].sha256 == load("again", "storyworld").sha256


@pytest.mark.parametrize("select", [{"part": "poems"}, {"split": "all"}, {"voice": "loud"}])
def test_what_there_is_not_in_storyworld_is_said(select):
    with pytest.raises(UsageError, match="there is no"):
        load("x", "storyworld", select=select)


SUITE = """
name: pairs
version: 1
texts:
  train: {source: train.jsonl}
  test: {source: test.jsonl}
tasks:
  - {task: conditional, text: test}
  - {task: translation, text: test, max_bytes: 60}
models:
  - model: transformer-seq2seq
    network: {arguments: {context: 32, width: 64, layers: 1, dropout: 0.0}}
    vocabulary: {size: 330}
    recipe: {steps: 120, batch: 16, evaluations: 2}
"""
WORLD = """
name: world
version: 1
texts:
  train: {source: storyworld, select: {split: train}}
  test: {source: storyworld, select: {split: test}}
tasks: [{task: likelihood, text: test}]
models: [storyworld-oracle, byte-ngram]
"""


@pytest.mark.slow
def test_a_suite_trains_it_on_pairs_and_scores_what_it_writes(tmp_path):
    place = folder(tmp_path)
    (place / "pairs.yaml").write_text(SUITE)
    for name, rows in (("train", PAIRS[8:]), ("test", PAIRS[:8])):
        (place / f"{name}.jsonl").write_text(
            "".join(json.dumps({"given": a, "text": b}) + "\n" for a, b in rows)
        )
    done = llmbench("run", "pairs.yaml", "--out", "out", cwd=place)
    assert done.returncode == 0, done.stderr
    value = {score["metric"]: score["value"] for score in run_json(place / "out")["scores"]}
    assert value.keys() >= {"conditional_bits_per_byte", "bleu", "chrf", "ter"}
    assert value["chrf"] > 40
    assert 0 < value["conditional_bits_per_byte"] < 4


@pytest.mark.slow
def test_the_source_itself_is_a_row_without_excess_and_a_model_pays_more_than_the_truth(tmp_path):
    place = folder(tmp_path)
    (place / "world.yaml").write_text(WORLD)
    done = llmbench("run", "world.yaml", "--out", "out", cwd=place)
    assert done.returncode == 0, done.stderr
    record = run_json(place / "out")
    excess = {
        score["model"]: score
        for score in record["scores"]
        if score["metric"] == "excess_bits_per_byte"
    }
    assert excess["storyworld-oracle"]["value"] == pytest.approx(0, abs=1e-12)
    assert excess["byte-ngram"]["low"] > 0.5
    ranks = {
        score["model"]: score["rank"]
        for score in record["scores"]
        if score["metric"] == "bits_per_byte"
    }
    assert ranks == {"storyworld-oracle": [1, 1], "byte-ngram": [2, 2]}
