"""Two models by a mean over tasks, such as CORE: what is tested, by hand, and where it shows."""

from __future__ import annotations

import math
from itertools import product
from operator import mul

import numpy as np
import pytest
from support.comparisons import compare_models
from support.hand_runs import Hand, right

from llmbench.metrics.facts import FACTS
from llmbench.results import gate
from llmbench.results.paired_tests import (
    flip_alike_p,
    share_difference,
    tasks_difference,
    value_of,
)
from llmbench.results.promote import promote
from llmbench.results.ranking import Items, rank_scores
from llmbench.results.record import Score
from llmbench.results.samples import open_results
from llmbench.stats import sign_flip_p
from llmbench.tasks.answers.averages import average_tasks

MEAN = FACTS["mean_centred_accuracy"]
SEA, SKY, SKY_2 = "sea", "sky", "sky-2"
TEXTS = {SEA: "aaaa", SKY: "bbbb", SKY_2: "bbbb"}
BASELINES = {SEA: 0.5, SKY: 0.25, SKY_2: 0.0}
ANSWERS = {
    "a": {SEA: "1111111111", SKY: "11111100", SKY_2: "11111111"},
    "b": {SEA: "0000000001", SKY: "11000000", SKY_2: "11100000"},
}


def make(folder, answers=ANSWERS, order=(SEA, SKY, SKY_2)):
    """A run of these models on these tasks, with the mean of each model."""
    hand = Hand(folder)
    for name, tasks in answers.items():
        for task in order:
            baseline = BASELINES[task]
            rows = [[(hit - baseline) / (1 - baseline), 1.0] for hit, _ in right(tasks[task])]
            signature = f"text={TEXTS[task]};protocol=choice/1;limit=none;baseline={baseline:g}"
            kind = (task, "centred_accuracy", "share", "higher")
            ids = [f"q{number}" for number in range(len(rows))]
            hand.add(name, kind, rows, ids, signature=signature, low=-1.0, high=1.0)
    scores = [Score.model_validate(row) for row in hand.scores]
    means, lacks = average_tasks("MINE", "centred_accuracy", list(order), [*answers], scores)
    assert not lacks
    hand.scores[:0] = [mean.model_dump() for mean in means]
    return hand


def read_rows(hand, model):
    table = open_results(hand.folder).table(model, "MINE")
    return np.asarray(table.find_rows(MEAN.name)[1])


def test_the_difference_is_that_of_the_means_and_pairs_questions(tmp_path):
    hand = make(tmp_path)
    found = compare_models(hand, metrics=(MEAN.name,))
    (row,) = found.rows
    means = [s["value"] for s in hand.scores if s["metric"] == MEAN.name]
    assert (row.a, row.b) == pytest.approx(means)
    assert row.difference == pytest.approx(means[0] - means[1])
    assert (row.verdict, row.proven, row.n, row.test) == ("better", True, 26, "sign flips")
    assert value_of(MEAN, read_rows(hand, "a")) == pytest.approx(means[0])


def test_the_p_is_that_of_all_signs_where_a_question_of_two_tasks_has_one(tmp_path):
    make(tmp_path).write()
    found = tasks_difference(*(read_rows(make(tmp_path), name) for name in "ab"))
    apart = [2.0 / 10 / 3] * 9  # each task counts 1/3, and an answer 1/n of it, over 1 - baseline
    sky, other = (4 / 3) / 8 / 3, 1 / 8 / 3
    apart += [sky]  # q2: SKY alone, since both know SKY_2's
    apart += [sky + other] * 3 + [other] * 2
    total = math.fsum(apart)
    sums = [abs(sum(map(mul, apart, signs))) for signs in product((1, -1), repeat=15)]
    assert found.interval.value == pytest.approx(total)
    assert found.p == pytest.approx(sum(one >= total - 1e-9 for one in sums) / len(sums))


def test_the_interval_of_one_task_is_that_of_its_shares(tmp_path):
    texts = {name: {SKY_2: own[SKY_2]} for name, own in ANSWERS.items()}
    make(tmp_path, texts, (SKY_2,)).write()
    rows = [read_rows(make(tmp_path, texts, (SKY_2,)), name) for name in "ab"]
    shares = share_difference(*(right(texts[name][SKY_2]) for name in "ab")).interval
    found = tasks_difference(*rows).interval
    assert (found.low, found.high) == pytest.approx((shares.low, shares.high))


def test_the_interval_of_independent_tasks_is_narrower_than_that_of_one_text(tmp_path, monkeypatch):
    def measure(text):
        monkeypatch.setitem(TEXTS, SKY_2, text)
        hand = make(tmp_path)
        hand.write()
        found = tasks_difference(*(read_rows(hand, name) for name in "ab")).interval
        return found.high - found.low

    apart, together = measure("cccc"), measure("bbbb")
    assert apart < together


def test_many_questions_alike_have_the_p_of_sign_flips():
    rng = np.random.default_rng(1)
    apart = rng.choice([0.0, 0.1, -0.1, 0.7, -0.7], 80, p=[0.4, 0.25, 0.15, 0.1, 0.1])
    slow = sign_flip_p(apart, np.zeros(80), 20_000)
    assert flip_alike_p(apart, 20_000) == pytest.approx(slow, abs=0.015)
    assert flip_alike_p(np.zeros(5)) == 1.0


def test_models_are_ranked_by_it_whatever_the_order_of_their_tasks(tmp_path):
    hand = make(tmp_path)
    hand.scores[1:4] = reversed(hand.scores[1:4])
    opened = open_results(hand.write())
    scores = list(opened.record.scores)
    notes = rank_scores(scores, lambda s: Items.of(opened.table(s.model, s.task), s.metric))
    assert notes[f"MINE:{MEAN.name}"]["better_than"] == {"a": ["b"], "b": []}
    assert {s.model: s.rank for s in scores if s.task == "MINE"} == {"a": (1, 1), "b": (2, 2)}


def test_without_the_samples_of_a_task_no_test_is_made(tmp_path):
    hand = make(tmp_path)
    del hand.samples["a", SKY]
    (row,) = compare_models(hand, metrics=(MEAN.name,)).rows
    assert (row.verdict, row.p) == ("unclear", None)
    assert "the samples of a are missing" in row.reason


def test_the_gate_has_an_allowance_and_a_reviewed_record_the_items(tmp_path):
    assert gate.DEFAULTS[MEAN.name].size == 0.01
    hand = make(tmp_path / "run")
    run = open_results(hand.write())
    kept = open_results(promote(run, tmp_path / "kept.json"))
    assert len(kept.table("a", "MINE")) == 26


def test_a_task_that_is_also_a_part_of_a_group_is_not_averaged_with_it(tmp_path):
    scores = [Score.model_validate(row) for row in make(tmp_path).scores]
    part = next(score for score in scores if score.task == SKY)
    scores.append(part.model_copy(update={"variant": f":{SEA}", "member": SEA}))
    means, lacks = average_tasks("MINE", "centred_accuracy", [*TEXTS], ["a"], scores)
    assert not means
    assert lacks[0].message == "MINE would count sea twice: it is a part of sky, too"
