"""What ships with llmbench, and what other packages register, by name: adapters, tasks, metrics,
baselines, suites and texts.

Light on purpose: a command that lists something imports neither the thing, nor numpy, pydantic or
torch. A thing is registered by one line below.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from llmbench.errors import UsageError
from llmbench.metrics.facts import METRICS

SafeLoader: Any = yaml.__dict__.get("CSafeLoader", yaml.SafeLoader)  # the faster one, if there is
Row = Mapping[str, Any]
ADAPTERS = {
    "uniform-bytes": "llmbench.adapters.trivial:UniformBytes",
    "compressor": "llmbench.adapters.trivial:Compressor",
    "oracle": "llmbench.adapters.oracle:Oracle",
    "byte-ngram": "llmbench.adapters.ngram:ByteNgram",
    "network": "llmbench.adapters.network:NetworkAdapter",
    "encoder": "llmbench.adapters.masked_network:EncoderNetwork",
    "seq2seq": "llmbench.adapters.seq2seq_network:Seq2SeqNetwork",
    "gguf": "llmbench.adapters.gguf.gguf:GGUF",
    "huggingface": "llmbench.adapters.checkpoints.huggingface:HuggingFace",
    "nanogpt": "llmbench.adapters.importers.nanogpt:NanoGPT",
    "scratch-gpt": "llmbench.adapters.importers.scratch_gpt:ScratchGPT",
    "litgpt": "llmbench.adapters.importers.litgpt:LitGPT",
    "nanochat": "llmbench.adapters.importers.nanochat:NanoChat",
    "openai": "llmbench.adapters.servers.adapter:OpenAIServer",
}
TASKS = {
    "likelihood": "llmbench.tasks.likelihood:Likelihood",
    "wikitext-lm-eval": "llmbench.tasks.wikitext_lm_eval:WikitextLmEval",
    "conditional": "llmbench.tasks.conditional:Conditional",
    "continuation": "llmbench.tasks.continuation:Continuation",
    "translation": "llmbench.tasks.reference_based:Translation",
    "answer": "llmbench.tasks.reference_based:Answer",
    "multiple-choice": "llmbench.tasks.multiple_choice:MultipleChoice",
    "lm-eval": "llmbench.tasks.lm_eval.task:LmEval",
    "divergence": "llmbench.tasks.divergence:Divergence",
    "greedy-match": "llmbench.tasks.greedy_match:GreedyMatch",
    "last-word": "llmbench.tasks.last_word:LastWord",
    "memory": "llmbench.tasks.performance.memory:Memory",
    "speed": "llmbench.tasks.performance.speed:Speed",
    "serving": "llmbench.tasks.performance.serving.serving:Serving",
    "max-batch": "llmbench.tasks.performance.max_batch:MaxBatch",
}
# name -> what it is: see data/texts/README.md and data/storyworld
TEXTS = {
    "fables": "Fairy tales and letters in English, written for llmbench (CC0 1.0); select `part`"
    " (tales, letters) and `split` (train, valid, test)",
    "storyworld": "Stories that are generated, and whose true bits are known; questions about them,"
    " and their translations into Murrel; select `part` (stories, questions, pairs) and `split`",
}


def find_shipped(folder: str) -> Path:
    """The folder `suites` or `baselines`: in the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / folder
    return inside if inside.is_dir() else package.parent / folder


def name_suite(path: Path) -> str:
    """What the command line calls the suite in a file: its name if it is shipped, else the path."""
    return path.stem if is_shipped(path) else str(path)


def is_shipped(path: Path) -> bool:
    """Whether a suite's file comes with llmbench."""
    return path.resolve().parent == find_shipped("suites").resolve()


def names(folder: str) -> list[str]:
    """Names of the shipped suites or baselines."""
    return sorted(file.stem for file in find_shipped(folder).glob("*.yaml"))


