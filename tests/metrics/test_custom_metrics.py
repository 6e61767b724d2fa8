"""Metrics from outside: a class in a file, of a package, and a folder of the library `evaluate`."""

import json
import math
import re

import pytest
from support.run_helpers import llmbench, run_json

from llmbench.errors import ModelError, UsageError
from llmbench.metrics import registry
from llmbench.metrics.metric import Metric
from llmbench.metrics.registry import anchor_metric, check_metric, create_metric
from llmbench.metrics.text import TextMetric
from llmbench.plan.suite import read

VOWELS = '''
from llmbench import TextMetric


class Vowels(TextMetric):
    """Share of the letters that are vowels."""

    name, unit, better, bounds, label = "vowels", "share", "higher", (0.0, 1.0), "vowels"
    needs_reference = False

    def statistics(self, output, reference):
        return [sum(c in "aeiou" for c in output), len(output)]


class Spread(TextMetric):
    name, unit, label = "spread", "letters", "spread of lengths"

    def statistics(self, output, reference):
        return [1.0, len(output), len(output) ** 2]

    def total(self, sums):
        return (sums[2] / sums[0] - (sums[1] / sums[0]) ** 2) ** 0.5


class Halfway(TextMetric):
    name = "halfway"
'''
SUITE = """
name: tiny
version: 1
texts:
  train: {source: train.txt}
  valid: {source: valid.txt}
  pairs: {source: pairs.jsonl}
tasks:
  - {task: answer, text: pairs, max_bytes: 20, metrics: METRICS}
models: [byte-ngram, {model: byte-ngram, name: twin}]
"""
SCRIPT = """
import datasets
import evaluate


class LengthShare(evaluate.Metric):
    def _info(self):
        kinds = {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
        return evaluate.MetricInfo(
            description="", citation="", inputs_description="", features=datasets.Features(kinds)
        )

    def _compute(self, predictions, references):
        pairs = zip(predictions, references)
        return {"length_share": [len(said) / len(wanted) for said, wanted in pairs]}
"""


def write_suite(folder, metrics="[my/metric.py:Vowels, my/metric.py:Spread, f1]"):
    text = "The tap dripped, and the kettle counted. One, it said; two, it said.\n"
    (folder / "train.txt").write_text(text * 20)
    (folder / "valid.txt").write_text(text[::-1])
    rows = [{"given": f"Say {i}. ", "text": "The tap"} for i in range(12)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "my").mkdir()
    (folder / "my/metric.py").write_text(VOWELS)
    (folder / "tiny.yaml").write_text(SUITE.replace("METRICS", metrics))
    return str(folder / "tiny.yaml")


def write_script(folder, text=SCRIPT):
    (folder / "length_share").mkdir()
    (folder / "length_share/length_share.py").write_text(text)


def test_a_ratio_of_sums_is_the_value_of_a_custom_metric(tmp_path):
    write_suite(tmp_path)
    vowels = create_metric(f"{tmp_path}/my/metric.py:Vowels")
    rows = [vowels.measure("aab"), vowels.measure("b")]
    assert rows == [[2.0, 3.0], [0.0, 1.0]]
    assert vowels.value(rows).value == 0.5
    assert vowels.value([]) is None
    many = vowels.value([vowels.measure("a" * (i % 3) + "b") for i in range(30)])
    assert many.low < many.value < many.high
    assert vowels.metric.help == "Share of the letters that are vowels."
    assert (vowels.metric.test, vowels.metric.format, vowels.metric.is_custom) == (
        *("ratio", "percent"),
        True,
    )


def test_an_own_total_is_compared_by_its_values_for_single_samples(tmp_path):
    write_suite(tmp_path)
    spread = create_metric(f"{tmp_path}/my/metric.py:Spread")
    rows = [spread.measure("ab", "x"), spread.measure("abcd", "x")]
    assert spread.value(rows).value == 1.0
    assert spread.metric.test == "items"
    assert spread.comparable_rows(rows) == [[0.0, 1.0], [0.0, 1.0]]
    with pytest.raises(UsageError, match="spread compares with a reference"):
        spread.measure("ab")


