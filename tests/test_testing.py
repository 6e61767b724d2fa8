"""What llmbench gives to other projects' tests: the checks of an adapter, and a mock model."""

from __future__ import annotations

import pytest
from support import zoo
from support.saboteurs_generation import DeafToStops

from llmbench import Adapter, Document, Passage, Request, Text, UsageError, Window
from llmbench.tasks.likelihood import Likelihood
from llmbench.testing import MockAdapter, check_conformance, conformance


def answer(model, *requests):
    """The text of each answer, and why it ended."""
    chunks = list(model.generate(requests))
    return [(chunk.text, chunk.finish) for chunk in chunks]


def test_a_model_that_keeps_the_rules_gives_its_results():
    results = check_conformance(zoo.Windowed, only=["byte-coverage", "causality"])
    assert [(result.name, result.state) for result in results] == [
        ("byte-coverage", "passed"),
        ("causality", "passed"),
    ]


def test_a_broken_rule_is_an_assertion_error_that_says_why():
    with pytest.raises(AssertionError) as caught:
        check_conformance(DeafToStops(), only=["limits"])
    for part in ("limits: ", "sent: ", "came: ", "likely cause: "):
        assert part in str(caught.value)
    with pytest.raises(AssertionError, match=r"was expected to fail \(so far\) and passed"):
        check_conformance(
            zoo.Windowed, only=["causality"], expected_failures={"causality": "so far"}
        )


def test_an_expected_failure_is_none():
    check_conformance(DeafToStops, only=["limits"], expected_failures={"limits": "on purpose"})
    with pytest.raises(UsageError, match="no check 'limit'"):
        check_conformance(DeafToStops, only=["limit"])


@conformance(MockAdapter({"a": "b"}, default="and so it went on until the end of the day"))
def test_the_mock_keeps_the_rules_of_adapters(check):
    check()


def test_the_mock_gives_its_answers_within_limits():
    model = MockAdapter({"2 + 2 =": " 4\nDone"}, default="ööö")
    assert answer(model, Request("2 + 2 =", max_bytes=9)) == [(" 4\nDone", "stop")]
    assert answer(model, Request("2 + 2 =", max_bytes=9, stop=("\n",))) == [(" 4", "stop")]
    assert answer(model, Request("?", max_bytes=3), Request("?", max_tokens=1)) == [
        ("ö", "length"),
        ("ö", "length"),
    ]
    assert answer(model, Request("?", forced_text="as told")) == [("as told", "stop")]
    assert answer(MockAdapter(str.upper), Request("loud", max_bytes=9)) == [("LOUD", "stop")]
    assert [request.prompt for request in model.requests] == ["2 + 2 =", "2 + 2 =", "?", "?", "?"]


def test_the_mock_charges_fixed_bits_and_records_passages():
    model = MockAdapter(bits_per_byte={"right": 0.5})
    asked = [Passage("right"), Passage("wröng", score_eos=True)]
    right, wrong = model.score(asked, Window())
    assert right.total() == 2.5
    assert (wrong.total(), wrong.bytes, len(wrong.bits)) == (48.0, 6, 7)
    assert model.passages == asked


def test_a_task_can_be_tested_with_the_mock():
    text = Text("test", (Document("one", "Some words."), Document("two", "And more.")))
    model: Adapter = MockAdapter(bits_per_byte=2.0)
    outcome = Likelihood(text, Window()).run(model, lambda what, share, remark: None)
    assert {row["value"] for row in outcome.scores if row["metric"] == "bits_per_byte"} == {2.0}
