"""Prompts and sources that a tokenizer cannot hold, or a context: read in part, and counted."""

from __future__ import annotations

import pytest
from support import honest_tokenizers, small_checkpoints, toys
from support.hand_record import model as hand_model
from support.hand_record import record
from support.known import quiet, text
from support.run_helpers import folder, llmbench

from llmbench.adapters.encoder_decoder import _Writer
from llmbench.data.text import Document, Text
from llmbench.leaderboard.sentences.findings import notes
from llmbench.metrics.registry import create_metric
from llmbench.tasks.answers.text_prompts import Prompt
from llmbench.tasks.conditional import Conditional
from llmbench.tasks.continuation import Continuation, Decoding
from llmbench.tasks.last_word import LastWord
from llmbench.tasks.multiple_choice import MultipleChoice
from llmbench.tasks.prompts import Asking
from llmbench.tasks.reference_based import Answer, Translation

HELD = "the kettle and the tap"
LOWER = """

class Lower(Good):
    def encode(self, text):
        return super().encode(text.lower())
"""


def words():
    return toys.network("word-ffn", "the kettle and the tap " * 4)


@pytest.mark.parametrize(
    ("name", "lost", "why"),
    [
        ("gaps", "the\x04 tap", "byte 3"),
        ("gaps_unknown", "the\x04 tap", "byte 3"),
        ("nfc", "cafe\u0301", "byte 3"),
        ("lower_bytes", "the Tap", "byte 4"),
        ("ascii_alone", "the \u2603 tap", "byte 4"),
        ("words", "the spoon", "' spoon' at byte 3 is not in the vocabulary"),
    ],
)
def test_a_prompt_that_loses_something_is_counted_once_and_marked(name, lost, why):
    model = words() if name == "words" else honest_tokenizers.adapter(name)
    asked = text(("yes", HELD), ("no", lost), ("no", lost), ("no", f"{HELD} and the tap"))
    outcome = Answer(asked, Asking(), ["\n"], 2).run(model, quiet)
    assert {(row["misread"], row["prompts"], row["cut"]) for row in outcome.scores} == {(1, 3, 0)}
    assert ["lost" in sample for sample in outcome.samples] == [False, True, True, False]
    assert why in outcome.samples[1]["lost"]


def test_prompts_of_both_kinds_of_continuations_are_counted_without_metrics_too():
    model = honest_tokenizers.adapter("lower_bytes")
    prompts = [Prompt("THE TAP"), Prompt("the tap")]
    task = Continuation(prompts, Decoding(2, (0.0, 1.0)), [create_metric("answer_bytes")])
    scores = task.run(model, quiet).scores
    assert [(row["misread"], row["prompts"]) for row in scores] == [(1, 2), (1, 2)]
    silent = Continuation(prompts, Decoding(2, (0.0,))).run(model, quiet)
    assert silent.scores == []
    assert ["lost" in sample for sample in silent.samples] == [True, False]


def test_a_source_that_loses_something_or_is_too_long_is_counted_by_what_is_kept(tmp_path):
    model = small_checkpoints.load(small_checkpoints.t5(tmp_path / "t5"))
    model.source_context = 20
    long = "the kettle " * 30
    sources = ("the kettle", "the\n\nkettle", f"{long}sings")
    pairs = Text("test", tuple(Document(str(i), "x", source) for i, source in enumerate(sources)))
    outcome = Translation(pairs, Asking(), ["\n"], 4).run(model, quiet)
    for row in outcome.scores:
        assert (row["misread"], row["cut_sources"], row["prompts"]) == (1, 1, 3)
        assert "cut" not in row
    whole, kept = model.encode_source(sources[2]), _Writer(model).encode(sources[2]).ids.tolist()
    assert kept == [*whole[:19], whole[-1]]  # the beginning, and the end symbol
    read, tokens = model.measure_prompt(sources[2])
    assert 0 < read < len(sources[2])
    assert tokens == 20


CHARGED = {
    "multiple-choice": lambda asked: MultipleChoice(asked, Asking(join=" ")),
    "last-word": LastWord,
}


@pytest.mark.parametrize("name", CHARGED)
def test_prompts_of_what_is_charged_are_counted_too(name):
    kettle, spoon = (
        Document(id, "tap", given, choices=("kettle", "tap") * (name == "multiple-choice"))
        for id, given in (("a", "the kettle and the"), ("b", "the spoon and the"))
    )
    asked = Text("test", (kettle, spoon, Document("c", "tap", "the spoon", kettle.choices)))
    outcome = CHARGED[name](asked).run(words(), quiet)
    assert outcome.scores
    assert {(row["misread"], row["prompts"]) for row in outcome.scores} == {(2, 3)}
    assert ["lost" in sample for sample in outcome.samples] == [False, True, True]
    assert "' spoon' at byte 3" in outcome.samples[1]["lost"]


def test_sources_of_an_encoder_decoder_are_counted_where_targets_are_charged(tmp_path):
    model = small_checkpoints.load(small_checkpoints.t5(tmp_path / "t5"))
    sources = ("the kettle", "the\n\nkettle", "the tap")
    pairs = Text("test", tuple(Document(str(i), "tap", source) for i, source in enumerate(sources)))
    (row,) = Conditional(pairs).run(model, quiet).scores
    assert (row["misread"], row["prompts"]) == (1, 3)


@pytest.mark.parametrize("task", ["conditional", "quiz"])
def test_the_board_counts_prompts_of_what_is_charged(task):
    row = {"model": "net", "task": task, "better": "higher", "n": 9, "signature": "s"}
    row |= {"value": 0.5, "misread": 2, "prompts": 9}
    of_bits = {"metric": "conditional_bits_per_byte", "unit": "bits/byte", "better": "lower"}
    row |= of_bits if task == "conditional" else {"metric": "accuracy", "unit": "share"}
    found = record(models=[hand_model("net", 3)], scores=[row])
    said = notes(found, task, [found.scores[0]])
    assert "Prompts that the tokenizer cannot hold, read as it reads them: net 2 of 9." in said


def test_generate_says_what_it_does_not_read(tmp_path):
    place = folder(tmp_path)
    with (place / "my_models.py").open("a") as file:
        file.write(LOWER)
    prompt = f"{'the tap ' * 5}Sings"
    done = llmbench("generate", "my_models.py:Lower", prompt, "--max-bytes", "3", cwd=place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(prompt)
    assert [line for line in done.stderr.splitlines() if line.startswith("llmbench:")] == [
        "llmbench: Lower reads only the end of the prompt: 32 of 45 bytes fit into its context",
        "llmbench: the tokenizer of Lower cannot hold the prompt, which is read as it reads it:"
        " byte 40 of the text does not come back from decode(encode(text))",
    ]
