"""The suite `core`: its 22 tasks, its data from files alone, its mean, and that this is refused
rather than taken over fewer.
"""

from __future__ import annotations

import math
from statistics import mean

import pytest
from support.core_rows import make_rows, write_rows
from support.known import Known, quiet
from support.run_helpers import llmbench, run_json
from support.small_checkpoints import gpt2

from llmbench.errors import UsageError
from llmbench.plan import suite, task_registry
from llmbench.results.record import Score
from llmbench.tasks.answers.averages import average_tasks

# DCLM's eval_meta_data_v1.csv and mmlu_and_lowvar.yaml: kind, examples, baseline in percent
TASKS = {
    "hellaswag_zeroshot": ("multiple_choice", 0, 25),
    "jeopardy": ("language_modeling", 10, 0),
    "bigbench_qa_wikidata": ("language_modeling", 10, 0),
    "arc_easy": ("multiple_choice", 10, 25),
    "arc_challenge": ("multiple_choice", 10, 25),
    "copa": ("multiple_choice", 0, 50),
    "commonsense_qa": ("multiple_choice", 10, 20),
    "piqa": ("multiple_choice", 10, 50),
    "openbook_qa": ("multiple_choice", 0, 25),
    "lambada_openai": ("language_modeling", 0, 0),
    "hellaswag": ("multiple_choice", 10, 25),
    "winograd": ("schema", 0, 50),
    "winogrande": ("schema", 0, 50),
    "bigbench_dyck_languages": ("language_modeling", 10, 0),
    "agi_eval_lsat_ar": ("multiple_choice", 3, 20),
    "bigbench_cs_algorithms": ("language_modeling", 10, 0),
    "bigbench_operators": ("language_modeling", 10, 0),
    "bigbench_repeat_copy_logic": ("language_modeling", 10, 0),
    "squad": ("language_modeling", 10, 0),
    "coqa": ("language_modeling", 0, 0),
    "boolq": ("multiple_choice", 10, 62),
    "bigbench_language_identification": ("multiple_choice", 10, 9.1),
}
ANSWERED = ("jeopardy", "arc_easy", "arc_challenge", "piqa", "boolq")  # after "\nAnswer: "
ROWS = 12


def write_bundle(place):
    """The directory of all data, as nanochat's eval_bundle has it."""
    found = suite.read("core")
    texts = {task.name: task.text for task in found.tasks}
    for name, (kind, _, _) in TASKS.items():
        file = found.file.texts[texts[name]].file
        write_rows(place / "eval_data" / file, make_rows(kind, ROWS, seed=name))
    return place


def test_the_suite_has_the_tasks_examples_and_baselines_of_dclm():
    found = suite.read("core")
    assert [task.name for task in found.tasks] == list(TASKS)
    for task in found.tasks:
        kind, shots, baseline = TASKS[task.name]
        assert task.task == ("greedy-match" if kind == "language_modeling" else "multiple-choice")
        assert (task.shots, task.baseline, task.bos) == (shots, baseline / 100, "always")
        assert not shots or (task.draw, task.shots_seed) == ("nanochat", 1234)
        assert (task.template.endswith("\nAnswer:"), task.join) == (task.name in ANSWERED, " ")
        assert (getattr(task, "cost", "") == "own-tokens") == (kind != "language_modeling")
        fields = found.file.texts[task.text].fields
        assert ("contexts" in fields) == (kind == "schema")


def test_all_tasks_are_asked_from_files_and_their_mean_is_that_of_the_centred_accuracies(tmp_path):
    found = suite.read("core")
    found.load_texts({"bundle": str(write_bundle(tmp_path))}, fetch=False)
    assert not found.missing
    scores = []
    for task in found.tasks:
        outcome = task_registry.build(task, found.texts, 0).run(Known(), quiet)
        assert len(outcome.samples) == ROWS
        head = {"model": "m", "task": task.name}
        scores += [Score.model_validate({**head, **row}) for row in outcome.scores]
    centred = {one.task: one for one in scores if one.metric == "centred_accuracy"}
    for one in scores:
        if one.metric == "accuracy":
            baseline = TASKS[one.task][2] / 100
            assert centred[one.task].value == pytest.approx((one.value - baseline) / (1 - baseline))
            assert f"baseline={baseline:g}" in centred[one.task].signature
    ((core,), lacks) = average_tasks("CORE", "centred_accuracy", list(TASKS), ["m"], scores)
    assert lacks == []
    assert (core.task, core.metric, core.n) == ("CORE", "mean_centred_accuracy", 22 * ROWS)
    assert core.value == pytest.approx(mean(one.value for one in centred.values()))
    # both tasks of HellaSwag ask the same questions: their half widths are added before the square
    shared = centred["hellaswag"], centred["hellaswag_zeroshot"]
    squares = sum((one.value - one.low) ** 2 for one in centred.values() if one not in shared)
    squares += sum(one.value - one.low for one in shared) ** 2
    assert core.value - core.low == pytest.approx(math.sqrt(squares) / 22)


