"""The record: what goes in comes out, and what cannot be read is said with path and reason."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from support.hand_record import data, record, score

from llmbench import storage
from llmbench.errors import UsageError
from llmbench.leaderboard import board
from llmbench.leaderboard.renderers.registry import BUILT_IN, draw
from llmbench.results import ranking
from llmbench.results import record as results_record
from llmbench.results import samples as results_samples
from llmbench.results import schema as results_schema


def stored(tmp_path, content):
    path = tmp_path / "run.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_what_is_written_is_read_back(tmp_path):
    made = record()
    path = made.write(tmp_path / "new" / "folder")
    assert results_record.load(path) == made
    assert results_record.load(path.parent) == made  # a run's folder will do
    assert made.scores[0].rank == (5, 5)
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_file_is_the_contracts(tmp_path):
    found = json.loads(record().write(tmp_path).read_text())
    assert {*data(), "state", "digest"} == found.keys()
    assert found["state"] == {"end": "done", "not_reached": {}, "not_asked": []}
    assert found["schema"] == results_schema.SCHEMA
    assert found["scores"] == data()["scores"]
    assert found["machine"] == data()["machine"]


def test_unknown_keys_are_kept(tmp_path):
    whole = data()
    whole["weather"] = "rain"
    for part in (
        whole["suite"],
        whole["machine"],
        whole["models"][0],
        whole["scores"][0],
        whole["failures"][0],
        whole["notes"],
    ):
        part["later"] = {"deep": [1, 2]}
    found = json.loads(results_record.Record.model_validate(whole).write(tmp_path).read_text())
    assert found["weather"] == "rain"
    assert all(
        part["later"] == {"deep": [1, 2]}
        for part in (found["suite"], found["machine"], found["notes"])
    )
    assert all(
        found[part][0]["later"] == {"deep": [1, 2]} for part in ("models", "scores", "failures")
    )


def test_infinite_bits_are_the_string_inf(tmp_path):
    path = record().write(tmp_path)
    assert '"value": "inf"' in path.read_text()
    assert "Infinity" not in path.read_text()
    infinite = [row for row in results_record.load(path).scores if row.model == "mine"]
    assert [row.value for row in infinite] == [math.inf, math.inf]


def test_a_model_may_be_called_inf(tmp_path):
    whole = data()
    whole["models"][0]["name"] = whole["scores"][0]["model"] = whole["scores"][1]["model"] = whole[
        "scores"
    ][0]["task"] = "inf"
    path = results_record.Record.model_validate(whole).write(tmp_path)
    assert results_record.load(path).models[0].name == "inf"


@pytest.mark.parametrize("value", [math.nan, -math.inf])
@pytest.mark.parametrize(
    "wrap",
    [lambda x: x, lambda x: [1, (x,)], lambda x: {"a": {"b": x}}],
    ids=["bare", "in a list", "in a mapping"],
)
def test_what_is_no_number_is_refused_by_the_writer(tmp_path, value, wrap):
    path = stored(tmp_path, "old")
    with pytest.raises(ValueError, match="not JSON compliant"):
        storage.write_json(path, {"value": wrap(value)})
    with pytest.raises(ValueError, match="not JSON compliant"):
        storage.write_lines(path, [{"value": wrap(value)}])
    assert path.read_text() == "old"


def test_a_nan_in_a_record_is_never_stored(tmp_path):
    made = record()
    made.scores[0].value = math.nan
    with pytest.raises(ValueError, match="not JSON compliant"):
        made.write(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    path = stored(tmp_path, "old")

    def refuse(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        *{"fsync": (os, "fsync", refuse), "replace": (results_record.Path, "replace", refuse)}[call]
    )
    with pytest.raises(OSError, match="No space left"):
        storage.write_json(path, {"new": 1})
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = stored(tmp_path, "old")

    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        storage.write_bytes(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_model_says_is_stored_whatever_it_is(tmp_path):
    path = tmp_path / "samples.jsonl"
    said = ["a\nb", "\u2028\u2029\x85\x1e", "\ud800 half a pair", "\x00\x1b[31m", "é\U0001f600"]
    storage.write_lines(path, [{"output": text} for text in said])
    lines = path.read_text(encoding="utf-8").split("\n")
    assert [json.loads(line)["output"] for line in lines if line] == said


@pytest.mark.parametrize(
    ("content", "want"),
    [
        ("", "the record is torn"),
        (json.dumps(data())[:-40], r"the record is torn: .*run again with the same --out"),
        (b"\xff\xfe", "the record is torn"),
        ("[" * 200_000, "the record is torn"),
        ('{"schema": 1, "value": NaN}', "the record is torn: NaN is no number"),
        ('{"schema": 1, "value": -Infinity}', "the record is torn: -Infinity is no number"),
        ("[]", "not a record: no schema number"),
        ("{}", "not a record: no schema number"),
        ('{"schema": "1"}', "not a record: no schema number"),
        ('{"schema": true}', "not a record: no schema number"),
        (
            '{"schema": 99}',
            r"schema 99 is newer than this llmbench knows \(3\) \(update llmbench\)",
        ),
        ('{"schema": 1}', "the record is wrong at llmbench: Field required"),
        ('{"schema": 0}', "the record is wrong at llmbench: Field required"),
        ('{"schema": -1}', "there is no schema -1"),
        (
            json.dumps({**data(), "schema": 2}).replace("2.1807", "-1e999", 1),
            r"the record is wrong at scores.2.value.*beyond all that can be measured",
        ),
    ],
)
def test_files_that_are_no_records_are_refused_with_path_and_reason(tmp_path, content, want):
    path = stored(tmp_path, content)
    with pytest.raises(UsageError, match=want) as caught:
        results_record.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("at", "value", "spot"),
    [
        (("scores",), "many", "scores"),
        (("scores", 0, "value"), "lots", "scores.0.value"),
        (("scores", 0, "value"), None, "scores.0.value"),
        (("scores", 0, "value"), "-inf", "scores.0.value"),
        (("scores", 0, "value"), 10**400, "scores.0.value"),
        (("scores", 0, "low"), -(10**400), "scores.0.low"),
        (("scores", 0, "better"), "bigger", "scores.0.better"),
        (("scores", 0, "rank"), [1], "scores.0.rank"),
        (("scores", 3), 5, "scores.3"),
        (("failures", 0, "reason"), "laziness", "failures.0.reason"),
        (("models", 1, "name"), None, "models.1.name"),
        (("models", 1, "name"), "zlib", "models.2.name: two models have this name"),
        (("scores", 1, "model"), "nobody", "scores.1.model: there is no such model"),
        (("models", 3, "training"), {"seconds": "long"}, "models.3.training.seconds"),
        (("machine", "gpus"), 3, "machine.gpus"),
        (("machine",), "a big one", "machine"),
        (("notes", "tasks"), [], "notes.tasks"),
        (
            ("notes", "tasks", "likelihood", "better_than"),
            {"lstm": "all"},
            "notes.tasks.likelihood.better_than.lstm",
        ),
        (("suite", "version"), "two", "suite.version"),
    ],
)
def test_a_record_edited_into_nonsense_is_refused_with_the_place(tmp_path, at, value, spot):
    whole = here = data()
    for step in at[:-1]:
        here = here[step]
    here[at[-1]] = value
    path = stored(tmp_path, storage.seal(whole))
    with pytest.raises(UsageError, match=f"the record is wrong at {spot}") as caught:
        results_record.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


GOLDEN = Path(__file__).parents[1] / "golden"


def test_the_record_of_every_schema_loads_forever():
    assert results_record.load(GOLDEN / "schema-3.json") == record()
    assert results_record.load(GOLDEN / "schema-2.json") == record()
    first = results_record.load(GOLDEN / "schema-1.json")
    assert first == record()
    assert all(draw(form, board.build(first)) for form in BUILT_IN)
    before = results_record.load(
        GOLDEN / "schema-0.json"
    )  # before there were notes: ranks, and nothing on what they rest on
    assert before.schema_ == results_schema.SCHEMA
    assert before == record(notes={}, failures=[{**row, "hint": ""} for row in data()["failures"]])


def test_an_older_record_is_brought_up_a_step_a_number(tmp_path, monkeypatch):
    def second(found):
        found["seed"] = found.pop("luck")

    def third(found):
        found["seed"] += 1

    monkeypatch.setattr(results_schema, "SCHEMA", 5)
    monkeypatch.setattr(results_schema, "UPGRADES", {3: second, 4: third})
    whole = data()
    whole["luck"] = whole.pop("seed")
    loaded = results_record.load(stored(tmp_path, storage.seal(whole)))
    assert (loaded.schema_, loaded.seed) == (5, 8)
    with pytest.raises(UsageError, match="there is no schema 0"):
        results_record.load(stored(tmp_path, storage.seal({**whole, "schema": 0})))


def test_an_old_record_has_the_names_of_today(tmp_path):
    sign = "text=1f;protocol={};template='Q; {{given}}';limit=none".format
    row = {**score("lstm", "accuracy", 0.5), "task": "choice", "signature": sign("choice/1")}
    whole = {**data(), "schema": 1, "scores": [row]}
    whole["failures"] = [{**data()["failures"][0], "model": "rnn", "task": "batch-fit"}]
    whole["notes"] = {"tasks": {"choice:accuracy": {}}, "cells": {"lstm": ["choice", "mine"]}}
    path = stored(tmp_path, json.dumps(whole))  # of a schema that had no digest
    loaded = results_record.load(path)
    assert loaded.scores[0].signature == sign("multiple-choice/1")
    assert (loaded.scores[0].task, loaded.failures[0].task) == ("multiple-choice", "max-batch")
    assert [*loaded.notes.tasks] == ["multiple-choice:accuracy"]
    assert loaded.notes.cells == {"lstm": ["multiple-choice", "mine"]}
    samples = tmp_path / "samples" / "lstm" / "choice.jsonl"
    samples.parent.mkdir(parents=True)
    samples.write_text(json.dumps({"id": "a", "statistics": {"accuracy": [1, 1]}}) + "\n")
    run = results_samples.open_results(tmp_path)
    assert [item.key for item in run.items("lstm", "multiple-choice")] == ["a"]
    found = results_samples.samples(loaded, tmp_path)
    assert [(model.name, task) for model, task, _ in found] == [("lstm", "multiple-choice")]


def test_there_is_a_step_from_every_older_schema():
    assert results_schema.UPGRADES.keys() == set(range(results_schema.SCHEMA))


def test_what_is_wrong_is_said_in_one_line_whatever_the_record_calls_it(tmp_path):
    whole = data()
    whole["notes"]["tasks"] = {"\x1b[31mred\n\u202e": {"better_than": 3}}
    with pytest.raises(UsageError) as caught:
        results_record.load(stored(tmp_path, storage.seal(whole)))
    assert str(caught.value).endswith(
        "the record is wrong at notes.tasks. [31mred .better_than: Input should be a valid"
        " dictionary"
    )


def test_a_missing_record_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"run\.json: cannot read the record: No such file"):
        results_record.load(tmp_path)
    with pytest.raises(UsageError, match="elsewhere: cannot read the record: No such file"):
        results_record.load(tmp_path / "elsewhere")


def test_items_whose_ids_hold_odd_line_ends_are_ranked_all_the_same(tmp_path):
    names = ("byte-ngram", "lstm")
    for name, bits in zip(names, (1.0, 2.0), strict=True):
        rows = [
            {"id": f"a\u2028{i}\x85", "statistics": {"bits_per_byte": [bits * (10 + i), 10]}}
            for i in range(8)
        ]
        storage.write_lines(tmp_path / "samples" / name / "likelihood.jsonl", rows)
    scores = [
        row for row in record().scores if row.model in names and row.metric == "bits_per_byte"
    ]
    notes = ranking.rank_scores(scores, tmp_path)
    assert {row.model: row.rank for row in scores} == {"byte-ngram": (1, 1), "lstm": (2, 2)}
    assert notes["likelihood"]["better_than"] == {"byte-ngram": ["lstm"], "lstm": []}


def test_a_kind_of_machine_is_its_processor_cores_threads_gpus_and_system_and_no_version_of_it():
    facts = {
        "cpu": "A Processor",
        "cores": 4,
        "threads": 2,
        "gpus": [{"name": "Big GPU", "memory_bytes": 1}],
        "os": "Linux 6.1",
    }
    kind = results_record.Machine.model_validate(facts).kind()
    assert kind == ("A Processor", 4, 2, ("Big GPU",), "Linux")
    assert (
        results_record.Machine.model_validate(
            {**facts, "os": "Linux 6.8", "python": "3.13", "memory_bytes": 5}
        ).kind()
        == kind
    )
    for other in ({"cpu": "B"}, {"cores": 8}, {"threads": 4}, {"gpus": []}, {"os": "Darwin 6.1"}):
        assert results_record.Machine.model_validate({**facts, **other}).kind() != kind
    assert results_record.Machine.model_validate(
        {**facts, "gpus": []}
    ).kind() == results_record.Machine.model_validate(facts).kind(gpus=False)
    assert results_record.Machine().kind() == ("?", None, None, (), "")


@pytest.mark.parametrize(("old", "new"), [("2.1807", "2.1907"), ('"digest"', '"digist"')])
def test_a_record_that_was_changed_after_it_was_written_is_refused(tmp_path, old, new):
    path = record().write(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError, match=r"run\.json: the record: it.* digest"):
        results_record.load(path)


def test_samples_that_were_changed_after_a_run_are_refused(tmp_path):
    file = tmp_path / "samples" / "lstm" / "likelihood.jsonl"
    storage.write_lines(file, [{"id": "a", "statistics": {"bits_per_byte": [1.0, 2.0]}}])
    name = "samples/lstm/likelihood.jsonl"
    notes = {**data()["notes"], "files": {name: storage.digest_file(file), "gone.jsonl": "0" * 64}}
    record(notes=notes).write(tmp_path)
    assert results_samples.open_results(tmp_path).items("lstm", "likelihood")
    file.write_text(file.read_text().replace("2.0", "2.5"))
    with pytest.raises(UsageError, match=r"likelihood\.jsonl: changed since the run wrote it"):
        results_samples.open_results(tmp_path)


@pytest.mark.parametrize("name", ["../other", "/etc/passwd"])
def test_a_record_reads_no_file_outside_its_folder(tmp_path, name):
    path = stored(tmp_path, storage.seal({**data(), "notes": {"files": {name: "0" * 64}}}))
    with pytest.raises(UsageError, match="a file outside its folder"):
        results_samples.open_results(path)


def test_a_pipe_is_no_record(tmp_path):
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(UsageError, match="not a regular file"):
        results_record.load(tmp_path)


def test_a_link_to_itself_is_no_record(tmp_path):
    (tmp_path / "run.json").symlink_to(tmp_path / "run.json")
    with pytest.raises(UsageError, match="cannot read the record"):
        results_record.load(tmp_path)
