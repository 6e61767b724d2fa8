"""A cell that is put together from shards has the numbers of one that is run whole."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from support import small_checkpoints
from support.divided import content, divide
from support.known import quiet
from support.lm_eval_tasks import settle, write_tasks

from llmbench import limits, storage
from llmbench.adapter import Window
from llmbench.data.text import Document, Text
from llmbench.errors import Unsupported
from llmbench.ledger import TOKEN, Ledger
from llmbench.tasks.answers.text_prompts import Prompt
from llmbench.tasks.conditional import Conditional
from llmbench.tasks.continuation import Continuation, Decoding
from llmbench.tasks.last_word import LastWord
from llmbench.tasks.likelihood import Likelihood
from llmbench.tasks.lm_eval.task import LmEval
from llmbench.tasks.multiple_choice import MultipleChoice
from llmbench.tasks.prompts import Asking
from llmbench.tasks.reference_based import Answer
from llmbench.tasks.shards import running
from llmbench.tasks.shards.files import Shelf
from llmbench.tasks.shards.recording import Kept
from llmbench.tasks.wikitext_lm_eval import WikitextLmEval
from llmbench.testing import MockAdapter

WORDS = ["the", "tap", "dripped", "and", "every", "kettle", "counted", "its", "spoons", "again"]


def sentences(count, seed=0):
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(2, 14))) for _ in range(count)]


def plain(count=23):
    return Text("test", tuple(Document(f"d{i}", s) for i, s in enumerate(sentences(count))))


def pairs(count=23):
    rows = zip(sentences(count), sentences(count, 1), strict=True)
    return Text("test", tuple(Document(f"d{i}", b, a) for i, (a, b) in enumerate(rows)))


def questions(count=23):
    rows = [
        Document(f"d{i}", s, "so", (s, s + " now", "no")) for i, s in enumerate(sentences(count))
    ]
    return Text("test", tuple(rows))


TASKS = {
    "likelihood": lambda: Likelihood(plain(), Window("half")),
    "wikitext": lambda: WikitextLmEval(plain()),
    "conditional": lambda: Conditional(pairs()),
    "multiple-choice": lambda: MultipleChoice(questions(), Asking("{given}", "", " ", "\n")),
    "last-word": lambda: LastWord(plain()),
    "last-word by tokens": lambda: LastWord(plain(), match="tokens"),
    "answer": lambda: Answer(pairs(), Asking("{given}", "", "", "\n"), ["\n"], 12),
    "continuation": lambda: Continuation(
        [Prompt(s) for s in sentences(11)], Decoding(8, (0.0, 0.9), seeds=3), seed=5
    ),
}


class Memory:
    """A shelf that counts what is written, and may be filled by several."""

    def __init__(self, folder, known=(), mark="k"):
        self.names, self.digests = [], []
        self.shelf = Shelf(folder, {"key": mark}, known, self._note)

    def _note(self, name, digest):
        self.names.append(name)
        self.digests.append(digest)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network whose float rounding depends on what is computed beside a text."""
    return small_checkpoints.load(small_checkpoints.gpt2(tmp_path_factory.mktemp("gpt2")))


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("count", [2, 4, 7])
def test_a_divided_cell_of_a_toy_is_the_whole_one(name, count, monkeypatch, tmp_path):
    adapter = MockAdapter(lambda prompt: prompt[::-1], bits_per_byte=1.25)
    whole = content(TASKS[name]().run(adapter, quiet), tmp_path / "whole")
    task, made = TASKS[name](), Memory(tmp_path / "shards")
    divide(monkeypatch, task, adapter, count)
    found = running.run_shards(task, adapter, quiet, made.shelf)
    assert content(found, tmp_path / "divided") == whole
    assert count <= len(made.names) <= 2 * count


