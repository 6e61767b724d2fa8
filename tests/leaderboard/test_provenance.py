"""Provenance: everything that the record says, flat, in words, and never too much."""

from __future__ import annotations

from support.hand_record import data, model, record, score

from llmbench.leaderboard.provenance import LONGEST_VALUE, MOST_FACTS, TaskProtocol, provenance
from llmbench.results.record import Record


def test_a_signature_comes_apart_into_its_parts_with_the_metrics_that_have_it():
    made = provenance(
        record(
            scores=[
                score("lstm", name, 2.0)
                for name in ("bits_per_byte", "byte_perplexity", "bits_per_byte")
            ]
        )
    )
    parts = [
        ("text", "0123456789abcdef"),
        ("protocol", "likelihood/1"),
        ("window", "half"),
        ("limit", "none"),
    ]
    assert made.protocols == [
        TaskProtocol("likelihood", ["bits_per_byte", "byte_perplexity"], parts)
    ]


def test_two_windows_of_one_task_are_two_protocols():
    other = score("rnn", "bits_per_byte", 2.0, signature="window=rolling")
    assert [
        p.parts[-1]
        for p in provenance(record(scores=[score("lstm", "bits_per_byte", 2.0), other])).protocols
    ] == [("limit", "none"), ("window", "rolling")]


def test_what_lies_in_one_another_is_named_by_the_way_to_it_and_what_is_unknown_is_left_out():
    whole = data()
    whole["machine"] |= {
        "packages": {"torch": "2.9"},
        "ceilings": {"flops": {"float32": 155311101389.7}},
        "gpus": [{"name": "A GPU"}],
    }
    facts = dict(provenance(Record.model_validate(whole)).machine)
    assert (facts["packages torch"], facts["ceilings flops float32"], facts["cores"]) == (
        "2.9",
        "1.55311e+11",
        "4",
    )
    assert facts["gpus"] == '[{"name": "A GPU"}]'
    assert "dtype" not in dict(provenance(record()).run)
    assert dict(provenance(record()).run)["options device"] == "cpu"


def test_a_model_has_its_weights_and_its_training_but_not_its_curve():
    origin = {"id": "gpt2", "commit": "abc", "trust_remote_code": False}
    (made,) = provenance(
        record(
            models=[
                model(
                    "gpt2", 5, origin=origin, training={"seconds": 3.0, "curve": [[1, 2.0]] * 900}
                )
            ]
        )
    ).models
    assert (made[0], dict(made[1])["origin commit"], dict(made[1])["training seconds"]) == (
        "gpt2",
        "abc",
        "3",
    )
    assert not [key for key, _ in made[1] if "curve" in key]


def test_a_record_that_says_too_much_is_cut():
    whole = data()
    whole["machine"] |= {
        "cpu": "x" * 10**6,
        **{f"fact {number}": number for number in range(10**4)},
    }
    whole["options"] |= {"deep": {"a": {"b": {"c": {"d": {"e": 1}}}}}}
    made = provenance(Record.model_validate(whole))
    assert len(made.machine) == MOST_FACTS
    assert max(len(value) for _, value in made.machine) == LONGEST_VALUE
    assert dict(made.run)["options deep a b"] == '{"c": {"d": {"e": 1}}}'
