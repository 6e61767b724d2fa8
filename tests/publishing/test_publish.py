"""What `llmbench publish` writes, and what it refuses to."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from click.testing import CliRunner
from support.hand_runs import BITS, Hand, bits
from support.publications import quick_run

from llmbench import storage
from llmbench.cli.main import cli
from llmbench.errors import UsageError
from llmbench.publishing import leaks
from llmbench.publishing.leaks import check_leaks
from llmbench.publishing.manifest import NAME, open_publication
from llmbench.publishing.publish import publish
from llmbench.results.record import load

BARE = {}  # no environment variables


def invoke(*arguments):
    return CliRunner().invoke(cli, [*map(str, arguments)], standalone_mode=False)


def test_a_published_folder_has_board_record_samples_readme_and_badge(tmp_path):
    run = quick_run(tmp_path / "run")
    done = invoke("publish", run)
    assert (done.exception, done.return_value) == (None, 0), done.exception
    out = tmp_path / "run-published"
    assert done.stdout.strip() == str(out)
    names = {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()}
    assert names == {
        *("index.html", "run.json", "leaderboard.csv", "leaderboard.md", "README.md"),
        *("badge.svg", ".nojekyll", NAME),
        *(
            f"samples/{model}/{task}.jsonl"
            for model in ("byte-ngram", "zlib")
            for task in ("likelihood", "speed")
        ),
    }
    assert (out / "run.json").read_bytes() == (run / "run.json").read_bytes()
    assert "byte-ngram" in (out / "index.html").read_text()


def test_the_readme_is_one_of_a_static_space_and_shows_the_badge(published):
    out = published
    _, front, text = (out / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front) == {
        "title": "llmbench: quick",
        "sdk": "static",
        "app_file": "index.html",
        "pinned": False,
    }
    assert "(badge.svg)](index.html)" in text
    badge = (out / "badge.svg").read_text()
    assert "quick 1, 2 models" in ElementTree.fromstring(badge)[0].text
    assert not re.search(r"(?:href|src|url)\W*https?:", badge)


def test_a_hostile_suite_and_model_cannot_change_readme_and_badge(tmp_path):
    hostile = '"]()<script>&\n- sdk: docker\n---'
    suite = {"name": hostile, "version": 1, "sha256": "0" * 64}
    hand = Hand(tmp_path / "run", suite=suite, notes={"cells": {"m": ["likelihood"]}})
    hand.add("m", BITS, bits(1.0, 2.0)).write()
    out = publish(tmp_path / "run", tmp_path / "out", settings=BARE).folder
    _, front, text = (out / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front)["sdk"] == "static"
    assert "<script>" not in text
    ElementTree.fromstring((out / "badge.svg").read_text())


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("my key is hf_" + "a" * 34, "a token of Hugging Face"),
        ("-----BEGIN RSA PRIVATE KEY-----", "a private key"),
        ("clone https://me:opensesame@example.org/x", "a password in an address"),
        (f"see {Path.home()}/data/text.txt", "the path of the home folder"),
        ("RUN/out/x", "the path of the run's folder"),
        ("swordfish-and-chips", "the value of the environment variable MY_API_KEY"),
    ],
)
def test_a_secret_or_a_path_is_found_and_not_told(tmp_path, text, what):
    if "home" in what and len(str(Path.home())) < 5:
        pytest.skip("the home folder here has no name of its own")
    text = text.replace("RUN", str(tmp_path.resolve()))
    (tmp_path / "bad.jsonl").write_text(json.dumps({"output": f"He said: {text}!"}))
    settings = {"MY_API_KEY": "swordfish-and-chips", "LANG": "He said: ", "TOKEN": "He"}
    with pytest.raises(UsageError, match=what) as caught:
        check_leaks(tmp_path, ["bad.jsonl"], tmp_path / "run", settings)
    assert caught.value.where == "bad.jsonl"
    assert text not in str(caught.value)


def test_a_secret_at_the_border_of_two_pieces_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(leaks, "PIECE", 20)
    (tmp_path / "a.txt").write_bytes(b"x" * 15 + b" hf_" + b"a" * 34)
    with pytest.raises(UsageError, match="Hugging Face"):
        check_leaks(tmp_path, ["a.txt"], tmp_path / "run", {})


def test_nothing_is_written_if_a_sample_holds_a_secret(tmp_path):
    run = quick_run(tmp_path / "run")
    file = run / "samples/zlib/likelihood.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[3]["output"] = "swordfish-and-chips"
    storage.write_lines(file, rows)
    record = load(run)
    record.notes.files["samples/zlib/likelihood.jsonl"] = storage.digest_file(file)
    record.write(run)
    settings = {"MY_API_KEY": "swordfish-and-chips"}
    with pytest.raises(UsageError, match="MY_API_KEY") as caught:
        publish(run, tmp_path / "out", settings=settings)
    assert caught.value.where == "samples/zlib/likelihood.jsonl"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    bare = publish(run, tmp_path / "out", samples=False, settings=settings)
    assert not (bare.folder / "samples").exists()


def test_no_published_file_names_a_folder_of_this_machine(published):
    for file in filter(Path.is_file, published.rglob("*")):
        raw = file.read_bytes()
        assert str(published.parent).encode() not in raw, file
        assert f"{Path.home()}/".encode() not in raw, file


def test_a_changed_run_an_unfinished_one_and_a_used_folder_are_refused(tmp_path):
    run = quick_run(tmp_path / "run")
    used = tmp_path / "used"
    used.mkdir()
    (used / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"holds thesis\.tex"):
        publish(run, used, settings=BARE)
    with pytest.raises(UsageError, match="the run itself"):
        publish(run, run, settings=BARE)
    stopped = load(run)
    stopped.state.end = "interrupted"
    stopped.state.not_reached = {"zlib": ["speed", "likelihood"]}
    stopped.write(tmp_path / "stopped")
    with pytest.raises(UsageError, match="the run is interrupted: 2 cells are not filled"):
        publish(tmp_path / "stopped", tmp_path / "out", settings=BARE)
    stopped.state.end, stopped.state.not_reached = "unfinished", {}
    stopped.write(tmp_path / "stopped")
    with pytest.raises(UsageError, match="the run is unfinished: it is not ranked yet"):
        publish(tmp_path / "stopped", tmp_path / "out", settings=BARE)
    with (run / "samples/zlib/likelihood.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(UsageError, match="changed since the run wrote it"):
        publish(run, tmp_path / "out", settings=BARE)


def test_a_run_that_was_stopped_after_its_last_cell_is_published_with_ranks(tmp_path):
    run = quick_run(tmp_path / "run")
    stopped = load(run)
    stopped.state.end = "interrupted"
    for score in stopped.scores:
        score.rank = None
    stopped.notes.tasks.clear()
    stopped.write(run)
    publish(run, tmp_path / "out", settings=BARE)
    rows = [line.split(",")[:5] for line in (tmp_path / "out" / "leaderboard.csv").open()]
    assert ["likelihood", "byte-ngram", "3", "1", "1"] in rows
    assert "nterrupted" not in (tmp_path / "out" / "leaderboard.md").read_text()


def test_publishing_again_replaces_the_files_and_leaves_a_repository_alone(tmp_path):
    out = tmp_path / "site"
    (out / ".git").mkdir(parents=True)
    (out / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (out / ".gitattributes").write_text("*.parquet filter=lfs\n")
    first = publish(quick_run(tmp_path / "one"), out, settings=BARE)
    second = publish(quick_run(tmp_path / "two", models=("byte-ngram",)), out, settings=BARE)
    assert first.sha256 != second.sha256
    assert not (out / "samples" / "zlib").exists()
    assert (out / ".git" / "HEAD").is_file()
    assert open_publication(out).sha256 == second.sha256


def test_a_run_without_its_samples_is_published_and_what_lacks_is_told(tmp_path):
    run = quick_run(tmp_path / "run")
    (run / "samples/zlib/likelihood.jsonl").unlink()
    done = invoke("publish", run, "--out", tmp_path / "out")
    assert done.return_value == 0
    assert "samples/zlib/likelihood.jsonl is not there" in done.stderr
