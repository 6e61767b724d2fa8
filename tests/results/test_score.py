"""The fields of a score: all that any task writes is declared, and what is absent stays absent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import hand_record

from llmbench.results.record import Score, key_of, load

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
