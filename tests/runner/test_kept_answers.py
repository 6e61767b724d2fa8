"""Kept answers of servers: what the code of another model writes among them is not believed."""

from __future__ import annotations

import pytest

from llmbench.adapters.servers.kept_answers import KeptAnswers
from llmbench.runner.folder.answers import Answers

FORGED = {"text": "what the server never said"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers" / "served.jsonl"


def write(path, *keys, value=FORGED):
    """Append answers as anybody can, who has read the code."""
    kept = KeptAnswers(path)
    for key in keys:
        kept.keep(key, value)
    kept.close()


def open_kept(answers, path):
    """The answers as a worker of the model has them."""
    seal = answers.find_seal("served")
    return KeptAnswers(path, seal, lambda new: answers.accept("served", new))


def find_all(kept):
    return [kept.find(key) for key in ("a", "b", "c")]


def test_what_was_there_when_the_run_began_is_believed(path, tmp_path):
    write(path, "a", "b", value=1)
    assert find_all(open_kept(Answers(tmp_path), path)) == [1, 1, None]


def test_a_file_that_appears_during_the_run_is_not_read_and_removed(path, tmp_path):
    answers = Answers(tmp_path)
    write(path, "a")
    assert find_all(open_kept(answers, path)) == [None] * 3
    assert answers.remove_unknown() == ["answers/served.jsonl"]
    assert not path.exists()


def test_lines_that_another_model_appends_are_cut_off(path, tmp_path):
    write(path, "a", value=1)
    answers = Answers(tmp_path)
    write(path, "b")
    kept = open_kept(answers, path)
    assert find_all(kept) == [1, None, None]
    kept.keep("c", 3)
    kept.close()
    assert answers.remove_unknown() == []
    write(path, "b")
    assert answers.remove_unknown() == ["answers/served.jsonl"]
    assert find_all(KeptAnswers(path)) == [1, None, 3]


def test_a_changed_answer_costs_the_whole_file(path, tmp_path):
    write(path, "a", "b", value=1)
    answers = Answers(tmp_path)
    path.unlink()
    write(path, "a", "b")
    assert find_all(open_kept(answers, path)) == [None] * 3
    assert answers.remove_unknown() == ["answers/served.jsonl"]


def test_what_is_written_beside_a_worker_costs_the_answers_behind_it(path, tmp_path):
    answers = Answers(tmp_path)
    kept = open_kept(answers, path)
    kept.keep("a", 1)
    write(path, "b")
    kept.keep("c", 3)
    kept.close()
    assert answers.remove_unknown() == ["answers/served.jsonl"]
    assert find_all(open_kept(answers, path)) == [1, None, None]


def test_a_worker_that_dies_between_telling_and_writing_costs_no_answer(path, tmp_path):
    answers = Answers(tmp_path)
    kept = open_kept(answers, path)
    kept.keep("a", 1)
    kept.close()
    size, digest = answers.find_seal("served")
    answers.accept("served", (size + 20, digest))
    assert answers.remove_unknown() == []
    with path.open("ab") as file:
        file.write(b'{"key": "b"')
    assert find_all(open_kept(answers, path)) == [1, None, None]
    assert answers.remove_unknown() == ["answers/served.jsonl"]
    assert path.stat().st_size == size
