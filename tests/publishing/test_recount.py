"""Values, intervals and ranks follow from the published samples, or are named."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from support.hand_runs import ACCURACY, BITS, BLEU, F1, RATE, Hand, bits, right
from support.publications import quick_run, seal_again

from llmbench.cli.main import cli
from llmbench.metrics.facts import FACTS
from llmbench.metrics.registry import create_metric
from llmbench.metrics.text import widen
from llmbench.publishing.recount import follow_samples
from llmbench.results.record import load
from llmbench.results.samples import Opened
from llmbench.stats import block_interval, ratio_interval
from llmbench.tasks.answers.averages import average_tasks

MACRO = ("choice", "macro_accuracy", "share", "higher")
CENTRED = ("choice", "centred_accuracy", "share", "higher")
PERPLEXITY = ("likelihood", "word_perplexity", "perplexity", "lower")
SHARES = [[i / 10, 1.0] for i in range(10)]
SAID = ["the tap drips all day", "a kettle sat there", "no spoon is here"] * 4


def follow(run):
    return follow_samples(Opened(load(run), run))


def ends(found):
    return {"low": found.low, "high": found.high}


def test_values_intervals_and_ranks_follow_from_the_samples_they_were_made_of(tmp_path):
    found = follow(quick_run(tmp_path / "run"))
    assert (found.count, found.intervals, found.ranks, found.without) == (6, 6, 4, 0)
    assert found.contradicted == ()


def measure_kinds():
    """A kind of metric each, with the statistics of its items, and its interval."""
    rates = bits(*(1 + i / 7 for i in range(12)))
    plain = ratio_interval(*zip(*rates, strict=True))
    hits = right("110101110010")
    share = create_metric("accuracy").value(hits)
    centred = [[(hit - 0.25) / 0.75, 1.0] for hit, _ in hits]
    bleu = create_metric("bleu")
    corpus = [bleu.measure(text, "the kettle sat here all day") for text in SAID]
    rate = [[900.0 + 13 * i, 1.0] for i in range(8)]
    noisy = {"low": plain.low - 0.01, "high": plain.high + 0.01, "noise": 0.01}
    yield "bits", BITS, rates, ends(plain)
    yield "noise", BITS, rates, noisy
    yield "power", PERPLEXITY, rates, {"low": 2**plain.low, "high": 2**plain.high}
    yield "share", ACCURACY, hits, ends(share)
    yield "mean", F1, SHARES, ends(create_metric("f1").value(SHARES))
    yield "corpus", BLEU, corpus, ends(bleu.value(corpus))
    yield "rate", RATE, rate, ends(block_interval([row[0] for row in rate]))
    groups = ratio_interval(*zip(*SHARES, strict=True))
    yield "groups", MACRO, SHARES, ends(widen(groups, FACTS["macro_accuracy"].bounds))
    moved = {name: (end - 0.25) / 0.75 for name, end in ends(share).items()}
    yield "centred", CENTRED, centred, {**moved, "signature": "text=0;baseline=0.25"}


@pytest.mark.parametrize("kind", list(measure_kinds()), ids=lambda kind: kind[0])
@pytest.mark.parametrize("change", [None, "narrower", "absent"])
def test_the_interval_of_each_kind_of_metric_is_computed_again(tmp_path, kind, change):
    _, metric, rows, facts = kind
    if change == "narrower":
        facts = {**facts, "low": facts["low"] + 0.2 * (facts["high"] - facts["low"])}
    elif change == "absent":
        facts = {**facts, "low": None, "high": None}
    found = follow(Hand(tmp_path).add("m", metric, rows, **facts).write())
    assert (found.count, found.intervals) == (1, change is None)
    assert [figure.why.partition(" ")[2][:8] for figure in found.contradicted] == (
        ["interval"] if change == "narrower" else []
    )


def test_a_metric_from_outside_may_have_an_interval_of_its_own(tmp_path):
    definition = {"label": "mine", "test": "share", "bounds": [0, 1]}
    hand = Hand(tmp_path)
    hand.add("m", ("task", "mine", "share", "higher"), right("1101"), value=0.75, low=0.7, high=0.8)
    hand.scores[-1] |= {"definition": definition, "n": 17}
    found = follow(hand.write())
    assert (found.count, found.intervals, found.contradicted) == (1, 0, ())


def test_an_interval_of_too_few_items_is_absent(tmp_path):
    found = follow(Hand(tmp_path).add("m", F1, SHARES[:4]).write())
    assert (found.intervals, found.contradicted) == (1, ())
    found = follow(Hand(tmp_path).add("m", F1, SHARES[:4], low=0.0, high=0.3).write())
    assert "its interval 0 to 0.3 does not follow" in found.contradicted[0].why


def test_a_number_of_items_that_the_samples_do_not_have_is_named(tmp_path):
    found = follow(Hand(tmp_path).add("m", BITS, bits(1.0, 2.0), n=1000).write())
    assert [figure.why for figure in found.contradicted] == [
        "it does not follow from the published samples"
    ]


@pytest.mark.parametrize("change", [0.0, 0.01])
def test_a_mean_over_tasks_follows_from_their_scores(tmp_path, change):
    hand = Hand(tmp_path)
    for task, hits in (("choice", "110101110010"), ("other", "010101010111")):
        rows = right(hits)
        share = create_metric("accuracy").value(rows)
        moved = {name: (end - 0.25) / 0.75 for name, end in ends(share).items()}
        centred = [[(hit - 0.25) / 0.75, 1.0] for hit, _ in rows]
        facts = {**moved, "signature": f"text={task};baseline=0.25"}
        hand.add("m", (task, *CENTRED[1:]), centred, **facts)
    record = hand.record()
    (mean,), _ = average_tasks(
        "core", "centred_accuracy", ["choice", "other"], ["m"], record.scores
    )
    mean.high += change
    hand.scores.append(mean.model_dump())
    found = follow(hand.write())
    assert (found.count, found.intervals) == (3, 2 if change else 3)
    assert [figure.task for figure in found.contradicted] == (["core"] if change else [])


def forge(out, **changes):
    """Change a compressor's bits in the record, and seal everything again."""
    record = load(out)
    (score,) = (s for s in record.scores if (s.model, s.metric) == ("zlib", "bits_per_byte"))
    for name, value in changes.items():
        setattr(score, name, value)
    record.write(out)
    seal_again(out)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"value": 2.0}, "it does not follow"),
        ({"low": 3.0443, "high": 3.0447}, "its interval 3.0443 to 3.0447 does not follow"),
        ({"rank": (1, 2)}, "its rank 1-2 does not follow from the published samples: 2"),
        ({"rank": None}, "its rank none does not follow from the published samples: 2"),
    ],
)
def test_a_record_that_was_changed_and_sealed_again_does_not_hold(out, changes, why):
    forge(out, **changes)
    done = CliRunner().invoke(cli, ["verify", str(out)], standalone_mode=False)
    assert (done.exception, done.return_value) == (None, 1)
    assert "1 of 1 figures do not hold" in " ".join(done.stdout.split())
    told = json.loads(CliRunner().invoke(cli, ["verify", str(out), "--json"]).stdout)
    (row,) = told["samples"]["contradicted"]
    assert (row["model"], row["metric"]) == ("zlib", "bits_per_byte")
    assert why in row["why"]


def test_who_is_better_than_whom_is_computed_again(tmp_path):
    run = quick_run(tmp_path / "run")
    record = load(run)
    record.notes.tasks["likelihood"].better_than["byte-ngram"] = []
    record.write(run)
    (found,) = follow(run).contradicted
    assert (found.model, found.why) == (
        "byte-ngram",
        "which models it is better than does not follow from the published samples",
    )


def test_ranks_of_a_table_without_all_samples_are_not_looked_at(tmp_path):
    run = quick_run(tmp_path / "run")
    for file in run.glob("samples/zlib/likelihood.*"):
        file.unlink()
    found = follow(run)
    assert (found.count, found.ranks, found.without, found.contradicted) == (4, 2, 2, ())