def _find_outside(kind: str) -> dict[str, str]:
    """The things of other packages: name -> module:Class."""
    return {point.name: point.value for point in metadata.entry_points(group=f"llmbench.{kind}")}


def adapters() -> dict[str, str]:
    """Registered adapters and where they live: built in, and from entry points."""
    return {**_find_outside("adapters"), **ADAPTERS}


def tasks() -> dict[str, str]:
    """Registered tasks and where they live: built in, and from entry points."""
    return {**_find_outside("tasks"), **TASKS}


def list_models() -> list[Row]:
    """The baselines, by stage and name."""
    cards = [(name, _read("baselines", name)) for name in names("baselines")]
    rows = [
        {
            "model": card.get("name", name),
            "stage": card.get("stage"),
            "family": card.get("family", ""),
            "adapter": card.get("adapter", ""),
            "is_trained_here": "recipe" in card,
            "about": card.get("about", ""),
        }
        for name, card in cards
    ]
    return sorted(
        rows, key=lambda row: (99 if row["stage"] is None else row["stage"], row["model"])
    )


def list_suites() -> list[Row]:
    """The suites, by name."""
    return [
        {
            "suite": suite.get("name", name),
            "version": suite.get("version"),
            "tasks": [_name_task(task) for task in suite.get("tasks", ())],
            "models": [_name_model(model) for model in suite.get("models", ())],
            "about": suite.get("about", ""),
        }
        for name in names("suites")
        for suite in [_read("suites", name)]
    ]


def _name_task(entry: Row) -> str:
    return str(entry.get("name", entry.get("task")))


def _name_model(entry: object) -> str:
    if isinstance(entry, Mapping):
        return str(entry.get("name", entry.get("model")))
    return str(entry)


def list_texts() -> list[Row]:
    """The built-in texts, and those that suites fetch or ask for: where each comes from, and which
    suites use it.
    """
    users: dict[str, list[str]] = {}
    about = dict(TEXTS)
    for name in names("suites"):
        suite = _read("suites", name)
        described = {
            key: value if isinstance(value, Mapping) else {"about": value}
            for key, value in suite.get("sources", {}).items()
        }
        for text in suite.get("texts", {}).values():
            source = str(text.get("source"))
            origin = str(described.get(source, {}).get("source") or source)
            if source in described:
                about.setdefault(origin, str(described[source].get("about", "")))
            users.setdefault(origin, [])
            if name not in users[origin]:
                users[origin].append(name)
    return [
        {
            "text": text,
            "is_built_in": text in TEXTS,
            "suites": users.get(text, []),
            "about": about.get(text, ""),
        }
        for text in [*TEXTS, *sorted(users.keys() - TEXTS.keys())]
    ]


def list_metrics() -> list[Row]:
    """The metrics of llmbench, then those of other packages."""
    known = {metric.name for metric in METRICS}
    own = [
        {
            "metric": metric.name,
            "unit": metric.unit,
            "better": metric.better,
            "group": metric.group,
            "about": metric.help,
        }
        for metric in METRICS
    ]
    outside = [
        {"metric": name, "unit": "", "better": None, "group": "", "about": where}
        for name, where in sorted(_find_outside("metrics").items())
        if name not in known
    ]
    return [*own, *outside]


def list_classes(kind: str) -> list[Row]:
    """The adapters or tasks, by name, with their classes."""
    found = {"adapter": adapters, "task": tasks}[kind]()
    return [{kind: name, "class": where} for name, where in sorted(found.items())]


def _read(folder: str, name: str) -> Row:
    """A shipped card or suite, as it stands: it is read strictly when it is used."""
    file = find_shipped(folder) / f"{name}.yaml"
    loader = SafeLoader(file.read_bytes())
    try:
        found = loader.get_single_data()
    except yaml.YAMLError as error:
        raise UsageError(f"not YAML: {' '.join(str(error).split())}", where=str(file)) from None
    finally:
        loader.dispose()
    return found if isinstance(found, dict) else {}
