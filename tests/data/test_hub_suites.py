"""Suites whose texts come from the hub or from a folder of Parquet files."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.fake_hub import elsewhere, parquet_folder
from support.run_helpers import llmbench, run_json

from llmbench.data import loading
from llmbench.data.hub import Rows, text_file
from llmbench.errors import UsageError
from llmbench.plan import suite, task_registry


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    with elsewhere(tmp_path, monkeypatch):
        yield


SUITE = """\
name: mine
version: 1
sources:
  wiki: {about: pages, source: "hub:pages", hub: {field: page, join: lines}}
texts:
  test: {source: wiki, split: {regex: '^ = [^=].* = $'}}
  rows: {source: "hub:pages", hub: {field: page}}
  tales: {source: fables, select: {part: tales, split: test}}
tasks:
  - {task: likelihood, text: test}
  - {task: likelihood, name: tales, text: tales}
  - {task: wikitext-lm-eval, text: test}
models: [uniform-bytes]
"""


def suite_in(tmp_path, text=SUITE):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return suite.read(str(path))


def test_a_suite_joins_lines_and_cuts_them_at_titles(tmp_path):
    lines = ["", " = One = \n", "", " = = Part = = \n", " words \n", " = Two = \n", " more \n"]
    parquet_folder(tmp_path, test=[{"page": line} for line in lines])
    found = suite_in(tmp_path)
    found.load_texts({})
    assert [d.text for d in found.texts["test"].documents] == [
        " = One = \n = = Part = = \n words \n",
        " = Two = \n more \n",
    ]
    assert [d.text for d in found.texts["rows"].documents] == [line for line in lines if line]
    assert not found.missing


def test_a_file_replaces_a_source_and_is_cut_like_it(tmp_path):
    (tmp_path / "wiki.txt").write_text(" \n = One = \n a \n = Two = \n b \n")
    parquet_folder(tmp_path, test=[{"page": " = Other = \n"}])
    found = suite_in(tmp_path)
    found.load_texts({"wiki": str(tmp_path / "wiki.txt")})
    assert [d.text for d in found.texts["test"].documents] == [
        " \n = One = \n a \n",
        " = Two = \n b \n",
    ]
    with pytest.raises(UsageError, match="expected a local file"):
        found.load_texts({"wiki": "hub:pages"})


@pytest.mark.parametrize(
    ("old", "new", "want"),
    [
        (
            "{field: page}",
            "{feild: page}",
            r"mine\.yaml:7:37: unknown key 'feild' \(did you mean 'field'\?\)",
        ),
        (
            "{field: page}",
            "{field: text}",
            r"mine\.yaml:7:36: hub:pages: there is no field 'text' \(there are: page\)",
        ),
        (
            "field: page,",
            "feild: page,",
            r"mine\.yaml:4:51: unknown key 'feild' \(did you mean 'field'\?\)",
        ),
        (
            'source: "hub:pages", hub: {field: page}',
            "source: fables, hub: {field: page}",
            r"mine\.yaml:7:9: rows: `hub` needs a source",
        ),
        (
            "join: lines",
            "join: words",
            r"mine\.yaml:4:70: join: unknown value 'words' \(known: lines\)",
        ),
        ("{about: pages, ", "{", r"mine\.yaml:4:9: the key 'about' is missing"),
    ],
)
def test_what_is_wrong_with_a_hub_text_is_placed(tmp_path, old, new, want):
    parquet_folder(tmp_path, test=[{"page": " = One = \n"}])
    assert old in SUITE
    with pytest.raises(UsageError, match=want):
        suite_in(tmp_path, SUITE.replace(old, new)).load_texts({})


HALF = """\
name: half
version: 1
texts:
  train: {source: "hub:me/learn"}
  far: {source: "hub:me/pages", hub: {config: raw}}
  near: {source: fables, select: {part: tales, split: test}}
tasks:
  - {task: likelihood, name: far, text: far}
  - {task: wikitext-lm-eval, name: pages, text: far}
  - {task: likelihood, name: near, text: near}
models: [uniform-bytes, byte-ngram]
"""
OWN = """\
from llmbench.adapters.trivial import UniformBytes


class Plain(UniformBytes):
    pass


class Learns(UniformBytes):
    @classmethod
    def build(cls, arguments, build_context):
        return cls() if build_context.require_text("train") else cls()
