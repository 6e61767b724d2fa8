"""Task files of lm-eval with data of their own, asked by lm-eval's evaluator and by llmbench."""

from __future__ import annotations

import json
import random
from pathlib import Path

import yaml

from llmbench.tasks.lm_eval.task import LmEval
from support.known import quiet

WORDS = [
    *("river", "stone", "cloud", "Monday", "paper", "green", "little"),
    *("bird", "goes", "under", "five", "window", "soft"),
]


def _metric(name, aggregation="mean", better=True, **more):
    found = {"metric": name, "aggregation": aggregation, "higher_is_better": better, **more}
    return {key: value for key, value in found.items() if value is not None}


SHOTS = {"fewshot_split": "train", "fewshot_config": {"sampler": "default"}}
CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{query}}\nAnswer:",
    "doc_to_target": "gold",
    "doc_to_choice": "{{choices}}",
    "metric_list": [_metric("acc"), _metric("acc_norm"), _metric("acc_bytes")],
    **SHOTS,
}
WORD = {
    "output_type": "loglikelihood",
    "doc_to_text": "{{query.split(' ')[:-1]|join(' ')}}",
    "doc_to_target": "{{' ' + query.split(' ')[-1]}}",
    "metric_list": [_metric("perplexity", "perplexity", False), _metric("acc")],
}
ROLLING = {
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{query}}",
    "metric_list": [
        _metric("word_perplexity", None, None),
        _metric("byte_perplexity", None, None),
        _metric("bits_per_byte", None, None),
    ],
}
NUMBER = {
    "output_type": "generate_until",
    "doc_to_text": "{{query}} A:",
    "doc_to_target": "{{said}}",
    "generation_kwargs": {"until": ["\n", "Q:"], "max_gen_toks": 12, "do_sample": False},
    "metric_list": [_metric("exact_match", ignore_case=True, ignore_punctuation=True)],
    "filter_list": [
        {
            "name": "strict-match",
            "filter": [
                {"function": "regex", "regex_pattern": "([a-d])"},
                {"function": "take_first"},
            ],
        },
        {
            "name": "flexible-extract",
            "filter": [
                {"function": "regex", "group_select": -1, "regex_pattern": "([a-z])"},
                {"function": "take_first"},
            ],
        },
    ],
    **SHOTS,
}
TASKS = {"my_choice": CHOICE, "my_word": WORD, "my_rolling": ROLLING, "my_number": NUMBER}
GROUPS = {
    "my_group": {
        "task": ["my_few", "my_many"],
        "aggregate_metric_list": [{"metric": "acc", "weight_by_size": True}],
        "metadata": {"version": 2},
    },
    "my_mean": {
        "task": ["my_few", "my_many"],
        "aggregate_metric_list": [{"metric": "acc", "weight_by_size": False}],
    },
    "my_list": {"task": ["my_few", "my_word"]},
}


def make_rows(count, seed):
    """Questions of a few words."""
    draw = random.Random(seed)
    for _ in range(count):
        words = [draw.choice(WORDS) for _ in range(draw.randint(3, 7))]
        choices = draw.sample(WORDS, draw.choice([2, 3, 4]))
        yield {
            "query": f"Q: {' '.join(words)}",
            "choices": choices,
            "gold": draw.randrange(len(choices)),
            "said": draw.choice("abcd"),
        }


def write_lines(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_tasks(place: Path, **more) -> Path:
    """Task files and their data, which stand beside them. `more`: other tasks by name."""
    place.mkdir(parents=True, exist_ok=True)
    write_lines(place / "train.jsonl", make_rows(30, 1))
    for name, count in (("test", 12), ("few", 8)):
        write_lines(place / f"{name}.jsonl", make_rows(count, len(name)))
    tasks = {**TASKS, "my_few": CHOICE, "my_many": CHOICE, **more}
    for name, task in tasks.items():
        write_task(place, name, task, "few" if name == "my_few" else "test")
    for name, group in GROUPS.items():
        (place / f"{name}.yaml").write_text(yaml.safe_dump({"group": name, **group}))
    return place


def write_task(place: Path, name: str, task, data: str = "test") -> Path:
    """A task file about `data`.jsonl."""
    files = {"test": str(place / f"{data}.jsonl"), "train": str(place / "train.jsonl")}
    common = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        "test_split": "test",
        "training_split": "train",
        "metadata": {"version": 1.5},
    }
    file = place / f"{name}.yaml"
    file.write_text(yaml.safe_dump({**common, **task}))
    return file


def ask_lm_eval(folder: Path, place: Path, names, shots=None, **arguments):
    """What lm-eval's evaluator finds for a checkpoint: results, and samples by task."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    model = HFLM(pretrained=str(folder), dtype="float32", device="cpu", batch_size=4)
    return lm_eval.simple_evaluate(
        model=model,
        tasks=list(names),
        num_fewshot=shots,
        task_manager=TaskManager(include_path=str(place), include_defaults=False),
        bootstrap_iters=0,
        log_samples=True,
        **arguments,
    )


def settle(place: Path, name: str, shots=None, **more) -> LmEval.Settings:
    """The entries of a suite's `lm-eval`."""
    found = {"task": "lm-eval", "tasks": [name], "num_fewshot": shots, "include_path": str(place)}
    return LmEval.Settings.model_validate({**found, **more}).expand()


def ask_llmbench(adapter, place: Path, name: str, shots=None, limit=None):
    """The outcome of the one task that a name stands for."""
    (settings,) = settle(place, name, shots)
    text = settings.load_text(limit, 0, fetch=False)
    return LmEval.from_settings(settings, {settings.text: text}, 0).run(adapter, quiet)
