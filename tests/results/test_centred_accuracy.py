"""Centred accuracy beside accuracy: the same test on another scale, so it is run once."""

from __future__ import annotations

import pytest
from support.comparisons import compare_models
from support.hand_runs import ACCURACY, Hand, right

from llmbench.results import gate

CENTRED = (ACCURACY[0], "centred_accuracy", "share", "higher")


def centre(answers, baseline=0.5):
    return [[(hit - baseline) / (1 - baseline), 1] for hit, _ in right(answers)]


@pytest.fixture
def hand(tmp_path):
    made = Hand(tmp_path / "run")
    for name, answers in (("a", "1" * 12 + "0" * 4), ("b", "0" * 10 + "1" * 2 + "0" * 4)):
        made.add(name, ACCURACY, right(answers)).add(name, CENTRED, centre(answers))
    return made


def test_models_are_compared_by_centred_accuracy_only_if_it_is_named(hand):
    assert [one.metric for one in compare_models(hand).rows] == ["accuracy"]
    (one,) = compare_models(hand, metrics=("centred_accuracy",)).rows
    assert (one.metric, one.verdict) == ("centred_accuracy", "better")


def test_the_gate_leaves_centred_accuracy_out_unless_it_is_allowed_for():
    assert "accuracy" in gate.DEFAULTS
    assert "centred_accuracy" not in gate.DEFAULTS
