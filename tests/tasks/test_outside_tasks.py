"""Tasks and metrics from outside: named in a suite by file.py:Class or by an entry point."""

from __future__ import annotations

import pytest
from support.run_helpers import folder, llmbench, run_json

from llmbench.errors import ModelError, UsageError
from llmbench.metrics import registry as metrics_registry
from llmbench.plan import shipped, suite, task_registry
from llmbench.results.outcome import Outcome
from llmbench.results.samples import read_samples
from llmbench.tasks.task import Task, check_outcome

SUITE = """\
name: mine
version: 1
texts:
  test: {source: fables, select: {part: tales, split: test}}
tasks:
  - {task: own.py:Lengths, size: 3}
models: [uniform-bytes]
"""
TASK = '''\
from llmbench import Metric, Outcome, Task, UsageError

LENGTH = Metric("mean_length", "bytes", None, "bytes of a document")


class Lengths(Task):
    """Sizes of documents, which no model is asked for."""

    class Settings(Task.Settings):
        size: int = 1

        def check(self, text):
            if text.bytes < self.size:
                raise UsageError("too short", hint="a longer text")

    protocol = "lengths/1"

    def run(self, adapter, progress):
        sizes = [len(document.text.encode()) for document in self.text.documents]
        samples = [
            {"id": str(i), "statistics": {"mean_length": [size, 1]}}
            for i, size in enumerate(sizes)
        ]
        mean = sum(sizes) / len(sizes) * self.settings.size
        return Outcome([LENGTH.row(mean, len(sizes), str(self.signature))], samples)
'''


def read(tmp_path, code=TASK, text=SUITE):
    (tmp_path / "own.py").write_text(code)
    (tmp_path / "mine.yaml").write_text(text)
    return suite.read(str(tmp_path / "mine.yaml"))


def test_a_task_in_a_file_beside_the_suite_is_read(tmp_path):
    (entry,) = read(tmp_path).tasks
    assert (entry.name, entry.text, entry.process) == ("Lengths", "test", "shared")
    assert entry.task == f"{(tmp_path / 'own.py').resolve()}:Lengths"
    assert task_registry.read_settings(entry.model_dump(mode="json")) == entry
    assert task_registry.is_outside(entry.task)


@pytest.mark.parametrize(
    ("code", "text", "want"),
    [
        (
            TASK,
            SUITE.replace("size: 3", "sise: 3"),
            r"mine\.yaml:6:28: unknown key 'sise' \(did you",
        ),
        (
            TASK,
            SUITE.replace("size: 3", "size: x"),
            r"mine\.yaml:6:34: size: expected a whole number",
        ),
        (TASK, SUITE.replace("own.py", "his.py"), r"mine\.yaml:6:12: there is no file .*his\.py"),
        (TASK, SUITE.replace(":Lengths", ""), r"mine\.yaml:6:12: a task file needs its class"),
        (
            TASK,
            SUITE.replace(":Lengths", ":Length"),
            r"mine\.yaml:6:12: .*no class 'Length' in .*own\.py \(did you mean 'Lengths'",
        ),
        ("class Lengths: ...\n", SUITE, r"own\.py:1:1: 'Lengths' is not a Task"),
        ("class Lengths(:\n", SUITE, r"own\.py:1:15: syntax error"),
        ("import missing_one\n", SUITE, r"there is no module 'missing_one'"),
        (TASK.replace("def run", "def ran"), SUITE, r"own\.py:6:1: Lengths does not define run"),
        (
            TASK.replace('"lengths/1"', '"lengths"'),
            SUITE,
            r"has no `protocol` of the form 'name/1'",
        ),
        (
            TASK.replace("Settings(Task.Settings)", "Settings"),
            SUITE,
            r"not subclass Task\.Settings",
        ),
        (
            TASK.replace("size: int = 1", 'process = "attempts"\n        size: int = 1'),
            SUITE,
            r"non-annotated attribute|has the process 'attempts'",
        ),
    ],
)
def test_what_is_wrong_with_a_task_is_one_error(tmp_path, code, text, want):
    with pytest.raises(UsageError, match=want) as caught:
        read(tmp_path, code, text)
    assert "\n" not in str(caught.value)


def test_its_check_refuses_a_text_at_the_entrys_place(tmp_path):
    found = read(tmp_path, text=SUITE.replace("size: 3", "size: 10000000"))
    with pytest.raises(UsageError, match=r"mine\.yaml:6:5: too short \(a longer text\)"):
        found.load_texts({})
    found = read(tmp_path, TASK.replace("text.bytes", "text.bites"), SUITE)
    with pytest.raises(UsageError, match=r"mine\.yaml:6:5: .*`check` raised AttributeError"):
        found.load_texts({})


def test_an_entry_point_names_a_task_and_a_metric(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(TASK)

    class Point:
        name, value = "lengths", f"{tmp_path / 'own.py'}:Lengths"

    class Vowels:
        name, value = "vowels", f"{tmp_path / 'own.py'}:Lengths"

    points = {"llmbench.tasks": [Point()], "llmbench.metrics": [Vowels()]}
    for module in (shipped, metrics_registry):
        monkeypatch.setattr(module.metadata, "entry_points", lambda group: points.get(group, []))
    assert task_registry.task_class("lengths").__name__ == "Lengths"
    assert "lengths" in str(suite.schema())
    with pytest.raises(UsageError, match="'Lengths' is not a TextMetric"):
        metrics_registry.check_metric("vowels", has_train=False)


@pytest.mark.slow
def test_a_run_keeps_its_scores_and_samples(tmp_path):
    place = folder(tmp_path)
    (place / "own.py").write_text(TASK)
    (place / "mine.yaml").write_text(SUITE)
    done = llmbench("run", "mine.yaml", "--out", "out", cwd=place)
    assert done.returncode == 0, done.stderr
    (score,) = run_json(place / "out")["scores"]
    items = read_samples(place / "out", "uniform-bytes", "Lengths")
    mean = sum(item.statistics["mean_length"][0] for item in items) / len(items)
    assert (score["metric"], score["n"], score["value"]) == ("mean_length", len(items), 3 * mean)
    assert "protocol=lengths/1" in score["signature"]
    (place / "own.py").write_text(TASK.replace("sum(sizes)", "2 * sum(sizes)"))
    assert llmbench("run", "mine.yaml", "--out", "out", cwd=place).returncode == 0
    assert run_json(place / "out")["scores"][0]["value"] == 6 * mean  # changed code runs again


@pytest.mark.parametrize(
    ("outcome", "want"),
    [
        (None, "returned a NoneType, not an Outcome"),
        (Outcome([{"metric": "x"}], []), "returned a wrong score"),
        (Outcome([None], []), "returned a wrong score"),
        (Outcome([], [{"id": "a"}]), "sample 0 lacks `id` or `statistics`"),
    ],
)
def test_an_outcome_that_no_record_holds_is_refused(outcome, want):
    class Odd(Task):
        def __init__(self):
            pass

        def run(self, adapter, progress):
            raise NotImplementedError

    with pytest.raises(ModelError, match=want):
        check_outcome(Odd(), outcome)
