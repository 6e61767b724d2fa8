"""Answers that go beyond their request, or are no text: cut off, counted, or refused in a line."""

from __future__ import annotations

import json

import pytest
from support.known import Known, quiet, text
from support.run_helpers import llmbench, run_json

from llmbench.adapter import Chunk, Request
from llmbench.errors import UsageError
from llmbench.inference.text.answer import stream_answers, trim_answer
from llmbench.runner import session
from llmbench.tasks.answers.text_prompts import Prompt
from llmbench.tasks.continuation import Continuation, Decoding
from llmbench.tasks.last_word import LastWord
from llmbench.tasks.performance.timeline import listen
from llmbench.tasks.prompts import Asking
from llmbench.tasks.reference_based import Answer, Translation

HALF = "\ud83d"


@pytest.mark.parametrize(
    ("said", "limits", "kept"),
    [
        ("abcdef", {"max_bytes": 4}, "abcd"),
        ("äöü", {"max_bytes": 3}, "ä"),
        ("ab\ncd", {"max_bytes": 9, "stop": ("\n",)}, "ab"),
        ("abc;d\n", {"max_bytes": 9, "stop": ("\n", ";")}, "abc"),
        ("ab\ncd", {"max_bytes": 1, "stop": ("\n",)}, "a"),
        ("abcdef", {"max_tokens": 1}, "abcdef"),
        ("abcdef", {"forced_text": "abcdef", "max_bytes": 2}, "abcdef"),
    ],
)
def test_an_answer_ends_where_its_request_says(said, limits, kept):
    assert trim_answer(said, Request("x", **limits)) == kept


def test_every_task_cuts_what_a_model_says_too_much():
    says = {"q": " yes and then no more" * 9}
    asked = text(("yes and", "q"))
    outcomes = [
        Answer(asked, Asking(), [" then"], 60).run(Known(says), quiet),
        Translation(asked, Asking(), ["\n"], 8).run(Known(says), quiet),
        Continuation([Prompt("q")], Decoding(8, (0.0,))).run(Known(says), quiet),
        LastWord(text(("yes", "q"))).run(Known(says), quiet),
    ]
    said = [outcome.samples[0]["output"] for outcome in outcomes]
    assert said == ["yes and", "yes and", " yes and", " yes and"]
    assert [row["value"] for row in outcomes[0].scores] == [1.0, 1.0]
    assert outcomes[2].samples[0]["bytes"] == 8


def test_half_a_surrogate_pair_in_an_answer_is_counted_and_crashes_nothing():
    model = Known({"q": f"yes{HALF}"})
    outcome = Answer(text(("yes", "q")), Asking(), ["\n"], 60).run(model, quiet)
    assert [row["broken"] for row in outcome.scores] == [1, 1]
    assert outcome.samples[0]["output"] == "yes\N{REPLACEMENT CHARACTER}"
    shown = Continuation([Prompt("q")], Decoding(60, (0.0,))).run(model, quiet)
    assert shown.samples[0]["output"].encode() == b"yes\xef\xbf\xbd"
    (line,) = listen(model, [Request("q", max_bytes=60)])
    assert line.events[-1].bytes == 6


def test_a_whole_surrogate_pair_in_an_answer_is_its_character():
    whole = [*stream_answers(Known({"q": "\ud83d\ude00"}), [Request("q", max_bytes=9)])]
    assert whole == [Chunk(0, "\N{GRINNING FACE}", 1, "stop")]


@pytest.mark.parametrize(
    "request_it",
    [
        lambda bad: Request(bad, max_bytes=9),
        lambda bad: Request("a", max_bytes=9, stop=("b", bad)),
        lambda bad: Request("a", forced_text=bad),
        lambda bad: session.score("uniform-bytes", text=bad),
    ],
)
@pytest.mark.parametrize(
    ("bad", "what"),
    [("ab\udce9", "byte 0xe9 at character 3"), (HALF, "U+D83D, half a pair, at character 1")],
)
def test_a_request_that_is_no_text_is_refused_in_a_line(request_it, bad, what):
    with pytest.raises(UsageError, match="is not UTF-8: ") as caught:
        request_it(bad)
    assert what in str(caught.value)


@pytest.mark.parametrize("words", [["caf\udce9"], ["a", "--stop", "\udce9"]])
def test_generate_refuses_bytes_that_are_not_utf8(words, tmp_path):
    done = llmbench("generate", "byte-ngram", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert "not UTF-8: byte 0xe9 at character" in done.stderr
    assert "Traceback" not in done.stderr


SUITE = """
name: own
texts: {train: {source: fables}}
version: 1
tasks:
  - {task: continuation, prompts: ["hello"], max_bytes: 12}
models: ["says.py:Says"]
"""
SAYS = '''
from llmbench.adapter import Adapter, Chunk, ModelInfo


class Says(Adapter):
    """Says more than it is asked for, half a pair among it."""

    needs_torch, learns_from_text = False, False

    @property
    def info(self):
        return ModelInfo("says", "", "bytes", None, None, None, "cpu", "says")

    def generate(self, requests):
        for row, _ in enumerate(requests):
            yield Chunk(row, "one \\ud83d", 1)
            yield Chunk(row, " two three four", 5, "stop")
'''


def test_a_run_and_the_command_cut_and_mend_answers(tmp_path):
    (tmp_path / "own.yaml").write_text(SUITE)
    (tmp_path / "says.py").write_text(SAYS)
    done = llmbench("run", "own.yaml", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert run_json(tmp_path / "out")["failures"] == []
    sample = (tmp_path / "out" / "samples" / "Says" / "continuation.jsonl").read_text()
    assert json.loads(sample)["output"] == "one \N{REPLACEMENT CHARACTER} two "
    said = llmbench("generate", "says.py:Says", "hello", "--max-bytes", "12", cwd=tmp_path)
    assert said.stdout == "helloone \N{REPLACEMENT CHARACTER} two \n", said.stderr
    text = (tmp_path / "own.yaml").read_text().replace("hello", "h\\ud83d")
    (tmp_path / "own.yaml").write_text(text)
    refused = llmbench("run", "own.yaml", "--out", "new", cwd=tmp_path)
    assert refused.returncode == 2
    assert "own.yaml:6:36: a value is not UTF-8: U+D83D, half a pair," in refused.stderr
