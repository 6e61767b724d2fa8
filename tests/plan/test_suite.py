"""Suites and cards: strict, with the place of what is wrong and a hint."""

from __future__ import annotations

import json

import pytest

from llmbench.config import model_card
from llmbench.errors import UsageError
from llmbench.plan import registry, shipped, suite
from llmbench.tasks.likelihood import Likelihood
from llmbench.testing import MockAdapter

GOOD = """\
name: mine
version: 1
texts:
  test: {source: fables, select: {part: tales, split: test}}
tasks:
  - {task: likelihood, text: test, window: half}
models:
  - uniform-bytes
  - model: lstm
    name: thin-lstm
    recipe: {steps: 3}
    network: {arguments: {width: 8}}
"""


def read(tmp_path, text, name="mine.yaml"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return suite.read(str(path))


def use(tmp_path, text):
    found = read(tmp_path, text)
    found.load_texts({})
    found.cards([], [])


def test_a_good_suite_is_read(tmp_path):
    found = read(tmp_path, GOOD)
    found.load_texts({})
    cards = found.cards([], [])
    assert [c.name for c in cards] == ["uniform-bytes", "thin-lstm"]
    assert cards[1].recipe.steps == 3
    assert cards[1].recipe.learning_rate == registry.resolve("lstm").recipe.learning_rate
    assert cards[1].network.arguments["width"] == 8
    assert isinstance(found.tasks[0], Likelihood.Settings)


@pytest.mark.parametrize("name", registry.names("suites"))
def test_every_shipped_suite_is_read_and_its_models_resolve(name):
    found = suite.read(name)
    assert found.name == name
    more = [] if found.file.models else ["zlib"]  # a suite for models of one's own names none
    assert found.cards(more, [])


@pytest.mark.parametrize("name", registry.names("baselines"))
def test_every_shipped_card_is_read(name):
    found = registry.resolve(name)
    assert found.name == name
    assert found.stage is not None
    assert found.about


@pytest.mark.parametrize(
    ("old", "new", "want"),
    [
        (
            "version: 1\n",
            "version: 1\nversion: 2\n",
            r"mine\.yaml:3:1: the key 'version' stands here a second time",
        ),
        (
            "window: half",
            "windw: half",
            r"mine\.yaml:6:36: unknown key 'windw' \(did you mean 'window'\?\)",
        ),
        (
            "name: mine\n",
            "name: mine\nmodel: []\n",
            r"mine\.yaml:2:1: unknown key 'model' \(did you mean 'models'\?\)",
        ),
        (
            "version: 1",
            "version: one",
            r"mine\.yaml:2:10: version: expected a whole number, not 'one'",
        ),
        (
            "source: fables,",
            "source: fables, fields: {text: []},",
            r"mine\.yaml:4:.*text: too few entries: it needs 1",
        ),
        ("version: 1\n", "", r"mine\.yaml:1:1: the key 'version' is missing"),
        ("window: half", "window: 0", r"mine\.yaml:6:44: window: must be at least 1, not 0"),
        ("window: half", "window: hlaf", r"mine\.yaml:6:44: window: .*did you mean .half"),
        (
            "task: likelihood",
            "task: likelyhood",
            r"mine\.yaml:6:12: unknown task 'likelyhood' \(did you mean 'likelihood'\?\)",
        ),
        (
            "text: test,",
            "text: tset,",
            r"mine\.yaml:6:30: unknown text 'tset' \(did you mean 'test'\?\)",
        ),
        (
            "uniform-bytes",
            "uniform-byte",
            r"mine\.yaml:8:5: unknown model 'uniform-byte' \(did you mean 'uniform-bytes'\?\)",
        ),
        (
            "steps: 3",
            "stesp: 3",
            r"mine\.yaml:11:14: unknown key 'stesp' \(did you mean 'steps'\?\)",
        ),
        ("steps: 3", "steps: 0", r"mine\.yaml:11:21: steps: must be at least 1, not 0"),
        ("name: thin-lstm", "name: uniform-bytes", r"two models are called 'uniform-bytes'"),
        (
            "source: fables",
            "source: fabels",
            r"mine\.yaml:4:18: unknown source 'fabels' \(did you mean 'fables'\?\)",
        ),
        ("name: mine", "name: [mine", r"mine\.yaml:\d+:\d+: not YAML"),
        (
            "name: mine",
            "name: !!python/object:os.system mine",
            r"mine\.yaml:1:7: the tag .* is not allowed",
        ),
        (
            "texts:\n  test:",
            "texts:\n  test: {source: fables}\n  test:",
            r"mine\.yaml:5:3: the key 'test' stands here a second time",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_a_hint(tmp_path, old, new, want):
    assert old in GOOD
    with pytest.raises(UsageError, match=want):
        use(tmp_path, GOOD.replace(old, new))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just words",
        "- a\n- list\n",
        b"name: \xff",
        "a: &x [*x]\n",
        "name: 2026-01-01\nversion: 1\ntexts: {}\ntasks: []\n",
    ],
)
def test_files_that_are_no_suites_are_refused_in_one_line(tmp_path, text):
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_aliases_cannot_grow_without_end(tmp_path):
    bomb = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(8)
    )
    with pytest.raises(UsageError, match="too much"):
        read(tmp_path, bomb)


def test_a_missing_suite_is_named_with_the_nearest():
    with pytest.raises(UsageError, match=r"there is no such suite \(did you mean 'standard'\?\)"):
        suite.read("standrad")
    with pytest.raises(UsageError, match="a folder"):
        suite.read("/")


def test_shipped_suites_are_found_by_the_readmes_path_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert suite.read("suites/quick.yaml").name == "quick"


def test_a_source_that_the_user_must_bring_is_asked_for():
    found = suite.read("shakespeare")
    with pytest.raises(UsageError, match=r"--data shakespeare=PATH"):
        found.load_texts({})
    with pytest.raises(UsageError, match="did you mean 'shakespeare'"):
        found.load_texts({"shakespear": "x"})


def test_data_replaces_a_source_or_a_role(tmp_path):
    book = tmp_path / "book.txt"
    book.write_text("0123456789" * 100)
    found = suite.read("shakespeare")
    found.load_texts({"shakespeare": str(book)})
    assert (found.texts["train"].bytes, found.texts["test"].bytes) == (900, 100)
    other = tmp_path / "other.txt"
    other.write_text("all of it")
    found.load_texts({"shakespeare": str(book), "test": str(other)})
    assert found.texts["test"].documents[0].text == "all of it"


@pytest.mark.parametrize(
    ("content", "want"), [("", "empty"), (b"ab\xff", "1:3: not UTF-8"), ("x", "too short to split")]
)
def test_texts_that_cannot_serve_are_named(tmp_path, content, want):
    book = tmp_path / "book.txt"
    book.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=want):
        suite.read("shakespeare").load_texts({"shakespeare": str(book)})


