from __future__ import annotations

import inspect
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from support.toys import NETWORKS, SMALL, TEXT

from llmbench.adapter import BuildContext, Passage
from llmbench.adapters import bpe_network
from llmbench.adapters.network import NetworkAdapter
from llmbench.config.model_card import NetworkSpec, Recipe, VocabularySpec
from llmbench.data.text import Document, Text
from llmbench.errors import ModelError, UsageError
from llmbench.models.networks.recurrent import RNN
from llmbench.models.tokenizers.tokens import Tokens
from llmbench.storage import is_intact
from llmbench.training import cache, trainer
from llmbench.training.causal_lm import (
    IGNORE,
    TrainingLine,
    as_training_line,
    lanes,
    random_windows,
)
from llmbench.training.rounding import round_weights, shrink_weights
from llmbench.training.trainer import Course


def checkpoint_folder(*parts):
    return cache.checkpoint_folder(*parts, Path(inspect.getfile(NetworkAdapter)))


TRAIN = Text("train", tuple(Document(str(i), TEXT[i * 40 :]) for i in range(6)))
VALID = Text("valid", (Document("v", TEXT[:150]),))


def arguments(name, **recipe):
    cls = NETWORKS[name]
    words = name == "word-ffn"
    return {
        "network": NetworkSpec.model_validate(
            {"class": f"{cls.__module__}:{cls.__name__}", "arguments": SMALL[name]}
        ),
        "vocabulary": VocabularySpec(
            splitter="words" if words else "characters", size=30 if words else None
        ),
        "recipe": Recipe(
            **{
                "steps": 30,
                "batch": 8,
                "length": 16,
                "evaluations": 3,
                "learning_rate": 0.01,
                **recipe,
            }
        ),
    }


def build_context(tmp_path, **changes):
    return BuildContext(**{"train": TRAIN, "valid": VALID, "cache": tmp_path, **changes})


@pytest.mark.parametrize("name", NETWORKS)
def test_training_learns_and_keeps_its_best(name, tmp_path):
    model = NetworkAdapter.build(arguments(name, steps=60), build_context(tmp_path))
    curve = model.training["curve"]
    assert [step for step, _ in curve] == [20, 40, 60]
    assert curve[-1][1] < curve[0][1] < 8
    bits = (
        sum(ledger.total() for ledger in model.score([Passage(VALID.documents[0].text)]))
        / VALID.bytes
    )
    assert bits == pytest.approx(min(bits for _, bits in curve), rel=1e-5)


def test_what_is_kept_is_rounded_to_float16_and_training_goes_on_exactly(tmp_path, monkeypatch):
    rounded = NetworkAdapter.build(arguments("lstm"), build_context(tmp_path / "a"))
    for tensor in rounded.network.state_dict().values():
        assert torch.equal(tensor.half().float(), tensor)
    monkeypatch.setattr(trainer, "round_weights", lambda tensor: tensor)
    exact = NetworkAdapter.build(arguments("lstm"), build_context(tmp_path / "b"))
    assert exact.info.fingerprint != rounded.info.fingerprint
    for name, tensor in exact.network.state_dict().items():
        kept = rounded.network.state_dict()[name]
        assert torch.equal(tensor.half().float(), kept)
    for (_, one), (_, other) in zip(
        exact.training["curve"], rounded.training["curve"], strict=True
    ):
        assert one == pytest.approx(other, abs=1e-3)
    (small,), (large,) = (
        list((tmp_path / place).glob("networks/*/model.safetensors")) for place in "ab"
    )
    assert small.stat().st_size < 0.6 * large.stat().st_size


def test_weights_beyond_float16_stay_as_they_are():
    wide = torch.tensor([1e6, 0.1, -1e-9])
    assert round_weights(wide).tolist() == [1e6, torch.tensor(0.1).half().item(), 0.0]
    whole = torch.tensor([70_000, 3])
    assert round_weights(whole) is whole
    tied = torch.full((2, 2), 0.5)
    shrunk = shrink_weights({"a": tied, "b": tied, "c": wide})
    assert shrunk["a"] is shrunk["b"]
    assert [shrunk[name].dtype for name in "ac"] == [torch.float16, torch.float32]


