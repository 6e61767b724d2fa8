"""Votes and judgements are published with a run, and people's names are not."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from support.polls import let_vote, make_run, write_texts

from llmbench import storage
from llmbench.api import load_run
from llmbench.cli.main import cli
from llmbench.publishing.manifest import open_publication
from llmbench.publishing.publish import publish
from llmbench.results.record import load
from llmbench.runner.judging.judge import Asked, judge_run
from llmbench.testing import MockAdapter
from llmbench.votes import ballots, opening
from llmbench.votes.judges import judgements

STRENGTHS = {"aardvark": 2.0, "bumblebee": 0.0, "caracal": -2.0}
NAMES = ("Zoë Example", "Anna Example")


@pytest.fixture
def run(tmp_path):
    folder = make_run(tmp_path / "run", write_texts(6))
    record = load(folder)
    record.notes.files = {
        file.relative_to(folder).as_posix(): storage.digest_file(file)
        for file in sorted(folder.glob("samples/*/*"))
    }
    record.write(folder)
    for name in NAMES:
        let_vote(opening.open_poll(folder), name, STRENGTHS, 10)
    return folder


def test_votes_are_published_without_names_and_count_as_before(run, tmp_path):
    made = publish(run, tmp_path / "out", settings={})
    assert made.raters == 2
    raters = [one.rater for one in ballots.read_lines(made.folder / ballots.FILE)]
    assert list(dict.fromkeys(raters)) == ["rater 2", "rater 1"]
    before, after = (str(load_run(folder).board.votes) for folder in (run, made.folder))
    for name, called in zip(sorted(NAMES), ("rater 1", "rater 2"), strict=True):
        before = before.replace(name, called)
    assert after == before != "[]"
    open_publication(made.folder)
    for file in made.folder.rglob("*"):
        assert file.is_dir() or b"Example" not in file.read_bytes(), file
    assert "votes.jsonl | what people said" in (made.folder / "README.md").read_text()


def test_names_are_published_if_that_is_asked_for(run, tmp_path):
    made = publish(run, tmp_path / "out", rater_names=True, settings={})
    votes = (made.folder / ballots.FILE).read_bytes()
    assert votes == (run / ballots.FILE).read_bytes()


def test_votes_are_left_out_with_the_samples_that_they_are_on(run, tmp_path):
    made = publish(run, tmp_path / "out", samples=False, settings={})
    assert made.raters == 0
    assert not (made.folder / ballots.FILE).exists()


def test_what_judges_said_is_published_as_it_is(run, tmp_path):
    judge_run(run, MockAdapter(lambda prompt: "TIE", name="kind"), Asked(kind="pairwise"))
    made = publish(run, tmp_path / "out", settings={})
    said = (made.folder / judgements.FILE).read_bytes()
    assert said == (run / judgements.FILE).read_bytes()
    assert "Judge kind (pairwise)" in (made.folder / "index.html").read_text()


@pytest.mark.parametrize(
    ("more", "called"), [([], "numbers instead of names"), (["--rater-names"], "their names")]
)
def test_the_command_says_what_raters_are_called(run, tmp_path, more, called):
    arguments = ["publish", str(run), "--out", str(tmp_path / "out"), *more]
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert done.exception is None
    assert f"the votes of 2 people are in it, with {called}" in done.stderr
