"""What a board shows of judges, in every format."""

import csv
import io
import subprocess
import sys

import pytest
from support.polls import let_vote, make_run, write_answers, write_texts

from llmbench.api import load_run
from llmbench.errors import UsageError
from llmbench.leaderboard.merge.merge import merge
from llmbench.leaderboard.renderers import csv as csv_renderer
from llmbench.leaderboard.renderers import html, markdown, table
from llmbench.runner.judging.judge import Asked, judge_run
from llmbench.testing import MockAdapter
from llmbench.votes import opening
from llmbench.votes.judges import judgements

EVIL = "<script>alert(1)</script>|*x*\u202e"
STRENGTHS = {"aardvark": 2.0, "bumblebee": 0.0, "caracal": -2.0}


@pytest.fixture
def run(tmp_path):
    folder = make_run(tmp_path, write_texts(15))
    costs = {text: 1 + hash_text(text) % 7 for texts in write_texts(15).values() for text in texts}
    judge_run(folder, MockAdapter(bits_per_byte=costs, name="weigher"), Asked())
    return folder


def hash_text(text):
    return sum(text.encode())


def test_a_judge_has_a_table_that_says_it_is_not_validated(run):
    (found,) = load_run(run).board.votes
    (part,) = found.parts
    assert part.heading == "Judge weigher (likelihood): continuation"
    assert {row[1] for row in part.rows} == {"aardvark", "bumblebee", "caracal"}
    assert found.notes[0] == "Not validated: no person voted on the pairs that it judged."
    assert found.notes[-1].startswith("45 pairs of answers:")
    assert found.signature.startswith("protocol=judge-likelihood/1;judge=")


def test_votes_of_people_come_first_and_validate_the_judge(run):
    let_vote(opening.open_poll(run), "ada", STRENGTHS, 30)
    people, judge = load_run(run).board.votes
    assert people.parts[0].heading.startswith("People's votes")
    assert "human votes on the same" in judge.notes[0]
    scores = [score for score in load_run(run).record.scores if "judge" in score.metric]
    assert scores == []  # a judge's shares are no scores


def test_judges_have_tables_of_their_own(run):
    judge_run(run, MockAdapter(lambda prompt: "TIE", name="kind"), Asked(kind="pairwise"))
    headings = [found.parts[0].heading for found in load_run(run).board.votes]
    assert headings == [
        "Judge weigher (likelihood): continuation",
        "Judge kind (pairwise): continuation",
    ]


@pytest.mark.parametrize("render", [html.render, markdown.render, table.render])
def test_every_format_has_the_table_and_escapes_names(run, render):
    judge_run(run, MockAdapter(name=EVIL), Asked())
    text = render(load_run(run).board)
    assert "weigher" in text
    assert "Not validated" in text
    assert "<script>alert(1)" not in text or render is table.render
    assert "\u202e" not in text


def test_csv_has_a_line_for_each_share(run):
    rows = csv.DictReader(io.StringIO(csv_renderer.render(load_run(run).board)))
    found = [row for row in rows if row["metric"] == "judge_win_share:weigher"]
    assert len(found) == 3
    assert all(row["rank_best"] and row["unit"] == "share" for row in found)


def test_answers_that_changed_leave_no_table(run):
    write_answers(run, {name: ["other"] * 15 for name in STRENGTHS})
    assert load_run(run).board.votes == []


def test_a_board_of_several_runs_names_the_run(run, tmp_path):
    other = make_run(tmp_path / "other", write_texts(3))
    board, _ = merge([run, other])
    (found,) = board.votes
    assert found.task.startswith("continuation, ")


def test_a_wrong_line_is_told_with_its_place(run):
    path = run / judgements.FILE
    path.write_text("{}\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(UsageError, match=r"judgements\.jsonl:1: no judgement"):
        _ = load_run(run).board


def test_a_board_without_judges_loads_no_numpy_for_them():
    code = (
        "import sys, llmbench.leaderboard.votes.judges;"
        "sys.exit(bool({'numpy', 'torch', 'scipy'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
