"""What a board shows of people's votes, in every format."""

import json

import pytest
from leaderboard.page.test_accessibility import AXE, RULES, needs_axe
from support import browser
from support.polls import let_rate, let_vote, make_run, write_answers, write_texts

from llmbench.api import load_run
from llmbench.leaderboard.merge.merge import merge
from llmbench.leaderboard.renderers import html, markdown, table
from llmbench.votes import ballots, opening
from llmbench.votes.poll import RATINGS

STRENGTHS = {"aardvark": 2.0, "bumblebee": 0.0, "caracal": -2.0, "reference": 3.0}
EVIL = "<script>alert(1)</script>|*x*\u202e"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("run"), write_texts(15))
    poll = opening.open_poll(folder, human=True)
    let_vote(poll, "ada", STRENGTHS, 50)
    let_vote(poll, EVIL, STRENGTHS, 50)
    let_rate(opening.open_poll(folder, asks=RATINGS), "ada", 12)
    return folder


def test_the_section_says_who_won_and_what_votes_are_worth(run):
    (found,) = load_run(run).board.votes
    assert found.task == "continuation"
    standings, meetings, raters, _ = found.parts
    assert standings.titles[:4] == ("rank", "model", "win share", "votes")
    assert standings.rows[0][1] in ("(human text)", "aardvark")
    assert standings.rows[-1][1] == "caracal"
    assert len(meetings.rows) == len(meetings.titles) - 1 == 4
    assert {row[0] for row in raters.rows} == {"ada", EVIL}
    text = "\n".join(found.notes)
    firsts = sum(vote.repeat_of is None for vote in ballots.read_votes(run))
    assert f"{firsts} votes by 2 raters on 15 prompts, 0 % of them ties." in text
    assert "Krippendorff's alpha" in text
    assert "hidden repeats" in text
    assert "Intervals: 95 % over prompts and raters." in text


def test_what_one_won_another_lost(run):
    meetings = load_run(run).board.votes[0].parts[1]
    names = [row[0] for row in meetings.rows]
    for at, row in enumerate(meetings.rows):
        for other in range(at):
            there, back = row[other + 1], meetings.rows[other][at + 1]
            assert there.split(":") == back.split(":")[::-1], (names[at], names[other])


def test_a_contestant_without_a_share_is_named_beside_the_shares_of_the_others(tmp_path):
    folder = make_run(tmp_path, write_texts(15))
    let_vote(opening.open_poll(folder), "ada", {**STRENGTHS, "caracal": -50.0}, 40)
    (found,) = load_run(folder).board.votes
    assert "Shares are against the average of the others without caracal." in found.notes


def test_ratings_are_means_with_their_number(run):
    (found,) = load_run(run).board.votes
    rows = {row.model: row.ratings for row in found.rows}
    means = [rows[name]["fluency"].mean.value for name in ("aardvark", "bumblebee", "caracal")]
    assert means == [1, 2, 3]
    assert sum(one["sense"].mean.n for one in rows.values() if one) == 12
    assert rows["reference"] == {}
    part = found.parts[-1]
    assert part.heading == "People's ratings, 1 to 5: continuation"
    assert [row[0] for row in part.rows] == [*["fluency"] * 3, *["sense"] * 3, *["fit"] * 3]
    assert [row[2] for row in part.rows[:3]] == ["caracal", "bumblebee", "aardvark"]


def test_the_summary_names_the_best_only_if_the_votes_prove_it(run, tmp_path):
    (found,) = load_run(run).board.votes
    best = [row.name for row in found.rows if row.rank == (1, 1)]
    expected = f"people find {best[0]} best" if best else "do not say who is best"
    assert expected in found.summary
    few = make_run(tmp_path)
    let_vote(opening.open_poll(few), "ada", STRENGTHS, 3)
    (found,) = load_run(few).board.votes
    assert found.summary == "continuation: 3 blind votes do not say who is best."
    assert "3 votes by 1 rater on 3 prompts" in found.notes[0]


@pytest.mark.parametrize("render", [html.render, markdown.render, table.render])
def test_every_format_has_the_section_and_escapes_names_of_raters(run, render):
    text = render(load_run(run).board)
    assert "votes: continuation" in text
    assert "<script>alert(1)" not in text or render is table.render
    assert "\u202e" not in text


def test_ratings_alone_make_a_section(tmp_path):
    run = make_run(tmp_path)
    let_rate(opening.open_poll(run, asks=RATINGS), "ada", 5)
    (found,) = load_run(run).board.votes
    (part,) = found.parts
    assert part.titles == ("criterion", "rank", "model", "mean rating", "ratings")
    assert "5 answers by 1 rater. Intervals: 95 % over prompts;" in found.notes[0]
    assert found.summary == ""
    assert "rating:fluency" not in markdown.render(load_run(run).board)


def test_votes_on_changed_answers_are_told_and_not_counted(tmp_path):
    run = make_run(tmp_path)
    let_vote(opening.open_poll(run), "ada", STRENGTHS, 8)
    texts = write_texts()
    texts["caracal"] = ["new"] * 8
    write_answers(run, texts)
    found = load_run(run).board.votes
    count = ballots.read_ballots(run).stale
    assert count > 0
    assert all(f"{count} votes or ratings are on answers" in " ".join(one.notes) for one in found)
    assert all("caracal" not in [row.name for row in one.rows] for one in found)


def test_a_merged_board_has_the_votes_of_each_run(run, tmp_path):
    board, _ = merge([run, make_run(tmp_path / "other")])
    assert [one.task for one in board.votes] == [f"continuation, {run.name}"]


@needs_axe
@pytest.mark.slow
def test_axe_finds_no_violation_in_the_section(run, tmp_path):
    file = tmp_path / "board.html"
    file.write_text(html.render(load_run(run).board), encoding="utf-8")
    with browser.opened(file, tmp_path / "profile") as page:
        page.ask("Page.setBypassCSP", enabled=True)
        page.load(file)
        page.value(AXE.read_text(encoding="utf-8"))
        found = page.value(
            f"axe.run('#votes-1', {{ runOnly: {json.dumps(RULES)} }})"
            ".then(r => r.violations.map(v => [v.id, v.nodes[0].html.slice(0, 200)]))"
        )
    assert found == []
