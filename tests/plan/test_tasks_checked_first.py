"""A task that cannot ask about its texts is refused in a line, before any model is made."""

from __future__ import annotations

import json

import pytest
from support.run_helpers import llmbench

from llmbench.data.text import Document, Text
from llmbench.errors import UsageError
from llmbench.plan import task_registry
from llmbench.plan.plan import Options, plan
from llmbench.tasks.answers.examples import Examples, check_examples

PAIRS = [{"given": f"question {i}", "text": f"answer {i}"} for i in range(4)]
QUESTIONS = [{"given": "question", "choices": ["a", "b"], "gold": i % 2} for i in range(4)]
PROSE = [{"text": f"text {i}"} for i in range(4)]
SUITE = """
name: own
version: 1
texts:
  pairs: {{source: pairs.jsonl}}
  questions: {{source: questions.jsonl}}
  prose: {{source: prose.jsonl}}
tasks:
  - {{{}}}
models: [uniform-bytes]
"""


@pytest.fixture
def write(tmp_path):
    for name, rows in (("pairs", PAIRS), ("questions", QUESTIONS), ("prose", PROSE)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def entry(words):
        (tmp_path / "own.yaml").write_text(SUITE.format(words))
        return tmp_path

    return entry


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("task: likelihood, text: questions", "'line-1' of the text 'questions' is a pair or a"),
        ("task: likelihood, text: pairs", "is a pair or a question, and its bits alone"),
        ("task: wikitext-lm-eval, text: pairs", "is a pair or a question, and its bits alone"),
        ("task: conditional, text: prose", "has no source"),
        ("task: answer, text: prose", "has no source"),
        ("task: multiple-choice, text: pairs", "has no candidates"),
        ("task: answer, text: pairs, shots: 4, shots_from: pairs", "too few documents for 4"),
        ("task: answer, text: pairs, shots: 2, shots_from: prose", "'prose' has no source"),
        (
            "task: multiple-choice, text: questions, shots: 1, shots_from: questions",
            "too few documents for 1 examples: 4; 4 of them ask what 'line-1' asks",
        ),
        ("task: speed, text: prose, prompt_bytes: 99", "bytes, and 163 are asked for"),
        ("task: speed, text: prose, prompt_bytes: 1, answer_bytes: 1, depths: [999]", "asked for"),
        ("task: max-batch, text: prose", "bytes, and 320 are asked for"),
        ("task: memory, text: prose", "nothing is left to write after a prompt of 1024"),
    ],
)
def test_a_task_that_cannot_ask_is_refused_by_the_plan(write, entry, complaint):
    folder = write(entry)
    with pytest.raises(UsageError, match=complaint) as caught:
        plan(str(folder / "own.yaml"), Options(out=folder / "out"))
    assert caught.value.where.endswith("own.yaml:9:5")


def test_the_command_ends_with_2_and_leaves_nothing(write):
    folder = write("task: likelihood, text: questions")
    done = llmbench("run", "own.yaml", "--out", "out", cwd=folder)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    "entry",
    [
        "task: answer, text: pairs, shots: 3, shots_from: pairs",
        "task: multiple-choice, text: questions, shots: 3, shots_from: pairs",
        "task: memory, text: prose, prompt_bytes: 9",
        "task: conditional, text: pairs",
    ],
)
def test_a_task_that_can_ask_is_planned(write, entry):
    folder = write(entry)
    planned = plan(str(folder / "own.yaml"), Options(out=folder / "out"))
    assert len(planned.keys) == 1
    (settings,) = planned.suite.tasks
    assert (
        task_registry.build(settings, planned.suite.texts, 0).text
        is planned.suite.texts[settings.text]
    )


def test_examples_that_ask_the_same_are_not_counted():
    asked = Text("asked", (Document("a", "1", "q"),))
    others = [Document(str(i), str(i), f"q{i}") for i in range(3)]
    check_examples(Examples(Text("train", (*others, Document("b", "2", "q"))), 3), asked)
    with pytest.raises(UsageError, match="4; 1 of them asks what 'a' asks"):
        check_examples(Examples(Text("train", (*others, Document("b", "2", "q"))), 4), asked)
    more = (*others, Document("a", "1", "another"), Document("b", "2", "q"))
    with pytest.raises(UsageError, match="5; 2 of them ask what 'a' asks"):
        check_examples(Examples(Text("train", more), 4), asked)