@pytest.mark.parametrize("name", TASKS)
def test_who_computed_a_shard_does_not_matter(name, monkeypatch, tmp_path, network):
    task = TASKS[name]()
    divide(monkeypatch, task, network, 5)
    alone = Memory(tmp_path / "alone")
    expected = content(running.run_shards(task, network, quiet, alone.shelf), tmp_path / "a")
    edges, known = running.find_edges(task, network), []
    spans = list(pairwise(edges))
    random.Random(3).shuffle(spans)
    for first, last in spans:  # each by another worker, in any order
        one = Memory(tmp_path / "several")
        running.fill_shelf(TASKS[name](), network, quiet, one.shelf, [(first, last)], edges[-1])
        known += one.digests
    last = Memory(tmp_path / "several", known)
    found = running.run_shards(TASKS[name](), network, quiet, last.shelf)
    assert last.names == []
    assert content(found, tmp_path / "b") == expected


@pytest.mark.parametrize("name", ["likelihood", "last-word by tokens", "continuation"])
def test_of_a_kept_shard_nothing_is_asked_again(name, monkeypatch, tmp_path):
    adapter = MockAdapter(lambda prompt: prompt[::-1], bits_per_byte=1.25)
    task = TASKS[name]()
    divide(monkeypatch, task, adapter, 6)
    before = Memory(tmp_path)
    running.run_shards(task, adapter, quiet, before.shelf)
    lost = tmp_path / before.names[2]
    lost.unlink()
    asked = MockAdapter(adapter.answers, bits_per_byte=1.25)
    after = Memory(tmp_path, before.digests)
    running.run_shards(TASKS[name](), asked, quiet, after.shelf)
    assert after.names == [lost.name]
    share = (len(asked.passages) + len(asked.requests)) / (
        len(adapter.passages) + len(adapter.requests)
    )
    assert 0 < share < 1 / 3


def test_a_question_of_lm_eval_is_asked_in_its_shard_alone(monkeypatch, tmp_path, network):
    place = tmp_path / "tasks"
    place.mkdir()
    write_tasks(place)
    (settings,) = settle(place, "my_choice")
    texts = {settings.text: settings.load_text(None, 0, fetch=False)}
    make = lambda: LmEval.from_settings(settings, texts, 0)  # noqa: E731
    divide(monkeypatch, make(), network, 3)
    one, two = Memory(tmp_path / "one"), Memory(tmp_path / "two")
    expected = content(running.run_shards(make(), network, quiet, one.shelf), tmp_path / "a")
    edges = running.find_edges(make(), network)
    for span in reversed(list(pairwise(edges))):
        running.fill_shelf(make(), network, quiet, two.shelf, [span], edges[-1])
    found = running.run_shards(make(), network, quiet, two.shelf)
    assert len(one.names) >= 3
    assert sorted(two.names) == sorted(one.names)
    assert content(found, tmp_path / "b") == expected


def test_a_shard_of_another_question_is_not_taken(tmp_path):
    written = Memory(tmp_path)
    written.shelf.write(0, 3, {})
    assert Shelf(tmp_path, {"key": "k"}, written.digests).read(0, 3) == {}
    assert Shelf(tmp_path, {"key": "other"}, written.digests).read(0, 3) is None
    assert Shelf(tmp_path, {"key": "k"}, written.digests).read(0, 4) is None


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a zip", None])
def test_a_shard_that_is_not_believed_is_not_read(damage, tmp_path):
    written = Memory(tmp_path)
    written.shelf.write(0, 3, {})
    file = tmp_path / written.names[0]
    if damage is not None:
        file.write_bytes(damage)
    known = [] if damage is None else [storage.digest_file(file)]
    assert Shelf(tmp_path, {"key": "k"}, known).read(0, 3) is None