def test_without_data_each_text_says_what_it_needs_and_an_example_is_its_question_s_text(tmp_path):
    found = suite.read("core")
    place = write_bundle(tmp_path)
    (place / "eval_data/reading_comprehension/squad.jsonl").unlink()
    found.load_texts({"bundle": str(place)}, limit=3, fetch=False)
    assert set(found.missing) == {"squad", "squad-examples"}
    assert "reading_comprehension/squad.jsonl is not in" in found.missing["squad"].what
    assert found.missing["squad"].hint == "give it with --data bundle=DIR"
    assert len(found.texts["piqa"].documents) == 3
    assert len(found.texts["piqa-examples"].documents) == ROWS  # a sample has examples from all
    found.load_texts({}, fetch=False)
    assert len(found.missing) == len(found.file.texts)
    assert "eval_bundle.zip" in found.missing["copa"].what
    with pytest.raises(UsageError, match="is not a directory"):
        found.load_texts({"bundle": str(tmp_path / "none")}, fetch=False)


def make_scores(tasks, **changes):
    parts = {"text": "t", "limit": "none", **changes}
    signature = ";".join(f"{key}={value}" for key, value in parts.items())
    return [
        Score(
            model="m",
            task=task,
            metric="centred_accuracy",
            value=0.5,
            low=0.4,
            high=0.7,
            unit="share",
            better="higher",
            n=10,
            signature=signature.replace("text=t", f"text={task}"),
        )
        for task in tasks
    ]


def test_a_mean_is_refused_with_its_reason_and_never_taken_over_fewer():
    names = ["a", "b", "c", "d", "e", "f"]

    def ask(scores):
        return average_tasks("CORE", "centred_accuracy", names, ["m"], scores)

    (whole,), none = ask(make_scores(names))
    assert (none, whole.value) == ([], 0.5)
    assert (whole.low, whole.high) == pytest.approx((0.5 - 0.1 / 6**0.5, 0.5 + 0.2 / 6**0.5))
    for scores, why in (
        (make_scores(names[1:]), "CORE needs all 6 tasks: a is missing"),
        (make_scores(names[:1]), "CORE needs all 6 tasks: b, c, d and 2 more are missing"),
        (make_scores(names, limit="5@0"), "whole texts, and these are samples (limit 5@0)"),
    ):
        means, (lack,) = ask(scores)
        assert (means, lack.task, lack.reason) == ([], "CORE", "unavailable")
        assert why in lack.message
    other = make_scores(names[:5]) + make_scores(names[5:], baseline=0.5)
    assert ask(other)[0][0].signature != whole.signature


@pytest.mark.parametrize(
    ("averages", "what"),
    [
        ("{CORE: centred_accuracy}", "CORE is the mean of centred_accuracy, which the task 'b'"),
        ("{a: centred_accuracy}", "a task is called 'a', too"),
        ("{CORE: f1}", "unknown value 'f1'"),
    ],
)
def test_a_mean_of_what_tasks_do_not_have_is_refused_at_its_line(tmp_path, averages, what):
    (tmp_path / "mean.yaml").write_text(
        "name: mean\nversion: 1\ntexts: {test: {source: q.jsonl}}\ntasks:\n"
        "  - {task: multiple-choice, name: a, baseline: 0.5}\n"
        f"  - {{task: multiple-choice, name: b}}\naverages: {averages}\n"
    )
    with pytest.raises(UsageError) as error:
        suite.read(str(tmp_path / "mean.yaml"))
    assert what in error.value.what
    assert "mean.yaml:7:" in str(error.value.where)


def run_core(place):
    """Run the suite with a small checkpoint, and return the record."""
    gpt2(place / "tiny", context=512, layers=1)
    asked = ("run", "core", "--only", "tiny", "--model", "hf:tiny", "--data", "bundle=bundle")
    done = llmbench(*asked, "--offline", "--device", "cpu", "--out", "out", cwd=place)
    assert done.returncode == 0, done.stderr
    return run_json(place / "out")


@pytest.mark.slow
def test_a_run_puts_core_on_the_board_first(tmp_path):
    write_bundle(tmp_path / "bundle")
    record = run_core(tmp_path)
    assert not record["failures"]
    core = record["scores"][0]
    assert (core["task"], core["metric"]) == ("CORE", "mean_centred_accuracy")
    found = [s["value"] for s in record["scores"] if s["metric"] == "centred_accuracy"]
    assert (len(found), core["value"]) == (22, pytest.approx(mean(found)))
    assert core["low"] < core["value"] < core["high"]
    board = (tmp_path / "out/leaderboard.md").read_text()
    assert "## CORE" in board
    assert "The average mixes chance levels" in board


@pytest.mark.slow
def test_a_run_without_a_file_has_no_core_and_says_which_task_is_missing(tmp_path):
    (write_bundle(tmp_path / "bundle") / "eval_data/commonsense_reasoning/copa.jsonl").unlink()
    record = run_core(tmp_path)
    assert not [s for s in record["scores"] if s["task"] == "CORE"]
    messages = {row["task"]: row["message"] for row in record["failures"]}
    assert messages["CORE"] == "CORE needs all 22 tasks: copa is missing"
    assert "copa.jsonl is not in" in messages["copa"]