"""


@pytest.mark.slow
def test_a_text_that_cannot_be_had_leaves_the_rest_of_a_run_alone(tmp_path):
    (tmp_path / "half.yaml").write_text(HALF)
    (tmp_path / "own.py").write_text(OWN)
    models = ("--model", "own.py:Plain", "--model", "own.py:Learns")
    plan = llmbench("run", "half.yaml", *models, "--offline", "--dry-run", cwd=tmp_path)
    assert plan.returncode == 0, plan.stderr
    assert plan.stdout.count("unavailable") == 2 + 3 + 2 + 2
    done = llmbench("run", "half.yaml", *models, "--offline", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = run_json(tmp_path / "out")
    assert {(s["model"], s["task"]) for s in record["scores"]} == {
        ("uniform-bytes", "near"),
        ("Plain", "near"),
    }
    failures = {(f["model"], f["task"]): f for f in record["failures"]}
    assert {f["reason"] for f in failures.values()} == {"unavailable"}
    assert len(failures) == 2 + 3 + 2 + 3
    assert "me/pages (raw) is not on this machine" in failures["uniform-bytes", "far"]["message"]
    assert "--data far=PATH" in failures["uniform-bytes", "far"]["hint"]
    assert "me/learn is not on this machine" in failures["byte-ngram", "near"]["message"]
    assert "me/learn is not on this machine" in failures["Learns", "near"]["message"]

    (tmp_path / "far.txt").write_text("Far away. \n" * 50)
    again = llmbench(
        "run",
        "half.yaml",
        *models,
        "--data",
        "far=far.txt",
        "--offline",
        "--out",
        "out",
        cwd=tmp_path,
    )
    assert again.returncode == 0, again.stderr
    assert "near: done before" in again.stderr
    record = run_json(tmp_path / "out")
    assert {(s["model"], s["task"]) for s in record["scores"]} == {
        (m, t) for m in ("uniform-bytes", "Plain") for t in ("far", "pages", "near")
    }
    assert {f["model"] for f in record["failures"]} == {"byte-ngram", "Learns"}


def test_the_parent_never_loads_datasets():
    code = (
        "import sys, llmbench.data.hub, llmbench.plan.suite;"
        " assert not {'datasets', 'pandas', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_wikitext2_is_cut_into_its_articles():
    from conftest import real

    found = suite.read("wikitext2")
    found.load_texts({"wikitext": str(real("wikitext2-valid/valid.txt"))})
    text = found.texts["test"]
    assert (len(text.documents), text.bytes) == (60, 1_121_681)
    assert all(document.text.lstrip(" \n").startswith("= ") for document in text.documents)
    assert not any(document.text.lstrip(" \n").startswith("= =") for document in text.documents)


def test_pages_that_are_cut_already_stay_whole(tmp_path):
    pages = [" = One = \n \n = = Part = = \n a \n ", " = Two = \n \n b \n "]
    place = parquet_folder(tmp_path, test=[{"page": page} for page in pages])
    split = suite.read("wikitext2").file.texts["test"].split.model_dump(exclude_none=True)
    text = loading.load("test", text_file(Rows(str(place), field="page")), split)
    assert [document.text for document in text.documents] == pages


def test_a_suite_asks_the_questions_and_pairs_of_a_data_set(tmp_path):
    place = parquet_folder(
        tmp_path,
        test=[
            {
                "question": f"q{i}",
                "choices": {"text": ["a", "b"], "label": ["1", "2"]},
                "answerKey": "2",
                "n": i % 2,
            }
            for i in range(4)
        ],
    )
    pairs = parquet_folder(tmp_path / "x", train=[{"translation": {"de": "ja", "en": "yes"}}])
    (tmp_path / "asked.yaml").write_text(f"""name: asked
version: 1
texts:
  test:
    source: hub:{place}
    fields:
      {{given: [query, question], choices: choices.text, gold: answerKey, labels: choices.label}}
    select: {{n: "1"}}
  train:
    source: "hub:{pairs}"
    hub: {{split: train}}
    fields: {{given: translation.de, text: translation.en}}
