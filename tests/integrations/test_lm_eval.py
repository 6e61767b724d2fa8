"""llmbench's models as lm-eval's: the same accuracies as its own `hf` model, and models that it
knows nothing of. Skipped without lm-eval.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import real
from support import small_checkpoints
from support.toys import network

from llmbench.adapter import Passage, Request
from llmbench.adapters.trivial import UniformBytes
from llmbench.errors import Unsupported
from llmbench.inference.text.greedy import are_greedy
from llmbench.tasks.lm_eval.asking import find_greedy, make_request
from llmbench.tasks.lm_eval.questions import Ask

pytest.importorskip("lm_eval")
bridge = pytest.importorskip("llmbench.integrations.lm_eval")
SCRIPT = """\
import json, sys
import lm_eval, lm_eval.models, lm_eval.tasks
import llmbench.integrations.lm_eval
tasks = lm_eval.tasks.TaskManager(include_path=".", include_defaults=False)
done = {}
for name, model, arguments in json.loads(sys.argv[1]):
    found = lm_eval.simple_evaluate(
        model=model, model_args=arguments,
        tasks=["local_choice", "local_text", "local_answer"][: int(sys.argv[2])],
        task_manager=tasks, batch_size=8, device="cpu", bootstrap_iters=0, log_samples=True,
    )
    done[name] = {
        "results": found["results"],
        "choices": [[r[0][0] for r in s["resps"]] for s in found["samples"]["local_choice"]],
        "greedy": [[str(r[0][1]) for r in s["resps"]] for s in found["samples"]["local_choice"]],
        "said": [s["resps"] for s in found["samples"].get("local_answer", [])],
    }