def test_the_code_of_a_custom_metric_is_in_its_signature(tmp_path):
    write_suite(tmp_path)
    first = create_metric(f"{tmp_path}/my/metric.py:Vowels").signature
    assert first.startswith("metric:vowels|code:")
    (tmp_path / "my/metric.py").write_text(VOWELS + "\n# changed\n")
    assert create_metric(f"{tmp_path}/my/metric.py:Vowels").signature != first


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ({"name": "a b"}, "the metric's `name` is 'a b'.*letters"),
        ({"name": "accuracy"}, "'accuracy' is a metric of llmbench"),
        ({"name": "x", "better": "more"}, "`better` is 'more'"),
        ({"name": "x", "bounds": (1, 0)}, r"`bounds` is \(1, 0\)"),
        ({"name": "x", "bounds": None}, "`bounds` is None"),
        ({"name": "x", "tie": -1}, "`tie` is -1"),
    ],
)
def test_wrong_facts_of_a_metric_class_are_refused(facts, what):
    with pytest.raises(UsageError, match=what):
        type("Wrong", (TextMetric,), facts)


def test_wrong_facts_of_a_metric_file_are_placed_in_it(tmp_path):
    path = tmp_path / "m.py"
    path.write_text(
        "from llmbench import TextMetric\n\nclass Long(TextMetric):\n"
        "    name, better = 'long', 'bigger'\n    def statistics(self, a, b): return 1.0\n"
    )
    with pytest.raises(UsageError, match=r"m\.py:3:1: the metric's `better` is 'bigger'"):
        registry.create_metric(f"{path}:Long")


@pytest.mark.parametrize("found", [math.nan, math.inf, "much", None, [1.0], [[1.0, 2.0]]])
def test_statistics_that_are_no_finite_numbers_are_an_error(found):
    cls = type("X", (TextMetric,), {"name": "x", "statistics": lambda self, a, b: found})
    with pytest.raises(ModelError, match="x: `statistics` gave"):
        cls().measure("a", "b")


def test_a_value_outside_the_bounds_is_an_error():
    facts = {"name": "x", "bounds": (0, 1), "statistics": lambda self, a, b: 3}
    metric = type("X", (TextMetric,), facts)()
    assert metric.measure("a", "b") == [3.0, 1.0]
    with pytest.raises(ModelError, match="x is 3, outside its bounds 0 to 1"):
        metric.metric.row(metric.value([[3.0, 1.0]]).value, 1, "")


@pytest.mark.parametrize(
    ("metrics", "what", "where"),
    [
        ("[my/metric.py:Vowel]", "no class 'Vowel' in .*metric.py", r"tiny.yaml:9:\d+"),
        ("[my/metric.py:Halfway]", "Halfway does not define statistics", r"metric.py:\d+:1"),
        ("[distinct_2, my/none.py:Vowels]", "there is no file .*none.py", r"tiny.yaml:9:\d+"),
        ("[json:JSONDecoder]", "'JSONDecoder' is not a TextMetric", "json"),
        ("[vowel]", "there is no metric 'vowel'", r"tiny.yaml:9:\d+"),
        ("[my/metric.py:Vowels, my/metric.py:Vowels]", "two metrics are called 'vowels'", "tiny"),
        ("['evaluate:my']", "there is no metric of `evaluate` in", "tiny"),
        ("['evaluate:./nothing']", "there is no metric of `evaluate` in", "tiny"),
    ],
)
def test_a_metric_that_cannot_be_used_is_refused_before_the_run(tmp_path, metrics, what, where):
    path = write_suite(tmp_path, metrics)
    with pytest.raises(UsageError, match=what) as error:
        read(path)
    assert error.value.where
    assert re.search(where, error.value.where)


