"""Questions that another program may answer otherwise are listed: near ties, by each measure."""

from __future__ import annotations

import math
import random
import types

import pytest
from support.hand_record import model, record
from support.known import Known, quiet, text

from llmbench.leaderboard.sentences.findings import notes
from llmbench.tasks.answers.choosing import is_near
from llmbench.tasks.lm_eval.scores import find_near
from llmbench.tasks.multiple_choice import MultipleChoice
from llmbench.tasks.prompts import Asking

NORMS = ["none", "byte", "char", "token", "pmi"]
WORDS = (
    "a",
    "bb",
    "ccc",
    "dddd",
    "\N{LATIN SMALL LETTER E WITH ACUTE}\N{GREEK SMALL LETTER OMEGA}",
)


def ask(asked, costs):
    outcome = MultipleChoice(asked, Asking(join=" "), norms=NORMS).run(Known(costs=costs), quiet)
    return outcome, {row["norm"]: row.get("near") for row in outcome.scores}


def test_only_listed_questions_move_when_sums_are_rounded_otherwise():
    draw = random.Random(7)
    rows = [(WORDS[0], f"q{n}", draw.sample(WORDS, len(WORDS))) for n in range(400)]
    costs = {}
    for _, question, candidates in rows:  # nearly equal by one measure, or by none
        sizes = draw.choice([len, lambda word: len(f" {word}".encode()), lambda word: 1])
        base, gap = draw.choice([0.01, 3.0, 30.0]), draw.choice([1e-8, 1e-7, 1e-3])
        for at, word in enumerate(candidates):
            count = len(f" {word}".encode())
            bits = base * sizes(word) * (1 + gap * at)
            alone = draw.choice([bits + 90 * (1 + gap * at), 100.0])
            costs[question, f" {word}"], costs["", f" {word}"] = bits / count, alone / count
    asked = text(*rows)
    plain, near = ask(asked, costs)
    assert all(20 <= near[norm]["count"] < 400 for norm in NORMS)
    moved = dict.fromkeys(NORMS, 0)
    for _ in range(5):
        noisy = {key: bits * (1 + draw.uniform(-1e-7, 1e-7)) for key, bits in costs.items()}
        other, _ = ask(asked, noisy)
        for before, after in zip(plain.samples, other.samples, strict=True):
            for norm in NORMS:
                key = "output" if norm == "none" else f"output:{norm}"
                if before[key] != after[key]:
                    moved[norm] += 1
                    assert norm in before["near"], (norm, before, after)
    assert all(moved.values())


def test_equal_candidates_are_one_answer_and_other_ties_are_listed():
    asked = text(("yes", "q1", ("yes", "yes", "maybe")), ("a", "q2", ("a", "b")))
    costs = {("q1", " yes"): 1.0, ("q2", " a"): 1.0, ("q2", " b"): 1.0 + 1e-9}
    _, near = ask(asked, costs)
    assert near["none"] == near["byte"] == {"count": 1, "ids": ["1"]}


@pytest.mark.parametrize(
    ("values", "sums", "is_one"),
    [
        ([100.0, 100.0009], [100.0, 100.0], True),
        ([100.0, 100.0011], [100.0, 100.0], False),
        ([100.0011, 100.0, 300.0], [100.0, 100.0, 300.0], False),
        ([1e-3, 1e-3 + 9e-6], [1.0, 1.0], True),  # below a bit rounding is absolute
        ([-5.0, -5.0005], [50.0, 60.0], True),  # a difference is rounded as what it is made of
        ([-5.0, -5.0007], [50.0, 60.0], False),
        ([math.inf, math.inf], [math.inf, math.inf], True),
        ([1.0, math.inf], [1.0, math.inf], False),
        ([-math.inf, 1.0], [math.inf, 1.0], False),
        ([1.0], [1.0], False),
    ],
)
def test_near_is_less_than_a_hundred_thousandth(values, sums, is_one):
    assert is_near(values, sums) is is_one


def test_lm_evals_choices_are_near_by_its_own_lengths():
    names = {"acc": 0, "acc_norm": 0, "acc_bytes": 0, "acc_mutual_info": 0}
    choices = ["\N{LATIN SMALL LETTER E WITH ACUTE}b", "abcd", "ab"]
    task = types.SimpleNamespace(
        OUTPUT_TYPE="multiple_choice",
        config=types.SimpleNamespace(process_results=None),
        doc_to_choice=lambda doc: choices,
        aggregation=lambda: names,
    )
    free = [5.0, 50.0, 500.0]
    assert find_near(task, {}, [10.0, 20.0, 40.0, *free]) == ["char"]
    assert find_near(task, {}, [15.0, 20.0, 40.0, *free]) == ["byte"]
    assert find_near(task, {}, [10.0, 30.0, 10.00001, 10.0, 40.0, 25.0]) == ["none", "char"]
    assert find_near(task, {}, [60.0, 355.0, 90.0, 10.0, 304.999, 20.0]) == ["pmi"]
    assert find_near(task, {}, [60.0, 355.0, 90.0, 10.0, 304.0, 20.0]) == []
    del names["acc_norm"]
    assert find_near(task, {}, [10.0, 20.0, 40.0, *free]) == []
    task.config.process_results = len
    assert find_near(task, {}, [10.0, 10.0, 10.0]) == []


def test_the_notes_name_questions_of_each_model_and_measure():
    row = {"model": "net", "task": "quiz", "metric": "accuracy", "value": 0.5, "unit": "share"}
    row |= {"better": "higher", "n": 9, "signature": "s"}
    many = {"count": 30, "ids": [f"q{n}" for n in range(20)]}
    scores = [
        {**row, "norm": "none", "near": {"count": 2, "ids": ["q3", "q5"]}},
        {**row, "norm": "none", "model": "old", "near": many},
        {**row, "variant": ":char", "near": {"count": 1, "ids": ["q9"]}},
    ]
    found = record(models=[model("net", 3), model("old", 1)], scores=scores)
    said = notes(found, "quiz", [found.scores[0]])
    otherwise = "which a program that rounds otherwise may answer otherwise"
    assert (
        f"Near ties, {otherwise}: net 2 (q3, q5) and old 30 (q0, q1, q2, q3, q4, 25 more)." in said
    )
    assert f"Near ties by bits per character, {otherwise}: net 1 (q9)." in said
