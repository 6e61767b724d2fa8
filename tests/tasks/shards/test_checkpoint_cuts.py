"""Cells of a real checkpoint, cut in several ways. A run has one cut for a model, no matter which
worker computes its shards: another cut would compute other texts side by side, and round otherwise.
Nothing else depends on it.
"""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
from conftest import real
from support import small_checkpoints
from support.divided import content, divide
from support.known import quiet

from llmbench.adapter import Window
from llmbench.data.text import Document, Text
from llmbench.inference import batching
from llmbench.tasks.answers.text_prompts import Prompt
from llmbench.tasks.conditional import Conditional
from llmbench.tasks.continuation import Continuation, Decoding
from llmbench.tasks.last_word import LastWord
from llmbench.tasks.likelihood import Likelihood
from llmbench.tasks.multiple_choice import MultipleChoice
from llmbench.tasks.prompts import Asking
from llmbench.tasks.shards import running
from llmbench.tasks.shards.files import Shelf
from llmbench.tasks.shards.recording import Recorder, listen

pytestmark = pytest.mark.slow

PARAGRAPHS = 60
CUTS = (2, 4, 7)
BITS = 1e-4  # of a token; float32 keeps a logit of 20 to 2e-6, and a sum over 64 numbers less


def load():
    return small_checkpoints.load(real("stories260K-hf"))


@pytest.fixture(scope="module")
def checkpoint():
    return load()


@pytest.fixture(scope="module")
def tasks():
    """Each kind of question about paragraphs of a book: name -> how to make the task."""
    book = real("grimm/tales.txt").read_text(encoding="utf-8")[20_000:60_000]
    lines = [line for line in map(str.strip, book.split("\n\n")) if len(line) > 130][:PARAGRAPHS]
    assert len(lines) == PARAGRAPHS

    def take(rows):
        return Text("test", tuple(Document(f"d{i}", *row) for i, row in enumerate(rows)))

    plain = take([(line,) for line in lines])
    pairs = take([(line[60:], line[:60]) for line in lines])
    rows = [
        (line[60:90], line[:60], (line[60:90], line[90:120], " the end", " and so"))
        for line in lines
    ]
    prompts = [Prompt(line[:80]) for line in lines[:14]]
    return {
        "likelihood": lambda: Likelihood(plain, Window("half")),
        "conditional": lambda: Conditional(pairs),
        "multiple-choice": lambda: MultipleChoice(take(rows), Asking("{given}", "", " ", "\n")),
        "last-word": lambda: LastWord(plain),
        "continuation": lambda: Continuation(prompts, Decoding(60, (0.0, 0.9), seeds=2), seed=5),
    }


NAMES = ("likelihood", "conditional", "multiple-choice", "last-word", "continuation")


def run_cut(task, adapter, folder, count, monkeypatch):
    """The outcome of a task in so many shards, and all answers that it rests on, by kind."""
    divide(monkeypatch, task, adapter, count)
    edges, shelf = running.find_edges(task, adapter), Shelf(folder, {"key": "k"})
    if len(edges) == 2:
        recorder = Recorder()
        with listen(recorder):
            outcome = running.run_shards(task, adapter, quiet, shelf)
        return outcome, {kind: kept.answers for kind, kept in recorder.kept.items()}
    assert count <= len(edges) - 1 <= 2 * count
    outcome, answers = running.run_shards(task, adapter, quiet, shelf), {}
    for first, last in pairwise(edges):
        for kind, kept in shelf.read(first, last).items():
            answers.setdefault(kind, []).extend(kept.answers)
    return outcome, answers


@pytest.mark.parametrize("name", NAMES)
def test_another_cut_changes_bits_by_float_rounding_alone(
    name, checkpoint, tasks, monkeypatch, tmp_path
):
    whole, expected = run_cut(tasks[name](), checkpoint, tmp_path / "1", 1, monkeypatch)
    for count in CUTS:
        cut, answers = run_cut(tasks[name](), checkpoint, tmp_path / str(count), count, monkeypatch)
        assert answers.keys() == expected.keys()
        ledgers = zip(answers.pop("bits", ()), expected.get("bits", ()), strict=True)
        for one, other in ledgers:
            assert (one.id, one.bytes) == (other.id, other.bytes)
            assert np.abs(one.bits - other.bits).max() <= BITS
        assert answers == {kind: expected[kind] for kind in answers}  # texts, and yes or no
        assert [score["metric"] for score in cut.scores] == [
            score["metric"] for score in whole.scores
        ]
        for one, other in zip(cut.scores, whole.scores, strict=True):
            assert one["value"] == pytest.approx(other["value"], rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_no_cut_changes_a_byte_if_each_text_has_a_pass_of_its_own(
    name, checkpoint, tasks, monkeypatch, tmp_path
):
    monkeypatch.setattr(batching, "_budget", lambda model, width: 1)
    found = []
    for count in (1, *CUTS):
        place = tmp_path / str(count)
        outcome, _ = run_cut(tasks[name](), checkpoint, place / "shards", count, monkeypatch)
        found.append(content(outcome, place / "cell"))
    assert found[1:] == found[:1] * len(CUTS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", CUTS)
def test_shards_of_other_workers_in_any_order_change_no_byte(
    name, count, checkpoint, tasks, monkeypatch, tmp_path
):
    task = tasks[name]()
    expected, _ = run_cut(task, checkpoint, tmp_path / "alone", count, monkeypatch)
    edges, digests = running.find_edges(task, checkpoint), []
    spans = list(pairwise(edges))
    random.Random(count).shuffle(spans)
    workers = [load(), load()]
    for number, span in enumerate(spans):
        shelf = Shelf(
            tmp_path / "shared", {"key": "k"}, tell=lambda name, digest: digests.append(digest)
        )
        running.fill_shelf(tasks[name](), workers[number % 2], quiet, shelf, [span], edges[-1])
    found = running.run_shards(
        tasks[name](), load(), quiet, Shelf(tmp_path / "shared", {"key": "k"}, digests)
    )
    assert content(found, tmp_path / "found") == content(expected, tmp_path / "expected")
