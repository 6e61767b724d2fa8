"""Models that are objects of the calling process: on the board beside others, marked as such."""

from __future__ import annotations

import json

import pytest
import torch
from support import small_checkpoints
from support.run_helpers import folder, run_json
from transformers import AutoModelForCausalLM, AutoTokenizer

import llmbench
from llmbench import Passage, UsageError
from llmbench.stats import ratio_interval
from llmbench.testing import MockAdapter

PERFORMANCE = "  - {task: memory}\n  - {task: speed}\n  - {task: max-batch}\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder with a suite and texts, as the current one."""
    monkeypatch.chdir(folder(tmp_path))
    return tmp_path


def mock(**changes):
    return MockAdapter(bits_per_byte=2.0, default="on and on", **changes)


class Raising(MockAdapter):
    def generate(self, requests):
        raise ValueError("a bad day")


class Stopping(MockAdapter):
    """Ctrl-C in its second task."""

    def generate(self, requests):
        raise KeyboardInterrupt


def test_an_object_stands_on_the_board_beside_a_baseline(place):
    model = mock()
    run = llmbench.run("tiny.yaml", [model], only=["mock", "zlib"], out="out")
    assert run.value("mock") == 2.0
    rows = {row["name"]: row for row in run_json(place / "out")["models"]}
    assert rows["mock"]["process"] == "caller"
    assert rows["zlib"]["process"] == "worker"
    proof = rows["mock"]["certificate"]["levels"]["A1"]  # 2 bits for whatever byte: found out
    assert (proof["state"], proof["why"].partition(":")[0]) == ("refused", "disjoint-sum")
    assert model.requests[0].prompt == "The"  # its space goes over to the answer
    assert "mock ran as an object" in (place / "out" / "leaderboard.md").read_text()


def test_tasks_with_a_process_of_their_own_are_unsupported_and_say_what_to_do(place):
    suite = place / "tiny.yaml"
    suite.write_text(suite.read_text().replace("models:", f"{PERFORMANCE}models:"))
    run = llmbench.run("tiny.yaml", [mock()], only=["mock"], out="out")
    found = {row.task: row for row in run.record.failures}
    assert set(found) == {"memory", "speed", "max-batch"}
    assert {row.reason for row in found.values()} == {"unsupported"}
    assert "file.py:Class" in found["speed"].hint


def test_an_object_is_measured_again_in_every_run(place):
    first = llmbench.run("tiny.yaml", [mock()], only=["mock", "zlib"], out="out")
    changed = MockAdapter(bits_per_byte=3.0)
    again = llmbench.run("tiny.yaml", [changed], only=["mock", "zlib"], out="out")
    assert (first.value("mock"), again.value("mock")) == (2.0, 3.0)
    assert changed.passages


def test_what_an_object_raises_is_a_row_and_the_rest_goes_on(place):
    run = llmbench.run("tiny.yaml", {"bad": Raising(), "good": mock()}, only=["bad", "good"])
    [failure] = run.record.failures
    assert (failure.model, failure.task, failure.reason) == ("bad", "continuation", "error")
    assert "test_in_process.py" in failure.message
    assert "ValueError: a bad day" in failure.message
    assert run.value("bad") == 8.0
    assert run.value("good") == 2.0


def test_ctrl_c_keeps_what_is_finished(place):
    run = llmbench.run("tiny.yaml", {"slow": Stopping(), "late": mock()}, only=["slow", "late"])
    assert run.interrupted
    assert run.value("slow") == 8.0
    assert "late" not in {score.model for score in run.record.scores}


def test_names_come_from_a_mapping_or_must_differ(place):
    with pytest.raises(UsageError, match="two objects are called 'mock'"):
        llmbench.run("tiny.yaml", [mock(), mock()])
    with pytest.raises(UsageError, match="two models are called 'zlib'"):
        llmbench.run("tiny.yaml", [mock(name="zlib")])
    with pytest.raises(UsageError, match="list of models"):
        llmbench.run("tiny.yaml", mock())
    with pytest.raises(UsageError, match=r"got Linear \(llmbench.wrap"):
        llmbench.run("tiny.yaml", [torch.nn.Linear(1, 1)])
    run = llmbench.run("tiny.yaml", {"deflate": "zlib", "mine": mock()}, only=["deflate", "mine"])
    assert {row.name for row in run.record.models} == {"deflate", "mine"}


def test_scores_of_objects_and_of_plain_text(place):
    model = mock()
    facts = llmbench.score(model, "test.jsonl")
    assert (facts["model"], facts["bits_per_byte"], facts["documents"]) == ("mock", 2.0, 12)
    assert llmbench.score(model, text="To be")["bits"] == 10.0
    assert llmbench.score("uniform-bytes", text="To be")["bits"] == 40.0
    assert model.passages[-1] == Passage("To be", id="text")
    with pytest.raises(UsageError, match="either a file or `text`"):
        llmbench.score(model)
    with pytest.raises(UsageError, match="device: these are for a SPEC"):
        llmbench.score(model, text="a", device="cpu")
    with pytest.raises(UsageError, match="got Linear"):
        llmbench.score(torch.nn.Linear(1, 1), text="a")


def test_the_interval_of_a_score_ends_at_the_bounds_of_bits(place):
    texts = {"a": 50.0, "b" * 99: 0.1}  # uneven: unbounded, the interval would begin below 0
    (place / "uneven.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    facts = llmbench.score(MockAdapter(bits_per_byte=texts), "uneven.jsonl")
    assert facts["bits_per_byte"] == pytest.approx((50 + 9.9) / 100)
    assert facts["low"] == 0.0
    free = ratio_interval([50, 9.9], [1, 99])
    assert free.low < 0
    assert facts["high"] == pytest.approx(free.high)


@pytest.mark.slow
def test_a_transformers_model_scores_as_hf_directory(place):
    where = small_checkpoints.gpt2(place / "tiny-gpt2")
    model = AutoModelForCausalLM.from_pretrained(where)
    mine = llmbench.wrap(model, AutoTokenizer.from_pretrained(where), name="mine")
    saved = f"hf:{where}"
    run = llmbench.run("tiny.yaml", [mine, saved], only=["mine", "tiny-gpt2"])
    assert run.value("mine") == pytest.approx(run.value("tiny-gpt2"), abs=1e-9)
    whole = llmbench.score(mine, "test.jsonl"), llmbench.score(saved, "test.jsonl")
    assert whole[0]["bits"] == pytest.approx(whole[1]["bits"], abs=1e-9)


def test_a_model_in_training_mode_is_scored_without_dropout_and_goes_back(place):
    namespace = {}
    exec((place / "my_models.py").read_text(), namespace)
    model = namespace["Good"]()
    model.net.append(torch.nn.Dropout(0.5))
    model.net.train()
    one, other = (llmbench.score(model, "test.jsonl")["bits"] for _ in range(2))
    assert one == other
    assert model.net.training