tasks: [{{task: multiple-choice}}]
""")
    made = suite.read(str(tmp_path / "asked.yaml"))
    made.load_texts({})
    assert [(d.context, d.text, d.choices) for d in made.texts["test"].documents] == [
        ("q1", "b", ("a", "b")),
        ("q3", "b", ("a", "b")),
    ]
    assert [(d.context, d.text) for d in made.texts["train"].documents] == [("ja", "yes")]


def test_parts_that_keep_their_names_are_fetched_beside_one_that_has_another(tmp_path):
    place = parquet_folder(
        tmp_path, test=[{"given": "q", "options": ["a", "b"], "gold": 1, "more": "x"}]
    )
    text = f'{{source: "hub:{place}", fields: {{choices: options}}}}'
    (tmp_path / "asked.yaml").write_text(
        f"name: asked\nversion: 1\ntexts:\n  test: {text}\ntasks: [{{task: multiple-choice}}]\n"
    )
    made = suite.read(str(tmp_path / "asked.yaml"))
    made.load_texts({})
    assert [(d.context, d.text, d.choices) for d in made.texts["test"].documents] == [
        ("q", "b", ("a", "b"))
    ]


def test_a_data_set_without_any_of_the_named_fields_is_refused_with_those_it_has(tmp_path):
    place = parquet_folder(tmp_path, test=[{"page": "x"}])
    with pytest.raises(UsageError, match=r"none of the fields query, question \(there are: page\)"):
        text_file(Rows(str(place), columns=("query", "question")))


SHOWN = """name: shown
version: 1
texts:
  test: {{source: "hub:{place}", fields: {{given: question, text: answer}}}}
  train: {{source: "hub:{place}", hub: {{split: train}}, fields: {{given: question, text: answer}}}}
tasks:
  - {{task: answer, template: "{template}", shots: 1}}
models: [uniform-bytes]
"""


def shown_rows(*names):
    return [
        {
            "question": f"Who is {name}?",
            "answer": name,
            "passage": f"{name} lives here.",
            "about": {"year": "1812"},
            "old.name": f"Old {name}",
            "unread": name,
        }
        for name in names
    ]


def suite_that_shows(tmp_path, template):
    place = parquet_folder(tmp_path, test=shown_rows("A", "B"), train=shown_rows("C", "D"))
    path = tmp_path / "shown.yaml"
    path.write_text(SHOWN.format(place=place, template=template))
    return suite.read(str(path))


def test_fields_that_only_a_template_names_are_fetched(tmp_path):
    made = suite_that_shows(tmp_path, "{passage} {about.year} {old.name}. {given}")
    made.load_texts({})
    asking = task_registry.build(made.tasks[0], made.texts, 0).asking
    first, second = (asking.prompt(document) for document in made.texts["test"].documents)
    assert second.endswith("\n\nB lives here. 1812 Old B. Who is B?")
    assert first.endswith("\n\nA lives here. 1812 Old A. Who is A?")
    examples = {f"{c} lives here. 1812 Old {c}. Who is {c}?{c}" for c in "CD"}
    assert {first.partition("\n\n")[0], second.partition("\n\n")[0]} <= examples
    assert "unread" not in made.texts["test"].documents[0].fields


def test_a_template_alone_makes_fields_be_fetched(tmp_path):
    place = parquet_folder(tmp_path, test=[{"given": "Why?", "text": "so", "passage": "P."}])
    (tmp_path / "shown.yaml").write_text(
        f'name: shown\nversion: 1\ntexts:\n  test: {{source: "hub:{place}"}}\n'
        'tasks: [{task: conditional, template: "{passage} {given}"}]\n'
    )
    made = suite.read(str(tmp_path / "shown.yaml"))
    made.load_texts({})
    (document,) = made.texts["test"].documents
    assert (document.context, document.text) == ("Why?", "so")
    assert document.fields["passage"] == "P."


@pytest.mark.parametrize(
    ("template", "want"),
    [
        ("{pasage} {given}", r"shown\.yaml:4:9: hub:.*: there is no field 'pasage'.*'passage'"),
        ("{id} {given}", r"shown\.yaml:4:9: hub:.*: a template cannot show the field 'id'"),
        ("{about.age} {given}", r"shown\.yaml:7:5: .* has no field `about\.age`"),
        ("{answer} {given}", r"shown\.yaml:7:5: .* has no field `answer`"),
    ],
)
def test_a_template_that_shows_what_a_data_set_lacks_is_refused(tmp_path, template, want):
    with pytest.raises(UsageError, match=want):
        suite_that_shows(tmp_path, template).load_texts({})


def test_a_file_that_is_given_may_have_the_field_of_the_hub(tmp_path):
    for name, field in (("page", "page"), ("text", "text")):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"{field}": " = One = \\n words \\n"}}\n')
    (tmp_path / "plain.txt").write_text(" = One = \n words \n")
    found, texts = suite_in(tmp_path, SUITE.replace(", join: lines", "")), []
    for name in ("page.jsonl", "text.jsonl", "plain.txt"):
        found.load_texts({"wiki": str(tmp_path / name)})
        texts.append(found.texts["test"].documents[0].text)
    assert texts == [" = One = \n words \n"] * 3
