"""Exports in the formats of other harnesses, read back by those harnesses."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from support import exported_runs
from support.exported_runs import make, scores_of

from llmbench.integrations.exports.entries import list_keys
from llmbench.integrations.exports.target import name_file

RENAMED = {"accuracy": "acc", "accuracy:char": "acc_norm"}


def results_of(source):
    """Each file of lm-eval's results, by the model that it names."""
    files = [json.loads(file.content) for file in make("lm-eval-json", source).files]
    return {result["model_name"]: result for result in files}


def read_numbers(table):
    """The column of values of lm-eval's table; "..." of infinite ones."""
    cells = [row.rsplit("|", 4)[-4].strip() for row in table.splitlines()[2:]]
    return {float(cell) for cell in cells}


@pytest.mark.parametrize("kind", ["example", "run", "hostile"])
def test_lm_evals_table_shows_every_value_and_interval(tmp_path, kind):
    utils = pytest.importorskip("lm_eval.utils")
    if kind == "run":
        source = exported_runs.run(tmp_path, "a", "b")
    else:
        source = getattr(exported_runs, kind)()
    results = results_of(source)
    assert set(results) == {score.model for score in scores_of(source)}
    for model, result in results.items():
        scores = scores_of(source, model)
        shown = read_numbers(utils.make_table(result))
        for score, key in zip(scores, list_keys(scores), strict=True):
            name = RENAMED.get(key, key)
            row = result["results"][score.task]
            for suffix, value in (("", score.value), ("_low", score.low), ("_high", score.high)):
                if value is not None:
                    assert float(row[f"{name}{suffix},none"]) == value
                    assert value in shown or round(value, 4) in shown
            assert row[f"{name}_stderr,none"] == "N/A"
            assert result["configs"][score.task]["metadata"]["units"][name] == score.unit
            if score.better:
                higher = result["higher_is_better"][score.task][
                    RENAMED.get(score.metric, score.metric)
                ]
                assert higher is (score.better == "higher")


def test_lm_eval_finds_the_newest_of_its_files():
    utils = pytest.importorskip("lm_eval.utils")
    paths = [f"out/{file.path}" for file in make("lm-eval-json", exported_runs.example()).files]
    assert utils.get_results_filenames(paths) == paths
    assert utils.get_latest_filename(paths).endswith("/results_2026-01-02T03-14-05.json")


def test_accuracy_per_character_is_lm_evals_acc_norm(tmp_path):
    source = exported_runs.run(tmp_path, "a")
    (score,) = [s for s in scores_of(source) if s.metric == "accuracy"]
    changed = source.opened.record.model_copy(
        update={"scores": [score, score.model_copy(update={"norm": "char", "value": 0.5})]}
    )
    object.__setattr__(source.opened, "record", changed)
    row = results_of(source)["a"]["results"][score.task]
    assert (row["acc,none"], row["acc_norm,none"]) == (pytest.approx(2 / 3), 0.5)


@pytest.mark.parametrize("kind", ["example", "run", "hostile"])
def test_every_eval_evers_own_command_finds_nothing_wrong(tmp_path, kind):
    types = pytest.importorskip("every_eval_ever.eval_types")
    if kind == "run":
        source = exported_runs.run(tmp_path / "run", "a", "b")
    else:
        source = getattr(exported_runs, kind)()
    export = make("every-eval-ever", source)
    for file in export.files:
        (tmp_path / file.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file.path).write_bytes(file.content)
    done = subprocess.run(
        [sys.executable, "-m", "every_eval_ever", "validate", "--format", "json"]
        + [file.path for file in export.files],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    reports = json.loads(done.stdout)
    assert [(r["valid"], r["errors"], r["warnings"]) for r in reports] == [(True, [], [])] * len(
        export.files
    )
    read = [types.EvaluationLog.model_validate_json(file.content) for file in export.files]
    found = {
        (log.model_info.name, result.evaluation_result_id): result
        for log in read
        for result in log.evaluation_results
    }
    scores = [s for s in scores_of(source) if s.better and math.isfinite(s.value)]
    assert len(found) == len(scores)
    for score, key in zip(scores, list_keys(scores), strict=True):
        result = found[score.model, f"{score.task}/{key}"]
        assert result.score_details.score == score.value
        spread = result.score_details.uncertainty
        assert spread.num_samples == score.n
        if score.low is not None and score.high is not None:
            ends = spread.confidence_interval
            assert (ends.lower, ends.upper, ends.confidence_level) == (score.low, score.high, 0.95)
        else:
            assert spread.confidence_interval is None
        unit = "proportion" if score.unit == "share" else score.unit
        assert result.metric_config.metric_unit == unit
        assert result.metric_config.lower_is_better is (score.better == "lower")


def test_what_the_schema_cannot_hold_is_said_and_not_made_up():
    export = make("every-eval-ever", exported_runs.example())
    assert export.notes == [
        "left out, since the schema holds no infinity: bits_per_byte of mine, byte_perplexity of"
        " mine"
    ]
    assert not [file for file in export.files if f"/{name_file('mine')}/" in file.path]


def test_the_same_run_has_the_same_file_names():
    first, again = (make("every-eval-ever", exported_runs.example()) for _ in range(2))
    assert [file.path for file in first.files] == [file.path for file in again.files]
