"""Signatures as text and back, whatever stands in them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmbench.adapter import Window
from llmbench.data.text import Document, Text
from llmbench.results.signature import Part, Signature, difference, find_differences, short_value
from llmbench.tasks.likelihood import Likelihood
from llmbench.tasks.multiple_choice import MultipleChoice
from llmbench.tasks.prompts import Asking

GOLDEN = Path(__file__).parents[1] / "golden"
VALUES = st.text() | st.text(alphabet=";='\"`|\\\n{}:a ") | st.text().map(repr)
KEYS = st.from_regex(r"[a-z][a-z_-]{0,5}", fullmatch=True)
PARTS = st.builds(Part, KEYS, VALUES) | st.builds(Part, st.just(""), VALUES.filter(bool))
QUESTION = Text("t", (Document("d", "blue", "What colour?", ("red", "blue"), None),))


@given(st.lists(PARTS).map(tuple).map(Signature))
def test_a_signature_comes_back_from_its_text(signature: Signature) -> None:
    assert Signature.parse(str(signature)) == signature


@given(st.text(alphabet=";='\"`|\\\na") | st.text())
def test_any_text_can_be_parsed(text: str) -> None:
    once = Signature.parse(text)
    assert Signature.parse(str(once)) == once


@pytest.mark.parametrize("template", ["Q; {given} = x;", 'it\'s; "so"', "a|b\n;`c`", "limit=9;"])
def test_a_template_with_marks_of_the_grammar_stays_one_part(template: str) -> None:
    asked = MultipleChoice(QUESTION, Asking(template, ";")).signature
    found = Signature.parse(str(asked))
    assert found == asked
    assert [part.key for part in found.parts] == [
        "text",
        "protocol",
        "bos",
        "template",
        "join",
        "limit",
    ]
    assert found.values() | {"template": repr(template), "limit": "none"} == found.values()


def test_values_without_special_marks_stand_as_they_are() -> None:
    assert (
        str(Likelihood(QUESTION, Window("half")).signature)
        == f"text={QUESTION.sha256[:16]};protocol=likelihood/1;window=half;limit=none"
    )
    asked = Signature.of(template=repr("Q: {given}\nA:"), stop=["\n", "it's"])
    assert str(asked) == "template='Q: {given}\\nA:';stop=['\\n', \"it's\"]"
    assert str(asked.extend("nrefs:1|tok:13a", norm="byte")) == f"{asked};norm=byte;nrefs:1|tok:13a"


@pytest.mark.parametrize(
    "name", ["schema-0.json", "schema-1.json", "schema-2.json", "schema-3.json"]
)
def test_the_signatures_of_old_records_print_as_they_were(name: str) -> None:
    scores = json.loads((GOLDEN / name).read_text())["scores"]
    texts = {row["signature"] for row in scores}
    assert texts
    assert {str(Signature.parse(text)) for text in texts} == texts


def test_the_values_of_a_signature_with_that_of_a_metric() -> None:
    text = "text=a;protocol=p/1;nrefs:1|case:mixed;x;limit=none;limit=2"
    assert Signature.parse(text).values() == {
        "text": "a",
        "protocol": "p/1",
        "nrefs": "1",
        "case": "mixed",
        "metric": "x",
        "limit": "none;2",
    }


def test_old_text_with_an_open_quote_is_split_at_each_semicolon() -> None:
    assert Signature.parse("a=it's;b=1").values() == {"a": "it's", "b": "1"}


def test_parsing_takes_time_in_proportion_to_the_text() -> None:
    began = time.perf_counter()
    Signature.parse("a='" + "\\'" * 50_000)
    Signature.parse("a=" + "'\";" * 25_000)
    assert time.perf_counter() - began < 5


def test_the_parts_that_differ_are_named_with_their_values() -> None:
    one, other = "a=1;template='x;y'", "a=1;template='x;z';b=2"
    assert find_differences([one, other]) == ["template", "b"]
    assert difference(one, other) == "template ('x;y' against 'x;z'), b (none against 2)"
    assert short_value("text=aaaaaaaaaaaaaaaa", "text") == "aaaaaaaa…"
    assert short_value("text=a", "window") == "none"


@pytest.mark.parametrize("key", ["a;b", "a=b", "a b", "it's"])
def test_a_key_that_would_not_come_back_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="key of a part"):
        Part(key, "x")
