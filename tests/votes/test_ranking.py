"""The ranking by votes: what is finite, what is proven, and what is said where nothing is."""

import math
from dataclasses import replace

import pytest
from support.simulated_raters import Crowd, list_votes, make_vote

from llmbench.votes.ranking import rank_votes


def by_name(ranking):
    return {row.name: row for row in ranking.standings}


def repeat(count, *row, first=0):
    """The same vote on so many prompts."""
    return [(*row, str(first + number)) for number in range(count)]


def test_no_votes_rank_nobody():
    found = rank_votes([])
    assert found.standings == []
    assert (found.votes, found.tie_share, found.over) == (0, None, "")


def test_a_ranking_of_two_has_the_strengths_of_the_formula_and_counts_all_meetings():
    rows = [
        *repeat(6, "a", "b", "left"),
        *repeat(2, "b", "a", "left", first=6),
        *repeat(4, "a", "b", "bad", first=8),
    ]
    found = rank_votes(list_votes(*rows), trials=200)
    a, b = found.standings
    assert (a.name, a.wins, a.losses, a.ties, a.votes) == ("a", 6, 2, 4, 12)
    assert a.strength.value == pytest.approx(math.log(3) / 2)
    assert (a.share.value, b.share.value) == pytest.approx((8 / 12, 4 / 12))
    assert found.ties == pytest.approx(4 / math.sqrt(12))
    assert (found.tie_share.value, found.votes, found.prompts) == (4 / 12, 12, 12)
    meeting = found.meetings["b"]["a"]
    assert (meeting.wins, meeting.losses, meeting.ties) == (2, 6, 4)


def test_a_ranking_is_the_same_each_time_and_whatever_the_order_of_sides():
    votes = Crowd([1, 0, -1]).vote(120, seed=1)
    turn = {"left": "right", "right": "left"}
    swapped = [
        make_vote(number, v.right, v.left, turn.get(v.verdict, v.verdict), v.prompt, v.rater)
        for number, v in enumerate(votes)
    ]
    one, again, other = rank_votes(votes), rank_votes(votes), rank_votes(swapped)
    assert one == again
    assert one.standings == other.standings
    assert one.agreement == other.agreement


def test_intervals_lie_around_values_and_shares_between_0_and_1():
    found = rank_votes(Crowd([3, 0, -3], prompts=20).vote(80, seed=3))
    for row in found.standings:
        assert row.strength.low < row.strength.value < row.strength.high
        assert 0 < row.share.low < row.share.value < row.share.high < 1
    assert [row.name for row in found.standings] == ["model-0", "model-1", "model-2"]
    assert [row.rank for row in found.standings] == [(1, 1), (2, 2), (3, 3)]


def test_hidden_repeats_count_only_as_consistency():
    votes = Crowd([1, 0, -1]).vote(60, seed=2)
    again = [
        make_vote(f"again-{n}", v.left, v.right, v.verdict, v.prompt, v.rater, repeat_of=v.identity)
        for n, v in enumerate(votes[:10])
    ]
    found, plain = rank_votes(votes + again), rank_votes(votes)
    assert found.standings == plain.standings
    assert found.votes == 60
    assert (found.repeats.value, found.repeats.n) == (1.0, 10)


def test_a_contestant_that_never_lost_has_no_strength_but_the_rank_that_meetings_prove():
    rows = [
        *repeat(20, "best", "a", "left"),
        *repeat(20, "best", "b", "left"),
        *repeat(6, "a", "b", "left"),
        *repeat(5, "b", "a", "left", first=6),
    ]
    found = rank_votes(list_votes(*rows))
    assert [row.name for row in found.standings] == ["best", "a", "b"]
    best = by_name(found)["best"]
    assert best.strength is best.share is None
    assert "never lost or tied" in best.why
    assert best.rank == (1, 1)
    assert by_name(found)["a"].rank == (2, 3)
    assert all(math.isfinite(row.strength.value) for row in found.standings[1:])


def test_a_contestant_that_never_won_stands_last_without_a_strength():
    rows = [
        *repeat(3, "a", "worst", "left"),
        ("a", "b", "left", "0"),
        ("b", "a", "left", "1"),
    ]
    found = rank_votes(list_votes(*rows))
    assert found.standings[-1].name == "worst"
    assert "never won or tied" in found.standings[-1].why
    assert found.standings[-1].rank == (1, 3)  # three votes prove nothing


def test_two_of_whom_one_always_won_have_no_strength_and_no_infinity():
    found = rank_votes(list_votes(*repeat(10, "a", "b", "left")))
    assert [(row.name, row.strength) for row in found.standings] == [("a", None), ("b", None)]
    assert [row.rank for row in found.standings] == [(1, 1), (2, 2)]
    assert found.ties is None
    assert found.needed == []


def test_contestants_that_always_win_in_a_row_stand_in_that_order():
    rows = [
        *repeat(9, "c", "b", "left"),
        *repeat(9, "b", "a", "left"),
        *repeat(9, "c", "a", "left"),
    ]
    found = rank_votes(list_votes(*rows))
    assert [(row.name, row.rank) for row in found.standings] == [
        ("c", (1, 1)),
        ("b", (2, 2)),
        ("a", (3, 3)),
    ]
    assert [row.why.split(":")[0] for row in found.standings] == [
        "it never lost or tied against them",
        "its comparisons with them all go one way",
        "it never won or tied against them",
    ]


def test_contestants_that_no_vote_connects_are_not_put_on_one_scale():
    rows = []
    for one, other in (("a", "b"), ("c", "d")):
        rows += [*repeat(4, one, other, "left"), *repeat(3, other, one, "left", first=4)]
    rows += repeat(2, "a", "b", "tie", first=9)
    found = by_name(rank_votes(list_votes(*rows)))
    assert found["a"].strength is not None
    assert found["c"].strength is None
    assert found["c"].why == "no comparison connects it with the others"
    assert {row.rank for row in found.values()} == {(1, 4)}


