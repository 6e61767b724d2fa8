"""lm-eval's tasks in a suite: names, groups, data that are not here, and what task files may do."""

from __future__ import annotations

import json
import random

import pytest
import yaml

pytest.importorskip("lm_eval")
from support.known import quiet
from support.lm_eval_tasks import CHOICE, settle, write_task, write_tasks

from llmbench.adapters.trivial import UniformBytes
from llmbench.errors import Unavailable, Unsupported, UsageError
from llmbench.metrics.metric import Metric
from llmbench.plan import suite as suites
from llmbench.results.paired_tests import quality_rank_sets
from llmbench.tasks.lm_eval import catalog
from llmbench.tasks.lm_eval.questions import Question
from llmbench.tasks.lm_eval.task import LmEval


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    import datasets

    base = tmp_path_factory.mktemp("suites")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(base / "cache"))
        yield write_tasks(base / "tasks")


def write_suite(place, **entry):
    found = {"task": "lm-eval", "include_path": "tasks", **entry}
    suite = {"name": "mine", "version": 1, "tasks": [found], "models": ["uniform-bytes"]}
    file = place.parent / "suite.yaml"
    file.write_text(yaml.safe_dump(suite))
    return file


def test_an_entry_is_a_task_for_each_name_and_a_group_with_an_average_is_one(place):
    suite = suites.read(str(write_suite(place, tasks=["my_group", "my_list", "my_n*"])))
    assert [task.name for task in suite.tasks] == ["my_group", "my_word", "my_number"]
    suite.load_texts({}, limit=3, fetch=False)
    sizes = {role: len(text.documents) for role, text in suite.texts.items()}
    assert sizes == {f"lm-eval:{t.name}": 6 if t.name == "my_group" else 3 for t in suite.tasks}
    assert suite.texts["lm-eval:my_word"].sampled == "3@0"


def test_a_pattern_asks_nothing_twice(place):
    names = {task.name for task in settle(place, "my_*")}
    assert names == {"my_choice", "my_word", "my_rolling", "my_number", "my_group", "my_mean"}


def test_a_sample_has_the_very_prompts_of_the_whole(place):
    (settings,) = settle(place, "my_choice", shots=4)
    whole = {document.id: document for document in settings.load_text(None, 0, False).documents}
    for document in settings.load_text(5, 0, False).documents:
        assert document == whole[document.id]
        prompt = Question.of(document).asks[0].context
        assert prompt.count("Q: ") == 5
        assert prompt.count("\nAnswer: ") == 4


def test_an_unknown_name_is_one_line_with_its_place(place):
    with pytest.raises(UsageError, match="lm-eval has no task 'my_chice'") as caught:
        suites.read(str(write_suite(place, tasks=["my_chice"])))
    assert "suite.yaml:" in caught.value.where
    assert "my_choice" in caught.value.hint


def test_data_that_are_not_here_are_unavailable_with_the_command_that_brings_them(place):
    far = {"dataset_path": "nobody/nothing", "dataset_name": "main", "dataset_kwargs": None}
    write_task(place, "my_far", {**CHOICE, **far})
    suite = suites.read(str(write_suite(place, tasks=["my_few", "my_far"])))
    suite.load_texts({}, fetch=False)
    assert list(suite.texts) == ["lm-eval:my_few"]
    missing = suite.missing["lm-eval:my_far"]
    assert missing.hint == (
        "python -c \"from datasets import load_dataset; load_dataset('nobody/nothing', 'main')\""
    )


