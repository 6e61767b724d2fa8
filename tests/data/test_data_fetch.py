"""`llmbench data fetch`: what is here is checked and named, what is not is one line. And each suite
of the field's tasks runs from files alone.
"""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from support import field_data

from llmbench.cli.fetch import manage_data
from llmbench.data import hub
from llmbench.errors import Unavailable, UsageError
from llmbench.plan import shipped
from llmbench.plan import suite as suites
from llmbench.plan.plan import Options, plan

FILES = {
    "hellaswag": {"hellaswag": ("hellaswag", "validation")},
    "piqa": {"piqa": ("piqa", "validation")},
    "winogrande": {"winogrande": ("winogrande", "validation")},
    "lambada": {"lambada": ("lambada", "test")},
    "arc-challenge": {"arc_challenge": ("arc-challenge", "test")},
    "openbookqa": {"openbookqa": ("openbookqa", "test")},
    "boolq": {"boolq": ("boolq", "validation")},
    "commonsenseqa": {"commonsenseqa": ("commonsenseqa", "validation")},
    "mmlu": {"mmlu": ("mmlu", "test"), "mmlu_dev": ("mmlu", "dev")},
    "gsm8k": {"gsm8k": ("gsm8k", "test"), "gsm8k_train": ("gsm8k", "train")},
    "squad": {"squad": ("squad", "validation"), "squad_v2": ("squad", "validation")},
    "xsum": {"xsum": ("xsum", "test")},
}
# the same questions in llm-foundry's layout; of `winogrande` and `lambada` both sides are contexts
FOUNDRY = {
    "hellaswag": {"query": "Tea: a man", "choices": ["sits.", "goes.", "is.", "x."], "gold": 2},
    "piqa": None,
    "winogrande": {"context_options": ["Ann is", "Bea is"], "continuation": " late.", "gold": 1},
    "lambada": {"context": "He said", "continuation": " nothing"},
    "arc-challenge": {"query": "Question: What?", "choices": ["a", "b"], "gold": 1},
    "openbookqa": {"query": "A sun is", "choices": ["hot", "cold"], "gold": 0},
    "boolq": {
        "query": "Passage: Tea is hot.\nQuestion: is tea hot?\n",
        "choices": ["no", "yes"],
        "gold": 1,
    },
    "commonsenseqa": {"query": "Where?", "choices": list("vwxyz"), "gold": 4},
    "mmlu": {
        "query": "What?\nA. one\nB. two\nC. three\nD. four\n",
        "choices": list("ABCD"),
        "gold": 2,
        "category": "anatomy",
    },
    "gsm8k": {"context": "1 + 1?", "answer": "2", "chain_of_thought": "It is 2."},
}


def write(tmp_path, name):
    return [
        f"{key}={field_data.write_rows(tmp_path / f'{key}.jsonl', field_data.make_rows(*made, 12))}"
        for key, made in FILES[name].items()
    ]


def call(*arguments):
    return CliRunner().invoke(manage_data, ["fetch", *arguments], catch_exceptions=True)


@pytest.mark.parametrize("name", FILES)
def test_each_suite_of_the_field_is_planned_from_files_alone(tmp_path, name):
    given = dict(pair.split("=", 1) for pair in write(tmp_path, name))
    planned = plan(
        name,
        Options(out=tmp_path / "out", data=given, offline=True, only=["gpt2"]),
    )
    assert not planned.suite.missing
    assert len(planned.suite.tasks) == len(planned.keys)


def test_pages_of_wikitext103_come_from_a_file(tmp_path):
    (tmp_path / "wiki.test.raw").write_text(" = Tea = \n\nTea is hot .\n = Ice = \n\nCold .\n")
    suite = suites.read("wikitext103")
    suite.load_texts({"wikitext103": str(tmp_path / "wiki.test.raw")})
    assert len(suite.texts["test"].documents) == 2