@pytest.mark.parametrize("name", ["lstm", "transformer-decoder"])
def test_the_same_seed_gives_the_same_weights_and_another_gives_others(name, tmp_path):
    prints = [
        NetworkAdapter.build(
            arguments(name), build_context(tmp_path / folder, seed=seed)
        ).info.fingerprint
        for folder, seed in zip("abc", (0, 0, 1), strict=True)
    ]
    assert prints[0] == prints[1] != prints[2]


def test_a_trained_network_comes_from_the_cache_the_second_time(tmp_path, monkeypatch):
    first = NetworkAdapter.build(arguments("rnn"), build_context(tmp_path))
    monkeypatch.setattr(bpe_network, "teach", lambda *a: pytest.fail("trained again"))
    second = NetworkAdapter.build(arguments("rnn"), build_context(tmp_path))
    assert first.info == second.info


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"train": VALID}, {"valid": TRAIN}, {"valid": None}]
)
def test_the_cache_is_keyed_by_data_and_seed(tmp_path, change):
    spec = arguments("rnn")
    parts = (spec["network"], spec["vocabulary"], spec["recipe"])
    assert checkpoint_folder(*parts, build_context(tmp_path)) != checkpoint_folder(
        *parts, build_context(tmp_path, **change)
    )


def test_the_cache_is_keyed_by_recipe_and_source(tmp_path):
    source = tmp_path / "net.py"
    source.write_text("one = 1\n")
    spec = NetworkSpec.model_validate({"class": f"{source}:Net"})
    one = checkpoint_folder(spec, VocabularySpec(), Recipe(steps=5), build_context(tmp_path))
    assert one != checkpoint_folder(
        spec, VocabularySpec(), Recipe(steps=6), build_context(tmp_path)
    )
    source.write_text("two = 2\n")
    assert one != checkpoint_folder(
        spec, VocabularySpec(), Recipe(steps=5), build_context(tmp_path)
    )


@pytest.mark.parametrize("damage", ["weights", "config", "digit", "half"])
def test_a_damaged_checkpoint_is_trained_again(tmp_path, damage):
    spec, stuff = arguments("rnn"), build_context(tmp_path)
    first = NetworkAdapter.build(spec, stuff)
    folder = checkpoint_folder(spec["network"], spec["vocabulary"], spec["recipe"], stuff)
    weights = folder / "model.safetensors"
    if damage == "weights":
        raw = bytearray(weights.read_bytes())
        raw[-1] ^= 1
        weights.write_bytes(raw)
    elif damage == "half":
        weights.write_bytes(weights.read_bytes()[:100])
    elif damage == "digit":
        text = (folder / "config.json").read_text()
        assert '"steps": 30' in text
        (folder / "config.json").write_text(text.replace('"steps": 30', '"steps": 90'))
    else:
        (folder / "config.json").write_text("{")
    again = NetworkAdapter.build(spec, stuff)
    assert again.info.fingerprint == first.info.fingerprint
    assert again.info.training["steps"] == 30
    assert is_intact(folder)


def _train_and_die(folder):
    def die(path, *args):
        os._exit(9)

    bpe_network.save_file = die  # killed in the moment of writing
    NetworkAdapter.build(arguments("rnn"), build_context(folder))


def test_a_training_that_is_killed_leaves_no_checkpoint(tmp_path):
    child = multiprocessing.get_context("spawn").Process(target=_train_and_die, args=(tmp_path,))
    child.start()
    child.join()
    assert child.exitcode == 9
    spec, stuff = arguments("rnn"), build_context(tmp_path)
    assert not checkpoint_folder(
        spec["network"], spec["vocabulary"], spec["recipe"], stuff
    ).exists()
    NetworkAdapter.build(spec, stuff)


def test_without_a_validation_text_the_tail_of_train_is_held_out(tmp_path):
    model = NetworkAdapter.build(
        arguments("rnn", hold_out=0.2), build_context(tmp_path, valid=None)
    )
    assert len(model.training["curve"]) == 3


