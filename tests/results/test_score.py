"""The fields of a score: all that any task writes is declared, and what is absent stays absent;
what a score is of, and the facts of its metric.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from support import hand_record

from llmbench.metrics.facts import FACTS
from llmbench.metrics.metric import Metric, Variant
from llmbench.results.record import Score, is_memory, key_of, load, metric_of, notes_key

GOLDEN = Path(__file__).parents[1] / "golden"
ROW = hand_record.score("m", "accuracy", 0.5)


def test_a_score_is_written_with_the_keys_it_was_made_with() -> None:
    more = {"empty": 0, "human": None, "cut": 1}
    written = Score.model_validate({**ROW, **more}).model_dump()
    assert written == {**ROW, **more}


def test_a_rank_that_is_set_later_is_written() -> None:
    score = Score.model_validate({key: value for key, value in ROW.items() if key != "rank"})
    assert score.model_dump()["rank"] is None
    score.rank = (1, 2)
    score.batch = 4
    written = json.loads(score.model_dump_json())
    assert (written["rank"], written["batch"]) == ([1, 2], 4)


def test_a_key_of_a_newer_record_is_kept_and_written_back() -> None:
    score = {**ROW, "model": "lstm", "novelty": {"a": [1]}}
    dump = hand_record.record(scores=[score]).model_dump(by_alias=True)
    assert dump["scores"][0]["novelty"] == {"a": [1]}


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({}, "accuracy"),
        ({"norm": "byte"}, "accuracy:byte"),
        ({"batch": 8}, "accuracy@best"),
        ({"phase": "decode, best batch", "batch": 8}, "accuracy@best:decode"),
        ({"phase": "decode, best batch, again", "batch": 2}, "accuracy@best:decode"),
        (
            {"phase": "prefill", "norm": "byte", "variant": ":greedy"},
            "accuracy:prefill:byte:greedy",
        ),
        ({"variant": ":greedy"}, "accuracy:greedy"),
    ],
)
def test_a_score_is_named_by_its_batch_phase_norm_and_variant(
    more: dict[str, object], key: str
) -> None:
    assert key_of(Score.model_validate({**ROW, **more})) == key


@pytest.mark.parametrize(
    "name", ["schema-0.json", "schema-1.json", "schema-2.json", "schema-3.json"]
)
def test_no_task_writes_a_field_that_is_not_declared(name: str) -> None:
    assert {key for score in load(GOLDEN / name).scores for key in score.model_extra or {}} == set()


def test_a_table_is_named_after_its_metric_unless_it_is_the_usual_one() -> None:
    assert notes_key("likelihood", "bits_per_byte") == "likelihood"
    assert notes_key("speed", "decode_bytes_per_second") == "speed"
    assert notes_key("choice", "accuracy") == "choice:accuracy"
    assert notes_key("choice", "no metric of llmbench") == "choice"


def test_a_metric_of_memory_is_one_of_that_group() -> None:
    assert is_memory("peak_ram")
    assert not is_memory("accuracy")
    assert not is_memory("no metric of llmbench")


def test_a_known_metric_has_the_facts_of_llmbench_whatever_the_score_says() -> None:
    odd = {**ROW, "unit": "miles", "definition": {"label": "odd"}}
    assert metric_of(Score.model_validate(odd)) is FACTS["accuracy"]


def test_an_unknown_metric_has_the_facts_of_its_score() -> None:
    facts = {"label": "Vowels", "help": "a share", "bounds": [0, 1], "format": "percent"}
    row = {**ROW, "metric": "vowels", "unit": "share", "better": "higher"}
    row["definition"] = {**facts, "test": "mean", "tie": 1}
    found = metric_of(Score.model_validate(row))
    assert found == Metric(
        "vowels",
        "share",
        "higher",
        "a share",
        bounds=(0.0, 1.0),
        variants=(Variant("", "Vowels"),),
        format="percent",
        test="mean",
        tie=1.0,
        is_custom=True,
    )
    assert isinstance(found.tie, float)


def test_a_metric_of_which_nothing_is_known_has_no_bounds_and_its_name_as_label() -> None:
    found = metric_of(Score.model_validate({**ROW, "metric": "vowels"}))
    assert found == Metric(
        "vowels",
        "bits/byte",
        "lower",
        "vowels: a metric that llmbench does not define",
        bounds=(-math.inf, math.inf),
        variants=(Variant("", "vowels"),),
        is_custom=True,
    )