def test_a_shard_that_vanishes_while_it_is_used_is_an_error(monkeypatch, tmp_path):
    adapter, task = MockAdapter(), TASKS["likelihood"]()
    divide(monkeypatch, task, adapter, 4)
    made = Memory(tmp_path)
    edges = running.find_edges(task, adapter)
    running.fill_shelf(task, adapter, quiet, made.shelf, pairwise(edges), edges[-1])
    (tmp_path / made.names[1]).unlink()
    with (
        running.listen(running.Replayer(made.shelf, edges)),
        pytest.raises(storage.Damaged, match=made.names[1]),
    ):
        task.run(adapter, quiet)


def test_infinite_bits_and_losses_survive_a_shard(tmp_path):
    bits, kinds = np.array([np.inf, 0.1]), np.array([TOKEN, TOKEN], np.uint8)
    spans = np.array([0, 2]), np.array([2, 3])
    ledger = Ledger(*spans, bits, kinds, 3, "a\ud800", "byte 3", 1)
    kept = Kept()
    kept.digests, kept.answers = [b"x" * 16], [ledger]
    made = Memory(tmp_path)
    made.shelf.write(0, 1, {"bits": kept})
    (read,) = made.shelf.read(0, 1)["bits"].answers
    assert (read.id, read.loss, read.bytes, read.context_bytes) == ("a\ud800", "byte 3", 3, 1)
    for name in ("start", "end", "bits", "kind"):
        assert getattr(read, name).tolist() == getattr(ledger, name).tolist()


def test_a_text_with_a_huge_document_is_not_divided():
    small, huge = Document("a", "a tap"), Document("b", "b" * (limits.WHOLE_ITEM_BYTES + 1))
    both = Likelihood(Text("test", (small, huge)), Window("half"))
    assert running.find_edges(both, MockAdapter()) == [0, 2]


def test_shards_of_other_weights_are_computed_again(monkeypatch, tmp_path):
    """A worker that helped may have drawn other weights than the one that fills the cell."""
    adapter, other = MockAdapter(bits_per_byte=1.25), MockAdapter(bits_per_byte=3.0)
    task = TASKS["likelihood"]()
    divide(monkeypatch, task, adapter, 4)
    (first, last), *rest = pairwise(running.find_edges(task, adapter))
    helper = Memory(tmp_path / "shards", mark="other weights")
    running.fill_shelf(task, other, quiet, helper.shelf, [(first, last)], 23)
    own = Memory(tmp_path / "shards", helper.digests)
    found = running.run_shards(task, adapter, quiet, own.shelf, lambda edges: rest)
    whole = TASKS["likelihood"]().run(adapter, quiet)
    assert content(found, tmp_path / "a") == content(whole, tmp_path / "b")


def test_what_a_model_cannot_do_is_found_in_the_first_shard(monkeypatch, tmp_path):
    """Not when all of them are computed."""
    endless, asked = MockAdapter(bits_per_byte=1.25), []

    def score(passages, window=None):
        asked.extend(passages)
        plain = [replace(passage, score_eos=False) for passage in passages]
        return MockAdapter.score(endless, plain)

    monkeypatch.setattr(endless, "score", score)
    task, made = TASKS["conditional"](), Memory(tmp_path)
    divide(monkeypatch, task, endless, 5)
    with pytest.raises(Unsupported, match="where a text ends"):
        running.run_shards(task, endless, quiet, made.shelf)
    assert 0 < len(asked) < 23 / 2
    assert made.names == []


def test_the_tasks_of_lm_eval_are_loaded_once_for_all_shards(monkeypatch, tmp_path, network):
    place, loads = tmp_path / "tasks", []
    place.mkdir()
    write_tasks(place)
    (settings,) = settle(place, "my_choice")
    texts, load = (
        {settings.text: settings.load_text(None, 0, fetch=False)},
        LmEval.Settings.load_tasks,
    )
    monkeypatch.setattr(
        LmEval.Settings, "load_tasks", lambda self: loads.append(self) or load(self)
    )
    task = LmEval.from_settings(settings, texts, 0)
    divide(monkeypatch, task, network, 3)
    running.run_shards(task, network, quiet, Memory(tmp_path / "shards").shelf)
    assert len(loads) == 1
