"""arc_easy, all 2,376 questions, through `multiple-choice`: the accuracies are those that
lm-eval 0.4.13 reports for the same checkpoint and the same prompts.

They were had by `python tests/benchmarks/lm_eval_oracle.py lean`, of float32 at batch 8: acc
0.253788, and with `--bos` 0.250842. Its acc_norm divides by other lengths.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.known import quiet

from llmbench.adapter import BuildContext
from llmbench.data import loading
from llmbench.plan.resolved_model import make_adapter, resolve_model
from llmbench.tasks.multiple_choice import MultipleChoice
from llmbench.tasks.prompts import Asking, Bos

SHARED = Path(__file__).parents[3] / "shared" / "data"
QUESTIONS, CHECKPOINT = SHARED / "choice" / "arc_easy.jsonl", SHARED / "stories260K-hf"
real = pytest.mark.skipif(
    not (QUESTIONS.is_file() and CHECKPOINT.is_dir()), reason="the shared data are not here"
)


def accuracies(
    count: int | None = None, bos: Bos = "auto"
) -> dict[str, tuple[float, float, float]]:
    text = loading.load("test", QUESTIONS, fields={"given": "query"}).sample(count, 0)
    adapter = make_adapter(resolve_model(f"hf:{CHECKPOINT}"), BuildContext())
    assert adapter.supports_packing
    outcome = MultipleChoice(text, Asking(join=" "), bos).run(adapter, quiet)
    return {row["norm"]: (row["value"], row["low"], row["high"]) for row in outcome.scores}


@real
@pytest.mark.slow
@pytest.mark.parametrize(("bos", "right"), [("auto", 603), ("always", 596)])
def test_a_small_llama_is_as_near_to_chance_as_lm_eval_says(bos, right):
    found = accuracies(bos=bos)
    assert round(found["none"][0] * 2376) == right
    for value, low, high in found.values():
        assert low < 0.27
        assert 0.23 < low < value < high < 0.28


@real
def test_questions_packed_after_one_prompt_are_answered_as_one_by_one(monkeypatch):
    from llmbench.adapters.checkpoints.causal import CausalLM

    packed = accuracies(40)
    monkeypatch.setattr(CausalLM, "supports_packing", False)
    text = loading.load("test", QUESTIONS, fields={"given": "query"}).sample(40, 0)
    adapter = make_adapter(resolve_model(f"hf:{CHECKPOINT}"), BuildContext())
    outcome = MultipleChoice(text, Asking(join=" ")).run(adapter, quiet)
    assert {row["norm"]: row["value"] for row in outcome.scores} == {
        norm: value for norm, (value, _, _) in packed.items()
    }
