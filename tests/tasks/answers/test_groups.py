"""Each group of questions has an accuracy of its own, beneath the task's."""

from __future__ import annotations

import pytest
from support.known import Known, quiet

from llmbench import limits
from llmbench.data.text import Document, Text
from llmbench.stats import wilson_interval
from llmbench.tasks.answers.groups import name_groups
from llmbench.tasks.multiple_choice import MultipleChoice
from llmbench.tasks.prompts import Asking


def ask(groups):
    """Questions of these groups; those of "b c" are answered rightly, by bits alone."""
    documents = tuple(
        Document(str(at), "yes!", f"Q{at}", ("no", "yes!"), fields={"subject": group})
        for at, group in enumerate(groups)
    )
    rightly = {(f"Q{at}", " yes!"): 4.5 for at, group in enumerate(groups) if group == "b c"}
    rightly |= {(f"Q{at}", " no"): 7.9 for at, _ in enumerate(groups)}
    asked = Text("test", documents)
    return MultipleChoice(asked, Asking(join=" "), group="subject").run(Known(costs=rightly), quiet)


def test_a_group_has_its_accuracy_by_each_norm_with_wilsons_interval():
    outcome = ask(["b c", "a", "b c", "a", "a"])
    rows = {row.get("variant"): row for row in outcome.scores if row.get("member")}
    assert list(rows) == [":a", ":byte:a", ":b_c", ":byte:b_c"]
    right = wilson_interval(2, 2)
    assert [rows[":b_c"][key] for key in ("value", "low", "high", "n")] == [
        right.value,
        right.low,
        right.high,
        2,
    ]
    assert (rows[":a"]["value"], rows[":a"]["n"], rows[":byte:b_c"]["value"]) == (0.0, 3, 1.0)
    assert (rows[":a"]["member"], rows[":a"]["chance"]) == ("a", 0.5)
    assert "norm=byte" in rows[":byte:a"]["signature"]
    assert "group=subject" in rows[":a"]["signature"]
    statistics = outcome.samples[0]["statistics"]
    assert statistics["accuracy:b_c"] == statistics["accuracy:byte:b_c"] == [1.0, 1.0]
    assert "accuracy:a" not in statistics


def test_the_groups_add_up_to_the_whole():
    rows = ask(["x", "y", "x", "b c", "b c", "x"]).scores
    whole = next(row for row in rows if row.get("norm") == "none")
    parts = [row for row in rows if row.get("member") and ":byte" not in row["variant"]]
    assert sum(row["value"] * row["n"] for row in parts) == pytest.approx(whole["value"] * 6)
    macro = next(row for row in rows if row["metric"] == "macro_accuracy")
    assert sum(row["value"] for row in parts) / 3 == pytest.approx(macro["value"])


def test_groups_whose_names_are_alike_but_for_signs_stay_apart():
    documents = [Document("0", "", fields={"by": name}) for name in ("a b", "a_b", "a b", "a-b")]
    assert name_groups(documents, "by") == ["a_b", "a_b-2", "a_b", "a-b"]


def test_of_too_many_groups_none_has_a_row():
    outcome = ask([f"g{at}" for at in range(limits.GROUPS + 1)])
    assert not any(row.get("member") for row in outcome.scores)
    assert any(row["metric"] == "macro_accuracy" for row in outcome.scores)
