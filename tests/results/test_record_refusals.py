"""Records that are refused: the whole line that is said, with path, place and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.hand_record import data, record

from llmbench import storage
from llmbench.errors import UsageError
from llmbench.results import schema
from llmbench.results.record import Machine, load

AGAIN = "(run again with the same --out)"
ITEMS = {"likelihood": [{"ids": ["a"], "models": {"lstm": {"bits_per_byte": [[1.0, 2]]}}}]}


def refused(path: Path) -> str:
    """What is said of it, one line without its path."""
    with pytest.raises(UsageError) as caught:
        load(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    return said.removeprefix(f"{path}: ")


def stored(folder: Path, whole: Any) -> Path:
    path = folder / "run.json"
    path.write_text(whole if isinstance(whole, str) else json.dumps(whole))
    return path


def reviewed(**changes: Any) -> dict[str, Any]:
    """A reviewed record's data, with its right digest."""
    whole = {
        **data(),
        "items": ITEMS,
        "review": {"promoted": "2026", "commit": "c" * 40},
        **changes,
    }
    whole["review"]["sha256"] = schema.digest(whole)
    return whole


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", f"the record is torn: Expecting value: line 1 column 1 (char 0) {AGAIN}"),
        ('{"schema": NaN}', f"the record is torn: NaN is no number of a record {AGAIN}"),
        ("[]", "not a record: no schema number"),
        ('{"schema": 3.0}', "not a record: no schema number"),
        ('{"schema": 4}', "schema 4 is newer than this llmbench knows (3) (update llmbench)"),
        ('{"schema": -7}', "there is no schema -7"),
        ('{"schema": 1}', "the record is wrong at llmbench: Field required"),
    ],
)
def test_what_is_no_record_is_said_in_one_line_with_what_to_do(tmp_path, content, said):
    assert refused(stored(tmp_path, content)) == said


def test_the_place_of_a_wrong_value_is_a_path_of_keys(tmp_path):
    whole = data()
    whole["scores"][2]["n"] = "many"
    found = refused(stored(tmp_path, storage.seal(whole)))
    assert found.startswith("the record is wrong at scores.2.n: Input should be a valid integer")


def test_a_folder_in_place_of_the_file_is_not_a_regular_file(tmp_path):
    (tmp_path / "run.json").mkdir()
    with pytest.raises(UsageError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"{tmp_path / 'run.json'}: the record is not a regular file"


def test_a_file_that_is_not_there_is_said_with_the_systems_reason(tmp_path):
    path = tmp_path / "gone.json"
    assert refused(path) == "cannot read the record: No such file or directory"


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("2.1807", "2.1907", "its digest is wrong: changed since it was written"),
        ("\n}\n", "\n}", "it does not end with its digest: cut off, or changed by hand"),
    ],
)
def test_a_record_that_was_changed_is_said_with_what_to_do(tmp_path, old, new, what):
    path = record().write(tmp_path)
    head, _, tail = path.read_text().rpartition(old)
    path.write_text(f"{head}{new}{tail}")
    hint = "(run again with the same --out, or copy it again)"
    assert refused(path) == f"the record: {what} {hint}"


def test_an_older_record_that_has_a_digest_is_held_to_it(tmp_path):
    sealed = storage.seal({**data(), "schema": 2})
    loaded = load(stored(tmp_path, sealed))
    assert loaded == record()
    assert "digest" not in (loaded.model_extra or {})
    changed = stored(tmp_path, sealed.replace("2.1807", "2.1907", 1))
    assert refused(changed).startswith("the record: its digest is wrong")


def test_a_record_of_todays_schema_needs_a_digest(tmp_path):
    assert refused(stored(tmp_path, data())).startswith("the record: it does not end with its")


def test_a_reviewed_record_loads_without_a_seal(tmp_path):
    loaded = load(stored(tmp_path, reviewed()))
    assert loaded.review is not None
    assert loaded.items is not None
    assert loaded.items["likelihood"][0].ids == ["a"]


@pytest.mark.parametrize(
    "edit",
    [
        lambda whole: whole.update(seed=8),
        lambda whole: whole["review"].update(promoted="2027"),
        lambda whole: whole["review"].update(sha256="0" * 64),
        lambda whole: whole.update(items=None),
        lambda whole: whole.update(review=None),
        lambda whole: whole.pop("items"),
        lambda whole: whole.pop("review"),
    ],
)
def test_a_reviewed_record_that_was_edited_is_refused(tmp_path, edit):
    whole = reviewed()
    edit(whole)
    assert refused(stored(tmp_path, whole)) == (
        "the reviewed record was edited: its digest is not that of its content"
        " (promote a run instead)"
    )


def test_a_review_that_is_no_mapping_is_wrong_at_its_place(tmp_path):
    found = refused(stored(tmp_path, {**data(), "items": ITEMS, "review": "yes"}))
    assert found.startswith("the record is wrong at review: Input should be")


def test_names_of_models_are_said_with_their_number(tmp_path):
    whole = data()
    whole["models"][4]["name"] = "zlib"
    assert refused(stored(tmp_path, storage.seal(whole))) == (
        "the record is wrong at models.4.name: two models have this name"
    )
    whole = data()
    whole["scores"][5]["model"] = "nobody"
    assert refused(stored(tmp_path, storage.seal(whole))) == (
        "the record is wrong at scores.5.model: there is no such model"
    )


def test_a_changed_file_of_the_run_is_said_with_its_path_and_what_to_do(tmp_path):
    (tmp_path / "samples").mkdir()
    file = tmp_path / "samples" / "a..b.jsonl"
    file.write_text("as written")
    files = {"gone.jsonl": "0" * 64, "samples/a..b.jsonl": storage.digest_file(file)}
    made = record(notes={"files": files})
    made.check_files(tmp_path)
    file.write_text("as changed")
    with pytest.raises(UsageError) as caught:
        made.check_files(tmp_path)
    assert str(caught.value) == (
        f"{file}: changed since the run wrote it (run again with the same --out: what was changed"
        " is computed again)"
    )


@pytest.mark.parametrize("name", ["/dev/null", "../run.json", "samples/../../x"])
def test_a_file_outside_the_runs_folder_is_named(tmp_path, name):
    with pytest.raises(UsageError) as caught:
        record(notes={"files": {name: "0" * 64}}).check_files(tmp_path)
    assert str(caught.value) == f"{name}: the record names a file outside its folder"


def test_gpus_tell_machines_apart_only_where_they_were_to_be_used():
    gpus = [{"name": "Big GPU"}, {"memory_bytes": 1}]
    machine = Machine(cpu="A", cores=4, threads=2, gpus=gpus, os="Linux 6.1 x")
    assert machine.kind() == ("A", 4, 2, ("Big GPU", "GPU"), "Linux")
    assert machine.kind(gpus=True) == machine.kind()
    assert machine.kind(gpus=False) == ("A", 4, 2, (), "Linux")