print(json.dumps(done, default=str))
"""
TASKS = {
    "choice": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{query}}\nAnswer:",
        "doc_to_target": "gold",
        "doc_to_choice": "{{choices}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "text": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{query}}",
        "metric_list": [{"metric": "bits_per_byte"}],
    },
    "answer": {
        "output_type": "generate_until",
        "doc_to_text": "{{query}}",
        "doc_to_target": "{{choices[0]}}",
        "generation_kwargs": {"until": ["e"], "max_gen_toks": 12},
        "metric_list": [{"metric": "exact_match"}],
    },
}
DATA = {
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "choice.jsonl"}},
    "test_split": "test",
}
QUESTIONS = [
    {
        "query": "The kettle said nothing. Who said nothing?",
        "choices": ["the kettle", "the tap", "Tuesday"],
        "gold": 0,
    },
    {
        "query": "What came on Tuesday?",
        "choices": ["a tap", "an unbelievable kettle", "7 o'clock"],
        "gold": 0,
    },
    {
        "query": "Who drips?",
        "choices": ["nobody at all", "the tap", "the kettle, aloud"],
        "gold": 1,
    },
    {"query": "Say it.", "choices": ["a", "e", "t", "\n"], "gold": 1},
]


def evaluated(place: Path, models, questions, tasks=3):
    (place / "choice.jsonl").write_text(
        "".join(json.dumps(question) + "\n" for question in questions)
    )
    for name, task in TASKS.items():
        (place / f"{name}.yaml").write_text(
            yaml.safe_dump({"task": f"local_{name}", **DATA, **task})
        )
    environment = {
        **os.environ,
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(place / "hf"),
        "TOKENIZERS_PARALLELISM": "false",
    }
    command = [sys.executable, "-c", SCRIPT, json.dumps(models), str(tasks)]
    done = subprocess.run(
        command,
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().split("\n")[-1])


def test_accuracies_and_likelihoods_are_those_of_lm_evals_own_model_and_others_work_too(tmp_path):
    for name in ("gpt2", "llama"):
        small_checkpoints.MAKERS[name](tmp_path / name)
    models = [
        [f"{kind} {name}", kind, arguments]
        for name in ("gpt2", "llama")
        for kind, arguments in (
            ("hf", {"pretrained": str(tmp_path / name), "dtype": "float32"}),
            ("llmbench", {"spec": f"hf:{tmp_path / name}"}),
        )
    ]
    models.append(["counts", "llmbench", {"spec": "byte-ngram"}])
    done = evaluated(tmp_path, models, QUESTIONS)
    for name in ("gpt2", "llama"):
        ours, theirs = done[f"llmbench {name}"], done[f"hf {name}"]
        assert ours["choices"] == [pytest.approx(row, rel=1e-5) for row in theirs["choices"]]
        assert ours["greedy"] == theirs["greedy"]
        if name == "gpt2":  # the other writes bytes that are no text, and decoders show them apart
            assert ours["said"] == theirs["said"]
        assert (
            ours["results"]["local_choice"]["acc,none"]
            == theirs["results"]["local_choice"]["acc,none"]
        )
        assert (
            ours["results"]["local_choice"]["acc_norm,none"]
            == theirs["results"]["local_choice"]["acc_norm,none"]
        )
        assert ours["results"]["local_text"]["bits_per_byte,none"] == pytest.approx(
            theirs["results"]["local_text"]["bits_per_byte,none"], rel=1e-5
        )
    assert 1 < done["counts"]["results"]["local_text"]["bits_per_byte,none"] < 4
    assert all(said for said in done["counts"]["said"])


def test_a_continuation_is_greedy_where_each_of_its_symbols_is_the_likeliest():
    model = network("lstm")
    prompt = "The kettle"
    said = "".join(chunk.text for chunk in model.generate([Request(prompt, max_tokens=6)]))
    assert len(said) == 6
    for count in range(1, 7):
        assert are_greedy(model, [Passage(said[:count], context=prompt)]) == [True]
        other = "a" if said[count - 1] != "a" else "b"
        assert are_greedy(model, [Passage(said[: count - 1] + other, context=prompt)]) == [False]
    with pytest.raises(Unsupported, match="writes no text"):
        find_greedy(UniformBytes(), [Passage("a", context="b")])


@pytest.mark.parametrize(
    ("settings", "want"),
    [
        ({"until": ["\n", ""], "max_gen_toks": 5}, (5, ("\n",), 0.0)),
        (
            {"until": "x", "max_new_tokens": 7, "do_sample": False, "temperature": 1.0},
            (7, ("x",), 0.0),
        ),
        ({"do_sample": True, "temperature": 0.7}, (256, (), 0.7)),
        ({"temperature": 0.5}, (256, (), 0.5)),
    ],
)
def test_generation_settings_mean_what_lm_eval_means(settings, want):
    request, _ = make_request(Ask("generate_until", "c", settings), UniformBytes(), 3)
    assert (request.max_tokens, request.stop, request.temperature) == want
    assert request.seed == 3


@pytest.mark.slow
def test_the_real_llama_has_the_accuracy_that_lm_eval_finds_on_arc_easy(tmp_path):
    rows = [
        json.loads(line) for line in real("choice/arc_easy.jsonl").read_text().splitlines()[:250]
    ]
    place = real("stories260K-hf")
    models = [
        ["hf", "hf", {"pretrained": str(place), "dtype": "float32"}],
        ["ours", "llmbench", {"spec": f"hf:{place}"}],
    ]
    done = evaluated(tmp_path, models, rows, tasks=1)
    assert (
        done["ours"]["results"]["local_choice"]["acc,none"]
        == done["hf"]["results"]["local_choice"]["acc,none"]
    )
    assert (
        done["ours"]["results"]["local_choice"]["acc_norm,none"]
        == done["hf"]["results"]["local_choice"]["acc_norm,none"]
    )
    for ours, theirs in zip(done["ours"]["choices"], done["hf"]["choices"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)


class Asked:
    """A request as lm-eval makes one."""

    def __init__(self, *args):
        self.args = args


def test_prompts_that_the_tokenizer_does_not_hold_are_warned_of(caplog):
    model = bridge.Bridge("uniform-bytes")
    model.adapter = network("word-ffn", "the kettle and the tap " * 4)
    model.loglikelihood([Asked("the kettle", " and"), Asked("the tap", " and")])
    assert caplog.messages == []
    model.loglikelihood(
        [Asked("the spoon", " and"), Asked("the spoon", " tap"), Asked("the", " a")]
    )
    settings = {"until": ["\n"], "max_gen_toks": 2}
    model.generate_until([Asked("the tap and a spoon", settings), Asked("the tap", settings)])
    assert len(caplog.messages) == 2
    for said, counts in zip(caplog.messages, ("1 of 2", "1 of 2"), strict=True):
        assert f"uniform-bytes cannot hold {counts} prompts, which are read as it reads" in said
        assert said.endswith("is not in the vocabulary")