def test_a_metric_of_another_package_has_the_name_of_its_entry_point(tmp_path, monkeypatch):
    write_suite(tmp_path)
    spec = f"{tmp_path}/my/metric.py:Vowels"
    monkeypatch.setattr(registry, "find_outside", lambda: {"vowels": spec})
    assert check_metric("vowels", has_train=False) == "vowels"
    assert create_metric("vowels").metric.name == "vowels"
    with pytest.raises(UsageError, match="did you mean 'vowels'"):
        check_metric("vowel", has_train=False)


def test_paths_of_metrics_are_relative_to_the_suite(tmp_path):
    path = write_suite(tmp_path, "[my/metric.py:Vowels, 'evaluate:length_share:length_share']")
    write_script(tmp_path)
    (task,) = read(path).tasks
    assert task.metrics == [
        f"{tmp_path}/my/metric.py:Vowels",
        f"evaluate:{tmp_path}/length_share:length_share",
    ]
    for name in ("f1", "evaluate:rouge", "evaluate:someone/metric:key", "my_package.x:Y"):
        assert anchor_metric(name, tmp_path) == name


def test_a_broken_script_of_evaluate_is_refused_with_its_line(tmp_path):
    path = write_suite(tmp_path, "['evaluate:length_share']")
    write_script(tmp_path, "def broken(:\n")
    with pytest.raises(UsageError, match="syntax error") as error:
        read(path)
    assert "length_share.py:1:" in error.value.where


def check_formats(folder, names, labels):
    """Every format of the board shows each metric, drawn without the metric's own code."""
    done = llmbench("leaderboard", "runs/x", cwd=folder)
    assert done.returncode == 0, done.stderr
    for format in ("md", "csv", "html"):
        (file,) = (folder / "runs/x").glob(f"*.{format}")
        text = file.read_text(encoding="utf-8")
        for word in names if format == "csv" else labels:
            assert word in text, (format, word)
    for label in labels:  # a head may stand in several lines
        assert all(word in done.stdout for word in label.split()), done.stdout


@pytest.mark.slow
def test_custom_metrics_are_on_every_board_and_compared(tmp_path):
    write_suite(tmp_path)
    done = llmbench("run", "tiny.yaml", "--out", "runs/x", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "my/metric.py").unlink()
    scores = {s["metric"]: s for s in run_json(tmp_path / "runs/x")["scores"]}
    assert scores["vowels"]["definition"]["label"] == "vowels"
    assert "definition" not in scores["f1"]
    check_formats(tmp_path, ("vowels", "spread"), ("vowels", "spread of lengths"))
    done = llmbench(*("compare", "runs/x", "byte-ngram", "twin", "--format", "json"), cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    rows = {row["metric"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows["vowels"]["test"] == "approximate randomisation"
    assert rows["vowels"]["p"] == 1.0
    assert "spread" not in rows  # neither more nor less of it is better


@pytest.mark.slow
def test_a_folder_of_evaluate_is_on_every_board_and_compared(tmp_path):
    write_suite(tmp_path, "['evaluate:length_share', f1]")
    write_script(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    done = llmbench(*("run", "../tiny.yaml", "--out", "../runs/x"), cwd=tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr
    check_formats(tmp_path, ("evaluate:length_share",), ("evaluate:length_",))
    asked = ("--metric", "evaluate:length_share", "--format", "json")
    done = llmbench(*("compare", "runs/x", "byte-ngram", "twin", *asked), cwd=tmp_path)
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["test"], row["verdict"]) == ("sign flips", "unclear")


@pytest.mark.parametrize("fact", [{"test": "wibble"}, {"format": "wibble"}, {"better": "up"}])
def test_a_fact_that_is_no_known_word_is_refused_at_once(fact):
    facts = {"name": "mine", "unit": "share", "better": "higher", "help": "", **fact}
    with pytest.raises(ValueError, match=rf"metric 'mine': {next(iter(fact))} is .*, not one of"):
        Metric(**facts)
