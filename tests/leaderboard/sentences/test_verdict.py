"""The line above a board says what tests have shown, and nothing else."""

from __future__ import annotations

from support.hand_record import likelihood, model, record, score, speed

from llmbench.leaderboard.board import build

NAMES = ("a", "b", "c", "d")


def draw(bits, better=None, rates=None, faster=None, **more):
    """The verdict on models of these bits and ranks, and of these rates; who beats whom in each."""
    rows = [
        row
        for name, (value, rank) in bits.items()
        for row in likelihood(name, value, 0.1, rank, **more)
    ]
    rows += [
        speed(name, "decode_bytes_per_second", value, half, rank=rank)
        for name, (value, half, rank) in (rates or {}).items()
    ]
    tasks = {
        **({"likelihood": {"better_than": better}} if better is not None else {}),
        **({"speed": {"better_than": faster}} if faster is not None else {}),
    }
    models = [model(name, 3) for name in NAMES]
    return build(record(models=models, scores=rows, failures=[], notes={"tasks": tasks})).verdict


RANKED = {"a": (1.0, [1, 1]), "b": (1.25, [2, 2]), "c": (2.0, [3, 3])}
PROVEN = {"a": ["b", "c"], "b": ["c"], "c": []}


def test_a_model_that_beats_all_others_is_best_proven():
    assert draw(RANKED, PROVEN) == "a is best, proven"


def test_a_lead_over_some_names_the_others():
    found = draw({**RANKED, "a": (1.0, [1, 2]), "b": (1.25, [1, 2])}, {**PROVEN, "a": ["c"]})
    assert found == "a has the best bits/byte, not proven against b"


def test_equal_values_are_shared_and_none_is_best():
    equal = {"a": (1.0, [1, 2]), "b": (1.0, [1, 2]), "c": (2.0, [3, 3])}
    assert draw(equal, {"a": ["c"], "b": ["c"], "c": []}) == "a and b share the best bits/byte"


def test_a_lead_over_none_of_many_says_so():
    tied = {name: (1.0 + number / 10, [1, 5]) for number, name in enumerate((*NAMES, "e"))}
    rows = [row for name, (value, rank) in tied.items() for row in likelihood(name, value, 1, rank)]
    notes = {"tasks": {"likelihood": {"better_than": {name: [] for name in tied}}}}
    models = [model(name, 3) for name in tied]
    board = build(record(models=models, scores=rows, failures=[], notes=notes))
    assert board.verdict == "a has the best bits/byte, but is proven better than none"


def test_without_tests_nothing_is_proven():
    unranked = {name: (value, None) for name, (value, _) in RANKED.items()}
    assert draw(unranked) == "a has the best bits/byte; not tested here"


def test_a_single_model_is_best_of_none():
    assert draw({"a": (1.0, None)}) == "a is the only model with a result"


def test_infinite_and_refused_models_and_compressors_are_not_best():
    assert draw({"a": (1.0, None), "b": (2.0, None)}, charged="code") == ""
    rows = [score("a", "bits_per_byte", "inf"), score("b", "bits_per_byte", "inf")]
    assert build(record(models=[model("a", 3), model("b", 3)], scores=rows)).verdict == ""


RATES = {"a": (100.0, 1.0, [3, 3]), "b": (1000.0, 10.0, [1, 1]), "c": (400.0, 4.0, [2, 2])}
FASTER = {"a": [], "b": ["a", "c"], "c": ["a"]}


def test_the_closest_model_that_is_proven_faster_is_named_with_its_price():
    assert draw(RANKED, PROVEN, RATES, FASTER) == (
        "a is best, proven; b is 10 × as fast for +0.25 bits/byte"
    )


def test_a_faster_model_that_no_test_proved_faster_is_not_named():
    found = draw(RANKED, PROVEN, RATES, {**FASTER, "b": ["c"]})
    assert found == "a is best, proven; c is 4.0 × as fast for +1.00 bits/byte"
    assert draw(RANKED, PROVEN, RATES) == "a is best, proven"


def test_a_little_faster_is_not_worth_a_word():
    rates = {**RATES, "b": (140.0, 1.0, [1, 1]), "c": (120.0, 1.0, [2, 2])}
    assert draw(RANKED, PROVEN, rates, FASTER) == "a is best, proven"


def test_a_ratio_of_wide_intervals_is_only_about_right():
    rates = {**RATES, "b": (1000.0, 300.0, [1, 1])}
    assert "b is about 10 × as fast" in draw(RANKED, PROVEN, rates, FASTER)


def test_a_faster_model_that_is_not_proven_worse_is_called_so():
    found = draw({**RANKED, "b": (1.001, [1, 2])}, {**PROVEN, "a": ["c"]}, RATES, FASTER)
    assert found == (
        "a has the best bits/byte, not proven against b; b is 10 × as fast for +0.001 bits/byte,"
        " not proven worse"
    )


def test_speed_alone_has_a_verdict_of_its_own():
    assert draw({}, None, RATES, FASTER) == "b is fastest, proven"


def test_of_several_tasks_the_one_meant_is_named():
    rows = [row for name, (v, rank) in RANKED.items() for row in likelihood(name, v, 0.1, rank)]
    rows += [score(name, "bits_per_byte", 3.0, task="other") for name in RANKED]
    models = [model(name, 3) for name in NAMES]
    notes = {"tasks": {"likelihood": {"better_than": PROVEN}}}
    board = build(record(models=models, scores=rows, failures=[], notes=notes))
    assert board.verdict == "a is best on likelihood, proven"


def test_who_has_a_better_value_and_no_rank_is_named_beside_the_best():
    ranked = {"b": (2.0, [1, 1]), "c": (3.0, [2, 2])}
    proven = {"b": ["c"], "c": []}
    found = draw({"a": (1.0, None), **ranked}, proven)
    assert found == "b is best, proven; a has a better value, but no rank"
    found = draw({"a": (1.0, None), "d": (1.5, None), **ranked}, proven)
    assert found == "b is best, proven; a and d have better values, but no rank"
    assert draw({"a": (4.0, None), **ranked}, proven) == "b is best, proven"


def test_of_two_equal_models_the_faster_one_costs_nothing():
    bits = {"a": (1.0, [1, 2]), "b": (1.0, [1, 2])}
    assert draw(bits, {"a": [], "b": []}, RATES, FASTER) == (
        "a and b share the best bits/byte; b is 10 × as fast at the same bits/byte,"
        " not proven worse"
    )
