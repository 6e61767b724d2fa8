"""What candidates are compared by, letters, contexts of their own, groups: values by hand."""

from __future__ import annotations

import json

import pytest
from support.known import Known, quiet, text

from llmbench.data import loading
from llmbench.data.documents import Documents
from llmbench.data.preparation import Shaping
from llmbench.data.text import Document, Text
from llmbench.errors import UsageError
from llmbench.plan.plan import Options, plan
from llmbench.tasks.multiple_choice import MultipleChoice
from llmbench.tasks.prompts import Asking

QUESTIONS = text(("yes", "Q?", ("no no", "yes")))


def load(tmp_path, rows, **more):
    place = tmp_path / "rows.jsonl"
    place.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return loading.load("test", place, **more)


def run(asked, asking, norms, costs, **more):
    task = MultipleChoice(asked, asking, norms=norms, **more)
    outcome = task.run(Known(costs=costs), quiet)
    return outcome, {row["norm"]: row["value"] for row in outcome.scores if "norm" in row}


def test_norms_divide_by_bytes_characters_and_tokens_or_subtract():
    # bits: " éé" 5 bytes at 3 is 15, " abcd" 5 bytes at 4 is 20; without a prompt 20 and 40
    asked = text(("éé", "Q?", ("éé", "abcd")))
    costs = {("Q?", " éé"): 3.0, ("Q?", " abcd"): 4.0, ("", " éé"): 4.0, ("", " abcd"): 8.0}
    norms = ["none", "byte", "char", "token", "pmi"]
    outcome, values = run(asked, Asking(join=" "), norms, costs)
    # 15 < 20; 3 < 4; 15 / 2 > 20 / 4; a token a byte; 15 - 20 = -5 > 20 - 40 = -20
    assert values == {"none": 1.0, "byte": 1.0, "char": 0.0, "token": 1.0, "pmi": 0.0}
    (sample,) = outcome.samples
    assert (sample["bits"], sample["unconditional"]) == ([15.0, 20.0], [20.0, 40.0])
    assert sample["output:char"] == sample["output:pmi"] == "abcd"
    for row in outcome.scores:
        assert f"norm={row['norm']}" in row["signature"]
    assert len({row["signature"] for row in outcome.scores}) == 5


def test_letters_are_scored_after_lettered_candidates_and_examples_answer_by_letter():
    asked = text(("blue", "Sky?", ("red", "blue")))
    examples = text(("hot", "Sun?", ("hot", "cold")), ("wet", "Rain?", ("dry", "wet")))
    asking = Asking("{given}\n{choices}\nAnswer:", " ", shots=1, examples=examples, letters=True)
    shown = {
        "Sun?\nA. hot\nB. cold\nAnswer: A\n\nSky?\nA. red\nB. blue\nAnswer:",
        "Rain?\nA. dry\nB. wet\nAnswer: B\n\nSky?\nA. red\nB. blue\nAnswer:",
    }
    prompt = asking.prompt(asked.documents[0])
    assert prompt in shown
    outcome, values = run(asked, asking, ["none"], {(prompt, " B"): 1.0})
    assert values == {"none": 1.0}
    assert outcome.samples[0]["output"] == "blue"
    assert "candidates=letters" in outcome.scores[0]["signature"]


def test_candidates_that_are_contexts_share_what_follows(tmp_path):
    rows = [
        {"contexts": ["Ann is so", "Bea is so"], "choices": ["Ann", "Bea"], "gold": 1, "text": "x"}
    ]
    asked = load(tmp_path, rows)
    assert Documents(asked.documents)[0] == asked.documents[0]
    outcome, values = run(asked, Asking(join=" "), ["none"], {("Bea is so", " x"): 1.0})
    assert values == {"none": 1.0}
    (sample,) = outcome.samples
    assert (sample["output"], sample["reference"]) == ("Bea", "Bea")
    assert sample["input"] == "Ann is so\n\nBea is so"
    assert sample["bits"] == [16.0, 2.0]
    other = load(tmp_path, [{**rows[0], "text": "y"}])
    assert other.sha256 != asked.sha256
    for wrong in ({"norms": ["none", "pmi"]}, {"candidates": "letters"}):
        settings = MultipleChoice.Settings(task="multiple-choice", **wrong)
        with pytest.raises(UsageError, match="has contexts as candidates"):
            settings.check(asked)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"contexts": ["a"], "choices": ["b", "c"], "gold": 0, "text": "x"}, "one for each"),
        ({"contexts": ["a", "b"], "choices": ["b", "c"], "gold": 0, "text": ""}, "is empty"),
        ({"contexts": ["a", "b"], "choices": ["b", "c"], "gold": 0}, "a string in the field"),
        ({"given": "q", "choices": ["a", ""], "gold": 0}, "candidate 1 of the field `choices`"),
    ],
)
def test_a_row_whose_contexts_do_not_fit_is_refused_with_its_line(tmp_path, row, what):
    with pytest.raises(UsageError, match=what) as error:
        load(tmp_path, [row])
    assert error.value.where.endswith("rows.jsonl:1:1")


