"""`hf:DIR/checkpoint-*` is every checkpoint of a training run, by step."""

from __future__ import annotations

import pytest

from llmbench.errors import UsageError
from llmbench.models.pretrained.steps import find_step, is_pattern
from llmbench.plan.registry import resolve_all


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("checkpoint-500", 500),
        ("step_1000", 1000),
        ("step1000", 1000),
        ("epoch=2-step=30", 30),
        ("my-run-ckpt-7", 7),
        ("iter0", 0),
        ("gpt2", None),
        ("llama-3", None),
        ("checkpoint", None),
        ("checkpoint-500-best", None),
        ("footstep-5", None),
        ("checkpoint-" + "9" * 40, None),
    ],
)
def test_a_step_is_read_only_where_a_directory_is_named_after_one(name, step):
    assert find_step(name) == step


def make(folder, *names):
    for name in names:
        (folder / "out" / name).mkdir(parents=True)
        (folder / "out" / name / "config.json").write_text("{}")
    return f"hf:{folder}/out/checkpoint-*"


def test_a_pattern_is_every_checkpoint_by_step_named_after_its_run(tmp_path):
    spec = make(tmp_path, "checkpoint-1000", "checkpoint-500", "checkpoint-0", "best")
    (tmp_path / "out/checkpoint-7").mkdir()  # without a config
    cards = resolve_all(spec)
    assert [card.name for card in cards] == [
        "out-checkpoint-0",
        "out-checkpoint-500",
        "out-checkpoint-1000",
    ]
    assert cards[1].checkpoint.id == str(tmp_path / "out/checkpoint-500")


def test_options_of_a_pattern_are_those_of_each_checkpoint(tmp_path):
    cards = resolve_all(make(tmp_path, "checkpoint-1", "checkpoint-2") + "?quantize=int8")
    assert [card.name for card in cards] == ["out-checkpoint-1-int8", "out-checkpoint-2-int8"]
    assert {card.checkpoint.quantize for card in cards} == {"int8"}


@pytest.mark.parametrize("spec", ["hf:gpt2", "mine.py:Model", "file*.py:Model", "hf:a/b?bos=*"])
def test_other_specs_are_one_model(spec):
    assert not is_pattern(spec)


@pytest.mark.parametrize(
    ("names", "pattern", "said"),
    [
        ((), "checkpoint-*", "there is no checkpoint of this pattern"),
        (("checkpoint-1", "checkpoint-best"), "checkpoint-*", "checkpoint-best has no step"),
        (("checkpoint-1", "checkpoint-01"), "checkpoint-*", "has the step of checkpoint-01"),
        (("checkpoint-1",), "*/x-*", "only the last part of a pattern may have a [*]"),
    ],
)
def test_a_pattern_that_is_no_training_run_is_refused(tmp_path, names, pattern, said):
    make(tmp_path, *names)
    with pytest.raises(UsageError, match=said):
        resolve_all(f"hf:{tmp_path}/out/{pattern}")


def test_a_suite_may_name_a_pattern(tmp_path, monkeypatch):
    from llmbench.plan import suite

    monkeypatch.chdir(tmp_path)
    make(tmp_path, "checkpoint-5", "checkpoint-10")
    (tmp_path / "s.yaml").write_text(
        "name: s\nversion: 1\ntexts: {test: {source: t.txt}}\ntasks: [{task: likelihood}]\n"
        'models: [uniform-bytes, "hf:out/checkpoint-*"]\n'
    )
    found = suite.read("s.yaml")
    names = ["uniform-bytes", "out-checkpoint-5", "out-checkpoint-10"]
    assert [card.name for card in found.cards([], [])] == names
    assert [card.name for card in found.cards([], ["out-checkpoint-5"])] == names[1:2]
    (tmp_path / "s.yaml").write_text(
        (tmp_path / "s.yaml").read_text().replace("out/checkpoint-*", "out/step-*")
    )
    with pytest.raises(UsageError, match=r"s\.yaml:5:\d+: hf:out/step-\*: there is no checkpoint"):
        suite.read("s.yaml").cards([], [])
