"""Texts from the hub: a hub on this machine stands in for it. Each fetch is a real child process
with the real `datasets`.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time

import pytest
from support.fake_hub import COMMIT, elsewhere, parquet_folder, serve

from llmbench.data import hub
from llmbench.data.hub import Rows, text_file
from llmbench.errors import Unavailable, UsageError

PAGES = [
    " = One = \n \n Text , of one . \n",
    "\ufeffcaf\u00e9\u2028\r\n\x00\t \U0001f680",
    "",
    "no line end",
]
CARD = b"""---
configs:
- config_name: small
  data_files: [{split: test, path: small/test.jsonl}, {split: train, path: small/train.jsonl}]
- config_name: other
  data_files: [{split: train, path: other/train.jsonl}]
---
"""
FILES = {
    "README.md": CARD,
    "small/test.jsonl": (
        "".join(json.dumps({"page": page, "n": i}) + "\n" for i, page in enumerate(PAGES)).encode()
    ),
    "small/train.jsonl": b'{"page": "learn this", "n": 0}\n',
    "other/train.jsonl": b'{"page": "something else", "n": 0}\n',
}
ROWS = Rows("me/Some_pagesOf", "small", "test", "page")


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    with elsewhere(tmp_path, monkeypatch):
        yield


@pytest.fixture
def online(monkeypatch):
    with serve(ROWS.id, FILES) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        yield


def texts(file):
    return [
        document["text"]
        for document in map(json.loads, file.read_text(encoding="utf-8").split("\n")[:-1])
    ]


def test_rows_are_fetched_once_and_stay_what_they_are(online, monkeypatch):
    file = text_file(ROWS)
    assert texts(file) == PAGES
    note = json.loads(file.with_suffix(".json").read_text())
    assert (note["commit"], note["rows"], note["split"], note["id"]) == (COMMIT, 4, "test", ROWS.id)
    monkeypatch.setattr(hub.subprocess, "run", lambda *given, **named: pytest.fail("fetched again"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert text_file(ROWS) == file


@pytest.mark.parametrize("ending", [".jsonl", ".json"])
def test_kept_rows_that_were_changed_are_read_again(tmp_path, ending):
    place = parquet_folder(tmp_path, test=[{"page": page} for page in PAGES])
    file = text_file(Rows(str(place), field="page"))
    kept = file.with_suffix(ending)
    raw = bytearray(kept.read_bytes())
    raw[len(raw) // 2] ^= 1
    kept.write_bytes(raw)
    assert texts(text_file(Rows(str(place), field="page"))) == PAGES


def test_fields_of_parquet_in_a_parquet_folder(tmp_path):
    rows = [{"page": page, "other": "x"} for page in PAGES]
    place = parquet_folder(tmp_path, test=rows, train=rows[:1])
    file = text_file(Rows(str(place), field="page"))
    assert texts(file) == PAGES
    assert json.loads(file.with_suffix(".json").read_text())["commit"] is None


def test_a_folder_that_changed_is_read_again(tmp_path):
    place = parquet_folder(tmp_path, test=[{"text": "old"}])
    rows = Rows(str(place))
    assert texts(text_file(rows)) == ["old"]
    parquet_folder(tmp_path, test=[{"text": "new, and longer"}])
    assert texts(text_file(rows)) == ["new, and longer"]


def test_what_is_nowhere_is_said_to_be_so_at_once():
    begun = time.monotonic()
    with pytest.raises(
        Unavailable, match=r"the dataset me/Some_pagesOf \(small\) is not on this machine"
    ) as caught:
        text_file(ROWS)
    assert time.monotonic() - begun < 1
    assert "load_dataset" in caught.value.hint


def command_in(hint):
    """The command that a hint names, run by this interpreter."""
    python, *arguments = shlex.split(hint.removeprefix("fetch it once: "))
    assert python == "python"
    return [sys.executable, *arguments]


def test_the_command_that_the_hint_names_makes_the_offline_run_work(monkeypatch):
    with pytest.raises(Unavailable) as caught:
        text_file(ROWS)
    with serve(ROWS.id, FILES) as address:
        subprocess.run(
            command_in(caught.value.hint),
            env={**os.environ, "HF_ENDPOINT": address},
            check=True,
            capture_output=True,
        )
    assert texts(text_file(ROWS)) == PAGES
    with pytest.raises(Unavailable, match=r"\(other\) is not on this machine"):
        text_file(Rows(ROWS.id, "other", "train", "page"))


def test_what_hf_download_brought_is_found(monkeypatch):
    with serve(ROWS.id, FILES) as address:
        program = [
            sys.executable,
            "-m",
            "huggingface_hub.cli.hf",
            "download",
            "--repo-type",
            "dataset",
            ROWS.id,
        ]
        subprocess.run(
            program, env={**os.environ, "HF_ENDPOINT": address}, check=True, capture_output=True
        )
    file = text_file(ROWS)
    assert texts(file) == PAGES
    assert json.loads(file.with_suffix(".json").read_text())["commit"] == COMMIT


def test_offline_asks_nobody(online):
    with pytest.raises(Unavailable):
        text_file(ROWS, fetch=False)


@pytest.mark.parametrize(
    ("rows", "want"),
    [
        (
            Rows(ROWS.id, "smal", "test", "page"),
            r"there is no configuration 'smal' \(there are: other, small\)",
        ),
        (
            Rows(ROWS.id, None, "test", "page"),
            r"several configurations \(there are: other, small\)",
        ),
        (
            Rows(ROWS.id, "small", "tset", "page"),
            r"there is no split 'tset' \(there are: test, train\)",
        ),
        (
            Rows(ROWS.id, "small", "test", "text"),
            r"there is no field 'text' \(there are: page, n\)",
        ),
        (Rows(ROWS.id, "small", "test", "n"), r"the field 'n' holds int64, not text"),
        (Rows("a/b/c"), "owner/name"),
        (Rows("../x"), "owner/name"),
        (Rows("/no/such/folder"), "there is no such folder"),
    ],
)
def test_what_is_wrong_is_said_with_the_choices(online, rows, want):
    with pytest.raises(UsageError, match=want) as caught:
        text_file(rows)
    assert "\n" not in str(caught.value)


def test_a_data_set_that_the_hub_does_not_know_is_unavailable(online):
    with pytest.raises(
        Unavailable, match=r"me/other is unavailable: DatasetNotFoundError.*spelling"
    ):
        text_file(Rows("me/other"))


@pytest.mark.parametrize(
    ("content", "want"),
    [
        ({"x.bin": b"?"}, "x|data"),
        ({"test.jsonl": b'{"text": "a"}\n{"text": null}\n'}, "field 'text' is empty in row 1"),
    ],
)
def test_a_folder_that_cannot_serve_is_wrong_usage(tmp_path, content, want):
    for name, raw in content.items():
        (tmp_path / "home").mkdir(exist_ok=True)
        (tmp_path / "d").mkdir(exist_ok=True)
        (tmp_path / "d" / name).write_bytes(raw)
    with pytest.raises(UsageError, match=want):
        text_file(Rows(str(tmp_path / "d")))


def test_a_folder_of_the_same_name_is_not_taken_for_the_data_set(online, tmp_path, monkeypatch):
    (tmp_path / ROWS.id).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert texts(text_file(ROWS)) == PAGES