def test_a_limit_reduces_what_is_asked_and_not_what_is_learnt():
    found = suite.read("standard")
    found.load_texts({}, limit=4)
    assert len(found.texts["test"].documents) == 4
    assert len(found.texts["train"].documents) == 81


def test_only_keeps_and_says_what_it_cannot_find():
    found = suite.read("standard")
    assert [c.name for c in found.cards([], ["zlib"])] == ["zlib"]
    mine = {"mine": MockAdapter()}
    assert [c.name for c in found.cards([], ["zlib"], mine)] == ["zlib", "mine"]
    with pytest.raises(UsageError, match="did you mean 'zlib'"):
        found.cards([], ["zlibb"])


def test_the_schema_is_json_schema_for_every_key():
    schema = suite.schema()
    json.dumps(schema)
    assert set(schema["properties"]) == set(suite.SuiteFile.model_fields)
    assert schema["additionalProperties"] is False


def test_a_card_with_a_wrong_key_is_placed(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("name: x\nadapter: network\nrecipe: {steps: 5, learningrate: 0.1}\n")
    with pytest.raises(
        UsageError,
        match=r"c\.yaml:3:20: unknown key 'learningrate' \(did you mean 'learning_rate'\?\)",
    ):
        model_card.read(path)


def test_paths_in_a_card_are_relative_to_the_card(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("name: x\nadapter: net.py:Net\n")
    (tmp_path / "net.py").write_text("class Net: ...\n")
    assert model_card.read(path).adapter == f"{(tmp_path / 'net.py').resolve()}:Net"


@pytest.mark.parametrize(
    ("spec", "want"),
    [
        ("lstmm", "did you mean 'lstm'"),
        ("model.py", "model.py:ClassName"),
        ("missing-card.yaml", "there is no card missing-card.yaml"),
        ("missing.py:Model", r"there is no file .*missing\.py"),
        ("no_such_module:Model", "there is no module 'no_such_module'"),
        (
            "llmbench.adapters.trivial:UniformByte",
            r"no class 'UniformByte' in .*trivial\.py \(did you mean 'UniformBytes'",
        ),
        ("hf:", "needs a hub id or a directory"),
        ("", "unknown model"),
    ],
)
def test_specs_that_name_nothing_say_so(spec, want):
    with pytest.raises(UsageError, match=want):
        registry.resolve(spec)


@pytest.mark.parametrize(
    ("source", "want"),
    [
        ("class Model(:\n    pass\n", r"model\.py:1:13: syntax error"),
        ("x = 1\n", r"there is no class 'Model' in .*model\.py"),
        ("class Modle: ...\n", r"no class 'Model' in .*model\.py \(did you mean 'Modle'\?\)"),
        (
            "\nclass Model: ...\n",
            r"model\.py:2:1: 'Model' is not an Adapter \(subclass llmbench\.TokenAdapter\)",
        ),
        ("import no_such_package\n", r"model\.py:1:1: there is no module 'no_such_package'"),
        ("\nx = 1 / 0\n", r"model\.py:2:1: importing raised ZeroDivisionError"),
        (
            (
                "from llmbench.adapters.token import TokenAdapter\nclass Model(TokenAdapter):\n   "
                " def encode(self, text): ...\n"
            ),
            r"model\.py:2:1: Model does not define decode, logits",
        ),
    ],
)
def test_model_files_that_cannot_serve_are_placed(tmp_path, source, want):
    path = tmp_path / "model.py"
    path.write_text(source)
    with pytest.raises(UsageError, match=want):
        registry.adapter_class(f"{path}:Model")


MISSPELT = [
    ("own.py:Modle", r"there is no class 'Modle' in .*own\.py \(did you mean 'Model'\?\)"),
    ("won.py:Model", r"there is no file .*won\.py \(did you mean 'own\.py'\?\)"),
    ("no_such_package.own:Model", "there is no module 'no_such_package'"),
    (
        "llmbench.models.networks.recurent:RNN",
        r"no module 'llmbench\.models\.networks\.recurent' \(did you mean 'recurrent'\?\)",
    ),
]


@pytest.mark.parametrize(("spec", "want"), MISSPELT)
@pytest.mark.parametrize(
    ("entry", "place"), [("[lzma, '{}']", "5:16"), ("\n- {{model: '{}', name: x}}", "6:11")]
)
def test_a_misspelt_model_is_placed_in_the_suite(tmp_path, spec, want, entry, place):
    (tmp_path / "own.py").write_text("class Model: ...\n")
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: s\nversion: 1\ntexts: {test: {source: fables}}\ntasks: [{task: likelihood}]\n"
        f"models: {entry.format(spec)}\n"
    )
    with pytest.raises(UsageError, match=rf"s\.yaml:{place}: .*{want}"):
        suite.read(str(path)).cards([], [])


@pytest.mark.parametrize(("spec", "want"), MISSPELT)
@pytest.mark.parametrize(
    ("key", "place"),
    [("adapter: '{}'", "2:10"), ("adapter: network\nnetwork: {{class: '{}'}}", "3:18")],
)
def test_a_misspelt_class_is_placed_in_the_card(tmp_path, spec, want, key, place):
    (tmp_path / "own.py").write_text("class Model: ...\n")
    path = tmp_path / "c.yaml"
    path.write_text(f"name: x\n{key.format(spec)}\n")
    with pytest.raises(UsageError, match=rf"c\.yaml:{place}: .*{want}"):
        model_card.read(path)


@pytest.mark.parametrize(
    "source",
    [
        "from parts import *\n",
        "globals()['Model'] = int\n",
        "def __getattr__(name): return int\n",
        "class Model(:\n",
    ],
)
def test_a_class_that_only_running_a_file_shows_is_left_to_the_import(tmp_path, source):
    path = tmp_path / "c.yaml"
    path.write_text("name: x\nadapter: own.py:Model\n")
    (tmp_path / "own.py").write_text(source)
    assert model_card.read(path).adapter.endswith("own.py:Model")


@pytest.mark.parametrize(
    ("source", "want"),
    [
        ("missing.txt", r"there is no file .*missing\.txt \(paths are relative to the folder of"),
        ("boook.txt", r"there is no file .*boook\.txt \(did you mean 'book\.txt'\?\)"),
        ("fabels", r"unknown source 'fabels' \(did you mean 'fables'\?\)"),
    ],
)
def test_a_missing_source_is_placed_in_the_suite(tmp_path, source, want):
    (tmp_path / "book.txt").write_text("A book.")
    path = tmp_path / "s.yaml"
    path.write_text(
        f"name: s\nversion: 1\ntexts: {{test: {{source: {source}}}}}\n"
        "tasks: [{task: likelihood}]\nmodels: [lzma]\n"
    )
    with pytest.raises(UsageError, match=rf"s\.yaml:3:24: {want}"):
        suite.read(str(path)).load_texts({})


def test_a_module_path_and_an_entry_point_name_adapters(monkeypatch):
    assert (
        registry.adapter_class("llmbench.adapters.trivial:UniformBytes").__name__ == "UniformBytes"
    )

    class Point:
        name, value = "outside", "llmbench.adapters.trivial:UniformBytes"

    monkeypatch.setattr(
        shipped.metadata,
        "entry_points",
        lambda group: [Point()] if group == "llmbench.adapters" else [],
    )
    assert registry.resolve("outside").adapter == "outside"
    assert registry.adapter_class("outside").__name__ == "UniformBytes"
