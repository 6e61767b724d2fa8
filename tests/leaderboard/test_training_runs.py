"""Checkpoints of a training run on a board: bits by step, and when gains end."""

from __future__ import annotations

import re

import pytest
from support import hand_record

from llmbench.leaderboard.board import build
from llmbench.leaderboard.renderers import registry
from llmbench.leaderboard.training_runs import find_training_runs
from llmbench.results.record import Record

STEPS = (100, 200, 400, 800)


def make(beats, run="out", task="likelihood"):
    """A record with a checkpoint at each of STEPS, of which `beats` says (one, other): one is
    proven better.
    """
    names = {step: f"{run}-checkpoint-{step}" for step in STEPS}
    models = [
        hand_record.model(name, None, origin={"id": f"checkpoint-{step}"})
        for step, name in reversed(names.items())  # in no order
    ]
    scores = [
        hand_record.score(name, "bits_per_byte", 3.0 - number / 4, 0.1, task=task)
        for number, name in enumerate(names.values())
    ]
    better = {name: [names[o] for one, o in beats if names[one] == name] for name in names.values()}
    return hand_record.record(
        models=[*models, hand_record.model("lstm", 3)],
        scores=[*scores, hand_record.score("lstm", "bits_per_byte", 2.0, 0.1, task=task)],
        failures=[],
        notes={"tasks": {task: {"better_than": {**better, "lstm": []}}}},
    )


ALL = [(one, other) for one in STEPS for other in STEPS if one > other]


@pytest.mark.parametrize(
    ("beats", "said"),
    [
        (ALL, "out: gains are proven up to the last checkpoint, step 800."),
        (
            [pair for pair in ALL if pair not in {(800, 400)}],
            "out: after step 400 no gain is proven: no later checkpoint, up to step 800, is"
            " significantly better.",
        ),
        (
            [(200, 100), (400, 100), (800, 100)],
            "out: after step 200 no gain is proven: no later checkpoint, up to step 800, is"
            " significantly better.",
        ),
        # a step that is not better than the one before, and a later one that is better than both
        (
            [(800, 100), (800, 200), (800, 400)],
            "out: gains are proven up to the last checkpoint, step 800.",
        ),
        (
            [],
            "out: after step 100 no gain is proven: no later checkpoint, up to step 800, is"
            " significantly better.",
        ),
        (
            [(200, 100), (400, 100), (200, 800)],
            "out: after step 200 no gain is proven: no later checkpoint, up to step 800, is"
            " significantly better, and the last one is significantly worse than step 200.",
        ),
    ],
)
def test_the_last_proven_gain_is_said(beats, said):
    (run,) = find_training_runs(make(beats))
    assert run.said == said
    assert [(one.step, one.value, one.ends) for one in run.checkpoints] == [
        (100, 3.0, (2.9, 3.1)),
        (200, 2.75, (2.65, 2.85)),
        (400, 2.5, (2.4, 2.6)),
        (800, 2.25, (2.15, 2.35)),
    ]


def test_checkpoints_without_tests_claim_nothing():
    record = make(ALL)
    record.notes.tasks["likelihood"].better_than.pop("out-checkpoint-800")
    (run,) = find_training_runs(record)
    assert run.said == "out: its checkpoints were not all compared with each other."


def test_one_checkpoint_and_models_of_other_names_are_no_training_run():
    data = make(ALL).model_dump(by_alias=True)
    for model in data["models"]:
        if model["name"] != "out-checkpoint-100":
            model["origin"] = {"id": "openai-community/gpt2"}
    assert find_training_runs(Record.model_validate(data)) == []
    assert find_training_runs(hand_record.record()) == []


def test_two_runs_are_told_apart_by_their_directories():
    data = make(ALL).model_dump(by_alias=True)
    other = make([], run="wide").model_dump(by_alias=True)
    data["models"] += other["models"][:-1]
    data["scores"] += other["scores"][:-1]
    data["notes"]["tasks"]["likelihood"]["better_than"] |= other["notes"]["tasks"]["likelihood"][
        "better_than"
    ]
    found = find_training_runs(Record.model_validate(data))
    assert [(run.name, len(run.checkpoints)) for run in found] == [("out", 4), ("wide", 4)]


def test_every_board_says_it_and_the_page_draws_it():
    board = build(make([pair for pair in ALL if pair != (800, 400)]))
    for form in ("md", "html", "table"):
        said = " ".join(registry.draw(form, board).split())
        assert "out: after step 400 no gain is proven" in said, form
    page = registry.draw("html", board)
    section = re.search(r'<section id="steps".*?</section>', page, re.DOTALL)[0]
    assert section.count('class="spot') == 2 * 4  # wide and narrow
    assert section.count('class="error"') == 2 * 4
    assert "step 400: 2.5000 bits/byte [2.4000, 2.6000]" in section
    assert '<a href="#steps">checkpoints</a>' in page


def test_a_hostile_name_of_a_run_is_only_a_name_on_the_page():
    page = registry.draw("html", build(make(ALL, run="<script>alert(1)</script>")))
    assert "<script>alert(1)" not in page
