"""Every Eval Ever, schema 0.3.0: a file for each model, as its validator and datastore want it."""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from datetime import datetime

from llmbench.errors import drop_folders
from llmbench.integrations.exports.entries import (
    CONFIDENCE,
    group_by_model,
    has_interval,
    list_keys,
)
from llmbench.integrations.exports.target import Export, File, Source, name_file
from llmbench.results.record import ModelRow, Score, metric_of

SCHEMA = "0.3.0"
REGISTERED = {  # metrics of which the registry of the schema has the id
    **{"accuracy": "accuracy", "exact_match": "exact-match", "f1": "f1", "bleu": "bleu"},
    **{"rouge1": "rouge-1", "rouge2": "rouge-2", "rougeL": "rouge-l"},
}


def make(source: Source) -> Export:
    """Return data/SUITE/DEVELOPER/MODEL/UUID.json for each model. A score that is infinite, or of
    which no direction is better, has no place there and is left out.
    """
    record = source.opened.record
    files, undirected, infinite = [], dict[str, None](), []
    for model, scores in group_by_model(record):
        held = []
        for score, key in zip(scores, list_keys(scores), strict=True):
            if score.better is None:
                undirected[key] = None
            elif math.isinf(score.value):
                infinite.append(f"{key} of {model.name}")
            else:
                held.append((score, key))
        if held:
            repo = _name_repo(model)
            log = _describe(source, model, repo, held)
            text = json.dumps(log, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
            content = text.encode("utf-8", "backslashreplace")
            made = uuid.UUID(bytes=hashlib.sha256(content).digest()[:16], version=4)
            files.append(File(f"data/{name_file(record.suite.name)}/{repo}/{made}.json", content))
    notes = [
        f"left out, since the schema {reason}: {', '.join(left)}"
        for reason, left in (
            ("holds only metrics with a better direction", undirected),
            ("holds no infinity", infinite),
        )
        if left
    ]
    return Export(files, notes=notes)


def _name_repo(model: ModelRow) -> str:
    """ORG/NAME of a checkpoint of the Hub; of any other model `local/NAME`."""
    origin = str((model.origin or {}).get("id", ""))
    owner, slash, name = origin.partition("/")
    is_of_hub = bool(slash) and (model.origin or {}).get("commit") is not None
    if is_of_hub and all(part == name_file(part) for part in (owner, name)):
        return origin
    return f"local/{name_file(model.name)}"


def _describe(
    source: Source, model: ModelRow, repo: str, held: list[tuple[Score, str]]
) -> dict[str, object]:
    record = source.opened.record
    stamp = repr(datetime.fromisoformat(record.finished).timestamp())
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"{name_file(record.suite.name)}/{repo}/{stamp}",
        "evaluation_timestamp": record.started,
        "retrieved_timestamp": stamp,
        "source_metadata": {
            "source_name": "llmbench",
            "source_type": "evaluation_run",
            "source_organization_name": "not stated",
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "llmbench", "version": record.llmbench},
        "model_info": _describe_model(model, repo),
        "evaluation_results": [_describe_score(source, score, key) for score, key in held],
    }


def _describe_model(model: ModelRow, repo: str) -> dict[str, object]:
    facts = {
        "deployment_type": "unknown",
        "model_availability": "unknown",
        "family": model.family,
        "tokenizer": model.tokenizer,
        "parameters": "" if model.parameters is None else str(model.parameters),
        "fingerprint": model.fingerprint,
    }
    details = {name: drop_folders(value) for name, value in facts.items() if value}
    return {"name": model.name, "id": repo, "additional_details": details}


def _describe_score(source: Source, score: Score, key: str) -> dict[str, object]:
    facts = metric_of(score)
    metric: dict[str, object] = {
        "evaluation_description": facts.help,
        "metric_id": REGISTERED.get(key, f"llmbench.{key}"),
        "metric_name": facts.label,
        "metric_unit": "proportion" if score.unit == "share" else score.unit,
        "lower_is_better": score.better == "lower",
        "score_type": "continuous",
        "min_score": _bound(facts.bounds[0]),
        "max_score": _bound(facts.bounds[1]),
        "additional_details": {"signature": score.signature},
    }
    spread: dict[str, object] = {"num_samples": score.n}
    if has_interval(score):
        ends = {"lower": score.low, "upper": score.high, "confidence_level": CONFIDENCE}
        spread["confidence_interval"] = ends
    return {
        "evaluation_result_id": f"{score.task}/{key}",
        "evaluation_name": score.task,
        "source_data": _name_data(source, score),
        "metric_config": metric,
        "score_details": {"score": score.value, "uncertainty": spread},
    }


def _name_data(source: Source, score: Score) -> dict[str, object]:
    record, known = source.opened.record, source.datasets.get(score.task)
    name = f"{record.suite.name} {record.suite.version}, {score.task}"
    if known is None:
        return {"dataset_name": name, "source_type": "other"}
    return {"dataset_name": name, "source_type": "hf_dataset", "hf_repo": known.repo}


def _bound(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "Infinity" if value > 0 else "-Infinity"