def test_a_loss_that_is_no_number_is_an_error():
    class Broken(NETWORKS["rnn"]):
        def head(self, rows):
            return super().head(rows) * float("nan")

    with pytest.raises(ModelError, match="training loss became nan at step 2"):
        trainer.train(
            Broken(70, **SMALL["rnn"]),
            [TrainingLine(*documents(60))],
            Course(Recipe(steps=4, evaluations=2), 0, lambda: 1.0),
        )


def test_without_a_training_text_it_says_what_to_give(tmp_path):
    with pytest.raises(UsageError, match="needs a training text"):
        NetworkAdapter.build(arguments("rnn"), build_context(tmp_path, train=None))


def test_network_arguments_that_do_not_fit_are_named(tmp_path):
    spec = arguments("rnn")
    spec["network"] = NetworkSpec.model_validate(
        {"class": spec["network"].cls, "arguments": {"widht": 3}}
    )
    with pytest.raises(UsageError, match="widht"):
        NetworkAdapter.build(spec, build_context(tmp_path))


def documents(*sizes):
    ids = iter(range(10_000))
    return [np.array([next(ids) for _ in range(size)], dtype=np.int64) for size in sizes]


def test_windows_charge_all_symbols_about_equally_and_the_right_ones():
    some, start, reach = documents(3, 40, 9), 99_999, 4
    seen = np.zeros(52)
    batches = random_windows(
        [TrainingLine(ids) for ids in some],
        start,
        batch=16,
        length=8,
        reach=reach,
        rng=np.random.default_rng(0),
    )
    before = {
        int(b): int(a)
        for document in some
        for a, b in zip([start, *document[:-1]], document, strict=True)
    }
    for _ in range(400):
        ids, targets, given = next(batches)
        assert ids.shape == targets.shape == (16, 8)
        assert given.shape == (16, reach - 1)
        for row in range(16):
            line = [*given[row].tolist(), *ids[row].tolist()]
            for t in range(8):
                target = int(targets[row, t])
                if target != IGNORE:
                    seen[target] += 1
                    assert line[reach - 1 + t] == before[target]
    assert seen.min() > 0.25 * seen.mean()
    assert seen.max() < 2.5 * seen.mean()


def test_lanes_read_every_document_in_order_once_before_any_twice():
    some, start = documents(5, 30, 12, 7), 99_999
    batches = lanes(
        [TrainingLine(ids) for ids in some], start, batch=2, length=6, rng=np.random.default_rng(0)
    )
    seen: list[int] = []
    previous: list[int | None] = [None, None]
    for _ in range(40):
        ids, targets, fresh = next(batches)
        for row in range(2):
            if fresh[row]:
                previous[row] = None
            for x, y in zip(ids[row].tolist(), targets[row].tolist(), strict=True):
                if y == IGNORE:
                    continue
                assert previous[row] is None or x == previous[row], "a lane jumped"
                assert x in (start, y - 1)
                previous[row] = y
                seen.append(y)
    first_round = seen[:54]
    assert (
        len(set(first_round)) >= 50
    )  # lanes run side by side: the last piece of a round may meet the first of the next
    counts = np.bincount(seen, minlength=54)
    assert counts.max() - counts.min() <= 2


@pytest.mark.parametrize("reach", [None, 4])
def test_of_a_pair_only_what_stands_after_its_source_is_learnt(reach):
    some = [
        TrainingLine(ids, first) for ids, first in zip(documents(12, 30, 7), (9, 0, 6), strict=True)
    ]
    learnt = {int(i) for one in some for i in one.ids[one.first :]}
    seen = np.zeros(49)
    batches = random_windows(
        some, 99_999, batch=8, length=10, reach=reach, rng=np.random.default_rng(0)
    )
    for _ in range(200):
        ids, targets, _ = next(batches)
        for x, y in zip(ids.flatten().tolist(), targets.flatten().tolist(), strict=True):
            if y != IGNORE:
                seen[y] += 1
                assert x in (99_999, y - 1)
    assert {int(i) for i in np.flatnonzero(seen)} == learnt
    found = lanes(some, 99_999, batch=2, length=6, rng=np.random.default_rng(0))
    charged = [y for _ in range(40) for y in next(found)[1].flatten().tolist() if y != IGNORE]
    assert set(charged) == learnt


