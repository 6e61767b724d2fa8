"""Parts of answers that are scored, what is ignored, and answers that say that there is none: by
hand, and as lm-eval's own filters read them.
"""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from support.known import Known, quiet, text

from llmbench.tasks.answers.extraction import NOTHING, Extract, Reading
from llmbench.tasks.prompts import Asking
from llmbench.tasks.reference_based import Answer

STRICT = Extract(name="strict", regex=r"#### (\-?[0-9\.\,]+)")
LAST = Extract(name="flexible", regex="(-?[$0-9.,]{2,})|(-?[0-9]+)", pick="last")
IGNORED = (",", r"\$", "(?s).*#### ", r"\.$")
OUTPUTS = [
    "He has 3 + 4 = 7.\n#### 7",
    "The answer is $1,234.50.",
    "#### -1,000 and then 5",
    "nothing here",
    "",
    "#### 3.\n\nQuestion",
    "12 then 34 then 5",
]
REFERENCE = "So 1,000 + 4.\n#### 1,004"


def test_the_number_after_the_mark_and_the_last_number_are_found():
    assert STRICT.find("So 3.\n#### 1,004\n#### 5") == "1,004"
    assert STRICT.find("So 3.") == NOTHING
    assert LAST.find("3 and 12 and $15.") == "$15."
    assert LAST.find("from 3 to 9") == "9"


def test_what_is_found_is_what_lm_evals_filter_finds():
    filters = pytest.importorskip("lm_eval.filters.extraction")
    for part, select in ((STRICT, 0), (LAST, -1)):
        theirs = filters.RegexFilter(part.regex, group_select=select)
        found = theirs.apply([[output] for output in OUTPUTS], [{}] * len(OUTPUTS))
        assert [part.find(output) for output in OUTPUTS] == [one for (one,) in found]


def test_what_is_ignored_is_what_lm_evals_exact_match_ignores():
    metrics = pytest.importorskip("lm_eval.api.metrics")
    reading = Reading(IGNORED, True)
    for said in ("1,004", "1004.", "$1004", "-1004", "1004.0", "100.4"):
        theirs = metrics.exact_match_hf_evaluate(
            predictions=[said],
            references=[REFERENCE],
            regexes_to_ignore=list(IGNORED),
            ignore_case=True,
        )["exact_match"]
        assert (reading.clean(said) == reading.clean(REFERENCE)) == bool(theirs)


def test_each_part_has_a_score_of_its_own_and_its_signature():
    asked = text((REFERENCE, "a"), ("#### 7", "b"))
    model = Known({"a": "So 5 + 999.\n#### 1004", "b": "It is 7"})
    readings = [Reading(IGNORED, True, "", part) for part in (STRICT, LAST)]
    task = Answer(asked, Asking(), ["Question:"], 200, ["accuracy"], readings=readings)
    outcome = task.run(model, quiet)
    values = {row["metric"] + row.get("variant", ""): row["value"] for row in outcome.scores}
    assert values == {"accuracy": 0.5, "accuracy:flexible": 1.0}
    assert outcome.samples[1]["extracted"] == {"strict": NOTHING, "flexible": "7"}
    assert outcome.samples[1]["output"] == "It is 7"
    first, second = (row["signature"] for row in outcome.scores)
    assert "extract=first" in first
    assert "extract=last" in second
    assert "ignore=" in first


def test_an_answer_that_there_is_none_is_an_empty_one():
    asked = text(("", "a"), ("", "b"), ("Rome", "c"))
    model = Known({"a": "Unanswerable.", "b": "Bonn", "c": "unanswerable"})
    readings = [Reading(empty="unanswerable")]
    outcome = Answer(asked, Asking(), ["\n"], 60, readings=readings).run(model, quiet)
    values = {row["metric"]: row["value"] for row in outcome.scores}
    assert values == pytest.approx({"exact_match": 1 / 3, "f1": 1 / 3})
    assert "no_answer='unanswerable'" in outcome.scores[0]["signature"]
    asking = Asking("{given}:", " ", shots=1, examples=text(("", "x"), ("", "y")), empty="none")
    assert asking.prompt(asked.documents[0]).split("\n\n")[0] in ("x: none", "y: none")


@pytest.mark.parametrize("pattern", ["(", "a{9999999999}", ""])
def test_a_wrong_pattern_is_refused(pattern):
    with pytest.raises(ValidationError):
        Extract(name="x", regex=pattern)