def test_votes_that_are_all_ties_tell_no_strength():
    found = rank_votes(list_votes(*repeat(9, "a", "b", "good")))
    assert {row.why for row in found.standings} == {"every comparison among them is a tie"}
    assert found.tie_share.value == 1.0


def test_one_prompt_gives_values_without_intervals():
    rows = [("a", "b", "left"), ("a", "b", "left"), ("b", "a", "left")]
    found = rank_votes(list_votes(*rows))
    assert (found.standings[0].strength.low, found.over) == (None, "")
    assert found.standings[0].rank == (1, 2)


def test_intervals_of_one_rater_are_over_prompts_and_say_so():
    one = rank_votes(Crowd([1, 0], raters=1).vote(60, seed=1))
    assert (one.over, len(one.remarks)) == ("prompts", 1)
    assert "One rater voted" in one.remarks[0]
    many = rank_votes(Crowd([1, 0], raters=6).vote(60, seed=1))
    assert (many.over, many.remarks) == ("prompts and raters", [])


def test_answers_to_one_prompt_are_one_item():
    votes = Crowd([1, 0], prompts=10).vote(80, seed=4)
    found = [
        make_vote(n, v.left, v.right, v.verdict, f"{v.prompt} {('greedy', 'sampled 2')[n % 2]}")
        for n, v in enumerate(votes)
    ]
    assert rank_votes(found).prompts == 10


def test_raters_who_differ_widen_the_intervals():
    calm = Crowd([0.5, 0, -0.5], raters=6, prompts=60).vote(400, seed=5)
    torn = Crowd([0.5, 0, -0.5], raters=6, prompts=60, rater_sd=2.0).vote(400, seed=5)

    def width(votes):
        row = by_name(rank_votes(votes))["model-1"].strength
        return row.high - row.low

    assert width(torn) > 2 * width(calm)


def test_votes_needed_are_none_for_neighbours_that_are_told_apart():
    found = rank_votes(Crowd([3, 0.1, 0, -3], prompts=50).vote(300, seed=6))
    first, middle, last = found.needed
    assert (first.votes, last.votes) == (0, 0)
    assert middle.votes > 500


@pytest.mark.slow
def test_as_many_more_votes_as_needed_tell_neighbours_apart_four_times_in_five():
    before = rank_votes(Crowd([0.3, -0.3], prompts=400, raters=1).vote(40, seed=7))
    (needed,) = before.needed
    assert needed.votes > 0, "the seed was chosen so that forty votes are too few"
    seen = [row.strength.value for row in before.standings]
    crowd = Crowd(seen, ties=before.ties, prompts=400, raters=1)
    told = [
        rank_votes(crowd.vote(40 + needed.votes, seed), trials=200).needed[0].votes == 0
        for seed in range(20)
    ]
    assert 12 <= sum(told) <= 19


def test_neighbours_without_a_difference_need_more_votes_than_people_give():
    rows = [*repeat(10, "a", "b", "left"), *repeat(10, "b", "a", "left", first=10)]
    assert rank_votes(list_votes(*rows)).needed[0].votes is None


def test_a_rater_who_always_clicks_left_is_named_in_a_remark():
    votes = [
        *Crowd([1, 0], raters=5).vote(60, seed=8),
        *(
            make_vote(f"l{n}", *("ab" if n % 2 else "ba"), "left", str(n), "lefty")
            for n in range(20)
        ),
    ]
    assert any("lefty chose the left answer in 100 %" in text for text in rank_votes(votes).remarks)


def test_strengths_are_weighted_by_the_chance_of_a_pair_if_chances_differ():
    votes = Crowd([1, 0, -1]).vote(200, seed=9)
    assert rank_votes(votes).reweighted is None
    chances = [
        make_vote(n, v.left, v.right, v.verdict, v.prompt, v.rater, chance=(0.5, 0.25)[n % 2])
        for n, v in enumerate(votes)
    ]
    found = rank_votes(chances)
    doubled = [vote for n, vote in enumerate(votes) for _ in range(1 + n % 2)]
    expected = by_name(rank_votes(doubled, trials=50))
    for name, value in found.reweighted.items():
        assert value == pytest.approx(expected[name].strength.value, abs=1e-8)


def test_pairs_chosen_so_that_the_answer_depends_on_them_are_remarked():
    # a beats b beats c beats a: no scale holds them, and the votes are on a against b for the most
    rows = [
        *(
            make_vote(f"ab{n}", "a", "b", ("left", "right")[n % 5 == 0], str(n), chance=0.9)
            for n in range(180)
        ),
        *(
            make_vote(f"bc{n}", "b", "c", ("left", "right")[n % 5 == 0], str(n), chance=0.05)
            for n in range(10)
        ),
        *(
            make_vote(f"ca{n}", "c", "a", ("left", "right")[n % 5 == 0], str(n), chance=0.05)
            for n in range(10)
        ),
    ]
    found = rank_votes(rows)
    assert any("weighted alike lies outside" in text for text in found.remarks), found


def test_chances_far_apart_give_no_second_strengths_and_no_error():
    votes = Crowd([0.0, 0.3, 0.6]).vote(60, 0)
    odd = [replace(vote, chance=1e-6 if number == 0 else 0.3) for number, vote in enumerate(votes)]
    found = rank_votes(odd, trials=20)
    assert found.reweighted is None or all(map(math.isfinite, found.reweighted.values()))
    assert len(found.standings) == 3