def test_a_source_ends_with_the_last_token_that_lies_in_it():
    tokens = Tokens.of([5, 6, 7], [b"ab", b"cd", b"e"])
    assert as_training_line(tokens, Document("x", "cde", context="ab")).first == 1
    assert (
        as_training_line(tokens, Document("x", "bcde", context="a")).first == 0
    )  # the token that goes over the border is learnt
    assert as_training_line(tokens, Document("x", "abcde")).first == 0


def test_a_batch_of_sources_alone_teaches_nothing_and_breaks_nothing():
    network = RNN(70, **SMALL["rnn"])
    course = Course(Recipe(steps=2, batch=1, length=2, evaluations=1), 0, lambda: 1.0)
    trainer.train(network, [TrainingLine(*documents(60), first=58)], course)
    assert all(torch.isfinite(p).all() for p in network.parameters())


def test_rates_rise_then_fall_to_what_is_left():
    recipe = Recipe(steps=100, warmup=0.1, final=0.05)
    shares = [trainer._schedule(step, recipe) for step in range(100)]
    assert shares[0] == pytest.approx(0.1)
    assert max(shares) == shares[9] == 1.0
    assert shares[-1] == pytest.approx(0.05, abs=0.02)


def test_muon_gets_the_matrices_and_adamw_the_rest():
    net = NETWORKS["transformer-decoder"](20, **SMALL["transformer-decoder"])
    adamw, muon = trainer._optimizers(net, Recipe(steps=1, matrix_learning_rate=0.02))
    chosen = {id(p) for group in muon.param_groups for p in group["params"]}
    names = {name for name, p in net.named_parameters() if id(p) in chosen}
    assert names == {
        f"layers.{i}.{part}.weight" for i in range(2) for part in ("qkv", "out", "up", "down")
    }
    assert sum(
        len(group["params"]) for optimizer in (adamw, muon) for group in optimizer.param_groups
    ) == len(list(net.parameters()))
    assert len(trainer._optimizers(net, Recipe(steps=1))) == 1


def test_progress_is_told(tmp_path):
    told = []
    NetworkAdapter.build(
        arguments("rnn"), build_context(tmp_path, progress=lambda *said: told.append(said))
    )
    assert any(
        what == "training" and share == 1.0 and "bits a symbol" in remark
        for what, share, remark in told
    )


def test_a_checkpoint_that_cannot_be_kept_costs_no_training(tmp_path):
    (tmp_path / "networks").write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="could not keep the trained network"):
        model = NetworkAdapter.build(arguments("rnn"), build_context(tmp_path))
    assert model.training["steps"] == 30


def test_tied_weights_are_kept_and_come_back(tmp_path):
    (tmp_path / "tied.py").write_text(
        "from torch import nn\n"
        "from llmbench.models.networks.network import Network\n"
        "class Tied(Network):\n"
        "    carries = True\n"
        "    def __init__(self, symbols):\n"
        "        super().__init__()\n"
        "        self.symbols = symbols\n"
        "        self.embedding = nn.Embedding(symbols + 1, 8)\n"
        "        self.body = nn.GRU(8, 8, batch_first=True)\n"
        "        self.wide = nn.Linear(8, symbols + 1, bias=False)\n"
        "        self.wide.weight = self.embedding.weight\n"
        "    def hidden(self, ids, state=None):\n"
        "        return self.body(self.embedding(ids), state)\n"
        "    def head(self, rows):\n"
        "        return self.wide(rows)[..., :-1]\n"
    )
    spec = {
        **arguments("rnn"),
        "network": NetworkSpec.model_validate({"class": f"{tmp_path}/tied.py:Tied"}),
    }
    first = NetworkAdapter.build(spec, build_context(tmp_path))
    assert (
        NetworkAdapter.build(spec, build_context(tmp_path)).info.fingerprint
        == first.info.fingerprint
    )


def test_another_device_is_another_checkpoint(tmp_path):
    spec = arguments("rnn")
    parts = (spec["network"], spec["vocabulary"], spec["recipe"])
    assert checkpoint_folder(*parts, build_context(tmp_path)) != checkpoint_folder(
        *parts, build_context(tmp_path, device="cuda")
    )