def test_a_data_file_that_is_not_here_is_unavailable_and_named(place):
    gone = {"dataset_kwargs": {"data_files": {"test": "gone.jsonl"}}}
    write_task(place, "my_gone", {**CHOICE, **gone})
    suite = suites.read(str(write_suite(place, tasks=["my_few", "my_gone"])))
    suite.load_texts({}, fetch=False)
    assert list(suite.texts) == ["lm-eval:my_few"]
    missing = suite.missing["lm-eval:my_gone"]
    assert missing.what.startswith("gone.jsonl, a data file of lm-eval's my_gone, is not on this")
    assert missing.hint == "put it beside my_gone.yaml"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"doc_to_text": "FUNCTION"}, r"runs code \(!function\)"),
        ({"dataset_kwargs": {"trust_remote_code": True}}, "`trust_remote_code` is refused"),
        ({"unsafe_code": True}, "runs the code that a model writes"),
        ({"metric_list": [{"metric": "./evil.py"}]}, "no metric of lm-eval"),
        ({"metric_list": [{"metric": "acc", "hf_evaluate": True}]}, "`hf_evaluate` loads code"),
        ({"use_prompt": "promptsource:x"}, "`use_prompt` loads code"),
        ({"include": "other.yaml"}, r"runs code \(!function\)"),
        ({"doc_to_text": "{{query.__class__.__mro__}}"}, "SecurityError"),
        ({"doc_to_text": "{{nothing}}"}, "'nothing' is undefined"),
    ],
)
def test_a_task_file_of_ones_own_runs_no_code(tmp_path, change, said):
    place = write_tasks(tmp_path / "tasks")
    file = write_task(place, "my_own", {**CHOICE, **change})
    file.write_text(file.read_text().replace("FUNCTION", "!function evil.ask"))
    (place / "other.yaml").write_text("doc_to_text: !<!function> evil.ask\n")
    (place / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef ask(doc): return ''")
    with pytest.raises(UsageError, match=said) as caught:
        settle(place, "my_own")[0].load_text(None, 0, False)
    assert "tasks/" in caught.value.where or "my_own" in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_trusted_task_files_run_their_code(tmp_path):
    place = write_tasks(tmp_path / "tasks")
    file = write_task(place, "my_own", {**CHOICE, "doc_to_text": "FUNCTION"})
    file.write_text(file.read_text().replace("FUNCTION", "!function own.ask"))
    (place / "own.py").write_text("def ask(doc): return 'asked ' + doc['query']")
    (settings,) = settle(place, "my_own", trust_code=True)
    first = Question.of(settings.load_text(None, 0, False).documents[0])
    assert first.asks[0].context.startswith("asked Q: ")


def test_numbers_that_a_model_cannot_give_are_unsupported_and_others_are_there(place):
    (settings,) = settle(place, "my_word")
    text = settings.load_text(None, 0, False)
    with pytest.raises(Unsupported, match="writes no text"):
        LmEval.from_settings(settings, {settings.text: text}, 0).run(UniformBytes(), quiet)
    (settings,) = settle(place, "my_rolling")
    text = settings.load_text(None, 0, False)
    outcome = LmEval.from_settings(settings, {settings.text: text}, 0).run(UniformBytes(), quiet)
    assert {row["metric"]: row["value"] for row in outcome.scores}["bits_per_byte"] == 8.0


def test_data_that_change_between_plan_and_run_are_refused(place):
    (settings,) = settle(place, "my_choice")
    text = settings.load_text(None, 0, False)
    row = json.loads(text.documents[0].text)
    changed = text.documents[0].__class__("0", json.dumps({**row, "digest": "0" * 16}))
    text = text.__class__(text.name, (changed, *text.documents[1:]))
    with pytest.raises(Unavailable, match="changed while the run went on"):
        LmEval.from_settings(settings, {settings.text: text}, 0).run(UniformBytes(), quiet)


def test_a_metric_that_is_not_here_is_unavailable(place, monkeypatch):
    def look(*asked):
        raise FileNotFoundError("Couldn't find a module script")

    monkeypatch.setattr("llmbench.tasks.lm_eval.task.evaluate", look)
    (settings,) = settle(place, "my_choice")
    text = settings.load_text(None, 0, False)
    with pytest.raises(Unavailable, match="metrics of my_choice need what is not on this machine"):
        LmEval.from_settings(settings, {settings.text: text}, 0).run(UniformBytes(), quiet)


def test_lm_evals_own_tasks_are_known_by_name_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMBENCH_CACHE", str(tmp_path))
    catalog._read_shipped.cache_clear()
    known = catalog.read_catalog(None)
    assert known["hellaswag"].kind == "task"
    assert known["mmlu"].has_average
    assert known["ai2_arc"].members == ("arc_challenge", "arc_easy")
    assert (tmp_path / "lm-eval-tasks.json").is_file()
    catalog._read_shipped.cache_clear()
    assert catalog.read_catalog(None) == known
    names = {entry.name for entry in catalog.match_names(["mmlu_a*"], known)}
    assert {"mmlu_anatomy", "mmlu_astronomy"} <= names


def test_without_lm_eval_there_is_one_line(monkeypatch):
    monkeypatch.setattr(catalog, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs lm-eval") as caught:
        catalog.find_package()
    assert caught.value.hint == "pip install 'llmbench[lm-eval]'"


def test_a_metric_that_is_lm_evals_alone_is_ranked_if_there_is_no_other(place):
    (settings,) = settle(place, "my_mean")
    text = settings.load_text(None, 0, False)
    outcome = LmEval.from_settings(settings, {settings.text: text}, 0).run(UniformBytes(), quiet)
    definitions = [row.get("definition", {}) for row in outcome.scores]
    assert [one.get("ranked", False) for one in definitions] == [True] + [False] * 6


def rank(name, better, **values):
    """The ranks of models by a metric of answers, from a value for each of 40 items."""
    facts = Metric(name, "", better, "", test="mean", is_custom=True, is_ranked=True)
    draw = random.Random(0)
    noise = [draw.random() for _ in range(40)]
    rows = {model: [[value + one, 1.0] for one in noise] for model, value in values.items()}
    return quality_rank_sets(facts, rows).rank


def test_the_direction_of_a_metric_decides_its_ranks():
    assert rank("f", "higher", a=2.0, b=1.0) == {"a": (1, 1), "b": (2, 2)}
    assert rank("f", "lower", a=2.0, b=1.0) == {"a": (2, 2), "b": (1, 1)}


def test_a_file_of_lm_evals_is_read_once_for_all_that_names_it(monkeypatch):
    from llmbench.tasks.lm_eval import trust

    read, parse = [], trust._parse
    monkeypatch.setattr(trust, "_parse", lambda file: (read.append(file), parse(file))[1])
    trust._load_shipped.cache_clear()
    for _ in range(2):
        entries = LmEval.Settings(task="lm-eval", tasks=["mmlu_flan*", "mmlu_pro"]).expand()
    assert len(entries) > 4
    assert len(read) == len(set(read)) > 4
