"""Answers that a metric leaves out because they are too short are counted, or refused in a line."""

from __future__ import annotations

import pytest
from support.hand_record import model, record
from support.known import Known, quiet, text

from llmbench.errors import Unsupported
from llmbench.leaderboard.sentences.findings import notes
from llmbench.metrics.registry import create_metric
from llmbench.metrics.text import TextMetric
from llmbench.tasks.answers.text_prompts import Prompt
from llmbench.tasks.continuation import Continuation, Decoding
from llmbench.tasks.prompts import Asking
from llmbench.tasks.reference_based import Answer

LONG = " ".join(f"word{i}" for i in range(30))
METRICS = [create_metric(name) for name in ("distinct_2", "repetition_4", "answer_bytes")]


def ask(says, temperatures=(0.0,), scorers=METRICS, seeds=1):
    prompts = [Prompt(prompt) for prompt in says]
    return Continuation(prompts, Decoding(900, temperatures, seeds), scorers).run(
        Known(says), quiet
    )


def sentences(scores):
    rows = [{"model": "net", "task": "said", **row} for row in scores]
    found = record(models=[model("net", 3)], scores=rows)
    return notes(found, "said", [found.scores[0]])


def test_short_answers_are_counted_beside_the_value_of_the_others():
    outcome = ask({"a": LONG, "b": "one two three four", "c": "no", "d": ""})
    rows = {row["metric"]: row for row in outcome.scores}
    assert (rows["distinct_2"]["value"], rows["distinct_2"]["n"]) == (1.0, 1)
    assert (rows["distinct_2"]["uncounted"], rows["distinct_2"]["answers"]) == (3, 4)
    assert (rows["repetition_4"]["uncounted"], rows["repetition_4"]["answers"]) == (2, 4)
    assert "uncounted" not in rows["answer_bytes"]
    said = sentences(outcome.scores)
    assert "Answers that distinct 2 leaves out (fewer than 30 words): net 3 of 4." in said
    assert "Answers that repetition 4 leaves out (fewer than 4 words): net 2 of 4." in said


def test_a_metric_that_counts_no_answer_is_said_to_be_absent():
    outcome = ask({"a": "one two three four", "b": "no"}, temperatures=(0.0, 1.0))
    assert {row["metric"] for row in outcome.scores} == {"repetition_4", "answer_bytes"}
    said = sentences(outcome.scores)
    counted = "Answers that repetition 4 leaves out (fewer than 4 words): "
    assert f"{counted}net 1 of 2 greedy and net 1 of 2 sampled." in said
    assert outcome.scores[0]["absent"] == {
        "distinct_2:greedy": "all 2 greedy answers are left out: fewer than 30 words",
        "distinct_2": "all 2 answers are left out: fewer than 30 words",
    }
    assert any(
        sentence.startswith("distinct 2: not available for net (all 2 answers are left out")
        for sentence in said
    )


def test_of_several_answers_to_a_prompt_each_is_counted():
    outcome = ask({"a": "no", "b": LONG}, temperatures=(1.0,), seeds=3)
    row = next(row for row in outcome.scores if row["metric"] == "distinct_2")
    assert (row["n"], row["uncounted"], row["answers"]) == (1, 3, 6)


def test_a_task_whose_metrics_count_no_answer_at_all_is_refused():
    with pytest.raises(Unsupported) as caught:
        ask({"a": "no", "b": "yes"}, scorers=METRICS[:1])
    assert caught.value.what == (
        "no metric counts any answer: distinct_2: all 2 answers are left out: fewer than 30 words"
    )
    assert ask({"a": "no"}, scorers=[]).scores == []


def test_metrics_from_outside_that_leave_out_answers_are_counted_too():
    class Long(TextMetric):
        name, better = "long_answers", "higher"

        def statistics(self, output, reference):
            return [1.0, 1.0] if len(output) > 3 else []

    task = Answer(text(("x", "a"), ("x", "b"), ("x", "c")), Asking(), ["\n"], 60)
    task.scorers = [Long(), create_metric("f1")]
    outcome = task.run(Known({"a": "seven", "b": "no", "c": ""}), quiet)
    assert [row.get("uncounted") for row in outcome.scores] == [2, None]
    said = sentences(outcome.scores)
    assert "Answers that long answers leaves out (it gives them no value): net 2 of 3." in said