def test_a_data_set_with_the_hubs_fields_is_read_as_a_file_is(tmp_path):
    rows = field_data.make_rows("piqa", "validation", 6)
    (tmp_path / "piqa").mkdir()
    place = field_data.write_rows(tmp_path / "piqa" / "validation.jsonl", rows)
    text = (shipped.find_shipped("suites") / "piqa.yaml").read_text(encoding="utf-8")
    (tmp_path / "own.yaml").write_text(text.replace("hub:baber/piqa", "hub:piqa"))
    suite = suites.read(str(tmp_path / "own.yaml"))
    suite.load_texts({}, cache=tmp_path / "cache")
    from_hub = suite.texts["test"]
    suite.load_texts({"piqa": place})
    assert from_hub.sha256 == suite.texts["test"].sha256
    assert from_hub.documents[0].fields["question"] == rows[0]["goal"]


@pytest.mark.parametrize("name", [name for name, row in FOUNDRY.items() if row])
def test_llm_foundrys_rows_are_the_same_questions(tmp_path, name):
    row = FOUNDRY[name]
    shots = {"mmlu": 5, "gsm8k": 7}.get(name, 1)
    rows = [{**row, "id": str(at)} for at in range(shots)]
    for at, one in enumerate(rows):
        if "context" in one:
            one["context"] += str(at)
    place = field_data.write_rows(tmp_path / "rows.jsonl", rows)
    suite = suites.read(name)
    suite.load_texts(dict.fromkeys(FILES[name], place))
    document = suite.texts["test"].documents[0]
    if "gold" in row:
        assert document.choices.index(document.text) == row["gold"]
    if name == "boolq":
        assert document.fields["passage"] == "Tea is hot."
        assert document.fields["question"] == "is tea hot"
    if name == "mmlu":
        assert document.choices == ("one", "two", "three", "four")
    if name == "winogrande":
        assert document.contexts == ("Ann is", "Bea is")
        assert document.continuation == "late."
    if name == "arc-challenge":
        assert document.fields["question"] == "What?"


def test_what_is_here_is_named_and_what_is_not_is_one_line(tmp_path):
    (first, second) = write(tmp_path, "mmlu")
    done = call("mmlu", "--data", first, "--data", second, "--offline")
    assert done.exit_code == 0
    assert done.output.splitlines()[0].startswith("test: 12 documents, ")
    done = call("mmlu", "--data", first, "--offline", "--cache", str(tmp_path / "cache"))
    assert isinstance(done.exception, Unavailable)
    said = str(done.exception)
    assert "1 of 2 texts of 'mmlu' are not here (examples)" in said
    assert "llmbench data fetch mmlu" in said
    assert "\n" not in said


def test_a_wrong_row_is_an_error_with_its_place(tmp_path):
    rows = field_data.make_rows("hellaswag", "validation", 3)
    rows[1]["label"] = ""
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = call("hellaswag", "--data", f"hellaswag={tmp_path / 'rows.jsonl'}", "--offline")
    assert isinstance(done.exception, UsageError)
    assert done.exception.where.endswith("rows.jsonl:2:1")
    assert "use the validation part" in str(done.exception)
    place = field_data.write_rows(tmp_path / "gsm8k.jsonl", [{"question": "1?", "answer": "One."}])
    done = call("gsm8k", "--data", f"gsm8k={place}", "--offline")
    assert "its `answer` has no `####`" in str(done.exception)


def test_without_a_network_it_says_so_and_does_not_advise_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "_connects", lambda seconds: False)
    for name in hub.SWITCHES:
        monkeypatch.delenv(name, raising=False)
    done = call("hellaswag", "--cache", str(tmp_path))
    said = str(done.exception)
    assert (
        "1 of 1 texts of 'hellaswag' is not here (test): the dataset Rowan/hellaswag is not" in said
    )
    assert "and the Hub cannot be reached from here" in said
    assert "give a file with --data hellaswag=PATH" in said
    assert "data fetch" not in said
    offline = str(call("hellaswag", "--offline", "--cache", str(tmp_path)).exception)
    assert "reached" not in offline
    assert "`llmbench data fetch hellaswag` brings all" in offline


def test_of_many_missing_texts_three_are_named():
    said = str(call("core", "--offline").exception)
    assert "36 of 36 texts of 'core' are not here (hellaswag, jeopardy, " in said
    assert " and 33 more): " in said
