"""Prompts and sources that a tokenizer cannot hold, or a context: read in part, and counted."""

from __future__ import annotations

import pytest
from support import honest_tokenizers, small_checkpoints, toys
from support.known import quiet, text
from support.run_helpers import folder, llmbench

from llmbench.adapters.encoder_decoder import _Writer
from llmbench.data.text import Document, Text
from llmbench.metrics.registry import create_metric
from llmbench.tasks.continuation import Continuation, Decoding, Prompt
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
