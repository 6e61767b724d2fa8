"""The public API: the same numbers as the command, and a Run that shows its board."""

from __future__ import annotations

import ast
import csv
import io
import os
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support import hand_record
from support.run_helpers import folder, run_json
from support.run_helpers import llmbench as command

import llmbench
from llmbench.errors import UsageError
from llmbench.leaderboard.renderers import html

ROOT = Path(llmbench.__file__).parents[1]
PUBLIC = sorted(set(llmbench.__all__) - {"__version__"})


def test_every_public_name_is_importable_and_listed():
    for name in PUBLIC:
        assert getattr(llmbench, name) is vars(sys.modules[llmbench._MODULES[name]])[name]
    assert dir(llmbench) == sorted(llmbench.__all__)


def test_type_checkers_and_python_see_the_same_names():
    tree = ast.parse((ROOT / "llmbench" / "__init__.py").read_text(encoding="utf-8"))
    [typed] = [node for node in tree.body if isinstance(node, ast.If)]
    places = {
        alias.asname: f"{line.module}.{alias.name}" for line in typed.body for alias in line.names
    }
    assert places == {name: f"{llmbench._MODULES[name]}.{name}" for name in PUBLIC}


@pytest.mark.timeout(500)  # a minute of one core without a cache, and the machine may be busy
@pytest.mark.slow
def test_strict_mypy_accepts_an_outside_file_with_every_public_name(tmp_path):
    pytest.importorskip("mypy")
    file = tmp_path / "outside.py"
    file.write_text(
        f"from llmbench import {', '.join(PUBLIC)}\n"
        "from llmbench.testing import MockAdapter, check_conformance, conformance\n\n"
        "def bits(model: Adapter, text: str) -> float:\n"
        "    return sum(ledger.total() for ledger in model.score([Passage(text)]))\n\n"
        "class Mine(TokenAdapter):\n"
        "    def encode(self, text: str) -> Tokens:\n"
        "        return Tokens.of([1], [text.encode()])\n\n"
        "value: float = load_run('reports').value('zlib')\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"]

    def check():
        return subprocess.run(
            [*command, f"--cache-dir={ROOT / '.mypy_cache' / 'outside'}", str(file)],
            cwd=tmp_path,
            env={**os.environ, "MYPYPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )

    done = check()
    assert done.returncode == 0, done.stdout
    file.write_text("from llmbench import score\n\nscore(1)\n")  # the types are not all Any
    assert check().returncode == 1


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
    with pytest.raises(UsageError, match=r"no accuracy of zlib .*bits_per_byte"):
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
    opened = llmbench.load_run(tmp_path)
    frames = _Frames()
    frames.feed(opened._repr_html_())
    [(tag, attributes)] = frames.found  # one element, and the page whole in an attribute of it
    assert tag == "iframe"
    assert attributes["sandbox"] == "allow-scripts"
    assert attributes["srcdoc"] == html.render(opened.board)


def test_a_run_says_what_it_is_in_a_line(tmp_path):
    hand_record.record().write(hand_record.samples(tmp_path))
    found = llmbench.load_run(tmp_path)
    assert "\n" not in repr(found)
    assert repr(found).startswith(f"<Run of {found.record.suite.name}: ")
    assert str(tmp_path) in repr(found)


def test_a_runs_scores_are_a_data_frame(tmp_path):
    hand_record.record().write(hand_record.samples(tmp_path))
    found = llmbench.load_run(tmp_path)
    frame = found.to_pandas()
    assert len(frame) == len(found.record.scores)
    row = frame[frame.metric == "bits_per_byte"].iloc[0]
    assert row.value == found.value(row.model, task=row.task)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A run of two models that need no torch."""
    place = folder(tmp_path_factory.mktemp("small"))
    only = ["byte-ngram", "zlib"]
    texts = {"train": place / "train.txt", "test": place / "test.jsonl"}
    return llmbench.run(place / "tiny.yaml", only=only, out=place / "out", data=texts)


@pytest.mark.slow
def test_a_run_gives_the_samples_of_a_model(small):
    found = small.samples("likelihood", "zlib")
    assert len(found) == 12
    bits, bytes_ = (
        sum(column)
        for column in zip(*(sample.statistics["bits_per_byte"] for sample in found), strict=True)
    )
    assert bits / bytes_ == pytest.approx(small.value("zlib"), rel=1e-12)


def test_what_a_run_does_not_have_is_an_error_that_lists_what_it_has(small):
    for ask in (small.samples, lambda task, model: small.value(model, task=task)):
        with pytest.raises(UsageError, match=r"no model 'zlb' in this run \(did you mean 'zlib'"):
            ask("likelihood", "zlb")
        with pytest.raises(UsageError, match=r"no task 'speed' in this run \(known: .*likelihood"):
            ask("speed", "zlib")
    with pytest.raises(
        UsageError, match=r"no samples of zlib on continuation \(there are some on: likelihood\)"
    ):
        small.samples("continuation", "zlib")


def test_a_built_in_text_is_loaded_as_a_suite_loads_it():
    found = llmbench.load_text("fables", select={"part": "tales", "split": "test"})
    assert isinstance(found, llmbench.Text)
    assert len(found.documents) > 1
    with pytest.raises(UsageError):
        llmbench.load_text("fables", select={"part": "nothing"})


def test_a_run_compares_two_models_as_the_command_does(small, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")  # the width of what Python prints
    found = small.compare("byte-ngram", "zlib")
    done = command("compare", str(small.folder), "byte-ngram", "zlib", cwd=small.folder)
    assert repr(found).split() == done.stdout.split()
    assert found._repr_markdown_().startswith("## A: byte-ngram, B: zlib")
    with pytest.raises(UsageError, match="no model 'gzip'"):
        small.compare("byte-ngram", "gzip")


def test_a_run_draws_its_scores_with_intervals(small):
    spec = small.plot().to_dict()
    assert {row["model"] for row in spec["data"]["values"]} == {"byte-ngram", "zlib"}
    assert "bits per byte on likelihood" in str(spec)
    with pytest.raises(UsageError, match="no accuracy in this run"):
        small.plot("accuracy")


def test_a_run_with_speeds_draws_quality_against_speed(tmp_path):
    hand_record.record().write(hand_record.samples(tmp_path))
    found = llmbench.load_run(tmp_path)
    points = found.board.points
    points.append(replace(points[0], model="gru", bits=3.0))
    assert "decode, bytes/s" in str(found.plot().to_dict())


def test_what_is_wrong_is_a_usage_error(tmp_path):
    for call in (
        lambda: llmbench.run("standrad"),
        lambda: llmbench.score("zlib", tmp_path / "no.txt"),
        lambda: llmbench.score("zlbi", "fables"),
        lambda: llmbench.score("zlib", "fables", window="whole"),
        lambda: llmbench.load_run(tmp_path),
    ):
        with pytest.raises(UsageError):
            call()
    with pytest.raises(AttributeError, match="no attribute 'scroe'"):
        llmbench.scroe
