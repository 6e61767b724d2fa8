"""A model in fewer bits finds the model that it was made from, and no other."""

from __future__ import annotations

from llmbench.results.parents.relation import describe_child, find_parents
from llmbench.results.record import ModelRow


def row(name, weights="w", dtype="float32", **more):
    origin = {"weights_sha256": weights, **more.pop("origin", {})}
    return ModelRow(name=name, dtype=dtype, origin=origin, **more)


def test_the_parent_is_the_plain_model_of_the_same_weights():
    rows = [
        row("half", dtype="bfloat16"),
        row("int8", quantization="int8 (torchao, weight-only)"),
        row("plain"),
        row("fast", compiled="torch.compile"),
        row("both", dtype="bfloat16", compiled="torch.compile"),
        row("other", weights="v"),
    ]
    assert find_parents(rows) == dict.fromkeys(("half", "int8", "fast", "both"), "plain")


def test_a_model_in_16_bits_is_a_parent_if_nothing_is_wider():
    rows = [row("int4", dtype="bfloat16", quantization="nf4"), row("half", dtype="bfloat16")]
    assert find_parents(rows) == {"int4": "half"}


def test_rounded_models_alone_have_no_parent():
    rows = [row("int4", quantization="int4"), row("int8", quantization="int8")]
    assert find_parents(rows) == {}


def test_two_models_of_one_kind_are_no_parents_of_each_other():
    assert find_parents([row("one"), row("two")]) == {}


def test_another_start_symbol_makes_another_model():
    rows = [row("int8", quantization="int8"), row("plain", origin={"bos": [3]})]
    assert find_parents(rows) == {}


def test_models_without_a_digest_are_no_family():
    rows = [row("a", weights="", quantization="int8"), row("b", weights="")]
    rows += [ModelRow(name="c", quantization="int8"), ModelRow(name="d", dtype="float32")]
    assert find_parents(rows) == {}


def test_a_file_in_few_bits_is_a_child_of_what_was_converted_from_it():
    rows = [row("gguf", weights="g", dtype="Q4_1 (GGUF)"), row("p", origin={"converted_from": "g"})]
    assert find_parents(rows) == {"gguf": "p"}


def test_a_card_may_name_the_parent():
    rows = [row("gguf", weights="g", parent="plain"), row("plain"), row("lost", parent="nobody")]
    assert find_parents(rows) == {"gguf": "plain"}
    assert find_parents([row("self", parent="self")]) == {}


def test_a_child_is_told_by_what_its_parent_has_not():
    plain, half = row("p"), row("p16", dtype="bfloat16")
    int8 = row("p8", quantization="int8 (torchao, weight-only)", compiled="torch.compile")
    assert describe_child(half, plain) == "p16 is p, bfloat16"
    assert describe_child(int8, plain) == "p8 is p, int8 (torchao, weight-only), compiled"
    assert describe_child(row("tuned", weights="t"), plain) == "tuned was made from p"
