"""Figures follow from their samples, and hold within a stated tolerance."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from support import hand_record
from support.hand_runs import ACCURACY, BITS, REPETITION
from support.publications import quick_run, seal_again

from llmbench.cli.main import cli
from llmbench.publishing.figures import Figure, find_tolerance, follow_samples, meet_scores
from llmbench.results.record import Score, load
from llmbench.results.samples import Opened


def score(kind=BITS, value=2.0, **more):
    task, metric, unit, better = kind
    facts = {"task": task, "unit": unit, "better": better, **more}
    return Score.model_validate(hand_record.score("m", metric, value, **facts))


@pytest.mark.parametrize(
    ("found", "tolerance"),
    [
        (score(), 0.001),
        (score(noise=0.02), 0.021),
        (score(("likelihood", "byte_perplexity", "perplexity", "lower"), 4.0), 0.02),
        (score(ACCURACY, 0.5), 0.01),
        (score(REPETITION, 0.2, half=0.05), 0.05),
        (score(REPETITION, 0.2), 0.01),
        (score(("likelihood", "spelling_share", "share", None), 0.3), 0.003),
        (score(value="inf"), 0.0),
    ],
)
def test_the_tolerance_is_that_of_the_kind_of_figure(found, tolerance):
    assert find_tolerance(found) == pytest.approx(tolerance)


@pytest.mark.parametrize(
    ("here", "holds", "exact"),
    [(2.0, True, True), (2.0009, True, False), (2.002, False, False), (None, False, False)],
)
def test_a_figure_holds_within_its_tolerance(here, holds, exact):
    figure = Figure("m", "t", "bits_per_byte", "bits/byte", 2.0, here, 0.001)
    assert (figure.holds, figure.is_exact) == (holds, exact)


def test_infinite_bits_hold_if_they_are_infinite_again():
    (same,) = meet_scores([score(value="inf")], [score(value="inf")])
    (other,) = meet_scores([score(value="inf")], [score()])
    assert (same.holds, other.holds) == (True, False)


def test_a_figure_of_another_question_does_not_hold():
    other = score(signature="text=ffff;protocol=likelihood/1;window=half;limit=none")
    (asked,) = meet_scores([score()], [other])
    (counted,) = meet_scores([score()], [score(n=17)])
    assert "another question: text=ffff" in asked.why
    assert "of 17 items, published of 18" in counted.why
    assert not asked.holds
    assert not counted.holds


def test_speed_is_not_held_against_another_machine():
    speed = score(("speed", "decode_bytes_per_second", "bytes/s", "higher"), 1000.0)
    assert meet_scores([speed], []) == []


def test_figures_follow_from_the_samples_they_were_made_of(tmp_path):
    run = quick_run(tmp_path / "run")
    found = follow_samples(Opened(load(run), run))
    assert (found.count, found.without, found.contradicted) == (6, 0, ())


@pytest.mark.parametrize("metric", ["bits_per_byte", "byte_perplexity"])
def test_a_record_that_was_changed_and_sealed_again_does_not_hold(out, metric):
    record = load(out)
    (changed,) = (s for s in record.scores if (s.model, s.metric) == ("zlib", metric))
    changed.value -= 0.01
    record.write(out)
    seal_again(out)
    done = CliRunner().invoke(cli, ["verify", str(out)], standalone_mode=False)
    assert (done.exception, done.return_value) == (None, 1)
    told = " ".join(done.stdout.split())  # the last column is wrapped
    assert "figures do not hold" in told
    told = json.loads(CliRunner().invoke(cli, ["verify", str(out), "--json"]).stdout)
    assert metric in {row["metric"] for row in told["samples"]["contradicted"]}
    assert {row["model"] for row in told["samples"]["contradicted"]} == {"zlib"}
