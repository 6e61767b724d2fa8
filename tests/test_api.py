"""The front door from Python: the same numbers as the command, and a Run that shows its board."""

from __future__ import annotations

import csv
import io
from html.parser import HTMLParser

import pytest
from support import hand_record
from support.run_helpers import folder, run_json
from support.run_helpers import llmbench as command

import llmbench
from llmbench import api
from llmbench.errors import UsageError


def test_a_run_from_python_is_the_commands_run(tmp_path, monkeypatch):
    place = folder(tmp_path)
    done = command(
        "run",
        "tiny.yaml",
        "--only",
        "byte-ngram",
        "--only",
        "zlib",
        "--out",
        "by command",
        cwd=place,
    )
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(place)
    found = llmbench.run("tiny.yaml", only=["byte-ngram", "zlib"], out="from python")
    assert isinstance(found, llmbench.Run)
    assert run_json(place / "from python")["scores"] == run_json(place / "by command")["scores"]
    assert not found.interrupted
    assert llmbench.score("zlib", "test.jsonl")["bits_per_byte"] == found.value("zlib")
    assert llmbench.score("byte-ngram", "test.jsonl", given={"train": "train.txt"})[
        "bits_per_byte"
    ] == pytest.approx(found.value("byte-ngram"), rel=1e-12)
    with pytest.raises(KeyError, match="no accuracy of zlib"):
        found.value("zlib", "accuracy")
    assert "byte-ngram" in str(found)
    assert {
        row["model"]
        for row in csv.DictReader(io.StringIO((found.folder / "leaderboard.csv").read_text()))
    } == {"byte-ngram", "zlib"}


class _Frames(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_a_run_shows_its_board_in_a_notebook(tmp_path):
    hand_record.record().write(hand_record.samples(tmp_path))
    hand_record.say(tmp_path, "mine", '"></iframe><script>alert(1)</script>')
    opened = llmbench.api.open_run(tmp_path)
    frames = _Frames()
    frames.feed(opened._repr_html_())
    [(tag, attributes)] = frames.found  # one element, and the page whole in an attribute of it
    assert tag == "iframe"
    assert attributes["sandbox"] == "allow-scripts"
    assert attributes["srcdoc"] == api.RENDERERS["html"](opened.board)


def test_what_is_wrong_is_a_usage_error(tmp_path):
    for call in (
        lambda: llmbench.run("standrad"),
        lambda: llmbench.score("zlib", tmp_path / "no.txt"),
        lambda: llmbench.score("zlbi", "fables"),
        lambda: llmbench.score("zlib", "fables", window="whole"),
        lambda: api.open_run(tmp_path),
    ):
        with pytest.raises(UsageError):
            call()
    with pytest.raises(AttributeError, match="no attribute 'scroe'"):
        llmbench.scroe
