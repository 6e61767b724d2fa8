"""A training by transformers' Trainer, and its checkpoints on a board."""

from __future__ import annotations

import json

import pytest
from support.run_helpers import llmbench
from support.small_checkpoints import LINES, gpt2

SUITE = """\
name: steps
version: 1
texts: {test: {source: held-out.jsonl}}
tasks: [{task: likelihood}]
models: ["hf:out/checkpoint-*"]
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_checkpoints_of_a_trainer_are_drawn_by_step(tmp_path):
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        Trainer,
        TrainingArguments,
        default_data_collator,
    )

    gpt2(tmp_path / "start")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "start")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "start")
    ids = [i for line in LINES * 20 for i in tokenizer(line)["input_ids"]]
    rows = [{"input_ids": ids[a : a + 16], "labels": ids[a : a + 16]} for a in range(0, 960, 16)]
    arguments = TrainingArguments(
        str(tmp_path / "out"),
        max_steps=60,
        save_steps=20,
        per_device_train_batch_size=4,
        learning_rate=3e-3,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    Trainer(
        model,
        arguments,
        train_dataset=rows,
        processing_class=tokenizer,
        data_collator=default_data_collator,
    ).train()
    (tmp_path / "steps.yaml").write_text(SUITE)
    lines = [json.dumps({"text": f"{LINES[i % 3][i:]} {i}."}) for i in range(24)]
    (tmp_path / "held-out.jsonl").write_text("\n".join(lines) + "\n")
    done = llmbench("run", "steps.yaml", "--out", "run", cwd=tmp_path, timeout=800)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run/run.json").read_text())
    names = [f"out-checkpoint-{step}" for step in (20, 40, 60)]
    assert [row["name"] for row in record["models"]] == names
    bits = [s["value"] for s in record["scores"] if s["metric"] == "bits_per_byte"]
    assert bits == sorted(bits, reverse=True)
    said = " ".join((tmp_path / "run/leaderboard.md").read_text().split())
    assert "out: gains are proven up to the last checkpoint, step 60." in said
    assert 'id="steps"' in (tmp_path / "run/leaderboard.html").read_text()
    assert str(tmp_path) not in (tmp_path / "run/run.json").read_text()