def test_candidates_may_be_templates_and_gold_a_letter_or_a_truth(tmp_path):
    rows = [{"given": "q", "a": "x", "b": "y", "gold": gold} for gold in (1, "B", True)]
    asked = load(tmp_path, rows, shaping=Shaping(candidates=("{a}", "the {b}")))
    assert {document.text for document in asked.documents} == {"the y"}
    assert asked.documents[0].choices == ("x", "the y")
    with pytest.raises(UsageError, match=r"unknown field \{c\}") as error:
        load(tmp_path, rows, shaping=Shaping(candidates=("{a}", "{c}")))
    assert error.value.where.endswith("rows.jsonl:1:1")


def test_a_row_that_a_preparation_cannot_read_is_refused_with_its_line(tmp_path):
    for row, what in (
        ({"sentence": "no gap", "option1": "a", "option2": "b", "answer": "1"}, "has no `_`"),
        ({"sentence": "a _", "option1": "a", "option2": "b", "answer": ""}, "no answers"),
        ({"sentence": "a _ b"}, "no field `option1`"),
    ):
        with pytest.raises(UsageError, match=what) as error:
            load(tmp_path, [row], shaping=Shaping("winogrande"))
        assert error.value.where.endswith("rows.jsonl:1:1")


def test_macro_accuracy_is_the_mean_of_the_groups():
    documents = tuple(
        Document(str(at), "yes", f"{group} {at}", ("no", "yes"), fields={"subject": group})
        for at, group in enumerate("aaab")
    )
    costs = {("b 3", " yes"): 1.0, ("a 0", " yes"): 1.0}
    outcome, _ = run(Text("test", documents), Asking(join=" "), ["none"], costs, group="subject")
    by = {row["metric"]: row for row in outcome.scores if "member" not in row}
    assert by["accuracy"]["value"] == pytest.approx(2 / 4)
    assert by["macro_accuracy"]["value"] == pytest.approx((1 / 3 + 1) / 2)
    assert by["macro_accuracy"]["low"] < 2 / 3 < by["macro_accuracy"]["high"]
    assert "group=subject" in by["macro_accuracy"]["signature"]
    values = [sample["statistics"]["macro_accuracy"][0] for sample in outcome.samples]
    assert sum(values) / 4 == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ('{task: multiple-choice, template: "{given} {subjct}"}', "no field `subjct`"),
        ("{task: multiple-choice, group: subjct}", "no field `subjct`"),
        ("{task: multiple-choice, norms: [byte]}", "must name `none`"),
        ("{task: multiple-choice, norms: [none, bytes]}", "mean 'byte'"),
        ("{task: multiple-choice, shots: 1, examples: [a]}", "cannot be combined"),
        ('{task: multiple-choice, header: "{nothing}"}', "no field `nothing`"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_line(tmp_path, entry, what):
    row = {"given": "q", "choices": ["a", "b"], "gold": 0, "subject": "s"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row), encoding="utf-8")
    (tmp_path / "suite.yaml").write_text(
        "name: s\nversion: 1\ntexts: {test: {source: rows.jsonl}}\ntasks:\n"
        f"  - {entry}\nmodels: [uniform-bytes]\n",
        encoding="utf-8",
    )
    with pytest.raises(UsageError, match=what) as error:
        plan(str(tmp_path / "suite.yaml"), Options(out=tmp_path / "out"))
    assert "suite.yaml:5:" in str(error.value.where)


def test_fixed_examples_stand_after_the_header_and_are_signed():
    asking = Asking("Q: {given|strip}\nA:", " ", header="All {{right}}.\n", fixed=("Q: a\nA: b",))
    asked = text(("yes", " x ", ("no", "yes")))
    assert asking.prompt(asked.documents[0]) == "All {right}.\nQ: a\nA: b\n\nQ: x\nA:"
    signed = str(asking.sign(asked))
    assert "examples=" in signed
    assert "header=" in signed


def test_questions_longer_than_the_context_are_counted():
    class Short(Known):
        @property
        def info(self):
            from dataclasses import replace

            return replace(super().info, context=8)

        def measure_prompt(self, prompt):
            size = min(8, len(prompt.encode()))
            return size, size

    asked = text(("yes", "Q?", ("no", "yes")), ("yes", "A question?", ("no", "yes")))
    outcome = MultipleChoice(asked, Asking(join=" ")).run(Short(), quiet)
    assert {row["cut"] for row in outcome.scores} == {1}
    assert {row["prompts"] for row in outcome.scores} == {2}
