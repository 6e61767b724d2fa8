"""Votes as scores: in tables and CSV, and known to compare and gate."""

import csv
import io
from dataclasses import replace

import pytest
from click.testing import CliRunner
from support.polls import MODELS, let_vote, make_record, make_run, write_answers, write_texts

from llmbench.api import load_run
from llmbench.cli.main import cli
from llmbench.errors import UsageError
from llmbench.leaderboard.board import build
from llmbench.leaderboard.renderers.csv import render as render_csv
from llmbench.metrics.facts import VOTES
from llmbench.results import compare, gate, matching, promote
from llmbench.results.samples import open_results
from llmbench.votes import ballots, opening
from llmbench.votes.scores import add_votes, measure_units, open_run, rank

STRENGTHS = {"aardvark": 2.0, "bumblebee": 0.0, "caracal": -2.0}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with 80 votes of two raters, who like aardvark best and caracal least."""
    folder = make_run(tmp_path_factory.mktemp("run"), write_texts(20))
    poll = opening.open_poll(folder)
    for rater in ("ada", "bob"):
        let_vote(poll, rater, STRENGTHS, 40)
    return folder


def read_scores(opened):
    return {score.model: score for score in opened.record.scores if score.metric == VOTES}


def test_each_model_has_its_share_of_wins_with_an_interval(run):
    found = read_scores(open_run(run))
    assert found["aardvark"].value > 0.75 > 0.6 > found["bumblebee"].value > 0.4
    assert found["caracal"].value < 0.25
    for score in found.values():
        assert 0 < score.low < score.value < score.high < 1
        assert (score.unit, score.better, score.task) == ("share", "higher", "continuation")
        assert score.signature.startswith("protocol=votes/1;contestants=")
    assert (found["aardvark"].rank, found["caracal"].rank) == ((1, 1), (3, 3))


def test_the_record_itself_holds_no_votes(run):
    assert read_scores(open_results(run)) == {}
    assert VOTES not in (run / "run.json").read_text()


def test_adding_votes_twice_adds_them_once(run):
    once = add_votes(open_results(run))
    assert add_votes(once).record == once.record


def test_a_pseudo_value_is_that_of_its_prompt_left_out(run):
    votes = ballots.read_votes(run)
    found = {name: one.values for name, one in measure_units(votes).items()}
    prompts = sorted({vote.prompt.partition(" ")[0] for vote in votes})
    assert {name: sorted(rows) for name, rows in found.items()} == dict.fromkeys(MODELS, prompts)
    some, n = prompts[3], len(prompts)
    rest = [vote for vote in votes if vote.prompt.partition(" ")[0] != some]
    whole, part = (
        {row.name: row.share.value for row in rank(these, 7).standings} for these in (votes, rest)
    )
    for name in MODELS:
        pseudo = n * whole[name] - (n - 1) * part[name]
        # but for the weak prior that keeps a share finite if nobody loses
        assert found[name][some] == pytest.approx(pseudo, abs=0.02)


def test_compare_tests_two_models_by_prompts(run):
    opened = open_run(run)
    pairs = matching.within(opened, "aardvark", "caracal")
    (row,) = compare.compare(("a", "c"), pairs, [VOTES]).rows
    assert (row.verdict, row.proven) == ("better", True)
    assert row.low < row.difference < row.high
    assert row.difference == pytest.approx(row.a - row.b)
    assert (row.n, row.test) == (20, "t over prompts and raters")
    assert [row.metric for row in load_run(run).compare("aardvark", "caracal").result.rows] == [
        VOTES
    ]


def test_compare_says_what_its_intervals_hold_and_why_a_board_may_say_less(run, tmp_path):
    done = CliRunner().invoke(cli, ["compare", str(run), *MODELS[:2], "--metric", VOTES])
    said = " ".join(done.stdout.split())
    assert "votes: intervals and p are over prompts and raters." in said
    assert "a board corrects for all pairs of its models at once" in said
    kept = promote.promote(open_run(run), tmp_path / "record.json")
    done = CliRunner().invoke(cli, ["compare", str(kept), *MODELS[:2], "--metric", VOTES])
    said = " ".join(done.stdout.split())
    assert "keeps no raters, so intervals and p are over prompts." in said
    gated = ["gate", str(run), "--against", str(kept), "--allow", "votes=0.05"]
    said = " ".join(CliRunner().invoke(cli, gated).stdout.split())
    assert "keeps no raters, so intervals and p are over prompts." in said


@pytest.mark.parametrize("command", ["compare", "gate"])
def test_the_shares_of_a_judge_are_refused_with_the_reason(run, command):
    arguments = {
        "compare": [str(run), *MODELS[:2], "--metric", "judge_win_share:weigher"],
        "gate": [str(run), "--against", str(run), "--allow", "judge_win_share:weigher=0.1"],
    }
    done = CliRunner().invoke(cli, [command, *arguments[command]])
    assert isinstance(done.exception, UsageError)
    assert str(done.exception).startswith("judge_win_share:weigher is no score: what a judge")


def test_raters_who_disagree_widen_the_interval_of_a_comparison(tmp_path):
    widths = []
    for name, tastes in (("calm", (1.0, 1.0, 1.0)), ("torn", (5.0, 1.0, -3.0))):
        folder = make_run(tmp_path / name, write_texts(20))
        poll = opening.open_poll(folder)
        for rater, taste in zip(("ada", "bob", "cleo"), tastes, strict=True):
            strengths = {"aardvark": taste, "bumblebee": 0.0, "caracal": 0.0}
            let_vote(poll, rater, strengths, 30)
        pairs = matching.within(open_run(folder), "aardvark", "bumblebee")
        (row,) = compare.compare(("a", "b"), pairs, [VOTES]).rows
        widths.append(row.high - row.low)
    assert widths[1] > 1.5 * widths[0]


def test_gate_fails_when_people_like_a_model_less_and_only_if_it_is_asked(run, tmp_path):
    other = make_run(tmp_path / "worse", write_texts(20))
    poll = opening.open_poll(other)
    for rater in ("ada", "bob"):
        let_vote(poll, rater, {name: -value for name, value in STRENGTHS.items()}, 40)
    opened, kept = open_run(other), open_run(run)
    assert VOTES not in {row.row.metric for row in gate.gate(opened, kept, {}).rows}
    allow = {VOTES: gate.parse_allowance("0.05")}
    found = {row.row.model_a: row.state for row in gate.gate(opened, kept, allow).rows}
    assert (found["aardvark"], found["caracal"]) == ("failed", "passed")
    assert gate.gate(kept, kept, allow).ok


def test_a_reviewed_record_keeps_the_votes(run, tmp_path):
    kept = open_run(promote.promote(open_run(run), tmp_path / "record.json"))
    allow = {VOTES: gate.parse_allowance("0.05")}
    assert read_scores(kept).keys() == set(MODELS)
    found = gate.gate(open_run(run), kept, allow)
    assert found.ok
    assert {row.row.metric for row in found.rows} == {VOTES}


def test_votes_with_other_contestants_are_not_comparable(run, tmp_path):
    texts = {**write_texts(20), "dingo": [f"dingo {number}" for number in range(20)]}
    other = make_run(tmp_path, texts)
    poll = opening.open_poll(other)
    for rater in ("ada", "bob"):
        let_vote(poll, rater, {**STRENGTHS, "dingo": 0.5}, 40)
    pairs = matching.pair_runs(open_run(run), open_run(other))
    rows = compare.compare(("1", "2"), pairs, [VOTES]).rows
    assert {(row.verdict, row.reason) for row in rows} == {("not comparable", rows[0].reason)}
    assert "contestants" in rows[0].reason


def test_a_board_has_a_column_and_csv_lines_of_votes(run):
    board = load_run(run).board
    (table,) = [one for one in board.tables if one.task == "continuation"]
    assert VOTES in [column.key for column in table.columns]
    lines = list(csv.DictReader(io.StringIO(render_csv(board))))
    own = {line["model"]: line for line in lines if line["metric"] == VOTES}
    assert own.keys() == set(MODELS)
    assert (own["aardvark"]["rank_best"], own["aardvark"]["unit"]) == ("1", "share")
    assert float(own["aardvark"]["value"]) == read_scores(open_run(run))["aardvark"].value
    counts = sum(int(line["n"]) for line in own.values())
    assert counts == 2 * sum(vote.repeat_of is None for vote in ballots.read_votes(run))


def test_a_task_without_another_metric_has_a_board_of_votes(tmp_path):
    folder = make_run(tmp_path, write_texts(6))
    bare = make_record(MODELS, notes={"cells": {name: ["continuation"] for name in MODELS}})
    bare.model_copy(update={"scores": []}).write(folder)
    let_vote(opening.open_poll(folder), "ada", STRENGTHS, 20)
    (table,) = load_run(folder).board.tables
    assert (table.task, table.headline) == ("continuation", VOTES)
    assert len(load_run(folder).board.votes) == 1


def test_votes_on_changed_answers_leave_no_score(run, tmp_path):
    other = make_run(tmp_path, write_texts(20))
    (other / "votes.jsonl").write_bytes((run / "votes.jsonl").read_bytes())
    write_answers(other, {name: ["new"] * 20 for name in MODELS})
    assert read_scores(open_run(other)) == {}


def test_a_run_without_votes_is_as_it_was(tmp_path):
    opened = open_results(make_run(tmp_path))
    assert add_votes(opened) is opened
    assert build(opened.record, tmp_path).votes == []


def test_votes_of_models_that_are_not_in_the_record_are_left_aside(run, tmp_path):
    opened = open_run(run)
    fewer = [model for model in opened.record.models if model.name != "caracal"]
    record = opened.record.model_copy(update={"models": fewer})
    assert read_scores(add_votes(replace(opened, record=record))).keys() <= {
        "aardvark",
        "bumblebee",
    }
